"""From what people hand in to a template that can be run, and from values to steps.

Used by the room; `bundled_template` also by app. Everything here comes from outside and is told apart field by field.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmcore.catalog import Catalog, CatalogError
from llmcore.catalog.checks import ParamsValidator
from llmcore.catalog.linear import LinearValidator
from llmcore.catalog.nested import flattened
from llmcore.catalog.problems import Problems
from llmcore.errors import BadParams
from llmcore.plan import (
    DEFAULT_TIMEOUT_S,
    RawStep,
    Shape,
    Step,
    Values,
    ancestors,
    fill,
    generalise,
    is_placeholder,
    placeholders,
)
from llmcore.templates.values import FILE_SCHEMA, Filled, Template

_FILE = ParamsValidator(FILE_SCHEMA)
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}
_GUESSES = {"string": "x", "integer": 1, "number": 1, "boolean": True}


def raw_steps(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The steps of a plan as the contract writes them, without what is worked out anew each time."""
    return [
        {
            "id": step.id,
            "intent": step.intent,
            "params": dict(step.params),
            "needs": list(step.needs),
            "when": step.when,
            "on_error": step.on_error.value,
            "retries": step.retries,
            **({"timeout_s": step.timeout_s} if step.timeout_s != DEFAULT_TIMEOUT_S else {}),
        }
        for step in steps
    ]


def made_template(asked: Mapping[str, Any], steps: Sequence[Any], catalog: Catalog) -> Template:
    """A checked template of what was asked for; raises BadParams with every field that is wrong."""
    flat = _flat(steps)
    if not flat or not all(isinstance(step, Mapping) and isinstance(step.get("params", {}), Mapping) for step in flat):
        catalog.steps(flat)  # refuses them, and says why
    specs = {
        name: spec if isinstance(spec, Mapping) else {"value": spec} for name, spec in asked.get("params", {}).items()
    }
    values = {name: spec["value"] for name, spec in specs.items() if "value" in spec}
    _check_values(values)
    open_steps = generalise(flat, values)
    template = Template(
        name=asked["name"],
        steps=tuple(open_steps),
        params=_schemas(specs, open_steps, catalog),
        title=asked.get("title") or asked["name"],
        description=asked.get("description", ""),
        examples=tuple(asked.get("examples", ())),
    )
    _check_places(template, flat, values)
    check(template, catalog, values)
    return template


def bundled_template(data: Any, source: str, catalog: Catalog, *, needed: bool) -> Template | None:
    """A template out of a file; None if it is not `needed` and this host lacks an intent of it. Raises CatalogError."""
    try:
        if not isinstance(data, Mapping):
            raise BadParams("is no template: it needs `name` and `steps`.")
        problems = _FILE.problems(data)
        if problems:
            raise BadParams("", problems)
        if not needed and any(step.get("intent") not in catalog for step in _flat(data["steps"])):
            return None
        return made_template(data, data["steps"], catalog)
    except BadParams as refused:
        first = next(iter(refused.details["fields"]), {"pointer": "", "message": refused.message})
        raise CatalogError(source, first["pointer"].lstrip("/") or "template", first["message"]) from refused


def _flat(steps: Sequence[Any]) -> list[Any]:
    problems = Problems()
    flat = [step for _, step in flattened(steps, problems)]
    problems.settle()
    return flat


def shapes(template: Template) -> list[Shape]:
    """The texts that mean the template; raises BadParams for one that cannot be matched."""
    found = [Shape(text, template.steps, template.params) for text in template.examples]
    for number, shape in enumerate(found):
        lacking = set(template.schema["required"]) - {piece.slot for piece in shape.pieces}
        if lacking:
            raise _misfit(f"/examples/{number}", f"lacks {', '.join(f'{{{name}}}' for name in sorted(lacking))}")
    return found


def check(template: Template, catalog: Catalog, values: Values) -> None:
    """Raise BadParams if it could not be run; `values` are examples of some of its params."""
    validator = LinearValidator(template.schema)
    wrong = [problem for known in (template.defaults, values) for problem in _misfits(validator, known)]
    if wrong:
        raise BadParams(f"{template.name}: a value does not fit its own param.", located(wrong))
    shapes(template)
    known = {**template.defaults, **values}
    guessed = {name: _guess(schema) for name, schema in template.params.items() if name not in known}
    filled = fill(template.steps, {**guessed, **known})
    try:
        catalog.steps(filled)
    except BadParams as refused:
        fields = [field for field in refused.details["fields"] if not _open(field["pointer"], template, guessed)]
        if fields:
            raise BadParams(
                f"The template is refused: {fields[0]['pointer']} {fields[0]['message']}.", fields
            ) from None
        ancestors([_skeleton(number, step) for number, step in enumerate(filled)])


def _misfits(validator: LinearValidator, values: Values) -> Iterator[dict[str, str]]:
    """What is wrong with some of the params; nothing is missing."""
    return (problem for problem in validator.problems(values) if problem["pointer"].lstrip("/") in values)


