"""What the port `Store` promises of the audit trail and of recordings, on SQLite and on a real PostgreSQL."""

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Update, update

from llmcore.adapters.sql import SqlStore, StoreOptions, export_file, open_store
from llmcore.adapters.sql.schema import audit
from llmcore.audit import GENESIS, verify_lines
from llmcore.errors import NotFound, Unavailable
from llmcore.ports import AuditFilter

pytestmark = pytest.mark.asyncio

NAMES = ("anna", "bo", 'anna\'s %_ \\ "cat" Zoë')


def record(number: int, **facts: Any) -> dict[str, Any]:
    """A record as the audit room composes it, one a minute."""
    return {
        "action": ("plan.propose", "plan.approve", "step.end")[number % 3],
        "actor": {"name": NAMES[number % 3], "role": "admin", "kind": "agent" if number == 4 else "user"},
        "facts": {"plan_id": f"pl_{number // 3}", "run_id": f"rn_{number // 6}", "name": "bo", **facts},
        "time": f"2026-01-01T08:{number:02}:00.000Z",
    }


async def filled(store: SqlStore, count: int = 12) -> None:
    """A trail of so many records."""
    await store.audit_submit([record(number, note=f'Nötig {number} times\nin "{number}"') for number in range(count)])


async def found(store: SqlStore, before: int | None = None, /, **asked: str) -> list[int]:
    """The numbers of the records that fit."""
    rows, _ = await store.audit_search(AuditFilter(**asked), before, 100)
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, list(range(12, 0, -1))),
        ({"action": "plan.approve"}, [11, 8, 5, 2]),
        ({"action": "plan.*"}, [11, 10, 8, 7, 5, 4, 2, 1]),
        ({"action": "plan.app"}, []),
        ({"action": "PLAN.APPROVE"}, []),
        ({"action": "*"}, list(range(12, 0, -1))),
        ({"actor": "bo"}, [11, 8, 5, 2]),
        ({"actor": NAMES[2]}, [12, 9, 6, 3]),
        ({"actor": "%"}, []),
        ({"actor": "bo", "actor_kind": "user"}, [11, 8, 2]),
        ({"actor_kind": "agent"}, [5]),
        ({"plan_id": "pl_1"}, [6, 5, 4]),
        ({"plan_id": "pl_"}, []),
        ({"run_id": "rn_1", "action": "step.end"}, [12, 9]),
        ({"since": "2026-01-01T08:09:00.000Z"}, [12, 11, 10]),
        ({"until": "2026-01-01T08:02:00.000Z"}, [2, 1]),
        ({"since": "2026-01-01T08:03:00.000Z", "until": "2026-01-01T08:05:00.000Z"}, [5, 4]),
        ({"text": 'TIMES\nin "7'}, [8]),
        ({"text": "%"}, [12, 9, 6, 3]),
        ({"text": "nowhere"}, []),
    ],
)
async def test_records_are_found(store: SqlStore, asked: Mapping[str, str], expected: list[int]) -> None:
    """By all that can be asked for, newest first; marks of patterns are characters like any other."""
    await filled(store)
    assert await found(store, **asked) == expected


