"""Takes changes back: which calls that needs, in which order, and what is left where it fails.

Called by the segments (after a failure with `on_error: undo`) and by the session (`run_undo`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

from llmcore.catalog import Catalog
from llmcore.errors import Conflict
from llmcore.events import TOPIC_PREFIX
from llmcore.plan import OnError, Origin, Plan, PlanStatus, Principal, Step, StepResult, StepState
from llmcore.ports import Run
from llmcore.session.proposal import Proposer

OPEN = (PlanStatus.PROPOSED, PlanStatus.APPROVED, PlanStatus.RUNNING, PlanStatus.WAITING)
"""Statuses in which a plan may still change something."""
_ENDED = (
    PlanStatus.DONE,
    PlanStatus.FAILED,
    PlanStatus.CANCELLED,
    PlanStatus.NEEDS_HUMAN,
    PlanStatus.REJECTED,
    PlanStatus.EXPIRED,
)
_ASKS = re.compile(
    r"(?:please )?(?:undo(?: (?:that|it|this|everything|the last (?:run|plan|change|step)))?"
    r"|(?:take|roll) (?:that|it) back|roll ?back(?: (?:that|it))?|revert (?:that|it))[.! ]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Compensation:
    """How to take back what a run has changed."""

    steps: tuple[Step, ...]
    """One call for each change, the last change first, each waiting for the one before."""
    stuck: tuple[str, ...]
    """Ids of changes that nothing takes back."""


async def compensation(
    proposer: Proposer, catalog: Catalog, plan: Plan, results: Mapping[str, StepResult], prefix: str = ""
) -> Compensation:
    """The calls that take back all changes of a plan that happened, worked out from what the journal has."""
    steps: list[Step] = []
    stuck: list[str] = []
    for changed, result in changes(plan, results):
        undo = await proposer.undo_of(changed, result, plan.requester, results)
        if undo is None:
            stuck.append(changed.id)
            continue
        needs = (steps[-1].id,) if steps else ()
        [step] = catalog.steps([{"intent": undo.intent, "params": dict(undo.params)}])
        steps.append(replace(step, id=f"{prefix}{changed.id}", needs=needs))
    return Compensation(tuple(steps), tuple(stuck))


def changes(plan: Plan, results: Mapping[str, StepResult]) -> list[tuple[Step, StepResult]]:
    """The steps that changed something which is still there, the one that ended last first."""
    made = [
        (results[step.id].finished_at or "", number, step)
        for number, step in enumerate(plan.steps)
        if step.mutates and step.state is not StepState.UNDONE and step.id in results and _happened(results[step.id])
    ]
    return [(step, results[step.id]) for _, _, step in sorted(made, key=lambda change: change[:2], reverse=True)]


def _happened(result: StepResult) -> bool:
    """True for a step that was done, also where its effect could not be seen afterwards."""
    unseen = result.error is not None and result.error.get("error") == "verify_failed"
    return result.state is StepState.DONE or unseen


def wants_undo(plan: Plan, results: Mapping[str, StepResult]) -> bool:
    """True if a step has failed whose failure is to take the whole run back, and nobody has to decide first."""
    failed = [plan.step(step_id) for step_id, result in results.items() if result.state is StepState.FAILED]
    unsure = any(result.state is StepState.UNKNOWN for result in results.values())
    return not unsure and any(step.on_error is OnError.UNDO for step in failed)


def taken_back(plan: Plan, undone: Sequence[str], *, complete: bool) -> Plan:
    """The plan once changes were taken back; what else had been done counts as undone too if nothing is left."""
    steps = tuple(
        replace(step, state=StepState.UNDONE)
        if step.id in undone or (complete and step.state is StepState.DONE and not step.mutates)
        else step
        for step in plan.steps
    )
    return replace(plan, steps=steps).moved(PlanStatus.UNDONE if complete else PlanStatus.NEEDS_HUMAN)


def left_text(plan: Plan, left: Sequence[str]) -> str:
    """What is said of changes that could not be taken back."""
    names = ", ".join(f"**{plan.step(step_id).intent}** ({step_id})" for step_id in left)
    return f"Not everything could be taken back. Still in place: {names}. A person has to look at it."


def asks_undo(text: str) -> bool:
    """True for words that mean nothing but: take back what was done last."""
    return len(text) < 60 and _ASKS.fullmatch(" ".join(text.split())) is not None


def check_undoable(run: Run, plan: Plan, other: Plan | None) -> None:
    """Raise Conflict where a run cannot be taken back now; `other` is an open plan that takes it back."""
    facts = {"run_id": run.run_id, "status": plan.status.value}
    if plan.undoes is not None:
        raise Conflict("This run took another one back; run the other plan again instead.", **facts)
    if other is not None:
        raise Conflict(f"Plan {other.plan_id} takes this run back already.", plan_id=other.plan_id, **facts)
    if plan.status not in _ENDED:
        unknown = any(step.state is StepState.UNKNOWN for step in plan.steps)
        waiting = "say what became of its unknown step (run_resolve)" if unknown else "approve or reject the rest"
        remedy = {
            PlanStatus.WAITING: f"{waiting} first",
            PlanStatus.RUNNING: "stop it first (run_cancel)",
            PlanStatus.UNDONE: "it has been taken back already",
        }.get(plan.status, "it has not run")
        raise Conflict(f"The run is {plan.status.value}: {remedy}.", **facts)


def undo_plan(run: Run, plan: Plan, back: Compensation, principal: Principal, now: str) -> Plan:
    """The plan of a compensation; raises Conflict if nothing can be taken back."""
    if not back.steps:
        names = ", ".join(f"{plan.step(step_id).intent} ({step_id})" for step_id in back.stuck)
        why = f"nothing takes back {names}" if names else "it has changed nothing"
        raise Conflict(f"There is nothing to take back: {why}.", run_id=run.run_id)
    cannot = f" (except {', '.join(back.stuck)}, which nothing takes back)" if back.stuck else ""
    plan_id = f"pl_{uuid4().hex}"
    own = principal.name == plan.requester.name
    return Plan(
        plan_id=plan_id,
        requester=principal,
        conversation_id=plan.conversation_id,
        topic=plan.topic if own else f"{TOPIC_PREFIX}{plan_id}",
        created_at=now,
        origin=Origin(kind="api", id=run.run_id, tainted=plan.origin.tainted),
        steps=back.steps,
        title=f"Take back: {plan.title}{cannot}"[:200],
        request=f"Take back run {run.run_id}.",
        undoes=run.run_id,
    )
