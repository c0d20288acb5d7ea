"""A plan as the JSON of the contract, back again, and its digest.

Used by stores, wire and approvals; what it reads back are our own stored plans, never drafts from outside.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import rfc8785

from llmcore.plan.values import (
    Approval,
    Decision,
    Drift,
    Edit,
    Effect,
    OnError,
    Origin,
    Plan,
    PlanStatus,
    Preview,
    Principal,
    Step,
    StepState,
    Undo,
    Verdict,
    Vote,
)


def digest(plan: Plan) -> str:
    """`sha256:…` over RFC 8785 canonical JSON of all that decides what will run."""
    steps = [
        {
            "id": step.id,
            "intent": step.intent,
            "schema": step.schema_hash,
            "effect": step.effect.value,
            "params": step.params,
            "needs": sorted(step.sources()),
            "when": step.when,
            "on_error": step.on_error.value,
            "retries": step.retries,
            "timeout_s": step.timeout_s,
            "targets": sorted(step.preview.targets) if step.preview else None,
        }
        for step in plan.steps
    ]
    again = {"asked_again": plan.asked_again} if plan.asked_again else {}
    return "sha256:" + hashlib.sha256(canonical({"version": 1, "steps": steps, **again})).hexdigest()


def canonical(value: Any) -> bytes:
    """A JSON value as RFC 8785 canonical JSON."""
    return rfc8785.dumps(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53 - 1:
        return {"$int": str(value)}  # RFC 8785 numbers are IEEE doubles; larger ones are told apart by their digits
    return value


def principal_json(principal: Principal) -> dict[str, Any]:
    """Who acts; `Principal(**data)` reads it back."""
    known = {"name": principal.name, "role": principal.role, "kind": principal.kind}
    return {**known, "autonomy": principal.autonomy} if principal.autonomy else known


def step_json(step: Step) -> dict[str, Any]:
    """One step as the contract writes it."""
    verdict, preview, undo = step.verdict, step.preview, step.undo
    return {
        "id": step.id,
        "intent": step.intent,
        "params": dict(step.params),
        "needs": list(step.needs),
        "when": step.when,
        "on_error": step.on_error.value,
        "retries": step.retries,
        "timeout_s": step.timeout_s,
        "effect": step.effect.value,
        "schema_hash": step.schema_hash,
        "verdict": verdict
        and {
            "decision": verdict.decision.value,
            "rules": list(verdict.rules),
            "reason": verdict.reason,
            "would_allow": verdict.would_allow,
            "approvals": verdict.approvals,
            "roles": list(verdict.roles),
            "excludes_requester": verdict.excludes_requester,
        },
        "preview": preview
        and {
            "targets": list(preview.targets),
            "before": preview.before,
            "after": preview.after,
            "blast": preview.blast,
            **({"attributes": dict(preview.attributes)} if preview.attributes else {}),
        },
        "undo": undo and {"intent": undo.intent, "params": dict(undo.params)},
        "state": step.state.value,
    }


def plan_json(plan: Plan, steps: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The plan as the contract writes it; `plan_from_json` reads it back. `steps` is its steps' JSON where known."""
    approval, edit = plan.approval, plan.edited_from
    return {
        "plan_id": plan.plan_id,
        "run_id": plan.run_id,
        "topic": plan.topic,
        "conversation_id": plan.conversation_id,
        "created_at": plan.created_at,
        "digest": plan.digest,
        "status": plan.status.value,
        "title": plan.title,
        "request": plan.request,
        "requester": principal_json(plan.requester),
        "origin": {"kind": plan.origin.kind, "id": plan.origin.id, "tainted": plan.origin.tainted},
        "effect": plan.effect.value,
        "confidence": plan.confidence,
        "answered_by": plan.answered_by,
        "steps": [step_json(step) for step in plan.steps] if steps is None else list(steps),
        "approval": approval
        and {
            "needed": approval.needed,
            "roles": list(approval.roles),
            "given": [_vote_json(vote) for vote in approval.given],
            "expires_at": approval.expires_at,
            "execute_by": approval.execute_by,
            "excludes_requester": approval.excludes_requester,
            "rejected": approval.rejected and _vote_json(approval.rejected),
        },
        "undoes": plan.undoes,
        "edited_from": edit and {"digest": edit.digest, "by": edit.by, "at": edit.at, "diff": list(edit.diff)},
        "drift": plan.drift and {"reason": plan.drift.reason, "diff": list(plan.drift.diff)},
        "asked_again": plan.asked_again,
    }


