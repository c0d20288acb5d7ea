"""The one thread that writes, with group commit.

Used by the store. Callers hand over a function and wait for a future; the thread takes all that have come, runs them
in one transaction and tells them after the commit. A function that fails does not spoil the others: the transaction is
then given up and each runs in one of its own. Knows nothing of what is written, so a function may be run twice and must
have no effect but on the database.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection

from llmcore.adapters.sql.chain import Chain
from llmcore.adapters.sql.database import Database, is_refusal, may_be_full, told
from llmcore.errors import Unavailable

BATCH = 256
"""Writes in one transaction at most."""
T = TypeVar("T")


class _Job:
    __slots__ = ("chained", "future", "loop", "work")

    def __init__(self, work: Callable[[Connection], Any], chained: bool) -> None:
        self.work = work
        self.chained = chained
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()


class Writer:
    """Runs writes one batch at a time, in the order they came."""

    def __init__(self, database: Database, chain: Chain, limit: int, relieve: Callable[[], bool]) -> None:
        """Start the thread; `limit` is how many writes may wait.

        `relieve` is called in the thread when the disk seems full, and is true if it has freed some of it.
        """
        self._database = database
        self._chain = chain
        self._limit = limit
        self._relieve = relieve
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._connection: Connection | None = None
        self._closed = False
        self.trouble: str | None = None
        """Why the database takes no writes, None if it does; the next one that it takes ends it."""
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], T], *, chained: bool = False) -> asyncio.Future[T]:
        """A future with what `work` returns, once it is committed; `chained` if it appends to the audit chain.

        Raises Unavailable if the store is closed or too many writes wait. Cancelling the future drops the write as long
        as the database has not begun it (which it does not while another program has it locked); later it is whole.
        """
        if self._closed:
            raise Unavailable("The store is closed: start the server again.", component="store")
        if self._jobs.qsize() >= self._limit:
            raise Unavailable("The store is busy: too many writes wait; try again in a moment.", component="store")
        job = _Job(work, chained)
        self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Take no more writes; those that wait are still done."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the last write; blocks, for `timeout_s` at most."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        batch: list[_Job | None] = []
        while None not in batch:
            batch = self._next()
            jobs = [job for job in batch if job and not job.future.cancelled()]
            if jobs:
                self._commit(jobs)
        self._chain.keep()
        self._disconnect()

    def _next(self) -> list[_Job | None]:
        """All jobs that have come; waits for the first, and keeps the head file right meanwhile."""
        batch: list[_Job | None] = []
        while not batch:
            try:
                batch.append(self._jobs.get(timeout=self._chain.due_s()))
            except Empty:
                self._chain.keep()
        while len(batch) < BATCH and batch[-1] is not None:
            try:
                batch.append(self._jobs.get_nowait())
            except Empty:
                break
        return batch

    def _commit(self, jobs: Sequence[_Job]) -> None:
        outcome = self._outcome(jobs)
        if isinstance(outcome, list):
            _tell(jobs, outcome)
        elif len(jobs) > 1 and is_refusal(outcome):
            for job in jobs:
                self._commit([job])
        else:
            _tell(jobs, [told(outcome) for _ in jobs])  # each its own: raising an error changes it

    def _outcome(self, jobs: Sequence[_Job]) -> list[Any] | Exception:
        """What the jobs returned, or why none of them is in the database."""
        try:
            results = self._transact(jobs)
        except Exception as error:  # noqa: BLE001 - it belongs to the callers, and the thread must live
            broken = not is_refusal(error)
            self._disconnect(broken=broken)
            if may_be_full(error) and self._relieve():
                return self._outcome(jobs)
            self.trouble = str(told(error)) if broken else None
            return error
        self.trouble = None
        return results

    def _transact(self, jobs: Sequence[_Job]) -> list[Any]:
        connection = self._connection = self._connection or self._database.writer.connect()
        with connection.begin():
            self._chain.begin(connection, any(job.chained for job in jobs))
            results = [None if job.future.cancelled() else job.work(connection) for job in jobs]
        self._chain.committed()
        if not self._database.path:
            self._disconnect()  # a server may go away meanwhile; the pool tries the connection before it gives it out
        return results

    def _disconnect(self, *, broken: bool = False) -> None:
        """Give the connection back; a broken one is not used again (one of SQLite's may be read-only for good)."""
        connection, self._connection = self._connection, None
        if connection:
            if broken:
                connection.invalidate()
            connection.close()


def _tell(jobs: Sequence[_Job], outcomes: Sequence[Any]) -> None:
    waiting: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        waiting.setdefault(job.loop, []).append((job.future, outcome))
    for loop, pairs in waiting.items():
        with suppress(RuntimeError):  # a loop that has ended has nobody who waits
            loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in pairs:
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
