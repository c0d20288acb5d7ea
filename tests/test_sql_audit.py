"""The audit chain on disk: killed processes lose nothing, every tampering is found, also without a server."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from llmcore.adapters.sql import StoreOptions, open_store, verify_file
from llmcore.adapters.sql.chain import HEAD_NAME, read_head, write_head
from llmcore.audit import Head, Verification, link
from llmcore.errors import NotFound, Unavailable

WRITER = """
import asyncio, sys
from pathlib import Path
from llmcore.adapters.sql import StoreOptions, open_store
from llmcore.ports import Attempt

async def main():
    store = await open_store(StoreOptions(url=sys.argv[1], head_dir=Path(sys.argv[2])))
    async def write(worker):
        for number in range(1_000_000):
            step = {"run_id": f"r{worker}", "step_id": str(number), "attempt": 1}
            await store.attempt_begin(Attempt(**step, idempotency_key="k", started_at="now"))
            await store.audit_append({"worker": worker, "number": number})
            print(worker, number, flush=True)
    async with asyncio.TaskGroup() as tasks:
        for worker in range(5):
            tasks.create_task(write(worker))

asyncio.run(main())
"""
"""Writes for ever and says what was acknowledged."""
RENUMBERED = ("UPDATE audit SET seq = -seq WHERE seq > 3", "UPDATE audit SET seq = 1 - seq WHERE seq < 0")
"""Rows 4, 5 and 6 become 5, 6 and 7."""


def written(folder: Path, records: int = 6) -> Path:
    """A closed SQLite store with some records."""

    async def write() -> None:
        store = await open_store(StoreOptions(url=f"sqlite:///{folder}/llmcore.db"))
        for number in range(records):
            await store.audit_append({"number": number})
        await store.close()

    asyncio.run(write())
    return folder


def change(folder: Path, *statements: str) -> None:
    """Somebody edits the file behind our back."""
    with closing(sqlite3.connect(folder / "llmcore.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgres", marks=pytest.mark.needs_postgres)])
def test_killed_process_loses_nothing_it_acknowledged(
    request: pytest.FixtureRequest, data_dir: Path, database: str
) -> None:
    """SIGKILL in the middle of writing: every acknowledged row is there and the chain is right."""
    url = request.getfixturevalue("postgres_url") if database == "postgres" else f"sqlite:///{data_dir}/llmcore.db"
    command = [sys.executable, "-c", WRITER, url, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(500)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [line for line in process.stdout if line.endswith("\n")]
    checked = verify_file(data_dir, url)
    assert checked.ok
    assert checked.rows >= len(acknowledged) >= 500
    asyncio.run(_all_there(StoreOptions(url=url, head_dir=data_dir), acknowledged))
    assert verify_file(data_dir, url) == Verification(True, checked.rows + 1)


async def _all_there(options: StoreOptions, acknowledged: list[str]) -> None:
    store = await open_store(options)
    records = {row[1] for row in await store.audit_rows(limit=1_000_000)}
    attempts = {(one.run_id, one.step_id) for worker in range(5) for one in await store.attempt_list(f"r{worker}")}
    for line in acknowledged:
        worker, number = line.split()
        assert f'{{"number":{number},"worker":{worker}}}' in records
        assert (f"r{worker}", number) in attempts
    await store.audit_append({"after": "the crash"})
    await store.close()


def test_untouched_chain_is_right(data_dir: Path) -> None:
    """With the head at its last row after closing."""
    written(data_dir)
    assert verify_file(data_dir) == Verification(True, 6)
    head = read_head(data_dir)
    assert head is not None
    assert head.seq == 6


@pytest.mark.parametrize(
    ("statements", "first_bad"),
    [
        (["UPDATE audit SET record = replace(record, '2', '7') WHERE seq = 3"], 3),
        (["UPDATE audit SET record = x'00' WHERE seq = 2"], 2),
        (["UPDATE audit SET hash = 'x' WHERE seq = 6"], 6),
        (["DELETE FROM audit WHERE seq = 1"], 1),
        (["DELETE FROM audit WHERE seq = 4"], 4),
        (["DELETE FROM audit WHERE seq = 6"], 6),
        (["DELETE FROM audit WHERE seq > 3"], 4),
        (["DELETE FROM audit"], 1),
        (["INSERT INTO audit VALUES (0, '{}', 'x')"], 0),
        (["INSERT INTO audit VALUES (7, '{}', 'x')"], 7),
        ([*RENUMBERED, "INSERT INTO audit VALUES (4, '{}', 'x')"], 4),
        (["DELETE FROM audit WHERE seq = 6", *RENUMBERED, "UPDATE audit SET seq = 4 WHERE seq = 5"], 5),
        (["DELETE FROM audit WHERE seq = 3", *RENUMBERED, "UPDATE audit SET seq = seq - 2 WHERE seq > 3"], 3),
    ],
)
def test_tampering_is_found(data_dir: Path, statements: list[str], first_bad: int) -> None:
    """Edited, removed (first, middle, last, all), inserted (before, after, between), renumbered."""
    change(written(data_dir), *statements)
    checked = verify_file(data_dir)
    assert not checked.ok
    assert checked.first_bad == first_bad


def test_rewritten_chain_is_found_by_its_head(data_dir: Path) -> None:
    """Hashes that fit each other do not help."""
    written(data_dir, records=2)
    first, second = link("0" * 64, "{}"), link(link("0" * 64, "{}"), "{}")
    change(data_dir, "UPDATE audit SET record = '{}'")
    with closing(sqlite3.connect(data_dir / "llmcore.db")) as connection, connection:
        connection.executemany("UPDATE audit SET hash = ? WHERE seq = ?", [(first, 1), (second, 2)])
    assert verify_file(data_dir) == Verification(False, 2, 2)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: file.write_text("{}"), lambda file: file.write_text("{")])
def test_chain_without_its_head_is_not_right(data_dir: Path, spoil: Callable[[Path], object]) -> None:
    """Nobody could tell whether the last rows are there."""
    spoil(written(data_dir) / HEAD_NAME)
    assert verify_file(data_dir) == Verification(False, 6, 7)


def test_rows_that_vanished_stay_found_after_more_were_written(data_dir: Path) -> None:
    """Their numbers are not given again, so the gap stays."""
    change(written(data_dir), "DELETE FROM audit WHERE seq > 4")
    written(data_dir, records=2)
    assert verify_file(data_dir) == Verification(False, 6, 5)
    with closing(sqlite3.connect(data_dir / "llmcore.db")) as connection:
        assert [row[0] for row in connection.execute("SELECT seq FROM audit")] == [1, 2, 3, 4, 7, 8]


@pytest.mark.asyncio
async def test_check_beside_a_running_server(data_dir: Path) -> None:
    """The head may be behind the rows, never ahead of them."""
    store = await open_store(StoreOptions(url=f"sqlite:///{data_dir}/llmcore.db"))
    for _ in range(20):
        await asyncio.gather(*(store.audit_append({"n": number}) for number in range(20)))
        checked = await asyncio.to_thread(verify_file, data_dir)
        assert checked.ok
    await store.close()
    assert checked.rows == 400


@pytest.mark.asyncio
async def test_head_that_cannot_be_written_stops_nothing(data_dir: Path) -> None:
    """It is tried again, and right in the end."""
    store = await open_store(StoreOptions(url=f"sqlite:///{data_dir}/llmcore.db"))
    (data_dir / HEAD_NAME).unlink()
    (data_dir / HEAD_NAME).mkdir()
    assert await store.audit_append({"a": 1}) == 1
    assert await store.audit_append({"a": 2}) == 2
    assert [name for name in os.listdir(data_dir) if name.startswith("audit")] == [HEAD_NAME]
    (data_dir / HEAD_NAME).rmdir()
    await store.close()
    assert await asyncio.to_thread(verify_file, data_dir) == Verification(True, 2)
    assert await asyncio.to_thread(read_head, data_dir) != Head()


@pytest.mark.asyncio
async def test_head_follows_soon_without_further_writes(data_dir: Path) -> None:
    """While records come quickly it is written now and then, and once more when they stop."""
    store = await open_store(StoreOptions(url=f"sqlite:///{data_dir}/llmcore.db"))
    for number in range(50):
        await store.audit_append({"n": number})
    head: Head | None = None
    while head is None or head.seq < 50:
        head = await asyncio.to_thread(read_head, data_dir)
    await store.close()


def test_there_is_nothing_to_check(data_dir: Path) -> None:
    """A wrong folder is not a right chain, and nothing is made in it."""
    with pytest.raises(NotFound, match="data folder"):
        verify_file(data_dir)
    assert list(data_dir.iterdir()) == []


def test_store_that_cannot_be_read_is_not_right(data_dir: Path) -> None:
    """Neither is a file that is no store."""
    (data_dir / "llmcore.db").write_text("x" * 5000)
    write_head(data_dir, Head())
    with pytest.raises(Unavailable, match="damaged"):
        verify_file(data_dir)
    (data_dir / HEAD_NAME).unlink()
    (data_dir / HEAD_NAME).mkdir()
    with pytest.raises(Unavailable, match=HEAD_NAME):
        verify_file(data_dir)


def test_chain_in_postgres_is_checked_too(postgres_url: str, data_dir: Path) -> None:
    """Against the head in the data folder."""

    async def write() -> None:
        store = await open_store(StoreOptions(url=postgres_url, head_dir=data_dir))
        await store.audit_submit([{"n": number} for number in range(5)])
        await store.close()

    asyncio.run(write())
    assert verify_file(data_dir, postgres_url) == Verification(True, 5)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DELETE FROM audit WHERE seq = 5")
    assert verify_file(data_dir, postgres_url) == Verification(False, 4, 5)
