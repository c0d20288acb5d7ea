"""RPCs of templates: save a plan to be run again with other values, list, show, run, delete."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmcore.api.chains import chain_answer, new_plan
from llmcore.api.core import ID, Caller, Core, rpc
from llmcore.errors import BadParams
from llmcore.events import TOPIC_PREFIX
from llmcore.plan import Origin
from llmcore.templates import EXAMPLES_SCHEMA, NAME_SCHEMA, PARAMS_SCHEMA, Template

_NAME = {"type": "string", "minLength": 1, "maxLength": 64}
_VALUE = {"type": ["string", "integer", "number", "boolean"]}


@rpc(
    "template_save",
    {"name": NAME_SCHEMA},
    plan_id=ID,
    steps={"type": "array"},
    params=PARAMS_SCHEMA,
    title={"type": "string", "maxLength": 200},
    description={"type": "string", "maxLength": 2_000},
    examples=EXAMPLES_SCHEMA,
)
async def template_save(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Save a plan, or steps, under a name, with params in the place of some of its values."""
    if ("plan_id" in params) == ("steps" in params):
        raise BadParams(
            "template_save: either plan_id or steps.", [{"pointer": "/plan_id", "message": "or steps, not both"}]
        )
    plan = await core.session.visible_plan(params["plan_id"], caller.principal) if "plan_id" in params else None
    saved = await core.templates.save(params, caller.principal, plan, params.get("steps", ()))
    return {"template": _json(core, saved)}


@rpc("template_list")
async def template_list(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """The templates that the caller may see: saved ones, newest first, then bundled ones."""
    core.audit.note("template.list", caller.principal)
    found = await core.templates.list(caller.principal)
    return {"templates": [_json(core, template) for template in found]}


@rpc("template_get", {"name": _NAME})
async def template_get(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """One template."""
    core.audit.note("template.get", caller.principal, template=params["name"])
    return {"template": _json(core, await core.templates.get(params["name"], caller.principal))}


@rpc(
    "template_run",
    {"name": _NAME},
    params={"type": "object", "additionalProperties": _VALUE, "maxProperties": 20},
    mode={"enum": ["propose", "run"]},
    conversation_id=ID,
    topic={"type": "string", "pattern": f"^{TOPIC_PREFIX}[^\\s]{{1,150}}$"},
)
async def template_run(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Propose the plan that a template makes of these values, or run at once what policy allows without asking."""
    values = params.get("params", {})
    filled = await core.templates.filled(params["name"], values, caller.principal)
    steps = core.catalog.steps(filled.steps)
    told = ", ".join(f"{name}={value}" for name, value in values.items())
    title = " ".join(f"{filled.title} ({told})".split())[:200] if values else filled.title
    plan, new = await new_plan(core, steps, title, caller, params.get("conversation_id"), params.get("topic"))
    origin = Origin(kind="template", id=filled.name, tainted=filled.tainted)
    made = replace(plan, origin=origin, answered_by="template")
    await core.audit.record("template.run", caller.principal, template=filled.name, params=values, plan_id=made.plan_id)
    proposed = await core.session.propose(made, start=params.get("mode") == "run", conversation=new)
    return chain_answer(proposed)


@rpc("template_delete", {"name": _NAME})
async def template_delete(core: Core, params: Mapping[str, Any], caller: Caller) -> Any:
    """Forget a saved template; plans that were made of it stay."""
    return {"template": _json(core, await core.templates.delete(params["name"], caller.principal))}


def _json(core: Core, template: Template) -> dict[str, Any]:
    effect = core.templates.effect(template)
    return {**template.json(), "intents": list(template.intents), "effect": effect.value if effect else None}
