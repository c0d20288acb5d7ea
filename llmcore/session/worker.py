"""Works the segments of runs: publishes their events and ends each of them, whatever happens inside.

Held by `Session`; `work` is what the queue calls. This is the turn boundary, the one place that catches everything.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, cast

from llmcore import events
from llmcore.approval import Tampered
from llmcore.errors import Expired, LLMCoreError, NotFound, Unavailable
from llmcore.executor import INLINE, Fenced, Leaving, Stopped, as_journaled, refused_json
from llmcore.plan import TERMINAL, Plan, PlanStatus, Principal, StepState, plan_json
from llmcore.ports import Attempt, Run, StopOrder
from llmcore.session.keeping import Hold, Keeper
from llmcore.session.prose import Abandoned
from llmcore.session.segments import Segments
from llmcore.session.turn import Turn
from llmcore.streams import Topics

log = logging.getLogger(__name__)

LOOK_S = 0.25
"""Pause between two looks at a run that another node may be working."""
_ENDED_BADLY = frozenset({PlanStatus.FAILED, PlanStatus.UNDONE, PlanStatus.NEEDS_HUMAN})


class Worker:
    """All segments that run in this process."""

    def __init__(self, segments: Segments, topics: Topics, keeper: Keeper) -> None:
        """Nothing runs yet."""
        self._do = segments
        self._topics = topics
        self._keeper = keeper
        self.working: dict[str, tuple[Turn, Hold]] = {}
        """The segments that are being worked, by run."""
        self.ended: dict[str, asyncio.Event] = {}
        """Run -> set once its running segment has ended."""
        self.cancelling: set[str] = set()
        """Runs that a person is stopping."""
        self.begun: dict[str, Run] = {}
        """Runs that were stored a moment ago, so that they need not be read back."""

    def expect(self, run: Run) -> None:
        """A segment of a stored run is about to be enqueued."""
        self.ended.setdefault(run.run_id, asyncio.Event())
        self.begun[run.run_id] = run

    def forget(self, run_id: str) -> None:
        """The segment has ended, or will never begin."""
        self.begun.pop(run_id, None)
        self.cancelling.discard(run_id)
        if (ended := self.ended.pop(run_id, None)) is not None:
            ended.set()

    async def settled(self, run_id: str) -> None:
        """Wait until no segment of a run is running, here or on another node."""
        while run_id:
            ended = self.ended.get(run_id)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S if ended else 0):
                    await (ended or asyncio.Event()).wait()
                    return
            run = await self._do.store.run_get(run_id) if run_id not in self.working else None
            if run_id not in self.working and (run is None or run.status is not PlanStatus.RUNNING):
                self.forget(run_id)
                return
            if ended is None:
                await asyncio.sleep(LOOK_S)

    async def work(self, run_id: str, segment: int) -> None:
        """Work one segment and publish its events; the turn boundary. Runs at least once, again after a crash.

        Raises Unavailable where the store is away or another node works the run: called again the segment goes on from
        its journal.
        """
        run = self.begun.pop(run_id, None) or await self._do.store.run_get(run_id)
        if _due(run, segment):
            async with self._keeper.held(run_id, segment) as hold:
                if hold.lease.token > 1:  # others have worked the run
                    run = await self._do.store.run_get(run_id)
                if run is not None and _due(run, segment):
                    self.ended.setdefault(run_id, asyncio.Event())
                    await self._work(Turn(run, lease=hold.lease), hold)
        self.forget(run_id)

    async def _work(self, turn: Turn, hold: Hold) -> None:
        run_id = turn.run.run_id
        self.working[run_id] = (turn, hold)
        try:
            await self._guarded(turn, hold)
        except Fenced as lost:
            log.warning("a segment was left to another node: %s", lost, extra={"action": "fenced", "run": run_id})
        finally:
            del self.working[run_id]

    async def _guarded(self, turn: Turn, hold: Hold) -> None:
        """The segment, and its end whatever happens; raises Fenced if neither is for this node to tell."""
        run_id = turn.run.run_id
        try:
            async with hold.guarded():
                await self._take_up(turn)
                await self._segment(turn)
        except asyncio.CancelledError:
            if run_id not in self.cancelling:
                raise  # the process stops; the journal lets the next one go on
            await asyncio.shield(self._stopped_here(turn))
        except LLMCoreError as error:
            if is_store(error) or isinstance(error, Fenced | Leaving):
                raise
            await self._ended_by(turn, error)
        except Exception:
            log.exception("turn failed", extra={"action": "turn", "run": run_id})
            await self._failed(turn, LLMCoreError("Something went wrong inside; the log has it."), PlanStatus.FAILED)

    async def _ended_by(self, turn: Turn, error: LLMCoreError) -> None:
        """Tell the end that an error makes of a segment."""
        if isinstance(error, Stopped):
            await self._stopped(turn, order_text((await self._do.store.orders()).stop))
        elif isinstance(error, Abandoned):
            await self._failed(turn, error, PlanStatus.CANCELLED)
        elif isinstance(error, Expired) and turn.planned is not None:
            await self._failed(turn, error, PlanStatus.EXPIRED)
        else:
            await self._failed(turn, error, PlanStatus.FAILED)

    async def _take_up(self, turn: Turn) -> None:
        """The plan, with what an earlier life of the process has done of it; raises Tampered or Expired."""
        run = turn.run
        await self._topics.open(run.topic, run.conversation_id, run.owner)
        plan = await self._do.store.plan_get(run.plan_id) if run.plan_id else None
        if plan is None:
            return
        turn.planned = turn.stored = plan
        if plan.status in (PlanStatus.APPROVED, PlanStatus.RUNNING):
            try:
                await self._do.proposer.approvals.begin(plan)
            except (Tampered, Expired):
                self._publish(turn, turn.started())
                raise
        for vote in plan.approval.given if plan.approval else ():
            self._topics.join(run.topic, Principal(name=vote.by))
        turn.results = (await self._do.executor.journaled(plan, run.run_id)).results

    async def _segment(self, turn: Turn) -> None:
        self._publish(turn, turn.started())
        if turn.run.run_id in self.cancelling:  # it was stopped while the store was away
            raise asyncio.CancelledError
        async with aclosing(cast(AsyncGenerator[events.Event, None], self._do.course(turn))) as course:
            async for event in course:
                self._publish(turn, event)
        status = turn.planned.status if turn.planned else PlanStatus.DONE
        await self._show_elsewhere(turn)
        if status in _ENDED_BADLY:
            raise _StepFailed(turn)
        await self._check_lease(turn)
        await self._close(turn, status)
        self._publish(turn, turn.finished(status))

    async def _show_elsewhere(self, turn: Turn) -> None:
        """Another plan was changed by this turn: those who watch it see it as it is now."""
        other = turn.elsewhere
        if other is None:
            return
        if other.topic != turn.run.topic:
            await self._topics.open(other.topic, other.conversation_id, other.requester)
        self._topics.publish(other.topic, events.activity(events.Activity.PLAN, other.plan_id, plan_json(other)), None)

    async def _stopped_here(self, turn: Turn) -> None:
        """A person stopped it; another node that has it by now is told by the same order."""
        with suppress(Fenced):
            await self._stopped(turn)

    async def _stopped(self, turn: Turn, words: str = "") -> None:
        """A person stopped it, or everything."""
        await self._check_lease(turn)
        if turn.speaking:
            self._publish(turn, events.text_end(turn.message_id))
        await self._move_plan(turn, PlanStatus.CANCELLED)
        left = turn.planned is not None and turn.planned.status is PlanStatus.NEEDS_HUMAN
        turn.text = f"{turn.text}\n\n{words}".strip() if words else turn.text or stopped_text(turn)
        await self._close(turn, PlanStatus.NEEDS_HUMAN if left else PlanStatus.CANCELLED)
        self._publish(turn, turn.finished(PlanStatus.CANCELLED))

    async def _failed(self, turn: Turn, error: LLMCoreError, status: PlanStatus) -> None:
        """It went wrong; what was said so far is kept and marked as incomplete."""
        await self._check_lease(turn)
        if turn.speaking:
            self._publish(turn, events.text_end(turn.message_id))
        if not turn.text:
            turn.text = error.message
        elif not isinstance(error, _StepFailed):
            turn.meta["incomplete"] = True
        await self._move_plan(turn, PlanStatus.FAILED)
        if turn.planned is not None and turn.planned.status in _ENDED_BADLY:
            status = turn.planned.status
        await self._close(turn, status, refused_json(error))
        if isinstance(error, Abandoned):
            self._publish(turn, turn.finished(PlanStatus.CANCELLED))
        else:
            self._publish(turn, events.run_error(error.message, error.code))

    async def _move_plan(self, turn: Turn, status: PlanStatus) -> None:
        plan = await self._do.store.plan_get(turn.planned.plan_id) if turn.planned else None
        if plan is None or plan.status in TERMINAL:
            if plan is not None and plan != turn.planned:
                turn.planned = turn.stored = plan
                self._publish(turn, turn.snapshot())
            return
        if status is PlanStatus.FAILED and plan.status in (PlanStatus.PROPOSED, PlanStatus.APPROVED):
            return
        attempts = await self._do.store.attempt_list(turn.run.run_id)
        stopped = status is PlanStatus.CANCELLED
        moved = stopped_plan(plan, attempts) if stopped else as_journaled(plan, attempts).moved(status)
        await self._do.store.plan_swap(moved, plan, turn.lease)
        turn.planned = turn.stored = moved
        self._publish(turn, turn.snapshot())

    async def _check_lease(self, turn: Turn) -> None:
        """Before the end of a segment is told: raise Fenced if that is for another node."""
        if turn.lease is not None and not await self._keeper.renewed(turn.lease):
            raise Fenced(turn.run.run_id)

    async def _close(self, turn: Turn, status: PlanStatus, error: Mapping[str, Any] | None = None) -> None:
        """Everything about the segment's end; the run last: once it has ended nobody comes back for the rest."""
        meta = {
            **turn.meta,
            "plan_id": turn.planned.plan_id if turn.planned else None,
            "answered_by": turn.answered_by,
            "results": turn.shown,
            "prose": turn.prose,
            **({"error": dict(error)} if error else {}),
        }
        kept = {key: value for key, value in meta.items() if value not in (None, [], False)}
        run = turn.ended(status, error)
        await asyncio.gather(
            self.tell(run, turn.text, kept),
            self._do.audit.record(
                "run.segment",
                run.owner,
                run_id=run.run_id,
                segment=run.segment,
                plan_id=run.plan_id,
                status=status.value,
                answered_by=turn.answered_by,
                error=error,
            ),
        )
        if not await self._do.store.run_put(run, turn.lease):
            raise Fenced(run.run_id)

    async def tell(self, run: Run, text: str, meta: Mapping[str, Any]) -> None:
        """Keep the reply in its conversation, unless that was deleted meanwhile; told again it takes its own place."""
        message_id = f"ms_{run.run_id}.{run.segment}"
        with suppress(NotFound):
            await self._do.understanding.conversations.say(
                run.conversation_id, "assistant", text, run.run_id, meta, message_id
            )

    def _publish(self, turn: Turn, event: events.Event) -> None:
        self._topics.publish(turn.run.topic, event, turn.run.run_id)


