"""What the port `Queue` promises, in one process and over the nodes of a real PostgreSQL; and the machine's clock."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import procrastinate
import psycopg
import pytest
import pytest_asyncio

from llmcore.adapters import procrastinate as cluster
from llmcore.adapters.local import LocalQueue, SystemClock
from llmcore.adapters.procrastinate import ProcrastinateQueue
from llmcore.adapters.sql import SqlStore, StoreOptions, open_store
from llmcore.errors import NotFound, Unavailable
from llmcore.plan import PlanStatus, Principal
from llmcore.ports import Queue, Run

LEASE_S = 2.0
"""Other nodes are missed quickly here."""


def run(name: str, segment: int = 1, status: PlanStatus = PlanStatus.RUNNING) -> Run:
    """A run in the store."""
    return Run(
        run_id=name,
        conversation_id="c",
        topic="t",
        owner=Principal(name="anna"),
        status=status,
        created_at="now",
        segment=segment,
    )


@dataclass
class Work:
    """A handler whose segments go on until they are let go."""

    began: list[tuple[str, int]] = field(default_factory=list)
    ended: list[tuple[str, int, str]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, run_id: str, segment: int) -> None:
        """Note the beginning, wait, note the end."""
        await self._note(self.began.append, (run_id, segment))
        how = "cancelled"
        try:
            await self.let_go.wait()
            how = "done"
        finally:
            await asyncio.shield(self._note(self.ended.append, (run_id, segment, how)))

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for a state of affairs."""
        async with self.changed:
            await self.changed.wait_for(reached)

    async def _note(self, add: Callable[..., None], what: object) -> None:
        async with self.changed:
            add(what)
            self.changed.notify_all()


@dataclass
class Place:
    """Where queues are opened."""

    store: SqlStore
    url: str | None
    """Of the PostgreSQL that nodes share; None: there is one process only."""

    @asynccontextmanager
    async def open(self, node: str = "n1", parallel: int = 200, limit: int = 10_000) -> AsyncIterator[Queue]:
        """A queue that is stopped in the end."""
        async with asyncio.TaskGroup() as tasks:
            queue: Queue = LocalQueue(self.store, tasks, node, parallel=parallel, limit=limit)
            if self.url is not None:
                queue = ProcrastinateQueue(
                    self.url, queue, tasks, node, lease_s=LEASE_S, parallel=parallel, limit=limit
                )
            yield queue
            await queue.stop(0)


@pytest_asyncio.fixture
async def cluster_place(data_dir: Path, postgres_url: str) -> AsyncIterator[Place]:
    """Nodes that share a PostgreSQL."""
    store = await open_store(StoreOptions(url=postgres_url, head_dir=data_dir))
    yield Place(store, postgres_url)
    await store.close()


@pytest_asyncio.fixture
async def local_place(data_dir: Path) -> AsyncIterator[Place]:
    """One process."""
    store = await open_store(StoreOptions(url=f"sqlite:///{data_dir}/llmcore.db"))
    yield Place(store, None)
    await store.close()


@pytest.fixture(params=["local", pytest.param("cluster", marks=pytest.mark.needs_postgres)])
def place(request: pytest.FixtureRequest) -> Place:
    """Every implementation."""
    found = request.getfixturevalue(f"{request.param}_place")
    assert isinstance(found, Place)
    return found


@pytest.mark.asyncio
async def test_unfinished_segments_are_handed_out_at_start(place: Place) -> None:
    """Oldest first, with the segment they were in; what is not running is left alone."""
    await place.store.run_put(run("r1", segment=3))
    await place.store.run_put(run("r2", status=PlanStatus.WAITING))
    await place.store.run_put(run("r3"))
    work = Work()
    async with place.open() as queue:
        await queue.start(work.handle)
        await queue.enqueue("r4", 1)
        await work.until(lambda: len(work.began) == 3)
        assert work.began == [("r1", 3), ("r3", 1), ("r4", 1)]
        assert queue.depth == 3
        work.let_go.set()
        await work.until(lambda: len(work.ended) == 3)
        await queue.stop(5)
        assert queue.depth == 0


