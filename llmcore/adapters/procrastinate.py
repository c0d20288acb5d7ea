"""The queue of many nodes: each segment is a job of procrastinate in the store's own PostgreSQL.

Built in `app` where the store is PostgreSQL. A job is the claim of one node on a segment; the segment itself runs as a
task of the local queue that is handed in. A node works the jobs that it was asked for itself, so that its clients see
their events; it hands over what it leaves, and takes what waits too long at others or belongs to dead ones. Nothing in
here may not be lost: the truth is the row of the run, and two nodes with the same job are told apart by its lease.
"""

import asyncio
import hashlib
import logging
from contextlib import suppress
from datetime import UTC, datetime

import procrastinate
import psycopg
from procrastinate import exceptions
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from procrastinate.schema import SchemaManager
from psycopg.conninfo import conninfo_to_dict

from llmcore.errors import LLMCoreError, Unavailable
from llmcore.ports import Queue, SegmentHandler

TASK = "llmcore.segment"
SHARED = "llmcore"
"""The queue of whoever comes first, for what a node leaves behind."""
POLL_S = 1.0
"""Pause between two looks for jobs that nobody is notified of: those that were taken from others."""
AGAIN_S = 1.0
"""Pause before a worker whose database was away starts again, and before a job that is handed over."""
ANSWER_S = 3.0
"""How long a connection or the end of the worker may take."""
SWEEPS = 3
"""How often a node looks after the others in the time in which they have to be heard of."""
TABLES = SchemaManager.get_schema()
SCHEMA = f"llmcore_queue_{hashlib.sha256(TABLES.encode()).hexdigest()[:8]}"
"""Holds the tables of this version of procrastinate; another version has a schema of its own."""
_AT_ONCE = datetime.fromtimestamp(0, UTC)
_LOCK = 0x6C6C6D04
_LOST = (exceptions.ProcrastinateException, psycopg.Error, OSError, TimeoutError)

log = logging.getLogger(__name__)


