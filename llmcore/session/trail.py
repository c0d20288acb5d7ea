"""What the audit trail is told of requests and plans.

Called by the flow and by carrying: of each request, and whenever a plan is new or gets its digest.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from llmcore.audit import Audit, canonical
from llmcore.plan import Plan, PlanStatus, Step
from llmcore.ports import Run

PARAMS_BYTES = 4_000
"""Params of a step that are larger are told by their hash; the record of the step's beginning has them whole."""


def chat_facts(run: Run) -> dict[str, Any]:
    """What was asked, and with which options."""
    asked = {key: run.request[key] for key in ("prompt", "mode", "options") if run.request.get(key)}
    return {"run_id": run.run_id, "conversation_id": run.conversation_id, **asked}


async def tell_plan(audit: Audit, plan: Plan, *, denied: bool = False, model: str | None = None) -> None:
    """Record a plan as `plan.propose`, or as `plan.denied` where policy refuses it; raises Unavailable.

    `model` is the one that took part in planning it.
    """
    action = "plan.denied" if denied or plan.status is PlanStatus.REJECTED else "plan.propose"
    await audit.record(action, plan.requester, **facts_of(plan), model=model)


def facts_of(plan: Plan) -> dict[str, Any]:
    """All that decides about a plan: words, origin, steps with their verdicts, what it needs, its digest."""
    approval = plan.approval
    asked = approval and {"needed": approval.needed, "roles": approval.roles, "expires_at": approval.expires_at}
    return {
        "plan_id": plan.plan_id,
        "run_id": plan.run_id,
        "digest": plan.digest,
        "request": plan.request,
        "title": plan.title,
        "origin": {"kind": plan.origin.kind, "id": plan.origin.id, "tainted": plan.origin.tainted},
        "answered_by": plan.answered_by,
        "confidence": plan.confidence,
        "undoes": plan.undoes,
        "steps": [_step(step) for step in plan.steps],
        "approval": asked,
    }


def _step(step: Step) -> dict[str, Any]:
    verdict = step.verdict
    return {
        "id": step.id,
        "intent": step.intent,
        "params": _bounded(step.params),
        "verdict": verdict
        and {"decision": verdict.decision.value, "rules": list(verdict.rules), "reason": verdict.reason},
    }


def _bounded(params: Mapping[str, Any]) -> Mapping[str, Any]:
    text = canonical(params)
    if len(text) <= PARAMS_BYTES:
        return params
    return {"sha256": hashlib.sha256(text).hexdigest(), "bytes": len(text)}
