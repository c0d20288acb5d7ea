"""What the audit trail is told of a plan.

Called by the flow and by carrying, whenever a plan is new or gets its digest.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from llmcore.audit import Audit, canonical
from llmcore.plan import Plan, PlanStatus, Step

PARAMS_BYTES = 4_000
"""Params of a step that are larger are told by their hash; the record of the step's beginning has them whole."""


async def tell_plan(audit: Audit, plan: Plan, *, denied: bool = False) -> None:
    """Record a plan as `plan.propose`, or as `plan.denied` where policy refuses it; raises Unavailable."""
    action = "plan.denied" if denied or plan.status is PlanStatus.REJECTED else "plan.propose"
    await audit.record(action, plan.requester, **facts_of(plan))


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
