"""Carries out plans as async generators of events: runs the steps, asks again, takes back, tells what came of it.

The lower half of the segments, which know how a turn comes to its plan. Yields neither the first nor the last event of
a segment.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from llmcore import events
from llmcore.audit import Audit
from llmcore.catalog import Catalog
from llmcore.errors import Forbidden, LLMCoreError
from llmcore.events import Activity, Event
from llmcore.executor import INLINE, Executor, StepBegan, StepEnded, StepEvent, StepHeld, StepProgress
from llmcore.plan import TERMINAL, Drift, OnError, Plan, PlanStatus, Step, StepResult, StepState, step_diff
from llmcore.ports import Clock, Store
from llmcore.session.proposal import Proposer
from llmcore.session.prose import results_request
from llmcore.session.recording import Recorder, model_of
from llmcore.session.reply import results_of, text_of
from llmcore.session.speaking import Speaker, say
from llmcore.session.trail import tell_plan
from llmcore.session.turn import Turn
from llmcore.session.undoing import changes, compensation, left_text, taken_back, wants_undo

_WITHOUT_MODEL = frozenset({"local", "cache", "template", "api"})
"""Plans that no model had a part in get no model's words either: they cost no tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrying:
    """Runs what was decided."""

    store: Store
    catalog: Catalog
    speaker: Speaker
    proposer: Proposer
    executor: Executor
    audit: Audit
    clock: Clock
    recorder: Recorder

    async def carry_out(self, turn: Turn) -> AsyncIterator[Event]:
        """An approved plan: run what is left of it."""
        turn.planned = replace(turn.plan.moved(PlanStatus.RUNNING), run_id=turn.run.run_id)
        await self._keep(turn)
        yield turn.snapshot()
        async for event in self._run(turn, None):
            yield event
        async for event in self._end(turn):
            yield event

    async def _end(self, turn: Turn) -> AsyncIterator[Event]:
        """Nothing of the plan runs any more: ask again, take it back, or tell what came of it."""
        if turn.held:
            course = self._ask_again(turn)
        elif wants_undo(turn.plan, turn.results):
            course = self._take_back(turn)
        else:
            course = self._reply(turn)
        async for event in course:
            yield event

    async def _ask_again(self, turn: Turn) -> AsyncIterator[Event]:
        """What was approved is no longer what would happen: show it as it is now, and wait."""
        before = turn.plan
        again = replace(before, asked_again=before.asked_again + 1, approval=None)  # judged as if nobody had agreed
        now = await self.proposer.sealed(again, turn.results, PlanStatus.WAITING)
        diff = tuple(step_diff(before.steps, now.steps, previews=True))
        turn.planned = replace(now, drift=Drift(reason=turn.held, diff=diff))
        await self.audit.record(
            "plan.drift",
            before.requester,
            run_id=turn.run.run_id,
            plan_id=before.plan_id,
            digest_before=before.digest,
            digest=turn.plan.digest,
            reason=turn.held,
        )
        await self._keep(turn)
        yield turn.snapshot()
        for event in say(turn, f"{turn.held} Nothing more has begun. {waiting_text(turn.plan)}"):
            yield event

    async def _take_back(self, turn: Turn) -> AsyncIterator[Event]:
        """A step has failed whose failure takes the run back: undo what was done, the last change first."""
        plan = turn.plan
        back = await compensation(self.proposer, self.catalog, plan, turn.results, INLINE)
        undone: list[str] = []
        facts = {"run_id": turn.run.run_id, "plan_id": plan.plan_id, "digest": plan.digest}
        steps = [step.id.removeprefix(INLINE) for step in back.steps]
        await self.audit.record("run.undo", plan.requester, **facts, steps=steps, cannot=list(back.stuck))
        course = self.executor.run(
            replace(plan, steps=back.steps), turn.run.run_id, plan.requester, guarded=False, lease=turn.lease
        )
        async with aclosing(course) as happenings:
            async for happening in happenings:
                for event in await self._told_undo(turn, happening, undone):
                    yield event
        left = [step.id for step, _ in changes(plan, turn.results) if step.id not in undone]
        turn.planned = taken_back(turn.plan, undone, complete=not left)
        await self._keep(turn)
        yield turn.snapshot()
        turn.shown = results_of(turn.plan, turn.results)
        ending = left_text(plan, left) if left else "Everything that was changed has been taken back."
        for event in say(turn, f"{text_of(turn.plan, turn.results)}\n\n{ending}"):
            yield event

    async def _told_undo(self, turn: Turn, happening: StepEvent, undone: list[str]) -> Sequence[Event]:
        """The events of one change that is taken back."""
        step = happening.step
        call_id = f"{turn.run.run_id}.{step.id}"
        if isinstance(happening, StepBegan):
            return [events.step_started(step.id), *events.tool_call(call_id, step.intent, happening.params)]
        if not isinstance(happening, StepEnded) or happening.result.attempts == 0:
            return []
        result = happening.result
        if result.state is StepState.DONE:
            undone.append(step.id.removeprefix(INLINE))
            changed = turn.plan.step(undone[-1])
            turn.planned = turn.plan.with_step(replace(changed, state=StepState.UNDONE))
        content = result.error if result.error is not None else result.result
        told = events.tool_result(call_id, f"{call_id}.result", content)
        return [told, events.step_finished(step.id), turn.snapshot()]

    async def _run(self, turn: Turn, only: frozenset[str] | None) -> AsyncIterator[Event]:
        steps = self.executor.run(turn.plan, turn.run.run_id, turn.plan.requester, only, lease=turn.lease)
        async with aclosing(steps) as happenings:
            async for happening in happenings:
                for event in await self._told(turn, happening):
                    yield event

    async def _told(self, turn: Turn, happening: StepEvent) -> Sequence[Event]:
        """The events of one happening. The journal has it; the plan is stored again when the segment ends."""
        step = turn.plan.step(happening.step.id)
        call_id = f"{turn.run.run_id}.{step.id}"
        if isinstance(happening, StepBegan):
            turn.planned = turn.plan.with_step(replace(step, state=StepState.RUNNING))
            called = events.tool_call(call_id, step.intent, happening.params)
            return [events.step_started(step.id), *called, turn.snapshot()]
        if isinstance(happening, StepProgress):
            place = f"/steps/{[other.id for other in turn.plan.steps].index(step.id)}/progress/-"
            patch = [{"op": "add", "path": place, "value": dict(happening.data)}]
            return [events.activity_delta(Activity.PLAN, turn.plan.plan_id, patch)]
        if isinstance(happening, StepHeld):
            turn.held = turn.held or happening.reason
            return []
        result = happening.result
        turn.results[step.id] = result
        turn.planned = turn.plan.with_step(await self._with_undo(turn, replace(step, state=result.state), result))
        if result.attempts == 0:
            return [turn.snapshot()]
        content = result.error if result.error is not None else result.result
        told = events.tool_result(call_id, f"{call_id}.result", content)
        return [told, events.step_finished(step.id), turn.snapshot()]

    async def _with_undo(self, turn: Turn, step: Step, result: StepResult) -> Step:
        """A change that was made, with the call that takes it back now that its result is known."""
        if not step.mutates or result.state is not StepState.DONE:
            return step
        return replace(step, undo=await self.proposer.undo_of(step, result, turn.plan.requester, turn.results))

    async def _reply(self, turn: Turn) -> AsyncIterator[Event]:
        """The plan has run: say what came of it, from the results; a model may put it in words if all went well."""
        status = status_of(turn)
        if turn.plan.undoes and status in TERMINAL:
            turn.elsewhere = await self._settle_original(turn, turn.plan.undoes)
        turn.planned = turn.plan.moved(status)
        await self._keep(turn)
        yield turn.snapshot()
        turn.shown = results_of(turn.plan, turn.results)
        turn.meta["untrusted"] = True  # results hold what others have written: names, lines, a script's output
        all_done = all(result.state is StepState.DONE for result in turn.results.values())
        options = turn.run.request.get("options", {})
        if turn.plan.answered_by not in _WITHOUT_MODEL and all_done and self.speaker.models(options).available:
            request = results_request(turn.plan.request, turn.shown, options)
            changed = any(step.mutates for step in turn.plan.steps)
            try:
                async for event in self.speaker.speak(turn, request, may_claim=changed):
                    yield event
                return
            except LLMCoreError:
                if turn.text:
                    raise
        for event in say(turn, text_of(turn.plan, turn.results)):
            yield event

    async def _settle_original(self, turn: Turn, run_id: str) -> Plan | None:
        """The run that this plan took back ends as undone, or in people's hands; safe to be done again."""
        run = await self.store.run_get(run_id)
        plan = await self.store.plan_get(run.plan_id) if run and run.plan_id else None
        if run is None or plan is None or plan.status is PlanStatus.UNDONE:
            return None
        undone = [step_id for step_id, result in turn.results.items() if result.state is StepState.DONE]
        left = [step for step in plan.steps if step.mutates and _in_place(step) and step.id not in undone]
        settled = taken_back(plan, undone, complete=not left)
        if await self.store.plan_swap(settled, plan):
            await self.store.run_put(replace(run, status=settled.status))
        return settled

    async def _keep(self, turn: Turn) -> None:
        """Store the plan as it is now; refused if somebody else has changed it meanwhile."""
        turn.planned = self.proposer.approvals.sealed(turn.plan)
        if turn.stored is None or (turn.stored.digest is None and turn.plan.digest is not None):
            self.recorder.planned(turn, turn.plan)
            await tell_plan(self.audit, turn.plan, model=model_of(turn))
        if turn.stored is None:  # the run first: after a crash it finds its plan, or begins anew without one
            turn.run = replace(turn.run, plan_id=turn.plan.plan_id)
            await asyncio.gather(self.store.run_put(turn.run, turn.lease), self.store.plan_put(turn.plan))
        elif turn.plan != turn.stored and not await self.store.plan_swap(turn.plan, turn.stored, turn.lease):
            raise Forbidden("The plan was changed by somebody else while it ran, so it was stopped.")
        turn.stored = turn.plan