@pytest.mark.asyncio
async def test_nothing_is_taken_before_start_and_after_stop(place: Place) -> None:
    """The caller is told to come back."""
    async with place.open() as queue:
        with pytest.raises(Unavailable):
            await queue.enqueue("r1", 1)
        await queue.start(Work().handle)
        await queue.stop(0)
        with pytest.raises(Unavailable):
            await queue.enqueue("r1", 1)


@pytest.mark.asyncio
async def test_segment_is_not_doubled_and_segments_of_a_run_follow_each_other(place: Place) -> None:
    """The next one may be enqueued while the one before is still ending."""
    work = Work()
    async with place.open() as queue:
        await queue.start(work.handle)
        for segment in (1, 1, 2):
            await queue.enqueue("r1", segment)
        await queue.enqueue("r2", 1)
        await work.until(lambda: len(work.began) == 2)
        assert work.began == [("r1", 1), ("r2", 1)]
        work.let_go.set()
        await work.until(lambda: len(work.ended) == 3)
        assert work.began[-1] == ("r1", 2)


@pytest.mark.asyncio
async def test_only_so_many_run_and_wait(place: Place) -> None:
    """More are refused, not remembered without end."""
    work = Work()
    async with place.open(parallel=2, limit=3) as queue:
        await queue.start(work.handle)
        for name in ("r1", "r2", "r3"):
            await queue.enqueue(name, 1)
        with pytest.raises(Unavailable, match="Too many"):
            await queue.enqueue("r4", 1)
        await work.until(lambda: len(work.began) == 2)
        work.let_go.set()
        await work.until(lambda: len(work.ended) == 3)


@pytest.mark.asyncio
async def test_cancel_interrupts_the_segment_of_a_run(place: Place) -> None:
    """Only that run's; False where nothing runs here."""
    work = Work()
    async with place.open() as queue:
        await queue.start(work.handle)
        await queue.enqueue("r1", 1)
        await queue.enqueue("r2", 1)
        await work.until(lambda: len(work.began) == 2)
        assert await queue.cancel("r1")
        await work.until(lambda: work.ended == [("r1", 1, "cancelled")])
        assert not await queue.cancel("r9")
        work.let_go.set()
        await work.until(lambda: ("r2", 1, "done") in work.ended)


@pytest.mark.asyncio
async def test_cancel_drops_a_segment_that_waits(place: Place) -> None:
    """Its handler is never called, so the caller has to note the end: False."""
    work = Work()
    async with place.open(parallel=1) as queue:
        await queue.start(work.handle)
        await queue.enqueue("r1", 1)
        await work.until(lambda: len(work.began) == 1)
        await queue.enqueue("r2", 1)
        assert not await queue.cancel("r2")
        work.let_go.set()
        await work.until(lambda: len(work.ended) == 1)
    assert work.began == [("r1", 1)]


@pytest.mark.asyncio
async def test_stop_lets_segments_end_in_time_and_interrupts_the_others(place: Place) -> None:
    """What waited is not begun; all of it is still running in the store."""
    work = Work()

    async def handle(run_id: str, segment: int) -> None:
        await (work.handle(run_id, segment) if run_id == "slow" else work.until(lambda: len(work.began) == 1))

    async with place.open(parallel=2) as queue:
        await queue.start(handle)
        for name in ("quick", "slow", "waits"):
            await queue.enqueue(name, 1)
        await work.until(lambda: len(work.began) == 1)
        await queue.stop(0)
        assert queue.depth == 0
    assert work.ended == [("slow", 1, "cancelled")]


@pytest.mark.asyncio
async def test_stop_waits_for_what_ends_by_itself(place: Place) -> None:
    """Nothing is interrupted that keeps within the grace."""
    work = Work()
    async with place.open() as queue:
        await queue.start(work.handle)
        await queue.enqueue("r1", 1)
        await work.until(lambda: len(work.began) == 1)
        asyncio.get_running_loop().call_soon(work.let_go.set)
        await queue.stop(30)
    assert work.ended == [("r1", 1, "done")]


