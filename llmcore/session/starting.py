"""Has decided plans run, ends those that never will, and takes up what nobody works.

Held by `Session`, which takes the decisions.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from uuid import uuid4

from llmcore.approval import Tampered
from llmcore.errors import Conflict, Expired, LLMCoreError, NotFound
from llmcore.plan import TERMINAL, Plan, PlanStatus
from llmcore.ports import Queue, Run, rfc3339
from llmcore.session.orders import Standing
from llmcore.session.segments import Segments
from llmcore.session.turn import Turn
from llmcore.session.worker import Worker, stopped_plan
from llmcore.streams import Topics

_ALL = 1_000_000


class Starter:
    """The way of plans and runs into the queue of one node."""

    def __init__(
        self, segments: Segments, topics: Topics, queue: Queue, worker: Worker, orders: Standing, node: str
    ) -> None:
        """Nothing has been looked at yet."""
        self._do = segments
        self._topics = topics
        self._queue = queue
        self._worker = worker
        self._orders = orders
        self._node = node
        self._starting: set[str] = set()
        """Plans that are being begun at this moment."""
        self._forged: set[str] = set()
        """Decided plans that somebody changed from outside: told once, and left alone."""
        self._seen: set[str] = set()
        """Plans and runs that nobody had taken up at the last look."""

    def run_of(self, plan: Plan) -> Run:
        """The first run of a plan, as it is stored when it begins."""
        return Run(
            run_id=plan.run_id or f"rn_{uuid4().hex}",
            conversation_id=plan.conversation_id,
            topic=plan.topic,
            owner=plan.requester,
            status=PlanStatus.RUNNING,
            created_at=rfc3339(self._do.clock.now()),
            plan_id=plan.plan_id,
        )

    def show(self, plan: Plan) -> None:
        """Tell the viewers of a plan how it is now."""
        self._topics.publish(plan.topic, Turn(self.run_of(plan), planned=plan).snapshot(), plan.run_id)

    @contextmanager
    def beginning(self, plan_id: str) -> Iterator[None]:
        """While a person's decision begins a plan, `recover` leaves it alone."""
        self._starting.add(plan_id)
        try:
            yield
        finally:
            self._starting.discard(plan_id)

    async def start(self, plan: Plan) -> Plan:
        """Have a decided plan run, or go on; the store says so before this returns.

        Raises Conflict where somebody else has changed the plan, or everything is held.
        """
        self._orders.check()
        earlier = await self._do.store.run_get(plan.run_id) if plan.run_id else None
        segment = earlier.segment + 1 if earlier else 1
        run = replace(earlier or self.run_of(plan), status=PlanStatus.RUNNING, segment=segment, plan_id=plan.plan_id)
        started = replace(plan, run_id=run.run_id)
        if started.status is PlanStatus.PROPOSED:
            started = started.moved(PlanStatus.RUNNING)
        started = self._do.proposer.approvals.sealed(started)
        if not await self._do.store.plan_swap(started, plan):
            raise Conflict("The plan was changed by somebody else at this moment.", plan_id=plan.plan_id)
        await self._do.store.run_put(run)
        await self.enqueue(run)
        return started

    async def end(self, plan: Plan, words: str) -> None:
        """A waiting plan came to its end without running: tell its viewers and store the run so."""
        run = await self._do.store.run_get(plan.run_id) if plan.run_id else None
        turn = Turn(run or self.run_of(plan), planned=plan, text=words)
        await self._topics.open(plan.topic, plan.conversation_id, plan.requester)
        self._topics.publish(plan.topic, turn.snapshot(), plan.run_id)
        if run is not None:
            await self._do.store.run_put(turn.ended(plan.status))
            with suppress(NotFound):  # the conversation may have been deleted meanwhile
                await self._do.understanding.conversations.say(
                    run.conversation_id, "assistant", words, run.run_id, {"plan_id": plan.plan_id}
                )

    async def cancel_resting(self, run: Run, words: str) -> Run:
        """Stop a run that nobody works: it waits for people, or for its turn."""
        if run.status in TERMINAL:
            return run
        plan = await self._do.store.plan_get(run.plan_id) if run.plan_id else None
        cancelled: Plan | None = None
        if plan is not None and plan.status not in TERMINAL:
            cancelled = stopped_plan(plan, await self._do.store.attempt_list(run.run_id))
            if not await self._do.store.plan_swap(cancelled, plan):
                raise Conflict("The plan was decided at this moment.", plan_id=plan.plan_id)
            await self.end(cancelled, words)
        stopped = replace(run, status=cancelled.status if cancelled else PlanStatus.CANCELLED)
        await self._do.store.run_put(stopped)
        if run.status is PlanStatus.RUNNING:  # it waited for its turn: nobody else tells its end
            await self._topics.open(run.topic, run.conversation_id, run.owner)
            self._topics.publish(run.topic, Turn(stopped, text="Stopped.").finished(PlanStatus.CANCELLED), run.run_id)
        return stopped

    async def recover(self, patient: bool = False) -> None:
        """Start plans that were decided but not begun when a process ended, or the store went away just then.

        The queue has the runs that had begun; those that have fallen out of it go back in. What somebody decides or
        begins at this moment is left to them: a `patient` look takes up only what the last look has found too.
        """
        found: dict[str, Plan | Run] = {}
        for plan in await self._do.store.plan_list(statuses=[PlanStatus.APPROVED, PlanStatus.RUNNING], limit=_ALL):
            if plan.plan_id not in self._starting and await self._is_left(plan):
                found[plan.plan_id] = plan
        for run in await self._do.store.runs_adrift(self._node) if patient else ():
            if run.run_id not in self._worker.working:
                found[run.run_id] = run
        due = [left for name, left in found.items() if not patient or name in self._seen]
        self._seen = set(found)
        for left in due:
            await (self._take_up(left) if isinstance(left, Plan) else self.enqueue(left))

    async def _is_left(self, plan: Plan) -> bool:
        earlier = await self._do.store.run_get(plan.run_id) if plan.run_id else None
        return earlier is None or earlier.status is not PlanStatus.RUNNING

    async def _take_up(self, plan: Plan) -> None:
        """Start what was decided in an earlier life, unless it is too late for that or somebody changed it."""
        if plan.plan_id in self._forged:
            return
        try:
            await self._do.proposer.approvals.check(plan)
        except Tampered:  # it is in the trail; nothing that it says is believed, not even whose it is
            self._forged.add(plan.plan_id)
            return
        except Expired as late:
            await self.end(plan.moved(PlanStatus.EXPIRED), late.message)
            return
        with suppress(Conflict):
            await self.start(plan)

    async def enqueue(self, run: Run) -> None:
        """Have the segment of a stored run worked."""
        self._worker.expect(run)
        try:
            await self._queue.enqueue(run.run_id, run.segment)
        except LLMCoreError:
            self._worker.forget(run.run_id)
            raise