def filled(template: Template, params: Mapping[str, Any], catalog: Catalog) -> Filled:
    """Its steps with these values, checked; raises BadParams with pointers relative to the RPC's params."""
    problems = LinearValidator(template.schema).problems(params)
    if problems:
        first = problems[0]
        what = f"{first['pointer'].lstrip('/') or 'params'} {first['message']}"
        raise BadParams(f"{template.name}: {what}.", located(problems))
    steps = fill(template.steps, {**template.defaults, **params})
    try:
        catalog.steps(steps)
    except BadParams as refused:
        fields = [_blamed(field, template) for field in refused.details["fields"]]
        raise BadParams(f"{template.name}: {refused.message}", fields) from refused
    return Filled(template.name, template.title, tuple(steps), template.tainted)


def located(problems: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Problems of the params of a template with pointers relative to those of the RPC."""
    return [{**problem, "pointer": f"/params{problem['pointer']}"} for problem in problems]


def _check_values(values: Values) -> None:
    seen: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, bool) or value == "":
            raise _misfit(f"/params/{name}/value", "cannot be looked for; write the placeholder into the steps")
        other = seen.setdefault(str(value), name)
        if other != name:
            raise _misfit(f"/params/{name}/value", f"is that of {other} too, so nobody can tell which is meant")


def _check_places(template: Template, flat: Sequence[RawStep], values: Values) -> None:
    """Every param has a place, and none of its places was left out."""
    used = {name for step in template.steps for name in placeholders(step["params"])}
    for name in template.params:
        if name not in used:
            raise _misfit(f"/params/{name}", "does not stand in the params of any step")
    code = {name: [part for step in flat for part in _code(step)] for name in values}
    for name, value in values.items():
        probe = [{"params": {"code": code[name]}}]
        if generalise(probe, {name: value}) != probe:
            raise _misfit(f"/params/{name}/value", "stands in a condition or a reference, which take no params")


def _code(step: RawStep) -> Iterator[str]:
    yield str(step.get("when") or "")
    yield from _paths(step.get("params", {}))


def _paths(value: Any) -> Iterator[str]:
    """The JMESPath of every reference."""
    if isinstance(value, Mapping):
        if isinstance(value.get("$from"), str):
            yield str(value.get("path", ""))
        for inner in value.values():
            yield from _paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _paths(inner)


def _schemas(
    specs: Mapping[str, Mapping[str, Any]], steps: Sequence[RawStep], catalog: Catalog
) -> dict[str, dict[str, Any]]:
    """A schema for every param: as asked for, else as its value or its place in the intent's own schema tells."""
    names = dict.fromkeys([*specs, *(name for step in steps for name in placeholders(step["params"]))])
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        spec = {key: value for key, value in specs.get(name, {}).items() if key != "value"}
        known = next((specs[name][key] for key in ("value", "default") if key in specs.get(name, {})), None)
        told = _TYPES.get(type(known)) or _place_type(name, steps, catalog)
        found[name] = {"type": told, **spec}
    return found


def _place_type(name: str, steps: Sequence[RawStep], catalog: Catalog) -> str:
    for step in steps:
        for key, value in step["params"].items():
            if value == {"$param": name} and step.get("intent") in catalog:
                told = catalog.get(step["intent"]).schema.get("properties", {}).get(key, {}).get("type")
                return told if told in _GUESSES else "string"
    return "string"


def _guess(schema: Mapping[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    return schema.get("minimum", _GUESSES[schema["type"]])


def _open(pointer: str, template: Template, guessed: Values) -> bool:
    """True if a problem is that of a value which is only a guess."""
    return not set(_waiting_at(pointer, template)).isdisjoint(guessed)


def _blamed(field: Mapping[str, str], template: Template) -> dict[str, str]:
    """A problem of a step as that of the param whose value stands there."""
    names = _waiting_at(field["pointer"], template)
    return {**field, "pointer": f"/params/{names[0]}"} if names else dict(field)


def _waiting_at(pointer: str, template: Template) -> list[str]:
    """The params that stand where a pointer into the steps leads."""
    value: Any = {"steps": list(template.steps)}
    for part in pointer.split("/")[1:]:
        if is_placeholder(value):
            break
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping):
            value = value.get(key)
        else:
            value = value[int(key)] if isinstance(value, list) and key.isdigit() and int(key) < len(value) else None
    return list(placeholders(value)) if is_placeholder(value) else []


def _skeleton(number: int, step: RawStep) -> Step:
    """As much of a step as tells what it waits for."""
    return Step(
        id=step.get("id", f"s{number + 1}"),
        intent=step["intent"],
        params=step["params"],
        needs=tuple(step.get("needs", ())),
    )


def with_owner(template: Template, earlier: Template | None, owner: tuple[str, str], now: str) -> Template:
    """The template as somebody's, made now or changed now."""
    name, role = owner
    return replace(
        template,
        owner=name,
        owner_role=role,
        created_at=earlier.created_at if earlier else now,
        updated_at=now,
    )


def _misfit(pointer: str, problem: str) -> BadParams:
    return BadParams(f"The template is refused: {pointer} {problem}.", [{"pointer": pointer, "message": problem}])