@pytest.mark.asyncio
async def test_segment_whose_store_was_away_runs_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses grow and repeat; between two tries nothing runs that could be interrupted."""
    monkeypatch.setattr("llmcore.adapters.local.RETRY_S", (0.0, 0.001))
    tries: list[str] = []
    done = asyncio.Event()

    async def handle(run_id: str, segment: int) -> None:
        tries.append(run_id)
        if len(tries) < 5:
            raise Unavailable("The store is away.")
        done.set()

    async with place.open() as queue:
        await queue.start(handle)
        await queue.enqueue("r1", 1)
        await done.wait()
    assert tries == ["r1"] * 5


@pytest.mark.asyncio
@pytest.mark.logs_errors("segment gave up")
async def test_segment_that_fails_for_good_harms_no_other(place: Place) -> None:
    """It is logged and not tried again."""
    tries: list[str] = []
    done = asyncio.Event()

    async def handle(run_id: str, segment: int) -> None:
        tries.append(run_id)
        if run_id == "bad":
            raise NotFound("There is no such thing.")
        done.set()

    async with place.open() as queue:
        await queue.start(handle)
        await queue.enqueue("bad", 1)
        await queue.enqueue("good", 1)
        await done.wait()
    assert tries == ["bad", "good"]


# --- several nodes ---


async def asked(url: str, run_id: str, queue: str, later_s: int = 0) -> procrastinate.App:
    """A job that waits in a queue, put there by the library's own means."""
    app = procrastinate.App(
        connector=procrastinate.PsycopgConnector(conninfo=url, kwargs={"options": f"-c search_path={cluster.SCHEMA}"})
    )
    await app.open_async()
    task = app.configure_task(cluster.TASK, queue=queue, queueing_lock=f"{run_id}.1", schedule_in={"seconds": later_s})
    await task.defer_async(run_id=run_id, segment=1)
    return app


@contextmanager
def locked_out(url: str) -> Iterator[None]:
    """The database takes no connections, and has thrown out those that it had."""
    name = urlsplit(url).path.removeprefix("/")
    with psycopg.connect(url.replace(name, "postgres"), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())


async def health(queue: Queue, *, wanted: bool) -> None:
    """Wait until the queue is well, or not."""
    async with asyncio.timeout(30):
        while queue.healthy is not wanted:  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(0.02)


@pytest.mark.asyncio
async def test_nodes_that_start_at_the_same_time_make_the_tables_once(cluster_place: Place) -> None:
    """They wait for each other."""
    assert cluster_place.url
    await asyncio.gather(*(cluster.make_tables(cluster_place.url) for _ in range(5)))


@pytest.mark.asyncio
async def test_a_node_works_what_it_was_asked_for(cluster_place: Place) -> None:
    """As long as it can: its clients see the events of their runs."""
    one, two = Work(), Work()
    one.let_go.set()
    two.let_go.set()
    async with cluster_place.open("n1") as first, cluster_place.open("n2") as second:
        await first.start(one.handle)
        await second.start(two.handle)
        for number in range(6):
            await (first if number % 2 else second).enqueue(f"r{number}", 1)
        await one.until(lambda: len(one.ended) == 3)
        await two.until(lambda: len(two.ended) == 3)
    assert {name for name, _ in one.began} == {"r1", "r3", "r5"}


@pytest.mark.asyncio
async def test_what_a_node_leaves_is_worked_by_another(cluster_place: Place) -> None:
    """What ran is interrupted and handed over, what waited too."""
    one, two = Work(), Work()
    two.let_go.set()
    async with cluster_place.open("n2") as second:
        await second.start(two.handle)
        async with cluster_place.open("n1", parallel=1) as first:
            await first.start(one.handle)
            await first.enqueue("r1", 1)
            await one.until(lambda: len(one.began) == 1)
            await first.enqueue("r2", 1)
            await first.stop(0)
        assert one.ended == [("r1", 1, "cancelled")]
        await two.until(lambda: len(two.ended) == 2)
    assert set(two.began) == {("r1", 1), ("r2", 1)}


