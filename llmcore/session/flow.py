"""The session: begins turns and takes people's decisions.

`Session` is what api and app hold. Knows no transport.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from llmcore import events
from llmcore.approval import check_editable
from llmcore.errors import Conflict, Forbidden, NotFound, TimedOut
from llmcore.executor import RETRY, as_it_runs, as_journaled, refused_json
from llmcore.plan import TERMINAL, Plan, PlanStatus, Principal, Step, StepState, step_diff
from llmcore.ports import Attempt, Conversation, Queue, Run, rfc3339
from llmcore.session.keeping import Held, Keeper
from llmcore.session.orders import Standing
from llmcore.session.segments import Segments
from llmcore.session.space import admit
from llmcore.session.starting import Starter
from llmcore.session.trail import chat_facts, facts_of, tell_plan
from llmcore.session.worker import Worker
from llmcore.streams import Topics

log = logging.getLogger(__name__)

EDITED = " (edited)"
_ALL = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """Limits of a turn."""

    wait_s: float = 8.0
    """How long an RPC waits for work before it answers with an acknowledgement."""
    node: str = "nd_alone"
    """The name of this process among the nodes that share the store."""
    lease_s: float = 15.0
    """How long other nodes leave a run alone whose node is not heard of."""


class Session:
    """All turns of this process."""

    def __init__(self, segments: Segments, topics: Topics, queue: Queue, options: SessionOptions) -> None:
        """Take what a turn needs; nothing runs before the queue is started with `work`."""
        self._do = segments
        self._topics = topics
        self._queue = queue
        self.options = options
        self._keeper = Keeper(segments.store, options.node, options.lease_s)
        self._worker = Worker(segments, topics, self._keeper)
        self.orders = Standing(segments.store, self._worker, queue, topics, segments.audit, segments.clock)
        """Orders to all nodes."""
        self._starter = Starter(segments, topics, queue, self._worker, self.orders, options.node)
        self._undoing: set[str] = set()
        """Runs for which a plan that takes them back is being made."""

    # --- beginning ---

    async def chat(self, asked: Mapping[str, Any], conversation: Conversation, topic: str, owner: Principal) -> Run:
        """Begin a turn; `asked` has `prompt`, `mode`, `options`, `context`. Its events come on `topic`.

        Raises BadParams for a provider that is not switched on, Forbidden for a foreign topic.
        """
        self._do.speaker.models(asked["options"])
        if asked["mode"] == "answer":
            self._do.store.admit()
        run = Run(
            run_id=f"rn_{uuid4().hex}",
            conversation_id=conversation.conversation_id,
            topic=topic,
            owner=owner,
            status=PlanStatus.RUNNING,
            created_at=self._now(),
            request=dict(asked),
        )
        conversations = self._do.understanding.conversations
        await self._topics.check_owner(topic, owner)  # before anything is stored
        await asyncio.gather(
            conversations.touch(conversation),
            self._topics.open(topic, conversation.conversation_id, owner),
            self._do.store.run_put(run),
            conversations.say(conversation.conversation_id, "user", asked["prompt"], run.run_id),
            self._do.audit.record("chat", owner, **chat_facts(run)),
        )
        await self._starter.enqueue(run)
        return run

    async def propose(self, plan: Plan, start: bool, conversation: Conversation | None = None) -> Plan:
        """Take a plan from outside: refused, prepared for a decision, or (with `start`) run if nobody has to be asked.

        Returns once the plan can be decided on or runs; after `wait_s` as it is then. `conversation` is one that is not
        stored yet. Raises Forbidden where policy denies a step (with rules and reason) or the topic is another's; then
        nothing is kept.
        """
        judged = self._do.proposer.judged(plan)
        refused = self._do.proposer.refusal(judged)
        if refused is not None and refused.verdict is not None:
            await tell_plan(self._do.audit, judged, denied=True)
            raise Forbidden(
                f"Policy does not allow {refused.intent}: {refused.verdict.reason}",
                step_id=refused.id,
                rules=list(refused.verdict.rules),
                reason=refused.verdict.reason,
                would_allow=refused.verdict.would_allow,
            )
        admit(judged, self._do.proposer.catalog, self._do.store)
        asks = self._do.proposer.asks(judged)
        reads = self._do.proposer.first_reads(judged) if asks else frozenset()
        sealed = None if reads else await self._sealed(judged)
        await self._topics.open(plan.topic, plan.conversation_id, plan.requester)
        if conversation is not None:
            await self._do.understanding.conversations.touch(conversation)
        if sealed is not None:
            await tell_plan(self._do.audit, sealed)
            await self._do.store.plan_put(sealed)
            self._starter.show(sealed)
            return await self._starter.start(sealed) if start and not asks else sealed
        prepared = replace(judged.moved(PlanStatus.RUNNING), run_id=f"rn_{uuid4().hex}")
        with self._starter.beginning(plan.plan_id):
            await tell_plan(self._do.audit, prepared)
            await self._do.store.plan_put(prepared)
            started = await self._starter.start(prepared)
        return await self._after(started.run_id or "", started)

    async def _sealed(self, judged: Plan) -> Plan:
        """The plan with previews; one that policy or a boundary refuses for what they show is told to the trail."""
        try:
            return await self._do.proposer.sealed(judged, {})
        except Forbidden as refused:
            facts = facts_of(judged) | {"error": refused_json(refused)}
            await self._do.audit.record("plan.denied", judged.requester, **facts)
            raise

    async def _after(self, run_id: str, plan: Plan) -> Plan:
        with suppress(TimedOut):
            await self.settled(run_id)
        return await self._do.store.plan_get(plan.plan_id) or plan

    # --- decisions ---

    async def approve(
        self, plan_id: str, digest: str, principal: Principal, comment: str, *, break_glass: bool = False
    ) -> Plan:
        """Give an approval; with the last one needed the run starts. Policy is asked again at this moment.

        Raises what `Approvals.approve` raises, and Conflict while everything is held. Breaking the glass is told to
        everybody.
        """
        self.orders.check()
        approvals = self._do.proposer.approvals
        async with approvals.refusals("plan.approve", principal, plan_id=plan_id, digest=digest):
            seen = await approvals.visible(plan_id, principal)
            await approvals.check_intact(seen, principal)
        admit(seen, self._do.proposer.catalog, self._do.store)
        await self.settled(seen.run_id or "")  # the segment that proposed it may be storing its end
        with self._starter.beginning(plan_id):
            plan = await approvals.approve(
                plan_id, digest, principal, comment, break_glass=break_glass, demand=self._do.proposer.demand
            )
            await self._topics.open(plan.topic, plan.conversation_id, plan.requester)
            self._topics.join(plan.topic, principal)
            if break_glass:
                self._tell_of_glass(plan, principal, comment)
            if plan.status is PlanStatus.APPROVED:
                return await self._starter.start(plan)
        self._starter.show(plan)
        return plan

    def _tell_of_glass(self, plan: Plan, principal: Principal, comment: str) -> None:
        words = f"{principal.name} broke the glass for plan {plan.plan_id}: {comment}"
        facts = {"plan_id": plan.plan_id, "by": principal.name}
        told = events.notification(words, 3, int(self._do.clock.now() * 1000), facts)
        self._topics.broadcast("/notification", told)

    async def reject(self, plan_id: str, principal: Principal, reason: str) -> Plan:
        """Say no; a waiting run ends."""
        approvals = self._do.proposer.approvals
        async with approvals.refusals("plan.reject", principal, plan_id=plan_id, reason=reason):
            seen = await approvals.visible(plan_id, principal)
        await self.settled(seen.run_id or "")
        plan = await approvals.reject(plan_id, principal, reason)
        await self._starter.end(plan, f"The plan was rejected by {principal.name}. {reason}".strip())
        return plan

    async def edit(self, plan_id: str, steps: tuple[Step, ...], principal: Principal) -> Plan:
        """Replace the steps of a waiting plan: judged and sealed anew, approvals dropped.

        The answer's `edited_from` tells what was changed. Raises what `Approvals.replace_steps` raises.
        """
        proposer = self._do.proposer
        async with proposer.approvals.refusals("plan.edit", principal, plan_id=plan_id):
            plan = await proposer.approvals.visible(plan_id, principal)
            check_editable(plan)
            kept = {_same(step): step for step in plan.steps}
            merged = tuple(
                replace(step, state=kept[_same(step)].state) if _same(step) in kept else step for step in steps
            )
            edited = proposer.judged(replace(plan, steps=merged, title=edited_title(plan), approval=None, digest=None))
            if refused := proposer.refusal(edited):
                reason = refused.verdict.reason if refused.verdict else ""
                raise Forbidden(f"Policy does not allow {refused.intent}: {reason}", step_id=refused.id)
            if proposer.first_reads(edited):
                raise Conflict("An edit may not add reads that feed a change; make a new plan.", plan_id=plan_id)
            sealed = await proposer.sealed(edited, {})
        diff = step_diff(plan.steps, sealed.steps)
        stored = await proposer.approvals.replace_steps(plan, sealed, diff, principal)
        await self._topics.open(plan.topic, plan.conversation_id, plan.requester)
        self._starter.show(stored)
        return stored

    async def cancel(self, run_id: str, principal: Principal) -> Run:
        """Stop a run wherever it is: in the model call, in a step, on another node, or while it waits for people."""
        run = await self.visible_run(run_id, principal)
        if run.status in TERMINAL:
            return run
        await self._do.audit.record("run.cancel", principal, run_id=run_id)
        if run.status is PlanStatus.RUNNING:
            self._worker.cancelling.add(run_id)
            if await self._queue.cancel(run_id):
                return await self._after_cancel(run)
            self._worker.forget(run_id)
        try:
            async with self._keeper.held(run_id, run.segment):
                resting = await self._do.store.run_get(run_id) or run
                return await self._starter.cancel_resting(resting, f"The run was stopped by {principal.name}.")
        except Held:  # whoever works it does the rest
            await self._do.store.order_cancel(run_id)
            return await self._after_cancel(run)

    async def _after_cancel(self, run: Run) -> Run:
        with suppress(TimedOut):
            await self.settled(run.run_id)
        return await self._do.store.run_get(run.run_id) or run

    async def resolve(self, run_id: str, step_id: str, outcome: str, principal: Principal) -> Run:
        """Say what became of an `unknown` step: it was `done`, is to be tried again (`retry`), or all ends (`stop`)."""
        run = await self.visible_run(run_id, principal)
        plan = await self._do.store.plan_get(run.plan_id) if run.plan_id else None
        if outcome != "stop":
            self.orders.check()
        if plan is None or run.status is not PlanStatus.WAITING:
            raise Conflict("This run has no step that waits for a person's word.", run_id=run_id)
        if not principal.may_approve(plan.approval.roles if plan.approval else ()):
            raise Forbidden("Only an approver may say what became of a step.", run_id=run_id)
        await self._do.proposer.approvals.check_intact(plan, principal)
        journal = await self._do.store.attempt_list(run_id)
        attempts = [found for found in journal if found.step_id == step_id]
        step = next((step for step in plan.steps if step.id == step_id and step.state is StepState.UNKNOWN), None)
        if step is None or not attempts:
            raise Conflict(f"Step {step_id} is not unknown.", run_id=run_id)
        await self._do.audit.record("run.resolve", principal, run_id=run_id, step_id=step_id, outcome=outcome)
        await self._do.store.attempt_end(self._resolved(attempts[-1], outcome, principal), resolve=True)
        state = {"done": StepState.DONE, "retry": StepState.PENDING}.get(outcome, StepState.FAILED)
        others = [found for found in journal if found.step_id != step_id and outcome == "stop"]
        changed = as_journaled(plan, others).with_step(
            replace(step, state=state)
        )  # nothing interrupted beside it goes on
        moved = changed.moved(PlanStatus.FAILED if outcome == "stop" else PlanStatus.RUNNING)
        next_plan = self._do.proposer.approvals.sealed(moved)
        with self._starter.beginning(plan.plan_id):
            if not await self._do.store.plan_swap(next_plan, plan):
                raise Conflict("Somebody else has decided at this moment.", run_id=run_id)
            if outcome == "stop":
                await self._starter.end(next_plan, f"The run was ended by {principal.name}.")
            else:
                await self._starter.start(next_plan)
        return await self._do.store.run_get(run_id) or run

    async def undo(self, run_id: str, principal: Principal) -> Plan:
        """Propose to take back what a run has changed, the last change first; runs at once if nobody has to be asked.

        Raises Conflict where nothing can be taken back, with the reason. With the end of the new plan's run the
        original run, its plan and steps are `undone`, or `needs_human` if something is left.
        """
        run = await self.visible_run(run_id, principal)
        plan = await self._do.store.plan_get(run.plan_id) if run.plan_id else None
        if plan is None:
            raise Conflict("This run has no plan, so it has changed nothing.", run_id=run_id)
        if run_id in self._undoing:
            raise Conflict("Somebody else takes this run back at this moment.", run_id=run_id)
        self._undoing.add(run_id)  # until the plan is stored, where the next one finds it
        try:
            async with self._keeper.held(f"undo:{run_id}", 0):  # nor does another node
                return await self.propose(await self._do.undo_plan(run, plan, principal), start=True)
        finally:
            self._undoing.discard(run_id)

    def _resolved(self, attempt: Attempt, outcome: str, principal: Principal) -> Attempt:
        word = {"done": StepState.DONE.value, "retry": RETRY}.get(outcome, StepState.FAILED.value)
        error = None if outcome == "done" else {"error": "unknown", "message": f"Decided by {principal.name}."}
        return replace(attempt, outcome=word, error=error, finished_at=self._now())

    # --- looking ---

    async def visible_plan(self, plan_id: str, principal: Principal) -> Plan:
        """A plan that this caller may see; raises NotFound for all others."""
        return await as_it_runs(self._do.store, await self._do.proposer.approvals.visible(plan_id, principal))

    async def visible_plans(self, principal: Principal, statuses: Sequence[PlanStatus], limit: int) -> Sequence[Plan]:
        """All plans that this caller may see, newest first."""
        plans = await self._do.proposer.approvals.visible_list(principal, statuses, limit)
        return [await as_it_runs(self._do.store, plan) for plan in plans]

    async def visible_run(self, run_id: str, principal: Principal) -> Run:
        """A run that this caller may see: their own, or one whose plan they could approve."""
        run = await self._do.store.run_get(run_id)
        if run is not None and run.owner.name != principal.name:
            try:
                await self._do.proposer.approvals.visible(run.plan_id or "", principal)
            except NotFound:
                run = None
        if run is None:
            raise NotFound("There is no such run, or it is not yours to see.", run_id=run_id)
        return run

    async def settled(self, run_id: str) -> None:
        """Wait until the running segment of a run has ended; raises TimedOut after `wait_s`."""
        try:
            async with asyncio.timeout(self.options.wait_s):
                await self._worker.settled(run_id)
        except TimeoutError as late:
            raise TimedOut("The work goes on; its events tell how it ends.", run_id=run_id) from late

    def nobody_reads(self, topics: Sequence[str]) -> None:
        """Viewers left: cancel the model calls of topics that have none any more. Steps go on."""
        for topic in topics:
            if not self._topics.viewers(topic):
                self._do.speaker.calls.abandon(topic)

    # --- working ---

    async def recover(self, patient: bool = False) -> None:
        """Start what was decided or begun and is worked by nobody; see `Starter.recover`."""
        await self._starter.recover(patient)

    def leave(self) -> None:
        """This process stops: segments end after the steps that are running."""
        self._do.executor.leaving.set()

    async def work(self, run_id: str, segment: int) -> None:
        """Work one segment: what the queue calls. Runs at least once, again after a crash."""
        await self._worker.work(run_id, segment)

    def _now(self) -> str:
        return rfc3339(self._do.clock.now())


def edited_title(plan: Plan) -> str:
    """The words of the request, which an edit may have left behind."""
    return plan.title if plan.title.endswith(EDITED) else f"{plan.title}{EDITED}"


def _same(step: Step) -> str:
    return f"{step.id} {step.intent} {sorted(step.params.items(), key=str)} {sorted(step.needs)}"
