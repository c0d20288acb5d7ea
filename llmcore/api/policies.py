"""RPCs of the policy's standing rules: "allow this from now on", what is allowed so, and withdrawing it."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from llmcore.api.chains import chain_answer, new_plan
from llmcore.api.core import ID, Caller, Core, rpc
from llmcore.errors import BadParams, Conflict, Forbidden, Unavailable
from llmcore.plan import Plan, Step
from llmcore.policy import ALLOW, WITHDRAW, targets_of
from llmcore.standing import StandingRules, told

_DAYS = 30


@rpc(
    "policy_allow",
    {"plan_id": ID},
    step_id=ID,
    days={"type": "integer", "minimum": 1, "maximum": 365},
    role={"enum": ["admin", "developer"]},
)
async def policy_allow(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Propose to allow a step of a plan from now on: its intent, on its target, for a role; an admin approves."""
    _room(core)
    plan = await core.session.visible_plan(params["plan_id"], caller.principal)
    step = _meant(plan, params.get("step_id"))
    role = params.get("role", plan.requester.role)
    if role == "observer":
        raise Forbidden("An observer only reads, whatever rules there are; name another role.", role=role)
    wanted = {
        "rule_id": f"rl_{uuid4().hex}",
        "intent": step.intent,
        "target": _target(step),
        "role": role,
        "kind": plan.requester.kind,
        "days": params.get("days", _DAYS),
    }
    title = f"Allow {step.intent} on {wanted['target']} from now on"
    return await _proposed(core, ALLOW, wanted, title, caller)


@rpc("policy_rules")
async def policy_rules(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """The standing rules that count now, those that end last first."""
    return {"rules": [told(rule) for rule in await _room(core).active()]}


@rpc("policy_withdraw", {"rule_id": ID})
async def policy_withdraw(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Withdraw a standing rule: an admin at once, others propose it."""
    room = _room(core)
    rule = await room.known(params["rule_id"])
    if caller.principal.role != "admin":
        title = f"Withdraw what allows {rule['intent']} on {rule['target']}"
        return await _proposed(core, WITHDRAW, {"rule_id": params["rule_id"]}, title, caller)
    await core.audit.record("policy.withdraw", caller.principal, rule=rule)
    return await room.withdraw(params["rule_id"])


def _room(core: Core) -> StandingRules:
    if core.standing is None or ALLOW not in core.catalog:
        raise Unavailable("Standing rules are not set up on this server.")
    return core.standing


def _meant(plan: Plan, step_id: str | None) -> Step:
    """The named step, or the only one that changes something."""
    changing = [step for step in plan.steps if step.mutates] or list(plan.steps)
    found = [step for step in plan.steps if step.id == step_id] if step_id else changing
    if len(found) != 1:
        message = "is not a step of this plan" if step_id else "is missing: the plan has several steps to choose from"
        raise BadParams(f"policy_allow: step_id {message}.", [{"pointer": "/step_id", "message": message}])
    return found[0]


def _target(step: Step) -> str:
    targets = targets_of(step)
    if len(targets) != 1 or not targets[0]:
        raise Conflict(
            f"{step.intent} touches {len(targets)} targets here; only one exact target can be allowed from now on.",
            step_id=step.id,
            targets=list(targets),
        )
    return targets[0]


async def _proposed(core: Core, intent: str, params: Mapping[str, Any], title: str, caller: Caller) -> Any:
    steps = core.catalog.steps([{"intent": intent, "params": params}])
    plan, new = await new_plan(core, steps, title, caller, None, None)
    return chain_answer(await core.session.propose(plan, start=False, conversation=new))
