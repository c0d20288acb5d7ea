"""A run as a JSON document and back.

Used by the part of the store for runs. What it reads are our own rows.
"""

from collections.abc import Mapping
from typing import Any

from llmcore.plan import PlanStatus, Principal, StepResult, StepState, principal_json
from llmcore.ports import Run, Usage


def run_json(run: Run) -> dict[str, Any]:
    """All of a run."""
    return {
        "run_id": run.run_id,
        "conversation_id": run.conversation_id,
        "topic": run.topic,
        "owner": principal_json(run.owner),
        "status": run.status.value,
        "created_at": run.created_at,
        "plan_id": run.plan_id,
        "segment": run.segment,
        "text": run.text,
        "steps": [_result_json(result) for result in run.steps],
        "request": run.request,
        "usage": {
            "input_tokens": run.usage.input_tokens,
            "output_tokens": run.usage.output_tokens,
            "cached_tokens": run.usage.cached_tokens,
        },
        "error": run.error,
    }


def run_from_json(data: Mapping[str, Any]) -> Run:
    """The opposite of `run_json`."""
    changed = {
        "owner": Principal(**data["owner"]),
        "status": PlanStatus(data["status"]),
        "steps": tuple(StepResult(**{**result, "state": StepState(result["state"])}) for result in data["steps"]),
        "usage": Usage(**data["usage"]),
    }
    return Run(**{**data, **changed})


def _result_json(result: StepResult) -> dict[str, Any]:
    return {
        "step_id": result.step_id,
        "intent": result.intent,
        "state": result.state.value,
        "result": result.result,
        "error": result.error,
        "attempts": result.attempts,
        "started_at": result.started_at,
        "finished_at": result.finished_at,
    }