def stopped_plan(plan: Plan, attempts: Sequence[Attempt]) -> Plan:
    """A plan that was stopped on the way, with what had begun; one that was being taken back needs a person."""
    half_back = any(attempt.step_id.startswith(INLINE) for attempt in attempts)
    return as_journaled(plan, attempts).moved(PlanStatus.NEEDS_HUMAN if half_back else PlanStatus.CANCELLED)


def stopped_text(turn: Turn) -> str:
    """What is said of a run that a person stopped."""
    steps = turn.planned.steps if turn.planned else ()
    unsure = ", ".join(f"**{step.intent}**" for step in steps if step.state is StepState.UNKNOWN)
    return f"Stopped. Nobody can say whether {unsure} took effect: look before you go on." if unsure else "Stopped."


def order_text(order: StopOrder | None) -> str:
    """What is said of a run that an order to all nodes stopped."""
    by = f" by {order.by}" if order else ""
    reason = f" ({order.reason})" if order and order.reason else ""
    held = " Nothing begins until an admin lets it (`llmcore stop-all --release`)." if order and order.hold else ""
    return f"All runs were stopped{by}{reason}. What had not begun was left.{held}"


def _due(run: Run | None, segment: int) -> bool:
    """True if a segment of a run is still to be worked."""
    return run is not None and run.status is PlanStatus.RUNNING and run.segment == segment


def is_store(error: LLMCoreError) -> bool:
    """True if the store was away, so that nothing about this segment can be written now."""
    return isinstance(error, Unavailable) and error.details.get("component") == "store"


class _StepFailed(LLMCoreError):
    """A step failed; carries that step's own code."""

    def __init__(self, turn: Turn) -> None:
        failed = next(
            (result for result in turn.results.values() if result.state is StepState.FAILED and result.error), None
        )
        error = (failed.error if failed else None) or {"error": "internal", "message": "The plan failed."}
        intent = failed.intent if failed else "the plan"
        super().__init__(f"{intent} failed: {error['message']}", step_id=failed.step_id if failed else None)
        self.code = str(error["error"])  # type: ignore[misc]  # an instance tells the step's code
