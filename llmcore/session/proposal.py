"""From checked steps to a plan that people can decide on: verdicts, previews, literal params, digest.

Called by the flow in `session`. Knows neither sockets nor the model.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmcore.approval import Approvals
from llmcore.catalog import Catalog
from llmcore.errors import Forbidden, LLMCoreError, NotFound
from llmcore.executor import resolve
from llmcore.plan import (
    EVERYBODY,
    Approval,
    Decision,
    Plan,
    PlanStatus,
    Principal,
    Step,
    StepResult,
    StepState,
    Undo,
    digest,
    feeding_reads,
    is_reference,
    references,
)
from llmcore.policy import Judge
from llmcore.ports import IntentCaller

_ANYONES = frozenset({"processes"})
"""Lists whose names any user of the machine can choose: a value from there is not the host's word."""

Vocabulary = Callable[[], Mapping[str, Sequence[str]]]
"""The lists that the host itself gives: targets, logs, scripts and so on."""


@dataclass(frozen=True, slots=True)
class Proposer:
    """Prepares plans for a decision."""

    catalog: Catalog
    caller: IntentCaller
    judge: Judge
    approvals: Approvals
    vocabulary: Vocabulary

    def judged(self, plan: Plan) -> Plan:
        """The plan with what policy says of each step.

        Before there are previews, what only they can tell is supposed to be in the requester's favour.
        """
        votes = len(plan.approval.given) if plan.approval else 0
        sure = round(plan.confidence * 100)
        return replace(plan, steps=tuple(self._judged(plan, step, votes, sure) for step in plan.steps))

    def _judged(self, plan: Plan, step: Step, votes: int, sure: int) -> Step:
        foreseen = plan.digest is None and step.preview is None and step.mutates
        verdict = self.judge.verdict(step, plan.requester, plan.origin, votes, sure, foreseen=foreseen)
        return replace(step, verdict=verdict)

    @staticmethod
    def refusal(plan: Plan) -> Step | None:
        """The first step that policy denies, if any."""
        return next(
            (step for step in plan.steps if step.verdict and step.verdict.decision is Decision.DENY),
            None,
        )

    def demand(self, plan: Plan) -> Approval:
        """What policy asks of people for what is left of a plan, as if nobody had approved; Forbidden if it denies."""
        left = tuple(step for step in plan.steps if step.state is StepState.PENDING)
        judged = self.judged(replace(plan, steps=left, approval=None))
        self._refuse(judged, " any more")
        return self.approvals.asked(judged.steps)

    def _refuse(self, plan: Plan, when: str) -> None:
        """Raise Forbidden if policy denies a step."""
        refused = self.refusal(plan)
        if refused is not None and refused.verdict is not None:
            raise Forbidden(
                f"Policy does not allow {refused.intent}{when}: {refused.verdict.reason}",
                step_id=refused.id,
                rules=list(refused.verdict.rules),
                reason=refused.verdict.reason,
                would_allow=refused.verdict.would_allow,
            )

    @staticmethod
    def asks(plan: Plan) -> bool:
        """True if some step waits for people."""
        return any(step.verdict and step.verdict.decision is Decision.ASK for step in plan.steps)

    @staticmethod
    def first_reads(plan: Plan) -> frozenset[str]:
        """Reads that have to run before anyone is asked and have not yet."""
        waiting = feeding_reads(plan.steps)
        open_states = (StepState.PENDING, StepState.RUNNING)
        return frozenset(step.id for step in plan.steps if step.id in waiting and step.state in open_states)

    async def sealed(
        self, plan: Plan, results: Mapping[str, StepResult], status: PlanStatus = PlanStatus.PROPOSED
    ) -> Plan:
        """The plan ready for a decision: literal params, previews, verdicts over them, approval and digest.

        Raises LLMCoreError where a reference finds nothing or the found values do not fit, Forbidden where policy
        denies what the previews show.
        """
        literal = tuple([await self._literal(plan, step, results) for step in plan.steps])
        tainted = plan.origin.tainted or self._from_results(plan.steps, literal)
        shown = self.judged(replace(plan, steps=literal, origin=replace(plan.origin, tainted=tainted)))
        self._refuse(shown, " on what it would touch")
        shown = replace(shown, approval=self.approvals.asked(shown.steps))
        return self.approvals.sealed(replace(shown.moved(status), digest=digest(shown)))

    async def _literal(self, plan: Plan, step: Step, results: Mapping[str, StepResult]) -> Step:
        if not step.mutates or step.state is not StepState.PENDING:
            return step
        known = {step_id: result for step_id, result in results.items() if not plan.step(step_id).mutates}
        params = _resolve_known(step.params, known)
        found = replace(step, params=params)
        if any(True for _ in references(params)):
            return found  # refers to a change of this same plan: shown as "result of ..."
        self.catalog.validate(step.intent, params)
        try:
            preview = await self.caller.preview(step.intent, params, plan.requester)
        except NotFound:
            return found  # a missing target does not refuse the plan; the step fails when it runs
        found = replace(found, preview=preview)
        undo = await self.undo_of(found, None, plan.requester)
        return replace(found, undo=undo if undo and self._may_undo(plan, undo) else None)

    def _may_undo(self, plan: Plan, undo: Undo) -> bool:
        """False for a call that policy would refuse whoever agreed: it is not promised."""
        try:
            [step] = self.catalog.steps([{"intent": undo.intent, "params": dict(undo.params)}])
        except LLMCoreError:
            return False
        verdict = self.judge.verdict(step, plan.requester, plan.origin, EVERYBODY, foreseen=True)
        return verdict.decision is not Decision.DENY

    async def undo_of(
        self,
        step: Step,
        result: StepResult | None,
        principal: Principal,
        results: Mapping[str, StepResult] | None = None,
    ) -> Undo | None:
        """The call that takes a change back, as far as it is known now.

        `result` is what came of it, None before; `results` are those that its references mean.
        """
        before = step.preview.before if step.preview else None
        if result is not None and result.before is not None:
            before = result.before
        try:
            params = resolve(step.params, results or {})
            made = result.result if result else None
            return await self.caller.undo_of(step.intent, params, before, made, principal)
        except LLMCoreError:
            return None

    def _from_results(self, before: Iterable[Step], after: Iterable[Step]) -> bool:
        """True if a mutating step got a value out of a result that the host itself does not list."""
        lists = self.vocabulary().items()
        listed = {str(value) for name, values in lists if name not in _ANYONES for value in values}
        return any(
            value not in listed
            for old, new in zip(before, after, strict=True)
            if old.mutates
            for value in _filled(old.params, new.params)
        )


def _resolve_known(value: Any, results: Mapping[str, StepResult]) -> Any:
    if is_reference(value):
        return resolve(value, results) if value["$from"] in results else value
    if isinstance(value, Mapping):
        return {key: _resolve_known(inner, results) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_resolve_known(inner, results) for inner in value]
    return value


def _filled(before: Any, after: Any) -> Iterable[str]:
    """The text of all values that stand where a reference stood."""
    if is_reference(before):
        if not is_reference(after):
            yield from _texts(after)
    elif isinstance(before, Mapping):
        for key, inner in before.items():
            yield from _filled(inner, after[key])
    elif isinstance(before, list | tuple):
        for old, new in zip(before, after, strict=True):
            yield from _filled(old, new)


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    else:
        yield str(value)
