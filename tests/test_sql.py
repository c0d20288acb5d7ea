"""The SQL store when things go wrong: locks, full disks, servers that go away, foreign files."""

import asyncio
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from llmcore.adapters.sql import SqlStore, StoreOptions, open_store, schema
from llmcore.adapters.sql.database import Database
from llmcore.adapters.sql.documents import dumps
from llmcore.adapters.sql.migrate import MIGRATIONS, migrate
from llmcore.errors import Conflict, Unavailable
from llmcore.ports import User
from tests.servers import free_port


def options(folder: Path, **changes: Any) -> StoreOptions:
    """A SQLite store in a folder."""
    return StoreOptions(url=f"sqlite:///{folder}/llmcore.db", **changes)


def user(name: str) -> User:
    """Somebody."""
    return User(name=name, role="admin", password_hash="h", created_at="now")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another program holds the write lock of the store."""
    with closing(sqlite3.connect(folder / "llmcore.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.asyncio
async def test_store_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """Folder 700, files 600, also one that was more open."""
    folder = tmp_path / "made" / "here"
    store = await open_store(options(folder))
    await store.audit_append({"a": 1})
    modes = {file.name: file.stat().st_mode & 0o777 for file in [folder, *folder.iterdir()]}
    await store.close()
    assert modes.pop("here") == 0o700
    assert set(modes) == {"llmcore.db", "llmcore.db-wal", "llmcore.db-shm", "audit.head"}
    assert set(modes.values()) == {0o600}
    (folder / "llmcore.db").chmod(0o644)
    await (await open_store(options(folder))).close()
    assert (folder / "llmcore.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.asyncio
@pytest.mark.parametrize("url", ["sqlite:///relative.db", "sqlite://", "mysql://root@host/x", "nonsense", ""])
async def test_wrong_url_says_what_to_write(url: str) -> None:
    """And never repeats a URL, which may hold a password."""
    with pytest.raises(Unavailable, match="sqlite:////absolute/path"):
        await open_store(StoreOptions(url=url))


@pytest.mark.asyncio
async def test_postgres_needs_a_folder_for_the_head_and_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are said in one sentence."""
    with pytest.raises(Unavailable, match="data folder"):
        await open_store(StoreOptions(url="postgresql://nobody@127.0.0.1/x"))
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(Unavailable, match="cluster"):
        await open_store(StoreOptions(url="postgres://nobody@127.0.0.1/x"))


@pytest.mark.asyncio
async def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """The file in its way is named, for the store as for the head."""
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="file"):
        await open_store(options(tmp_path / "file"))
    with pytest.raises(Unavailable, match=r"audit\.head"):
        await open_store(options(tmp_path, head_dir=tmp_path / "file"))


@pytest.mark.asyncio
async def test_file_that_is_no_store(data_dir: Path) -> None:
    """It is left alone."""
    (data_dir / "llmcore.db").write_text("my diary" * 1000)
    with pytest.raises(Unavailable, match="damaged"):
        await open_store(options(data_dir))
    assert (data_dir / "llmcore.db").read_text().startswith("my diary")