async def test_a_search_goes_on_where_it_ended(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks at so many records at a time, and says below which to go on."""
    monkeypatch.setattr("llmcore.adapters.sql.trail.WINDOW", 5)
    await filled(store)
    seen: list[tuple[list[int], int]] = []
    before = None
    while before != 0:
        rows, before = await store.audit_search(AuditFilter(action="plan.approve"), before, 100)
        seen.append(([row[0] for row in rows], before))
    assert seen == [([11, 8], 8), ([5], 3), ([2], 0)]
    rows, rest = await store.audit_search(AuditFilter(), None, 2)
    assert ([row[0] for row in rows], rest) == ([12, 11], 11)
    assert await found(store, 3) == [2, 1]
    assert await found(store, 1) == []


async def test_an_empty_trail_is_searched_too(store: SqlStore) -> None:
    """Nothing, and nothing left."""
    assert await store.audit_search(AuditFilter()) == ([], 0)
    assert await store.audit_ends() == (0, GENESIS, 0)
    assert await store.audit_ends("2026-01-01T00:00:00.000Z") == (0, GENESIS, 0)


def _changed(change: Update, connection: Connection) -> None:
    connection.execute(change)


async def test_a_record_that_somebody_has_spoilt_stops_no_search(store: SqlStore) -> None:
    """It is shown where nothing is asked."""
    await filled(store, 3)
    for number, spoilt in ((1, "no json"), (2, '{"action":1}'), (3, '{"action":"a","actor":{"name":"bo"},"facts":[]}')):
        change = update(audit).where(audit.c.seq == number).values(record=spoilt)
        await store._write(partial(_changed, change))
    assert await found(store) == [3, 2, 1]
    assert await found(store, actor="bo") == []
    await store.audit_append({**record(1), "facts": "no object"})
    assert await found(store, plan_id="pl_0") == []
    assert await found(store, actor="bo") == [4]


async def test_an_export_begins_at_a_moment(store: SqlStore) -> None:
    """With the hash of the record before."""
    await filled(store)
    rows = await store.audit_rows()
    assert await store.audit_ends() == (0, GENESIS, 12)
    assert await store.audit_ends("2026-01-01T08:03:00.000Z") == (3, rows[2][2], 12)
    assert await store.audit_ends("2026-01-01T08:00:00.000Z") == (0, GENESIS, 12)
    assert await store.audit_ends("2027-01-01T00:00:00.000Z") == (12, rows[11][2], 12)


async def test_a_store_is_exported_without_a_server(
    store: SqlStore, store_options: StoreOptions, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it or since a moment, page by page, the very characters that were hashed."""
    monkeypatch.setattr("llmcore.adapters.sql.verify._PAGE", 5)
    await filled(store)
    rows = await store.audit_rows()

    def exported(since: str = "") -> list[str]:
        return list(export_file(data_dir, store_options.url, since))

    lines = await asyncio.to_thread(exported)
    assert verify_lines(lines).rows == 12
    assert verify_lines(lines).ok
    assert all(f',"record":{row[1]}}}\n' in line for row, line in zip(rows, lines, strict=True))
    later = await asyncio.to_thread(exported, "2026-01-01T08:09:00.000Z")
    assert [json.loads(line)["seq"] for line in later] == [10, 11, 12]
    assert verify_lines(later).ok
    assert await asyncio.to_thread(exported, "2027-01-01T08:09:00.000Z") == []


async def test_a_store_that_is_none_is_not_exported(data_dir: Path) -> None:
    """The reason says what to do."""
    with pytest.raises(NotFound, match="--data-dir"):
        await asyncio.to_thread(lambda: list(export_file(data_dir)))
    (data_dir / "llmcore.db").write_text("this is no database, however long one looks at it")
    with pytest.raises(Unavailable):
        await asyncio.to_thread(lambda: list(export_file(data_dir)))


async def test_a_recording_is_kept_until_it_is_old(store: SqlStore) -> None:
    """Replaced in place; one that nobody waits for is on disk all the same."""
    await store.recording_submit("rn_1", 1.0, {"n": 1, "odd": "a\x00\ud83d"})
    await store.recording_submit("rn_1", 9.0, {"n": 2})
    await store.recording_submit("rn_2", 5.0, {"n": 3})
    assert await store.recording_get("rn_1") == {"n": 2}
    assert await store.recording_get("rn_9") is None
    assert await store.recordings_forget(2.0) == 1, "it is as old as its beginning"
    assert await store.recording_get("rn_1") is None
    assert await store.recording_get("rn_2") == {"n": 3}


async def test_a_recording_is_there_after_closing_at_once(store_options: StoreOptions) -> None:
    """What was handed over is written before the store lets go."""
    store = await open_store(store_options)
    writing = store.recording_submit("rn_1", 1.0, {"n": 1})
    await store.close()
    await writing
    with pytest.raises(Unavailable):
        store.recording_submit("rn_2", 1.0, {})
    again = await open_store(store_options)
    assert await again.recording_get("rn_1") == {"n": 1}
    await again.close()
