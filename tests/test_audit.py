"""The audit chain: links, their check, and records that are never lost silently."""

import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.adapters.sql import SqlStore, StoreOptions, open_store
from llmcore.audit import GENESIS, Audit, Head, Verification, link, verify
from llmcore.errors import Unavailable
from llmcore.plan import Principal
from llmcore.redaction import MASK, Redactor
from tests.clocks import HandClock

ANNA = Principal(name="anna", role="developer")


@pytest_asyncio.fixture
async def store(data_dir: Path) -> AsyncIterator[SqlStore]:
    """A real store that does not wait long for a lock."""
    opened = await open_store(StoreOptions(url=f"sqlite:///{data_dir}/llmcore.db", busy_timeout_s=0.01))
    yield opened
    await opened.close()


@pytest.fixture
def audit(store: SqlStore) -> Audit:
    """What is tested."""
    return Audit(store, HandClock(), Redactor(["s3cret"]).value)


@contextmanager
def away(folder: Path) -> Iterator[None]:
    """The store takes no writes."""
    with closing(sqlite3.connect(folder / "llmcore.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def actions(store: SqlStore) -> list[str]:
    """What is on disk."""
    return [json.loads(row[1])["action"] for row in await store.audit_rows()]


def rows(*records: str) -> list[tuple[Any, Any, Any]]:
    """A right chain."""
    chain: list[tuple[Any, Any, Any]] = []
    previous = GENESIS
    for seq, record in enumerate(records, 1):
        previous = link(previous, record)
        chain.append((seq, record, previous))
    return chain


RIGHT = rows("a", "b", "c")
HASHES = [row[2] for row in RIGHT]


def test_link_is_sha256_over_the_one_before_and_the_record() -> None:
    """So that others can check a chain; any text has a hash."""
    assert link(GENESIS, "Zoë") == hashlib.sha256(b"0" * 64 + b"\n" + "Zoë".encode()).hexdigest()
    assert len(link(GENESIS, "\ud83d")) == 64


@pytest.mark.parametrize(
    ("chain", "head", "expected"),
    [
        ([], Head(), Verification(True, 0)),
        ([], None, Verification(False, 0, 1)),
        ([], Head(1, "x"), Verification(False, 0, 1)),
        (RIGHT, Head(3, HASHES[2]), Verification(True, 3)),
        (RIGHT, Head(1, HASHES[0]), Verification(True, 3)),
        (RIGHT, Head(), Verification(True, 3)),
        (RIGHT, None, Verification(False, 3, 4)),
        (RIGHT, Head(2, HASHES[0]), Verification(False, 3, 2)),
        (RIGHT, Head(5, "x"), Verification(False, 3, 4)),
        (RIGHT[1:], Head(3, HASHES[2]), Verification(False, 2, 1)),
        ([RIGHT[0], RIGHT[2]], Head(3, HASHES[2]), Verification(False, 2, 2)),
        ([RIGHT[0], (2, "x", HASHES[1]), RIGHT[2]], Head(3, HASHES[2]), Verification(False, 3, 2)),
        ([RIGHT[0], (2, None, HASHES[1])], Head(), Verification(False, 2, 2)),
        ([(-1, "x", "y"), *RIGHT], Head(), Verification(False, 4, -1)),
    ],
)
def test_first_bad_row_is_named(chain: list[tuple[Any, Any, Any]], head: Head | None, expected: Verification) -> None:
    """The chain by itself, and against the head that was kept apart."""
    assert verify(chain, head) == expected


@pytest.mark.asyncio
async def test_record_says_who_did_what_when_without_secrets(store: SqlStore, audit: Audit) -> None:
    """It returns once that is on disk."""
    assert await audit.record("plan.approve", ANNA, digest="d", params={"password": "x", "text": "my s3cret"}) == 1
    ((_, text, _),) = await store.audit_rows()
    assert json.loads(text) == {
        "time": "2023-11-14T22:13:20.000Z",
        "actor": {"name": "anna", "role": "developer", "kind": "user"},
        "action": "plan.approve",
        "facts": {"digest": "d", "params": {"password": MASK, "text": f"my {MASK}"}},
    }


@pytest.mark.asyncio
async def test_note_is_soon_on_disk_by_itself(store: SqlStore, audit: Audit) -> None:
    """Together with those that came meanwhile, in order."""
    for number in range(5):
        audit.note(f"read{number}", ANNA)
    assert audit.pending == 5
    while audit.pending:
        await store.check()
    assert await actions(store) == [f"read{number}" for number in range(5)]


@pytest.mark.asyncio
async def test_record_comes_after_the_notes_before_it(store: SqlStore, audit: Audit) -> None:
    """The trail tells things in the order they happened."""
    audit.note("first", ANNA)
    await audit.record("second", ANNA)
    audit.note("third", ANNA)
    await audit.flush()
    assert await actions(store) == ["first", "second", "third"]
    await audit.flush()
    await audit.close()


@pytest.mark.asyncio
async def test_notes_wait_for_a_store_that_is_away(
    store: SqlStore, audit: Audit, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are kept, tried again, and come before later ones; a record is refused at once."""
    monkeypatch.setattr("llmcore.audit.trail.RETRY_DELAY_S", 0.01)
    with away(data_dir):
        audit.note("kept", ANNA)
        with pytest.raises(Unavailable):
            await audit.flush()
        with pytest.raises(Unavailable):
            await audit.record("refused", ANNA)
        audit.note("later", ANNA)
        assert audit.pending == 2
    while audit.pending:
        await store.check()
    assert await actions(store) == ["kept", "later"]
    assert audit.lost == 0


@pytest.mark.asyncio
@pytest.mark.logs_errors("audit notes are lost")
async def test_notes_are_bounded_and_what_is_lost_is_counted(
    store: SqlStore, audit: Audit, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never silently: an error in the log, a number for the metrics."""
    monkeypatch.setattr("llmcore.audit.trail.NOTES_LIMIT", 3)
    with away(data_dir):
        for _ in range(5):
            audit.note("read", ANNA)
        await audit.close()
    assert (audit.pending, audit.lost) == (0, 5)
    assert await actions(store) == []


@pytest.mark.asyncio
@pytest.mark.logs_errors("audit notes are lost")
async def test_notes_that_were_kept_are_not_lost(
    store: SqlStore, audit: Audit, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those beyond the bound are."""
    monkeypatch.setattr("llmcore.audit.trail.NOTES_LIMIT", 3)
    with away(data_dir):
        for _ in range(5):
            audit.note("read", ANNA)
    await audit.flush()
    assert (audit.pending, audit.lost) == (0, 2)
    assert len(await actions(store)) == 3


@pytest.mark.asyncio
@pytest.mark.logs_errors("audit notes are lost")
async def test_closing_says_what_could_not_be_written(
    store: SqlStore, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that refuses at once is tried again too, until the end."""
    monkeypatch.setattr("llmcore.audit.trail.NOTE_DELAY_S", 0.0)
    await store.close()
    audit.note("read", ANNA)
    with pytest.raises(Unavailable):
        await audit.record("refused", ANNA)
    await audit.close()
    assert audit.lost == 1


@pytest.mark.asyncio
async def test_records_of_decisions_name_the_versions_that_decided(store: SqlStore) -> None:
    """As they are at that moment; a login depends on none."""
    versions = {"catalog": "c1", "policy": "p1"}
    audit = Audit(store, HandClock(), Redactor().value, lambda: versions)
    await audit.record("plan.propose", ANNA, plan_id="pl_1")
    versions["policy"] = "p2"
    await audit.record("step.begin", ANNA)
    await audit.record("login", ANNA)
    told = [json.loads(row[1])["facts"].get("versions") for row in await store.audit_rows()]
    assert told == [{"catalog": "c1", "policy": "p1"}, {"catalog": "c1", "policy": "p2"}, None]


@pytest.mark.asyncio
async def test_a_result_is_told_by_hash_and_beginning(store: SqlStore, audit: Audit) -> None:
    """Bounded, without secrets; the hash is of what really came, so that the journal's copy can be held against it."""
    big = {"text": "x" * 70_000, "list": list(range(7))}
    for result in (
        {"b": 1, "a": "my s3cret"},
        None,
        "y" * 1_000,
        big,
        {"n": 2**70, "odd": "\ud83d"},
        {"password": "p"},
    ):
        audit.note("intent", ANNA, result=result)
    await audit.flush()
    told = [json.loads(row[1])["facts"]["result"] for row in await store.audit_rows()]
    assert told[0] == {
        "sha256": hashlib.sha256(b'{"a":"my s3cret","b":1}').hexdigest(),
        "bytes": 23,
        "summary": f'{{"a":"my {MASK}","b":1}}',
    }
    assert told[1]["summary"] == "null"
    assert told[2]["summary"] == '"' + "y" * 299 + "…"
    assert told[3]["summary"] == '{"list":[0,1,2,3,4,"(2 more)"],"text":"(70000 characters)"}'
    assert told[3]["bytes"] == 70_034
    assert told[4]["summary"] == f'{{"n":{2**70},"odd":"?"}}'
    assert told[5]["summary"] == f'{{"password":"{MASK}"}}'
