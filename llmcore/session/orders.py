"""Orders to all nodes: a person stops everything, or cancels a run that another node works.

Held by `Session`. Each node looks at the orders twice a second; that no step begins after an order is the store's
business, which checks it where the step is journaled.
"""

from contextlib import suppress

from llmcore import events
from llmcore.audit import Audit
from llmcore.errors import Conflict, LLMCoreError
from llmcore.executor import Stopped
from llmcore.plan import PlanStatus, Principal
from llmcore.ports import Clock, Orders, Queue, StopOrder, Store, rfc3339
from llmcore.session.turn import Turn
from llmcore.session.worker import Worker
from llmcore.streams import Topics

_WARNING = 3


class Standing:
    """The orders as this node knows them."""

    def __init__(self, store: Store, worker: Worker, queue: Queue, topics: Topics, audit: Audit, clock: Clock) -> None:
        """Nothing is known before the first look."""
        self._store = store
        self._worker = worker
        self._queue = queue
        self._topics = topics
        self._audit = audit
        self._clock = clock
        self._told: tuple[int, bool] | None = None
        """Number of the newest order that was told here, and whether it holds."""
        self.hold: StopOrder | None = None
        """The order under which nothing new may begin, if there is one."""

    async def stop_all(self, principal: Principal, reason: str, hold: bool) -> StopOrder:
        """Have all running runs of all nodes stop between their steps; with `hold` nothing new begins either."""
        facts = {"reason": reason, "hold": hold}
        await self._audit.record("stop_all", principal, **facts)
        order = await self._store.order_stop(principal.name, rfc3339(self._clock.now()), reason, hold)
        await self.look()
        return order

    async def release(self, principal: Principal) -> bool:
        """Let things begin again; False if nothing was held."""
        await self._audit.record("stop_all.release", principal)
        released = await self._store.order_release()
        await self.look()
        return released

    def check(self) -> None:
        """Raise Conflict while nothing new may begin."""
        if self.hold is not None:
            reason = f" ({self.hold.reason})" if self.hold.reason else ""
            raise Conflict(
                f"{self.hold.by} has stopped everything{reason}: nothing begins until `llmcore stop-all --release`.",
                held_by=self.hold.by,
                held_at=self.hold.at,
            )

    async def look(self) -> None:
        """Do what has been ordered since the last look; raises Unavailable."""
        orders = await self._store.orders()
        self._tell(orders.stop)
        for run_id, (turn, hold) in list(self._worker.working.items()):
            named = orders.stop is not None and turn.segment_id in orders.stop.segments
            if named and _is_between_steps(turn):
                hold.interrupt(Stopped("All runs were ordered to stop.", run_id=run_id))
        await self._cancel(orders)

    async def _cancel(self, orders: Orders) -> None:
        for run_id in orders.cancelled:
            if run_id in self._worker.working:
                self._worker.cancelling.add(run_id)
                await self._queue.cancel(run_id)
                continue
            run = await self._store.run_get(run_id)
            if run is None or run.status is not PlanStatus.RUNNING:
                with suppress(LLMCoreError):
                    await self._store.order_cancelled(run_id)

    def _tell(self, stop: StopOrder | None) -> None:
        """Tell everybody who is connected here of an order that is new."""
        self.hold = stop if stop is not None and stop.hold else None
        now = (stop.number, stop.hold) if stop is not None else (0, False)
        if self._told is not None and now != self._told and stop is not None:
            self._topics.broadcast("/notification", self._notice(stop, is_new=now[0] != self._told[0]))
        self._told = now

    def _notice(self, stop: StopOrder, *, is_new: bool) -> dict[str, object]:
        reason = f": {stop.reason}" if stop.reason else "."
        words = f"{stop.by} has stopped all runs{reason}" if is_new else "Things may begin again."
        if is_new and stop.hold:
            words = f"{words} Nothing new begins until it is released."
        facts = {"by": stop.by, "at": stop.at, "hold": stop.hold}
        return events.notification(words, _WARNING, int(self._clock.now() * 1000), facts)


def _is_between_steps(turn: Turn) -> bool:
    """True for a segment that has no plan to carry out yet; one that has is stopped where its next step would begin."""
    return turn.planned is None or turn.planned.status is PlanStatus.PROPOSED
