"""How the parts of the store read and write.

Used by the parts beside it, which are one class in the end. Knows no table. Nothing here blocks the event loop: reads
run in a few threads, writes in the writer's.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from llmcore.adapters.sql.database import Database, told
from llmcore.adapters.sql.statements import Statement, Statements
from llmcore.adapters.sql.writer import Writer
from llmcore.errors import Unavailable

T = TypeVar("T")


class Space(Protocol):
    """The space of the store's disk."""

    @property
    def shortage(self) -> str | None:
        """What to do while the disk is full, None while it is not."""
        ...

    def relieve(self) -> bool:
        """Give the store what was kept for a full disk; False if the disk is not full or nothing is kept.

        Called by the writer's thread.
        """
        ...


class Ample:
    """A disk that nobody watches."""

    shortage: str | None = None

    def relieve(self) -> bool:
        """Nothing is kept."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Where the store is and how patient it is."""

    url: str
    """`sqlite:////absolute/path/to/file` or `postgresql://user:password@host/database`."""
    head_dir: Path | None = None
    """Folder for `audit.head`; None: the folder of the SQLite file (PostgreSQL has to name one)."""
    timeout_s: float = 8.0
    """A read or write that takes longer raises Unavailable."""
    busy_timeout_s: float = 5.0
    """How long a transaction waits for the lock of another program."""
    queue_limit: int = 10_000
    """Writes, and reads, that may wait."""
    readers: int = 4
    space: Space = field(default_factory=Ample)
    """Who keeps some of the disk for the time when it is full."""


class Base:
    """Reads and writes; the parts of the store extend it."""

    def __init__(self, options: StoreOptions, database: Database, statements: Statements, writer: Writer) -> None:
        """Take over what `open_store` has made; connections and threads come with the first use."""
        self._options = options
        self._database = database
        self._sql = statements
        self._writer = writer
        self._threads = ThreadPoolExecutor(options.readers, thread_name_prefix="store-reader")
        self._reading = 0

    def admit(self, *, frees_space: bool = False) -> None:
        """Raise Unavailable (component `disk`) while the store's disk is full, unless the work frees some of it."""
        remedy = self._options.space.shortage
        if remedy is not None and not frees_space:
            raise Unavailable(remedy, component="disk", reason="full")

    async def _read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` with a connection that reads; raises Unavailable."""
        if self._reading >= self._options.queue_limit:
            raise Unavailable("The store is busy: too many reads wait; try again in a moment.", component="store")
        self._reading += 1
        try:
            async with asyncio.timeout(self._options.timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._read_now, work)
        except TimeoutError as error:
            raise _slow() from error
        finally:
            self._reading -= 1

    def _read_now(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._database.readers.connect() as connection:
                return work(connection)
        except (SQLAlchemyError, UnicodeError) as error:
            raise told(error) from error

    async def _write(self, work: Callable[[Connection], T], *, chained: bool = False) -> T:
        """Run `work` in a transaction of the writer and return what it returned once that is committed.

        Raises Unavailable, and what `work` raises. `work` may run twice.
        """
        try:
            async with asyncio.timeout(self._options.timeout_s):
                return await self._writer.submit(work, chained=chained)
        except TimeoutError as error:
            raise _slow() from error

    async def _execute(self, statement: Statement, values: dict[str, Any]) -> int:
        """Run one writing statement; returns how many rows it touched."""
        return await self._write(lambda connection: statement(connection, values).rowcount)


def _slow() -> Unavailable:
    return Unavailable("The store does not answer in time: check the disk or the database server.", component="store")
