"""What the port `Queue` promises, and the clock of the machine."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from llmcore.adapters.local import LocalQueue, SystemClock
from llmcore.adapters.sql import SqlStore
from llmcore.errors import NotFound, Unavailable
from llmcore.plan import PlanStatus, Principal
from llmcore.ports import Run


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


@asynccontextmanager
async def local(store: SqlStore, **limits: int) -> AsyncIterator[LocalQueue]:
    """A queue of tasks in this process."""
    async with asyncio.TaskGroup() as tasks:
        queue = LocalQueue(store, tasks, **limits)
        yield queue
        await queue.stop(0)


@pytest.mark.asyncio
async def test_unfinished_segments_are_handed_out_at_start(store: SqlStore) -> None:
    """Oldest first, with the segment they were in; what is not running is left alone."""
    await store.run_put(run("r1", segment=3))
    await store.run_put(run("r2", status=PlanStatus.WAITING))
    await store.run_put(run("r3"))
    work = Work()
    async with local(store) as queue:
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
async def test_nothing_is_taken_before_start_and_after_stop(store: SqlStore) -> None:
    """The caller is told to come back."""
    async with local(store) as queue:
        with pytest.raises(Unavailable):
            await queue.enqueue("r1", 1)
        await queue.start(Work().handle)
        await queue.stop(0)
        with pytest.raises(Unavailable):
            await queue.enqueue("r1", 1)


@pytest.mark.asyncio
async def test_segment_is_not_doubled_and_segments_of_a_run_follow_each_other(store: SqlStore) -> None:
    """The next one may be enqueued while the one before is still ending."""
    work = Work()
    async with local(store) as queue:
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
async def test_only_so_many_run_and_wait(store: SqlStore) -> None:
    """More are refused, not remembered without end."""
    work = Work()
    async with local(store, parallel=2, limit=3) as queue:
        await queue.start(work.handle)
        for name in ("r1", "r2", "r3"):
            await queue.enqueue(name, 1)
        with pytest.raises(Unavailable, match="Too many"):
            await queue.enqueue("r4", 1)
        await work.until(lambda: len(work.began) == 2)
        work.let_go.set()
        await work.until(lambda: len(work.ended) == 3)


@pytest.mark.asyncio
async def test_cancel_interrupts_the_segment_of_a_run(store: SqlStore) -> None:
    """Only that run's; False where nothing runs here."""
    work = Work()
    async with local(store) as queue:
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
async def test_cancel_drops_a_segment_that_waits(store: SqlStore) -> None:
    """Its handler is never called, so the caller has to note the end: False."""
    work = Work()
    async with local(store, parallel=1) as queue:
        await queue.start(work.handle)
        await queue.enqueue("r1", 1)
        await work.until(lambda: len(work.began) == 1)
        await queue.enqueue("r2", 1)
        assert not await queue.cancel("r2")
        work.let_go.set()
        await work.until(lambda: len(work.ended) == 1)
    assert work.began == [("r1", 1)]


@pytest.mark.asyncio
async def test_stop_lets_segments_end_in_time_and_interrupts_the_others(store: SqlStore) -> None:
    """What waited is not begun; all of it is still running in the store."""
    work = Work()

    async def handle(run_id: str, segment: int) -> None:
        await (work.handle(run_id, segment) if run_id == "slow" else work.until(lambda: len(work.began) == 1))

    async with local(store, parallel=2) as queue:
        await queue.start(handle)
        for name in ("quick", "slow", "waits"):
            await queue.enqueue(name, 1)
        await work.until(lambda: len(work.began) == 1)
        await queue.stop(0)
        assert queue.depth == 0
    assert work.ended == [("slow", 1, "cancelled")]


@pytest.mark.asyncio
async def test_stop_waits_for_what_ends_by_itself(store: SqlStore) -> None:
    """Nothing is interrupted that keeps within the grace."""
    work = Work()
    async with local(store) as queue:
        await queue.start(work.handle)
        await queue.enqueue("r1", 1)
        await work.until(lambda: len(work.began) == 1)
        asyncio.get_running_loop().call_soon(work.let_go.set)
        await queue.stop(30)
    assert work.ended == [("r1", 1, "done")]


@pytest.mark.asyncio
async def test_segment_whose_store_was_away_runs_again(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses grow and repeat; between two tries nothing runs that could be interrupted."""
    monkeypatch.setattr("llmcore.adapters.local.RETRY_S", (0.0, 0.001))
    tries: list[str] = []
    done = asyncio.Event()

    async def handle(run_id: str, segment: int) -> None:
        tries.append(run_id)
        if len(tries) < 5:
            raise Unavailable("The store is away.")
        done.set()

    async with local(store) as queue:
        await queue.start(handle)
        await queue.enqueue("r1", 1)
        await done.wait()
    assert tries == ["r1"] * 5


@pytest.mark.asyncio
@pytest.mark.logs_errors("segment gave up")
async def test_segment_that_fails_for_good_harms_no_other(store: SqlStore) -> None:
    """It is logged and not tried again."""
    tries: list[str] = []
    done = asyncio.Event()

    async def handle(run_id: str, segment: int) -> None:
        tries.append(run_id)
        if run_id == "bad":
            raise NotFound("There is no such thing.")
        done.set()

    async with local(store) as queue:
        await queue.start(handle)
        await queue.enqueue("bad", 1)
        await queue.enqueue("good", 1)
        await done.wait()
    assert tries == ["bad", "good"]


def test_clock_is_the_machines() -> None:
    """Epoch seconds, and seconds that never go back."""
    clock = SystemClock()
    assert time.time() - 5 < clock.now() <= time.time()  # noqa: TID251 - what the clock is held against
    before = clock.monotonic()
    assert before <= clock.monotonic() <= time.monotonic()
