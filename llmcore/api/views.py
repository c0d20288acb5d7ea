"""Runs, plans and answers as the JSON of the wire. Used by the RPC modules of this package."""

from collections.abc import Mapping, Sequence
from typing import Any

from llmcore.api.core import Core
from llmcore.errors import NotFound
from llmcore.executor import as_journaled
from llmcore.plan import TERMINAL, Plan, PlanStatus, StepState, plan_json
from llmcore.ports import Attempt, Run
from llmcore.session import display_of


def run_json(run: Run, plan: Plan | None, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """A run with the state, result and error of each of its steps."""
    # a plan that ended with its run's last words still to be stored, or that nobody decided in time
    ended = plan is not None and plan.status in TERMINAL and run.status not in TERMINAL
    status = plan.status if plan is not None and ended else run.status
    last = {attempt.step_id: attempt for attempt in attempts}
    refused = {result.step_id: result.error for result in run.steps}
    return {
        "run_id": run.run_id,
        "plan_id": run.plan_id,
        "conversation_id": run.conversation_id,
        "topic": run.topic,
        "owner": run.owner.name,
        "status": status.value,
        "created_at": run.created_at,
        "segment": run.segment,
        "text": run.text,
        "usage": {"input_tokens": run.usage.input_tokens, "output_tokens": run.usage.output_tokens},
        "error": run.error,
        "steps": [
            _step_json(step.id, step.intent, step.state, last.get(step.id), refused.get(step.id))
            for step in (plan.steps if plan else ())
        ],
    }


def _step_json(
    step_id: str, intent: str, state: StepState, attempt: Attempt | None, refused: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A step of a run; `refused` is why it could not be attempted."""
    error = attempt.error if attempt else refused
    return {
        "id": step_id,
        "intent": intent,
        "state": state.value,
        "result": attempt.result if attempt else None,
        "error": dict(error) if error else None,
        "attempts": attempt.attempt if attempt else 0,
        "started_at": attempt.started_at if attempt else None,
        "finished_at": attempt.finished_at if attempt else None,
    }


async def run_of(core: Core, run: Run) -> dict[str, Any]:
    """A stored run as JSON."""
    plan = await core.store.plan_get(run.plan_id) if run.plan_id else None
    attempts = await core.store.attempt_list(run.run_id)
    if plan is not None and plan.status is PlanStatus.RUNNING:
        plan = as_journaled(plan, attempts, StepState.RUNNING)
    return run_json(run, plan, attempts)


async def run_answer(core: Core, run_id: str) -> dict[str, Any]:
    """The answer of a chat that does not stream; raises NotFound."""
    run = await core.store.run_get(run_id)
    if run is None:
        raise NotFound("There is no such run.", run_id=run_id)
    plan = await core.store.plan_get(run.plan_id) if run.plan_id else None
    view = run_json(run, plan, await core.store.attempt_list(run_id))
    answer = {key: view[key] for key in ("conversation_id", "run_id", "status", "text", "usage")}
    if run.error:
        answer["error"] = dict(run.error)
    if plan is None:
        return answer
    settled = [step for step in view["steps"] if step["attempts"]]
    results = [{**step, "step_id": step["id"], "display": display_of(step["result"])} for step in settled]
    return {**answer, "plan": plan_json(plan), "results": results}