def _in_place(step: Step) -> bool:
    """True for a change that is, or may be, still there."""
    return step.state in (StepState.DONE, StepState.UNKNOWN)


def status_of(turn: Turn) -> PlanStatus:
    """What the settled steps make of the plan."""
    states = {step_id: result.state for step_id, result in turn.results.items()}
    if StepState.UNKNOWN in states.values():
        return PlanStatus.WAITING
    stops = [turn.plan.step(step_id) for step_id, state in states.items() if state is StepState.FAILED]
    if any(step.on_error is not OnError.CONTINUE for step in stops):
        return PlanStatus.FAILED
    return PlanStatus.DONE


def waiting_text(plan: Plan) -> str:
    """What is said when a plan waits for people."""
    steps = [step for step in plan.steps if step.mutates and step.state is StepState.PENDING]
    names = ", ".join(_named(step) for step in steps)
    reasons = dict.fromkeys(step.verdict.reason for step in steps if step.verdict and step.verdict.reason)
    count = plan.approval.needed if plan.approval else 1
    people = "one approval" if count == 1 else f"{count} approvals"
    return f"Should I continue? This plan ({names}) needs {people} before it runs. {' '.join(reasons)}".strip()


def _named(step: Step) -> str:
    """An intent and what it touches, such as **restart_target** `nginx`."""
    targets = step.preview.targets if step.preview else ()
    shown = ", ".join(f"`{target.replace('`', chr(39))}`" for target in targets[:3] if target)
    return f"**{step.intent}** {shown}{' and more' if len(targets) > 3 else ''}".strip()
