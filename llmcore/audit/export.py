"""The audit chain as a file that can be checked by itself.

Written by `llmcore audit export`, checked by `llmcore audit verify --file`. One JSON object a line:
`{"seq", "previous", "hash", "record"}`; the first line also has `"first": true`, the last `"last": true`, so that a
file that was cut is known. `record` stands there in the very characters that were hashed.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from llmcore.audit.chain import GENESIS, Verification, link

_RECORD = ',"record":'


class _Read(NamedTuple):
    """One line."""

    seq: int
    previous: str
    hash: str
    first: bool
    last: bool


def export_lines(
    rows: Iterable[tuple[Any, Any, Any]], previous: str, last_seq: int, *, begins: bool = True
) -> Iterator[str]:
    """Lines for `(seq, record, hash)` in order of `seq`.

    `previous` is the hash of the row before the first, which `begins` an export or goes on with one; the row of
    `last_seq` ends it.
    """
    for seq, record, hash_ in rows:
        marks = {"seq": seq, "previous": previous, "hash": hash_, "first": begins, "last": seq == last_seq}
        head = {key: value for key, value in marks.items() if value is not False}
        yield _line(head, record)
        previous, begins = str(hash_), False


def _line(head: Mapping[str, Any], record: Any) -> str:
    written = json.dumps(head, default=str, separators=(",", ":"))[:-1]
    return f"{written}{_RECORD}{record if _is_object(record) else json.dumps(record, default=str)}}}\n"


def _is_object(record: Any) -> bool:
    """True for a record as it is written: a JSON object on one line; somebody may have put anything there."""
    try:
        return "\n" not in record and isinstance(json.loads(record), dict)
    except (TypeError, ValueError, RecursionError):
        return False


def verify_lines(lines: Iterable[str]) -> Verification:
    """Check an export alone: every line against its hash and the line before, the first and the last by their marks.

    An export that was begun later than the chain is right too. One without records is not: nobody could tell it from
    one that was emptied.
    """
    count, first_bad = 0, None
    before: _Read | None = None
    for line in lines:
        count += 1
        if first_bad is not None:
            continue
        expected = before.seq + 1 if before else count
        read = _read(line)
        if read is None or (before and before.last) or not _follows(read, before):
            first_bad = min(expected, read.seq) if read else expected
        else:
            before = read
    if first_bad is None and not (before and before.last):
        first_bad = before.seq + 1 if before else 1
    return Verification(first_bad is None, count, first_bad)


def _follows(read: _Read, before: _Read | None) -> bool:
    if before is None:
        return read.first and (read.seq > 1 or (read.seq == 1 and read.previous == GENESIS))
    return not read.first and (read.seq - 1, read.previous) == (before.seq, before.hash)


def _read(line: str) -> _Read | None:
    """What stands in a line whose record has its hash; None for any other."""
    head, _, rest = line.rstrip("\n").partition(_RECORD)
    try:
        said = json.loads(head + "}")
        read = _Read(said["seq"], said["previous"], said["hash"], said.get("first", False), said.get("last", False))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if [type(value) for value in read] != [int, str, str, bool, bool] or not rest.endswith("}"):
        return None
    return read if link(read.previous, rest[:-1]) == read.hash else None
