"""What one process needs from outside: its clock, and a queue that runs segments as tasks.

Built in `app`. Knows nothing of what a segment does. The truth is the store: a run whose row says `running` is handed
out again after a crash, so that nothing else has to be kept.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from itertools import chain, repeat

from llmcore.errors import LLMCoreError, Unavailable
from llmcore.ports import SegmentHandler, Store

RETRY_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Pauses before a segment is tried again; the last one repeats."""
_log = logging.getLogger(__name__)


class SystemClock:
    """`llmcore.ports.Clock`: the time of this machine."""

    def now(self) -> float:
        """Epoch seconds, UTC."""
        return time.time()  # noqa: TID251 - the door that all others have to use

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


class _Segment:
    __slots__ = ("run_id", "segment", "task", "working")

    def __init__(self, run_id: str, segment: int) -> None:
        self.run_id = run_id
        self.segment = segment
        self.task: asyncio.Task[None]
        self.working = False


class LocalQueue:
    """`llmcore.ports.Queue` in one process: each segment is a task of the group that was handed in.

    The row of the run has to be in the store, with status `running`, before its segment is enqueued. Segments of one
    run never overlap. A handler that raises a retryable error (the store was away) is called again after a while, or
    after the `retry_after_s` of the error; one that is interrupted sees CancelledError.
    """

    healthy = True

    def __init__(
        self, store: Store, tasks: asyncio.TaskGroup, node: str = "", *, parallel: int = 200, limit: int = 10_000
    ) -> None:
        """`parallel` segments run at a time, `limit` may wait or run; `node` is who takes leases here."""
        self._store = store
        self._node = node
        self._tasks = tasks
        self._slots = asyncio.Semaphore(parallel)
        self._limit = limit
        self._handler: SegmentHandler | None = None
        self._segments: dict[tuple[str, int], _Segment] = {}
        self._stopping = False

    @property
    def depth(self) -> int:
        """Segments that wait or run here."""
        return len(self._segments)

    async def start(self, handler: SegmentHandler) -> None:
        """Begin to work; unfinished segments that no other node works are handed out first, oldest first."""
        for run in await self._store.runs_adrift(self._node):
            self._add(run.run_id, run.segment, handler)
        self._handler = handler

    async def enqueue(self, run_id: str, segment: int) -> None:
        """Have a segment run; one that waits or runs already is not doubled. Raises Unavailable."""
        if self._handler is None or self._stopping:
            raise Unavailable("The server is starting or stopping: try again in a moment.", component="queue")
        if len(self._segments) >= self._limit:
            raise Unavailable("Too many runs wait: try again in a moment.", component="queue")
        self._add(run_id, segment, self._handler)

    async def cancel(self, run_id: str) -> bool:
        """Interrupt the segment of a run. False if none is in its handler: one that waits is only dropped."""
        found = [segment for segment in self._segments.values() if segment.run_id == run_id]
        for segment in found:
            segment.task.cancel()
        return any(segment.working for segment in found)

    async def stop(self, grace_s: float) -> None:
        """Take no more work, let running segments end for `grace_s`, then interrupt them and wait for their end.

        What is interrupted or only waits stays `running` in the store and goes on after the next start.
        """
        self._stopping = True
        working = [segment.task for segment in self._segments.values() if segment.working]
        for segment in self._segments.values():
            if not segment.working:
                segment.task.cancel()
        if working:
            _, late = await asyncio.wait(working, timeout=grace_s)
            for task in late:
                task.cancel()
        await asyncio.gather(*(segment.task for segment in self._segments.values()), return_exceptions=True)

    def _add(self, run_id: str, number: int, handler: SegmentHandler) -> None:
        key = (run_id, number)
        if key not in self._segments:
            before = [earlier.task for earlier in self._segments.values() if earlier.run_id == run_id]
            segment = self._segments[key] = _Segment(run_id, number)
            segment.task = self._tasks.create_task(self._work(segment, before, handler), name=f"run {run_id}.{number}")
            segment.task.add_done_callback(lambda _: self._segments.pop(key))

    async def _work(self, segment: _Segment, before: list[asyncio.Task[None]], handler: SegmentHandler) -> None:
        if before:
            await asyncio.wait(before)
        pauses = chain(RETRY_S, repeat(RETRY_S[-1]))
        again_s: float | None = 0.0
        while again_s is not None and not self._stopping:
            await asyncio.sleep(again_s)
            async with self._slots:
                again_s = await self._try(segment, handler, pauses)

    async def _try(self, segment: _Segment, handler: SegmentHandler, pauses: Iterator[float]) -> float | None:
        """Call the handler once; seconds after which that has to be done again, None if not."""
        facts = {"run": segment.run_id, "segment": segment.segment}
        segment.working = True
        try:
            await handler(segment.run_id, segment.segment)
        except LLMCoreError as error:
            if not error.retryable:
                _log.exception("segment gave up", extra={"action": "segment_failed", **facts})
                return None
            _log.warning("segment is tried again: %s", error, extra={"action": "segment_retry", **facts})
            return float(error.details.get("retry_after_s") or next(pauses))
        finally:
            segment.working = False
        return None