def _vote_json(vote: Vote) -> dict[str, Any]:
    return {"by": vote.by, "at": vote.at, "comment": vote.comment, "break_glass": vote.break_glass}


def stored_plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as the store keeps it: with its seal, which is nobody else's business."""
    document = plan_json(plan)
    if plan.approval:
        document["approval"]["seal"] = plan.approval.seal
    return document


def step_from_json(data: Mapping[str, Any]) -> Step:
    """The opposite of `step_json`; for our own stored plans, not for drafts from outside."""
    verdict, preview, undo = data["verdict"], data["preview"], data["undo"]
    return Step(
        id=data["id"],
        intent=data["intent"],
        params=data["params"],
        needs=tuple(data["needs"]),
        when=data["when"],
        on_error=OnError(data["on_error"]),
        retries=data["retries"],
        timeout_s=data["timeout_s"],
        effect=Effect(data["effect"]),
        schema_hash=data["schema_hash"],
        verdict=None
        if verdict is None
        else Verdict(
            decision=Decision(verdict["decision"]),
            rules=tuple(verdict["rules"]),
            reason=verdict["reason"],
            would_allow=verdict["would_allow"],
            approvals=verdict["approvals"],
            roles=tuple(verdict["roles"]),
            excludes_requester=verdict["excludes_requester"],
        ),
        preview=None
        if preview is None
        else Preview(
            targets=tuple(preview["targets"]),
            before=preview["before"],
            after=preview["after"],
            blast=preview["blast"],
            attributes=preview.get("attributes", {}),
        ),
        undo=None if undo is None else Undo(intent=undo["intent"], params=undo["params"]),
        state=StepState(data["state"]),
    )


def plan_from_json(data: Mapping[str, Any]) -> Plan:
    """The opposite of `stored_plan_json`; for our own stored plans."""
    approval, edit = data["approval"], data.get("edited_from")
    return Plan(
        plan_id=data["plan_id"],
        requester=Principal(**data["requester"]),
        run_id=data["run_id"],
        topic=data["topic"],
        conversation_id=data["conversation_id"],
        created_at=data["created_at"],
        digest=data["digest"],
        status=PlanStatus(data["status"]),
        title=data["title"],
        request=data["request"],
        origin=Origin(**data["origin"]),
        confidence=data["confidence"],
        answered_by=data["answered_by"],
        steps=tuple(step_from_json(step) for step in data["steps"]),
        approval=None
        if approval is None
        else Approval(
            needed=approval["needed"],
            roles=tuple(approval["roles"]),
            given=tuple(Vote(**vote) for vote in approval["given"]),
            expires_at=approval["expires_at"],
            execute_by=approval.get("execute_by"),
            excludes_requester=approval["excludes_requester"],
            rejected=Vote(**approval["rejected"]) if approval.get("rejected") else None,
            seal=approval.get("seal"),
        ),
        undoes=data.get("undoes"),
        edited_from=None if edit is None else Edit(**{**edit, "diff": tuple(edit["diff"])}),
        drift=_drift_from_json(data.get("drift")),
        asked_again=data.get("asked_again", 0),
    )


def _drift_from_json(data: Mapping[str, Any] | None) -> Drift | None:
    return None if data is None else Drift(reason=data["reason"], diff=tuple(data["diff"]))