@pytest.mark.asyncio
async def test_what_wants_another_try_when_the_node_stops_goes_to_another(cluster_place: Place) -> None:
    """Its handler has ended between two steps."""
    began, leave, two = asyncio.Event(), asyncio.Event(), Work()
    two.let_go.set()

    async def leaves(run_id: str, segment: int) -> None:
        began.set()
        await leave.wait()
        raise Unavailable("This node stops.")

    async with cluster_place.open("n2") as second:
        async with cluster_place.open("n1") as first:
            await first.start(leaves)
            await first.enqueue("r1", 1)
            await began.wait()
            await second.start(two.handle)  # only now: it would take what waits for a slow node
            asyncio.get_running_loop().call_soon(leave.set)
            await first.stop(30)
        await two.until(lambda: two.ended == [("r1", 1, "done")])


@pytest.mark.asyncio
async def test_jobs_of_a_dead_node_are_taken_over(cluster_place: Place) -> None:
    """One that it had claimed and one that waited for it; one that was asked for again meanwhile is forgotten."""
    assert cluster_place.url
    await cluster.make_tables(cluster_place.url)
    apps = [await asked(cluster_place.url, name, "n9") for name in ("claimed", "again")]
    manager = apps[0].job_manager
    for _ in apps:
        assert await manager.fetch_job(["n9"], await manager.register_worker())
    apps.append(await asked(cluster_place.url, "again", cluster.SHARED, later_s=3600))
    apps.append(await asked(cluster_place.url, "waits", "n9"))
    work = Work()
    work.let_go.set()
    async with cluster_place.open("n1") as queue:
        await queue.start(work.handle)
        await work.until(lambda: len(work.ended) == 2)
    assert {name for name, _ in work.began} == {"claimed", "waits"}
    left = list(await manager.list_jobs_async())
    assert [(job.task_kwargs["run_id"], job.status) for job in left] == [("again", "todo")]
    for app in apps:
        await app.close_async()


@pytest.mark.asyncio
async def test_a_segment_that_waits_at_another_node_is_asked_for_once(cluster_place: Place) -> None:
    """Whoever asks."""
    assert cluster_place.url
    await cluster.make_tables(cluster_place.url)
    app = await asked(cluster_place.url, "r1", "n9")
    work = Work()
    work.let_go.set()
    async with cluster_place.open("n1") as queue:
        await queue.start(work.handle)
        await queue.enqueue("r1", 1)
        assert queue.depth == 0
        await work.until(lambda: len(work.ended) == 1)
    await app.close_async()
    assert work.began == [("r1", 1)]


@pytest.mark.asyncio
async def test_a_database_that_was_away_costs_no_segment(cluster_place: Place) -> None:
    """What runs goes on; new work is refused at once and taken again as soon as the database is back."""
    assert cluster_place.url
    work = Work()
    async with cluster_place.open("n1") as queue:
        await queue.start(work.handle)
        await health(queue, wanted=True)
        await queue.enqueue("r1", 1)
        await work.until(lambda: len(work.began) == 1)
        with locked_out(cluster_place.url):
            with pytest.raises(Unavailable):
                await queue.enqueue("r2", 1)
            assert not await queue.cancel("r2")
            await health(queue, wanted=False)
        work.let_go.set()
        await work.until(lambda: work.ended == [("r1", 1, "done")])
        await health(queue, wanted=True)
        await queue.enqueue("r3", 1)
        await work.until(lambda: ("r3", 1, "done") in work.ended)
    assert ("r2", 1) not in work.began


@pytest.mark.asyncio
async def test_a_database_that_is_away_lets_no_node_start(cluster_place: Place) -> None:
    """It is said what is wrong; and a node may stop all the same."""
    assert cluster_place.url
    async with cluster_place.open("n1") as first, cluster_place.open("n2") as second:
        await first.start(Work().handle)
        with locked_out(cluster_place.url):
            with pytest.raises(Unavailable, match="PostgreSQL"):
                await second.start(Work().handle)
            await first.stop(0)


# --- time ---


def test_clock_is_the_machines() -> None:
    """Epoch seconds, and seconds that never go back."""
    clock = SystemClock()
    assert time.time() - 5 < clock.now() <= time.time()  # noqa: TID251 - what the clock is held against
    before = clock.monotonic()
    assert before <= clock.monotonic() <= time.monotonic()
