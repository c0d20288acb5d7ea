"""The journal of attempts, read back: what came of each step in earlier lives of the process.

Used by the executor and by session.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmcore.catalog import Catalog
from llmcore.errors import LLMCoreError
from llmcore.plan import Plan, PlanStatus, Step, StepResult, StepState
from llmcore.ports import Attempt, Store

RETRY = "retry"
"""Outcome that a person gives to an `unknown` attempt to have the step tried again."""
INLINE = "undo:"
"""Prefix of the steps that take back others of the same run; no step from outside can have such an id."""


@dataclass(frozen=True, slots=True)
class Journal:
    """What is known of the steps of a run."""

    results: dict[str, StepResult]
    tries: dict[str, int]
    """Step id -> attempts so far."""
    befores: dict[str, Any]
    """Step id -> what was there before its first attempt."""

    @classmethod
    async def read(cls, store: Store, catalog: Catalog, plan: Plan, run_id: str) -> "Journal":
        """Results of earlier attempts; one without an outcome is `unknown` unless the intent may be repeated."""
        found, tries, befores = dict[str, StepResult](), dict[str, int](), dict[str, Any]()
        steps = {step.id: step for step in plan.steps}
        for attempt in await store.attempt_list(run_id):
            step = steps.get(attempt.step_id)
            if step is None:  # a compensation of this run, which has a plan of its own
                continue
            tries[step.id] = attempt.attempt
            if attempt.before is not None:
                attempt = replace(attempt, before=befores.setdefault(step.id, attempt.before))
            if attempt.outcome is not None and attempt.outcome != RETRY:
                state = StepState(attempt.outcome)
                found[step.id] = result_of(step, state, attempt, attempt.result, attempt.error)
            elif attempt.outcome == RETRY or catalog.get(step.intent).idempotent:
                found.pop(step.id, None)
            else:
                error = {"error": "unknown", "message": "The server stopped while this step was running."}
                found[step.id] = result_of(step, StepState.UNKNOWN, attempt, None, error)
        return cls(found, tries, befores)


def as_journaled(plan: Plan, attempts: Sequence[Attempt], unended: StepState = StepState.UNKNOWN) -> Plan:
    """The plan with the states of its steps as the journal has them; an attempt without an outcome is `unended`."""
    states = {step.id: step.state for step in plan.steps}
    for attempt in attempts:
        changed = attempt.step_id.removeprefix(INLINE)
        if attempt.step_id in states and attempt.outcome != RETRY:
            outcome = attempt.outcome
            states[attempt.step_id] = StepState(outcome) if outcome is not None else unended
        elif changed in states and changed != attempt.step_id and attempt.outcome == StepState.DONE.value:
            states[changed] = StepState.UNDONE
    steps = tuple(
        step if states[step.id] is step.state else replace(step, state=states[step.id]) for step in plan.steps
    )
    return replace(plan, steps=steps)


async def as_it_runs(store: Store, plan: Plan) -> Plan:
    """A stored plan as it is at this moment: while it runs, the journal knows more than the plan."""
    if plan.status is not PlanStatus.RUNNING or plan.run_id is None:
        return plan
    return as_journaled(plan, await store.attempt_list(plan.run_id), StepState.RUNNING)


def result_of(
    step: Step, state: StepState, attempt: Attempt, value: Any, error: Mapping[str, Any] | None
) -> StepResult:
    """What an attempt makes of its step."""
    return StepResult(
        step_id=step.id,
        intent=step.intent,
        state=state,
        result=value,
        error=error,
        attempts=attempt.attempt,
        started_at=attempt.started_at,
        finished_at=attempt.finished_at,
        before=attempt.before,
    )


def refused_json(error: LLMCoreError) -> dict[str, Any]:
    """An error as a step keeps it."""
    return {"error": error.code, "message": error.message, **error.details}
