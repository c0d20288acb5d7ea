"""RPCs of plans and runs: propose a chain, look, edit, approve, reject, cancel."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from llmcore.api.core import ID, TEXT, Caller, Core, rpc
from llmcore.api.views import run_of
from llmcore.events import TOPIC_PREFIX
from llmcore.plan import Origin, Plan, PlanStatus, Step, plan_json
from llmcore.ports import Conversation, rfc3339

_STEPS = {"type": "array"}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 500}
_TOPIC = {"type": "string", "pattern": f"^{TOPIC_PREFIX}[^\\s]{{1,150}}$"}


@rpc(
    "chain",
    {"steps": _STEPS},
    title={"type": "string", "maxLength": 200},
    mode={"enum": ["propose", "run"]},
    conversation_id=ID,
    topic=_TOPIC,
)
async def chain(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Propose a plan of steps, or run at once what policy allows without asking."""
    steps = core.catalog.steps(params["steps"])
    title = params.get("title") or ", then ".join(step.intent for step in steps[:3])
    plan, new = await new_plan(core, steps, title, caller, params.get("conversation_id"), params.get("topic"))
    proposed = await core.session.propose(plan, start=params.get("mode") == "run", conversation=new)
    return chain_answer(proposed)


async def new_plan(
    core: Core, steps: tuple[Step, ...], title: str, caller: Caller, conversation_id: str | None, topic: str | None
) -> tuple[Plan, Conversation | None]:
    """A plan asked for through the api, in the given conversation or a new one, which comes with it to be stored."""
    conversation, new = await core.conversations.begin(conversation_id, caller.principal, title)
    plan_id = f"pl_{uuid4().hex}"
    plan = Plan(
        plan_id=plan_id,
        requester=caller.principal,
        conversation_id=conversation.conversation_id,
        topic=topic or f"{TOPIC_PREFIX}{plan_id}",
        created_at=rfc3339(core.clock.now()),
        origin=Origin(kind="api", id=caller.principal.name),
        steps=steps,
        title=title,
        request=title,
    )
    return plan, conversation if new else None


def chain_answer(plan: Plan) -> dict[str, Any]:
    """What `chain` answers."""
    answer = {"plan_id": plan.plan_id, "digest": plan.digest, "status": plan.status.value, "plan": plan_json(plan)}
    return {**answer, "run_id": plan.run_id} if plan.run_id else answer


# --- plans ---


@rpc("plan_get", {"plan_id": ID})
async def plan_get(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """One plan."""
    return {"plan": plan_json(await core.session.visible_plan(params["plan_id"], caller.principal))}


@rpc(
    "plan_list",
    status={"enum": [status.value for status in PlanStatus]},
    limit=_LIMIT,
)
async def plan_list(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """The plans that the caller may see, newest first."""
    statuses = [PlanStatus(params["status"])] if "status" in params else []
    plans = await core.session.visible_plans(caller.principal, statuses, params.get("limit", 100))
    return {"plans": [plan_json(plan) for plan in plans]}


@rpc("plan_edit", {"plan_id": ID, "steps": _STEPS})
async def plan_edit(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Change the steps of a waiting plan: a new digest, approvals dropped; `diff` tells each step's change."""
    steps = core.catalog.steps(params["steps"])
    plan = await core.session.edit(params["plan_id"], steps, caller.principal)
    return {"plan": plan_json(plan), "diff": list(plan.edited_from.diff) if plan.edited_from else []}


@rpc(
    "plan_approve",
    {"plan_id": ID, "digest": {"type": "string", "minLength": 1, "maxLength": 80}},
    comment=TEXT,
    break_glass={"type": "boolean"},
)
async def plan_approve(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Approve exactly the plan of that digest; with the last approval needed it runs.

    With `break_glass` an admin stands for all the people that are asked, and says why in the comment.
    """
    plan = await core.session.approve(
        params["plan_id"],
        params["digest"],
        caller.principal,
        params.get("comment", ""),
        break_glass=params.get("break_glass", False),
    )
    return {"plan": plan_json(plan)}


@rpc("plan_reject", {"plan_id": ID}, reason=TEXT)
async def plan_reject(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Say no to a waiting plan."""
    return {"plan": plan_json(await core.session.reject(params["plan_id"], caller.principal, params.get("reason", "")))}


# --- runs ---


@rpc("run_get", {"run_id": ID})
async def run_get(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """One run with its steps."""
    return {"run": await run_of(core, await core.session.visible_run(params["run_id"], caller.principal))}


@rpc("run_list", limit=_LIMIT)
async def run_list(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """The caller's runs, newest first; an admin sees those of everybody."""
    owner = None if caller.principal.role == "admin" else caller.principal.name
    runs = await core.store.run_list(owner, limit=params.get("limit", 50))
    return {"runs": [await run_of(core, run) for run in runs]}


@rpc("run_cancel", {"run_id": ID})
async def run_cancel(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Stop a run wherever it is."""
    return {"run": await run_of(core, await core.session.cancel(params["run_id"], caller.principal))}


@rpc("run_undo", {"run_id": ID})
async def run_undo(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Take back what a run has changed, by a plan of its own: it waits for approval where policy asks."""
    return {"plan": plan_json(await core.session.undo(params["run_id"], caller.principal))}


@rpc("run_resolve", {"run_id": ID, "step_id": ID, "outcome": {"enum": ["done", "retry", "stop"]}})
async def run_resolve(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Say what became of a step of which nobody can tell whether it happened."""
    run = await core.session.resolve(params["run_id"], params["step_id"], params["outcome"], caller.principal)
    return {"run": await run_of(core, run)}
