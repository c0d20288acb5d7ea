"""The chain as a file: whatever is edited, removed or put in is found, in the table and in an export of it."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.audit import GENESIS, Head, Verification, export_lines, link, verify, verify_lines

Row = tuple[Any, Any, Any]
TEXT = st.text(max_size=20)
RECORD = st.dictionaries(TEXT, TEXT | st.integers() | st.none() | st.lists(TEXT, max_size=3), max_size=4)


def chained(records: list[str], first: int = 1, previous: str = GENESIS) -> list[Row]:
    """Rows of a right chain."""
    rows: list[Row] = []
    for number, record in enumerate(records):
        previous = link(previous, record)
        rows.append((first + number, record, previous))
    return rows


def written(rows: list[Row], previous: str = GENESIS) -> list[str]:
    """An export of these rows."""
    return list(export_lines(rows, previous, max((row[0] for row in rows), default=0)))


def texts(records: list[dict[str, Any]]) -> list[str]:
    """Records as they are stored."""
    return [json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":")) for record in records]


@settings(deadline=None)
@given(st.lists(RECORD, min_size=1, max_size=8))
def test_an_untouched_export_is_right(records: list[dict[str, Any]]) -> None:
    """Whatever the records hold; each line is JSON with `seq`, `hash` and the record as an object."""
    rows = chained(texts(records))
    lines = written(rows)
    assert verify_lines(lines) == Verification(True, len(rows))
    read = [json.loads(line) for line in lines]
    assert [(one["seq"], one["hash"], one["record"]) for one in read] == [
        (seq, hash_, record) for (seq, _, hash_), record in zip(rows, records, strict=True)
    ]


@dataclass(frozen=True)
class Tampering:
    """What somebody did to a list of things at a place."""

    how: str
    at: int


TAMPERINGS = st.builds(
    Tampering, st.sampled_from(["edit", "remove", "insert", "swap", "cut"]), st.integers(min_value=0, max_value=7)
)


@settings(deadline=None)
@given(st.lists(RECORD, min_size=2, max_size=8), TAMPERINGS)
def test_every_tampering_with_the_table_is_found_there_and_in_an_export(
    records: list[dict[str, Any]], done: Tampering
) -> None:
    """The first bad row is the same, but for rows that are gone from the end, which only the kept head can tell."""
    rows = chained(texts(records))
    head = Head(rows[-1][0], rows[-1][2])
    at = done.at % len(rows)
    seq, record, hash_ = rows[at]
    if done.how == "edit":
        rows[at] = (seq, record + " ", hash_)
    elif done.how == "insert":
        forged = (seq, '{"forged":true}', link("x", "forged"))
        rows = [*rows[:at], forged, *((seq + 1, record, hash_) for seq, record, hash_ in rows[at:])]
    elif done.how == "swap":
        other = (at + 1) % len(rows)
        rows[at], rows[other] = (seq, rows[other][1], rows[other][2]), (rows[other][0], record, hash_)
        if record == rows[at][1]:
            rows[at] = (seq, record, "x")
    else:
        rows = rows[:at] if done.how == "cut" else [*rows[:at], *rows[at + 1 :]]
    checked = verify(rows, head)
    assert not checked.ok
    exported = verify_lines(written(rows))
    end_is_gone = rows == chained(texts(records))[: len(rows)]
    assert exported.ok == (end_is_gone and bool(rows))
    if not exported.ok and rows:
        assert exported.first_bad == checked.first_bad


@settings(deadline=None)
@given(st.lists(RECORD, min_size=2, max_size=8), TAMPERINGS, st.data())
def test_every_tampering_with_an_export_is_found(
    records: list[dict[str, Any]], done: Tampering, data: st.DataObject
) -> None:
    """Any character, any line, at any place, the last lines too."""
    lines = written(chained(texts(records)))
    at = done.at % len(lines)
    if done.how == "edit":
        place = data.draw(st.integers(min_value=0, max_value=len(lines[at]) - 2))
        other = data.draw(st.characters(exclude_characters=lines[at][place] + "\n", exclude_categories=["Cs"]))
        lines[at] = lines[at][:place] + other + lines[at][place + 1 :]
    elif done.how == "insert":
        lines.insert(at, lines[data.draw(st.integers(min_value=0, max_value=len(lines) - 1))])
    elif done.how == "swap":
        lines[at - 1], lines[at] = lines[at], lines[at - 1]
    elif done.how == "remove":
        del lines[at]
    else:
        del lines[at:]
    assert not verify_lines(lines).ok


def test_an_export_may_begin_later() -> None:
    """The hash before its first record stands in its first line."""
    rows = chained(["{}", '{"a":1}', '{"b":2}'])
    lines = written(rows[1:], rows[0][2])
    assert verify_lines(lines) == Verification(True, 2)
    assert verify_lines(lines[1:]) == Verification(False, 1, 1), "its first line is gone"
    assert not verify_lines(written(rows[1:], GENESIS)).ok
    assert not verify_lines(written(chained(["{}"], first=1, previous="x"), "x")).ok, "the first has none before it"
    assert not verify_lines(written(chained(["{}"], first=0))).ok


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "[]",
        '{"seq":1}',
        '{"seq":1,"record":{}}',
        '"seq","record":{}}',
        '{"seq":[],"previous":{},"hash":1,"first":[],"record":{}}',
        "[" * 100_000,
        '{"seq":1,"record":',
    ],
)
def test_a_line_that_is_none_is_found(line: str) -> None:
    """Alone and after a right one."""
    assert verify_lines([line]) == Verification(False, 1, 1)
    right = written(chained(["{}"]))[0].replace(',"last":true', "")
    assert verify_lines([right, line]) == Verification(False, 2, 2)


def test_an_export_without_records_is_not_right() -> None:
    """Nobody could tell it from one that was emptied."""
    assert verify_lines([]) == Verification(False, 0, 1)


@pytest.mark.parametrize("record", ["no json", '{"a":\n1}', None, b"\x00", "[1]", "[" * 100_000])
def test_a_row_that_is_no_record_any_more_is_exported_and_found(record: Any) -> None:
    """As its text, on one line."""
    rows = [*chained(["{}"]), (2, record, "x")]
    lines = written(rows)
    assert len(lines) == 2
    assert all(line.count("\n") == 1 for line in lines)
    assert "record" in json.loads(lines[1])
    assert verify_lines(lines) == Verification(False, 2, 2)