@pytest.mark.asyncio
async def test_store_of_a_newer_version_is_refused(data_dir: Path) -> None:
    """Rather than read what it cannot understand."""
    await (await open_store(options(data_dir))).close()
    with closing(sqlite3.connect(data_dir / "llmcore.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Unavailable, match="newer"):
        await open_store(options(data_dir))


def first_version(folder: Path) -> None:
    """A store as the first version made it, with a user."""
    database = Database(f"sqlite:///{folder}/llmcore.db")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.writer.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            schema.user_account.insert().values(
                name="old", role="admin", password_hash="h", created_at="then", tokens_valid_from=0.0
            )
        )
        assert not inspect(connection).has_table("lease")
    database.close()


@pytest.mark.asyncio
async def test_store_of_the_first_version_is_brought_up_to_date(data_dir: Path) -> None:
    """With its rows; what it did not have is empty."""
    await asyncio.to_thread(first_version, data_dir)
    store = await open_store(options(data_dir))
    assert [found.name for found in await store.user_list()] == ["old"]
    await store.close()
    with closing(sqlite3.connect(data_dir / "llmcore.db")) as connection:
        for table in ("lease", "control", "policy_rule", "template", "recording"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608 - our own names


def test_migrations_make_what_the_schema_says(data_dir: Path) -> None:
    """And their newest is the one that a current store names."""
    database = Database(f"sqlite:///{data_dir}/llmcore.db")
    migrate(database)
    with database.readers.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    database.close()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.REVISION


@pytest.mark.asyncio
async def test_locked_store_is_unavailable_and_recovers(data_dir: Path) -> None:
    """Reads go on meanwhile; whoever asks how it is is told, and then told that it is well again."""
    store = await open_store(options(data_dir, busy_timeout_s=0.05))
    await store.check()
    with locked(data_dir):
        outcomes = await asyncio.gather(*(store.user_put(user(name)) for name in "ab"), return_exceptions=True)
        assert all(isinstance(outcome, Unavailable) and "locked" in outcome.message for outcome in outcomes)
        assert await store.user_list() == []
        with pytest.raises(Unavailable, match="locked"):
            await store.check()
    for _ in range(2):
        await store.check()
    await store.user_put(user("anna"))
    assert [found.name for found in await store.user_list()] == ["anna"]
    await store.close()


@pytest.mark.asyncio
async def test_write_that_waited_too_long_is_absent(data_dir: Path) -> None:
    """Who was told that it did not work does not find it done later: neither the first in the row nor those behind."""
    store = await open_store(options(data_dir, timeout_s=0.1, busy_timeout_s=30.0))
    with locked(data_dir):
        for name in ("first", "waiting"):
            with pytest.raises(Unavailable, match="in time"):
                await store.user_put(user(name))
    await store.user_put(user("later"))
    assert [found.name for found in await store.user_list()] == ["later"]
    await store.close()


@pytest.mark.asyncio
async def test_too_many_waiting_are_refused(data_dir: Path) -> None:
    """Memory stays bounded while the database stands still."""
    store = await open_store(options(data_dir, queue_limit=3, readers=1))
    with locked(data_dir):
        waiting = _fill(store, 99)
        assert 3 <= len(waiting) < 99
    await asyncio.gather(*waiting)
    reads = await asyncio.gather(*(store.user_list() for _ in range(9)), return_exceptions=True)
    assert sum(isinstance(read, Unavailable) for read in reads) == 6
    await store.close()


def _fill(store: SqlStore, most: int) -> list[asyncio.Future[int]]:
    waiting: list[asyncio.Future[int]] = []
    with suppress(Unavailable):
        while len(waiting) < most:
            waiting.append(store.audit_submit([{}]))
    return waiting


@pytest.mark.asyncio
async def test_full_disk_is_unavailable_and_recovers(data_dir: Path) -> None:
    """What does not fit is refused with what to do; smaller writes and later ones work."""
    store = await open_store(options(data_dir))
    await store.user_put(user("first"))
    limit = await store._write(lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    await store._write(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count = {limit + 2}").scalar())
    with pytest.raises(Unavailable, match="full"):
        await store.alert_put("f", {"text": "x" * 100_000})
    await store.alert_put("f", {"text": "x" * 100_000})
    assert len(await store.alert_list()) == 1
    await store.close()


@dataclass
class Kept:
    """A file that is given to a full disk."""

    file: Path
    shortage: str | None = None
    asked: int = 0

    def relieve(self) -> bool:
        """Once."""
        self.asked += 1
        if not self.file.exists():
            return False
        self.file.unlink()
        return True


@pytest.mark.asyncio
async def test_full_disk_is_relieved_and_the_same_write_works(small_disk: Callable[[int], Path]) -> None:
    """Nobody is told of the first shortage; when nothing is left to give, everybody is."""
    disk = small_disk(16)
    kept = Kept(disk / "kept")
    kept.file.write_bytes(bytes(4 << 20))
    store = await open_store(options(disk, space=kept))
    await store.user_put(user("first"))
    left = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(left.f_bavail * left.f_frsize))
    await store.alert_put("f", {"text": "x" * (1 << 20)})
    assert kept.asked == 1
    with pytest.raises(Unavailable, match="full"):
        await store.alert_put("g", {"text": "x" * (8 << 20)})
    assert kept.asked == 2
    kept.shortage = "Make room."
    with pytest.raises(Unavailable, match="Make room"):
        await store.check()
    with pytest.raises(Unavailable, match="Make room"):
        store.admit()
    store.admit(frees_space=True)
    await store.close()


@pytest.mark.asyncio
async def test_a_store_in_trouble_says_which_without_waiting(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness is asked often and has to answer soon."""
    monkeypatch.setattr("llmcore.adapters.sql.store.CHECK_S", 0.05)
    store = await open_store(options(data_dir, busy_timeout_s=0.5))
    with locked(data_dir):
        with pytest.raises(Unavailable, match="locked"):
            await store.user_put(user("anna"))
        with pytest.raises(Unavailable, match="locked") as told:
            await store.check()
        assert isinstance(told.value.__cause__, TimeoutError)
    await store.user_put(user("anna"))
    await store.check()
    await store.close()


@pytest.mark.asyncio
async def test_read_only_store_is_unavailable_and_recovers(data_dir: Path) -> None:
    """The sentence tells what to change."""
    store = await open_store(options(data_dir))
    await store._write(lambda connection: connection.exec_driver_sql("PRAGMA query_only = ON").rowcount)
    with pytest.raises(Unavailable, match="cannot be written"):
        await store.user_put(user("anna"))
    await store.user_put(user("anna"))
    await store.close()


@pytest.mark.asyncio
async def test_fault_inside_a_write_reaches_its_caller_alone(data_dir: Path) -> None:
    """The others of its transaction are written, and the thread lives on."""
    store = await open_store(options(data_dir))
    with locked(data_dir):
        writes: list[asyncio.Future[Any]] = [
            store._writer.submit(lambda _: 1 // 0),
            store._writer.submit(lambda connection: store._sql.user_put(connection, _values("anna")).rowcount),
            store._writer.submit(lambda connection: store._sql.secret_add(connection, {"name": None, "value": b""})),
        ]
    faults = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(fault) for fault in faults] == [ZeroDivisionError, int, Conflict]
    assert [found.name for found in await store.user_list()] == ["anna"]
    await store.close()


def _values(name: str) -> dict[str, object]:
    return {"name": name, "role": "admin", "password_hash": "h", "created_at": "now", "tokens_valid_from": 0.0}


@pytest.mark.asyncio
async def test_caller_whose_loop_has_ended_harms_nobody(data_dir: Path) -> None:
    """Its write is done all the same."""
    store = await open_store(options(data_dir))

    async def leave() -> None:
        store.audit_submit([{"a": 1}])

    with locked(data_dir):
        await asyncio.to_thread(lambda: asyncio.run(leave()))
    assert await store.audit_append({"a": 2}) == 2
    await store.close()


def test_documents_say_what_json_has_no_word_for() -> None:
    """Sets become lists, other objects their text; canonical text has sorted keys."""
    assert dumps({"b": {3}, "a": Path("/x"), 1: frozenset()}, canonical=True) == '{"1":[],"a":"/x","b":[3]}'
    assert dumps(MappingProxyType({"b": MappingProxyType({})})) == '{"b":{}}'
    assert dumps({"b": 2**64, "a": [Path("/x")]}, canonical=True) == '{"a":["/x"],"b":18446744073709551616}'


@pytest.mark.asyncio
async def test_postgres_that_goes_away_is_unavailable_and_recovers(postgres_url: str, data_dir: Path) -> None:
    """Without a restart of ours; dropped connections alone are not even noticed."""
    store = await open_store(StoreOptions(url=postgres_url, head_dir=data_dir, busy_timeout_s=2.0))
    await store.user_put(user("first"))
    await _drop_connections(postgres_url, refuse=False)
    await store.user_put(user("second"))
    await _drop_connections(postgres_url, refuse=True)
    for attempt in (store.user_put(user("third")), store.check()):
        with pytest.raises(Unavailable, match="cannot be reached"):
            await attempt
    await _allow_connections(postgres_url)
    await store.user_put(user("fourth"))
    assert [found.name for found in await store.user_list()] == ["first", "fourth", "second"]
    await store.close()


async def _drop_connections(url: str, *, refuse: bool) -> None:
    server, name = url.rsplit("/", 1)
    async with await psycopg.AsyncConnection.connect(f"{server}/postgres", autocommit=True) as connection:
        if refuse:
            await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])


async def _allow_connections(url: str) -> None:
    server, name = url.rsplit("/", 1)
    async with await psycopg.AsyncConnection.connect(f"{server}/postgres", autocommit=True) as connection:
        await connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())


@pytest.mark.asyncio
async def test_locked_postgres_is_unavailable(postgres_url: str, data_dir: Path) -> None:
    """A table that another transaction holds is waited for, but not for ever."""
    store = await open_store(StoreOptions(url=postgres_url, head_dir=data_dir, busy_timeout_s=0.1))
    hasty = await open_store(StoreOptions(url=postgres_url, head_dir=data_dir, timeout_s=0.1))
    async with await psycopg.AsyncConnection.connect(postgres_url) as other:
        await other.execute("LOCK TABLE user_account")
        with pytest.raises(Unavailable):
            await store.user_put(user("anna"))
        with pytest.raises(Unavailable, match="in time"):
            await hasty.check()
    await store.user_put(user("anna"))
    await store.close()
    await hasty.close()


@pytest.mark.asyncio
async def test_postgres_that_is_not_there(data_dir: Path) -> None:
    """The start says so at once."""
    with pytest.raises(Unavailable, match="cannot be reached"):
        await open_store(StoreOptions(url=f"postgresql://nobody@127.0.0.1:{free_port()}/x", head_dir=data_dir))


@pytest.mark.asyncio
async def test_postgres_without_the_database(postgres_url: str, data_dir: Path) -> None:
    """What to do is in the sentence."""
    with pytest.raises(Unavailable):
        await open_store(StoreOptions(url=postgres_url + "x", head_dir=data_dir))
    store: SqlStore = await open_store(StoreOptions(url=postgres_url, head_dir=data_dir))
    await store.close()


@pytest.mark.asyncio
@pytest.mark.logs_errors("cannot be read")
@pytest.mark.parametrize("document", ["{", "[]", "{}", '{"approval": {}}'])
async def test_plan_that_somebody_has_broken_is_refused_and_left_out(tmp_path: Path, document: str) -> None:
    """The others of a list are there."""
    store = await open_store(options(tmp_path))
    with closing(sqlite3.connect(tmp_path / "llmcore.db")) as other:
        columns = "plan_id, status, digest, votes, requester, created_at, document"
        values = ("pl_1", "approved", "", "[]", "anna", "now", document)
        other.execute(f"INSERT INTO plan ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608
        other.commit()
    with pytest.raises(Conflict, match="cannot be read"):
        await store.plan_get("pl_1")
    assert await store.plan_list() == []
    await store.close()
