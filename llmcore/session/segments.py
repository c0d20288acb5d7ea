"""The segments of a turn as async generators of events, in the order in which things happen.

Called by `Session.work`. Each generator leaves the turn's text, results and plan behind and yields neither the first
nor the last event of the segment: those belong to `work`, which alone knows how the segment ended.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from llmcore.errors import Conflict, Forbidden
from llmcore.events import Event
from llmcore.plan import Effect, Plan, PlanStatus, Principal, Step, Verdict, digest
from llmcore.ports import Run, StoredMessage, rfc3339
from llmcore.session.carrying import Carrying, status_of, waiting_text
from llmcore.session.prose import answer_request
from llmcore.session.reply import results_of, text_of
from llmcore.session.space import admit
from llmcore.session.speaking import said, say
from llmcore.session.turn import Turn
from llmcore.session.understanding import Understanding
from llmcore.session.undoing import OPEN, asks_undo, check_undoable, compensation, undo_plan

PLANNED = "This is the plan. Nothing has run; approve it to run it."
READS_FIRST = "This plan needs results of reads first; ask for it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments(Carrying):
    """Everything a turn needs."""

    understanding: Understanding

    async def understand(self, turn: Turn) -> AsyncIterator[Event]:
        """The first segment of a chat: from words to an answer, a question, or a plan that runs or waits."""
        asked = turn.run.request
        window, stored = await self.understanding.history(turn.run)
        turn.meta["untrusted"] = window.untrusted  # what is said here may repeat it when the history has forgotten it
        free = asked["mode"] == "answer"
        if not free and asks_undo(asked["prompt"]):
            turn.kind, turn.answered_by = "plan", "local"
            turn.planned = await self._undo_of_last(turn, stored)
        elif not free:
            draft, turn.planned = await self.understanding.understood(turn, window, stored)
            free = draft.kind == "answer" and not draft.text and self.speaker.models(asked["options"]).available
        if turn.planned is not None:
            admit(turn.plan, self.catalog, self.store)
            course = self.proceed(turn)
        elif free:
            self.store.admit()
            course = self.speaker.speak(turn, answer_request(asked["prompt"], window.messages, asked["options"]))
        else:
            course = said(turn, draft.text or "I cannot do this here.")
        async for event in course:
            yield event

    async def _undo_of_last(self, turn: Turn, stored: Sequence[StoredMessage]) -> Plan:
        """The plan that takes back the last run of this conversation; Conflict if there is none."""
        runs = [said.run_id for said in reversed(stored) if said.role == "assistant" and said.meta.get("plan_id")]
        for run_id in runs:
            run = await self.store.run_get(run_id) if run_id else None
            plan = await self.store.plan_get(run.plan_id) if run and run.plan_id else None
            if run is not None and plan is not None and plan.effect is not Effect.READ:
                made = await self.undo_plan(run, plan, turn.run.owner)
                return replace(made, run_id=turn.run.run_id, request=turn.run.request["prompt"])
        raise Conflict("Nothing in this conversation has been changed, so there is nothing to take back.")

    async def undo_plan(self, run: Run, plan: Plan, principal: Principal) -> Plan:
        """The plan that takes back what a run has changed; raises Conflict where that cannot be (with the reason)."""
        journal = await self.executor.journaled(plan, run.run_id)
        open_ones = await self.store.plan_list(statuses=OPEN)
        other = next((found for found in open_ones if found.undoes == run.run_id), None)
        check_undoable(run, plan, other)
        back = await compensation(self.proposer, self.catalog, plan, journal.results)
        return undo_plan(run, plan, back, principal, rfc3339(self.clock.now()))

    def course(self, turn: Turn) -> AsyncIterator[Event]:
        """What a segment has to do: begin, or go on where an earlier life of the process was interrupted."""
        if turn.planned is None:
            return self.understand(turn)
        if turn.plan.status not in (PlanStatus.RUNNING, PlanStatus.APPROVED):
            return self._conclude(turn)
        return self.carry_out(turn) if turn.plan.digest else self.proceed(turn)

    async def _conclude(self, turn: Turn) -> AsyncIterator[Event]:
        """The plan came to its end or waits already; only the last words of the segment were lost."""
        yield turn.snapshot()
        if turn.plan.status is PlanStatus.PROPOSED:
            text = waiting_text(turn.plan) if turn.plan.digest else READS_FIRST
        else:
            turn.shown = results_of(turn.plan, turn.results)
            text = text_of(turn.plan, turn.results)
        for event in say(turn, text):
            yield event

    async def proceed(self, turn: Turn) -> AsyncIterator[Event]:
        """A new plan: refuse it, only show it, run it where policy allows, or prepare it for people to decide."""
        plan = self.proposer.judged(turn.plan)
        refused = self.proposer.refusal(plan)
        if refused is not None and refused.verdict is not None:
            course = self._refuse(turn, plan, refused, refused.verdict)
        elif turn.run.request.get("mode") == "plan":
            course = self._only_show(turn, plan)
        else:
            course = self._go_on(turn, plan)
        async for event in course:
            yield event

    async def _refuse(self, turn: Turn, plan: Plan, step: Step, verdict: Verdict) -> AsyncIterator[Event]:
        turn.planned = plan.moved(PlanStatus.REJECTED)
        await self._keep(turn)
        yield turn.snapshot()
        raise Forbidden(
            f"Policy does not allow {step.intent}: {verdict.reason}",
            rules=list(verdict.rules),
            reason=verdict.reason,
            would_allow=verdict.would_allow,
            plan_id=plan.plan_id,
        )

    async def _go_on(self, turn: Turn, plan: Plan) -> AsyncIterator[Event]:
        asks = self.proposer.asks(plan) or (
            turn.run.request.get("propose_only", False) and plan.effect is not Effect.READ
        )
        turn.planned = plan if asks else await self._unasked(plan)
        reads = self.proposer.first_reads(plan) if asks else None
        if reads is None or reads:
            turn.planned = turn.plan.moved(PlanStatus.RUNNING)
            await self._keep(turn)
            yield turn.snapshot()
            async for event in self._run(turn, reads):
                yield event
        if asks and status_of(turn) is PlanStatus.DONE:
            turn.planned = await self.proposer.sealed(turn.plan, turn.results)
            await self._keep(turn)
            yield turn.snapshot()
            for event in say(turn, waiting_text(turn.plan)):
                yield event
            return
        course = self._end(turn)
        if not asks and turn.understood is not None and plan.effect is Effect.READ and not turn.held:
            course = self._look_further(turn)
        async for event in course:
            yield event

    async def _unasked(self, plan: Plan) -> Plan:
        """A plan that runs without asking; what it changes is previewed all the same and looked at before each step."""
        reads = plan.effect is Effect.READ
        return replace(plan, digest=digest(plan)) if reads else await self.proposer.sealed(plan, {})

    async def _look_further(self, turn: Turn) -> AsyncIterator[Event]:
        """The reads have run: go on with what their results ask for. Never after an approval."""
        done = status_of(turn) is PlanStatus.DONE
        grown = await self.understanding.further(turn) if done else None
        judged = self.proposer.judged(grown) if grown else None
        if judged is None or self.proposer.refusal(judged) is not None:
            course = self._end(turn)
        else:
            self.recorder.planned(turn, judged)
            course = self._go_on(turn, judged)
        async for event in course:
            yield event

    async def _only_show(self, turn: Turn, plan: Plan) -> AsyncIterator[Event]:
        """Mode `plan`: nothing runs, not even reads. What is not known before reads have run cannot be approved yet."""
        reads = self.proposer.first_reads(plan)
        turn.planned = plan if reads else await self.proposer.sealed(plan, {})
        await self._keep(turn)
        yield turn.snapshot()
        for event in say(turn, READS_FIRST if reads else PLANNED):
            yield event