class _HandOver(BaseRetryStrategy):
    """A job whose segment did not come to its end is for another node."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        return RetryDecision(retry_in={"seconds": int(AGAIN_S)}, queue=SHARED)


class _Claims(JobManager):
    """What the library's worker writes at the end of a job, where the job may be another node's by now.

    Where it cannot be written the job counts as a dead node's, and whoever takes it finds that nothing is left to do.
    """

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        with suppress(exceptions.ConnectorException):
            await super().finish_job(job, status, delete_job)

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        with suppress(exceptions.ConnectorException):
            await super().retry_job(job, retry_at, priority, queue, lock)


class ProcrastinateQueue:
    """`llmcore.ports.Queue` over several nodes."""

    def __init__(
        self,
        url: str,
        local: Queue,
        tasks: asyncio.TaskGroup,
        node: str,
        *,
        lease_s: float,
        parallel: int = 200,
        limit: int = 10_000,
    ) -> None:
        """`local` runs the segments; a node that is not heard of for `lease_s` seconds counts as dead."""
        self._url = url
        self._local = local
        self._tasks = tasks
        self._node = node
        self._lease_s = lease_s
        self._parallel = parallel
        self._limit = limit
        self._handler: SegmentHandler | None = None
        self._jobs: dict[tuple[str, int], asyncio.Future[bool]] = {}
        """Segments whose job is claimed here -> whether they came to their end."""
        self._deferred: set[tuple[str, int]] = set()
        """Segments that were asked for here and not claimed yet."""
        self._seen: set[int] = set()
        """Jobs of other nodes that waited at the last look."""
        self._background: list[asyncio.Task[None]] = []
        self._stopping = False
        self._healthy = False
        asked = str(conninfo_to_dict(url).get("options") or "")
        options = {"options": f"{asked} -c search_path={SCHEMA}".strip(), "connect_timeout": int(ANSWER_S)}
        connector = procrastinate.PsycopgConnector(
            conninfo=url, kwargs=options, min_size=1, max_size=4, timeout=ANSWER_S
        )
        for noisy in ("procrastinate", "psycopg.pool"):  # what they would say of a lost connection is said here
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        self._app = procrastinate.App(connector=connector)
        self._app.job_manager = _Claims(connector)
        self._task = self._app.task(name=TASK, retry=_HandOver())(self._job)

    @property
    def depth(self) -> int:
        """Segments that were asked for here, or run here."""
        return len(self._deferred) + self._local.depth

    @property
    def healthy(self) -> bool:
        """False while the database does not answer the queue."""
        return self._healthy

    async def start(self, handler: SegmentHandler) -> None:
        """Make the tables on first use, begin to work; segments that no living node works are handed out first."""
        try:
            await make_tables(self._url)
            await self._app.open_async()
        except _LOST as error:
            raise _away() from error
        self._handler = handler
        self._healthy = True
        await self._local.start(self._run)
        self._background = [
            self._tasks.create_task(self._serve(), name="queue worker"),
            self._tasks.create_task(self._sweep_often(), name="queue sweep"),
        ]

    async def enqueue(self, run_id: str, segment: int) -> None:
        """Have a segment run; one that waits already is not doubled. Raises Unavailable."""
        if self._handler is None or self._stopping:
            raise Unavailable("The server is starting or stopping: try again in a moment.", component="queue")
        if self.depth >= self._limit:
            raise Unavailable("Too many runs wait: try again in a moment.", component="queue")
        key = (run_id, segment)
        if key in self._deferred or key in self._jobs:
            return
        self._deferred.add(key)
        try:
            await self._defer(run_id, segment, self._node)
        except exceptions.AlreadyEnqueued:
            self._deferred.discard(key)  # by another node
        except _LOST as error:
            self._deferred.discard(key)
            raise _away() from error

    async def cancel(self, run_id: str) -> bool:
        """Interrupt the segment of a run. False if none is in its handler here: one that waits is only dropped."""
        interrupted = await self._local.cancel(run_id)
        for key in [key for key in self._jobs if key[0] == run_id] if not interrupted else ():
            self._settle(key, done=True)
        self._deferred -= {key for key in self._deferred if key[0] == run_id}
        if not interrupted:
            with suppress(*_LOST):
                for job in await self._app.job_manager.list_jobs_async(task=TASK, status="todo"):
                    if _segment_of(job)[0] == run_id and job.id is not None:
                        await self._app.job_manager.cancel_job_by_id_async(job.id, delete_job=True)
        return interrupted

    async def stop(self, grace_s: float) -> None:
        """Take no more work, let running segments end for `grace_s`, then interrupt them; hand the rest to others."""
        self._stopping = True
        await self._local.stop(grace_s)
        for key in list(self._jobs):
            self._settle(key, done=False)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._deferred.clear()
        with suppress(*_LOST):
            async with asyncio.timeout(ANSWER_S):
                for job in await self._app.job_manager.list_jobs_async(queue=self._node, task=TASK, status="todo"):
                    await self._move(job, SHARED)
        with suppress(*_LOST):
            async with asyncio.timeout(ANSWER_S):
                await self._app.close_async()

    # --- segments ---

    async def _run(self, run_id: str, segment: int) -> None:
        """What the local queue calls, again as long as it raises retryable errors."""
        assert self._handler is not None  # noqa: S101 - the local queue was started with this after it was set
        key = (run_id, segment)
        try:
            await self._handler(run_id, segment)
        except LLMCoreError as error:
            if not error.retryable or self._stopping:
                self._settle(key, done=not error.retryable)
            raise
        except asyncio.CancelledError:
            self._settle(key, done=not self._stopping)
            raise
        self._settle(key, done=True)

    def _settle(self, key: tuple[str, int], *, done: bool) -> None:
        future = self._jobs.get(key)
        if future is not None and not future.done():
            future.set_result(done)

    async def _job(self, run_id: str, segment: int) -> None:
        """What the worker calls for a job; raises if another node has to take it."""
        key = (run_id, segment)
        self._deferred.discard(key)
        ended = self._jobs.setdefault(key, asyncio.get_running_loop().create_future())
        try:
            await self._local.enqueue(run_id, segment)
            if not await asyncio.shield(ended):
                raise Unavailable("This node stops.", component="queue")
        finally:
            self._jobs.pop(key, None)

    # --- jobs ---

    async def _defer(self, run_id: str, segment: int, queue: str) -> None:
        asked = self._task.configure(queue=queue, queueing_lock=f"{run_id}.{segment}")
        await asked.defer_async(run_id=run_id, segment=segment)

    async def _move(self, job: Job, queue: str) -> None:
        """Put a job that waits into another queue, unless somebody has claimed it at this moment."""
        if job.id is not None and await self._app.job_manager.cancel_job_by_id_async(job.id, delete_job=True):
            with suppress(exceptions.AlreadyEnqueued):
                await self._defer(*_segment_of(job), queue)

    async def _serve(self) -> None:
        """Claim jobs; a worker whose database was away is replaced, the segments that it had claimed go on."""
        while not self._stopping:
            with suppress(*_LOST):
                await self._app.run_worker_async(
                    queues=[self._node, SHARED],
                    name=self._node,
                    concurrency=self._parallel,
                    fetch_job_polling_interval=POLL_S,
                    shutdown_graceful_timeout=ANSWER_S / 3,
                    delete_jobs="always",
                    install_signal_handlers=False,
                    update_heartbeat_interval=self._lease_s / SWEEPS,
                    stalled_worker_timeout=self._lease_s,
                )
            self._healthy = False
            log.warning("the queue's worker starts again", extra={"action": "queue_worker"})
            await asyncio.sleep(AGAIN_S)

    async def _sweep_often(self) -> None:
        while not self._stopping:
            try:
                await self._sweep()
                self._healthy = True
            except _LOST as error:
                self._healthy = False
                log.warning("the queue's database is away: %s", error, extra={"action": "queue_sweep"})
            await asyncio.sleep(self._lease_s / SWEEPS)

    async def _sweep(self) -> None:
        """Take the jobs of dead nodes, and those that wait at other nodes since the last look."""
        manager = self._app.job_manager
        for job in await manager.get_stalled_jobs(task_name=TASK, seconds_since_heartbeat=self._lease_s):
            await self._take(job)
        waiting = await manager.list_jobs_async(task=TASK, status="todo")
        others = {job.id: job for job in waiting if job.id is not None and job.queue not in (self._node, SHARED)}
        for job_id in others.keys() & self._seen:
            await self._move(others[job_id], self._node)
        self._seen = set(others)

    async def _take(self, job: Job) -> None:
        if job.id is None:
            return
        try:
            await self._app.job_manager.retry_job_by_id_async(job.id, retry_at=_AT_ONCE, queue=self._node)
        except exceptions.UniqueViolation:  # the segment was asked for again meanwhile
            await self._app.job_manager.finish_job(job, Status.ABORTED, delete_job=True)
        except exceptions.ConnectorException:
            return  # another node was quicker
        log.warning("a job of a dead node was taken", extra={"action": "queue_taken", "run": _segment_of(job)[0]})


def _segment_of(job: Job) -> tuple[str, int]:
    return str(job.task_kwargs["run_id"]), int(str(job.task_kwargs["segment"]))


async def make_tables(url: str) -> None:
    """Make the queue's tables if they are not there; nodes that start at the same time wait for each other."""
    connection = await psycopg.AsyncConnection.connect(url, connect_timeout=int(ANSWER_S))
    async with connection, connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})".encode())
        found = await connection.execute("SELECT to_regnamespace(%s)", [SCHEMA])
        row = await found.fetchone()
        if row is not None and row[0] is None:
            await connection.execute(f"CREATE SCHEMA {SCHEMA}; SET LOCAL search_path TO {SCHEMA}".encode())
            await connection.execute(TABLES)


def _away() -> Unavailable:
    return Unavailable(
        "The queue in PostgreSQL cannot be used: check that the server runs and that its user may make a schema.",
        component="store",
    )
