"""From the JSON of a chain or an edit to checked steps.

Used by `Catalog.steps`; everything here comes from outside and is told apart field by field.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jsonschema import Draft202012Validator

from llmcore.catalog.checks import ParamsValidator, describe
from llmcore.catalog.nested import flattened
from llmcore.catalog.problems import Problems
from llmcore.errors import BadParams
from llmcore.intent import Intent
from llmcore.plan import DEFAULT_TIMEOUT_S, MAX_STEPS, OnError, Step, ancestors, condition_sources, is_reference

MAX_TIMEOUT_S = 86_400.0
LONG_TIMEOUT_S = 3600.0
"""Time-out of a step whose intent may take long and whose plan names none."""

_STEP_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["intent"],
    "properties": {
        "id": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]{0,63}$"},
        "intent": {"type": "string", "minLength": 1, "maxLength": 80},
        "params": {"type": "object"},
        "needs": {"type": "array", "items": {"type": "string"}, "maxItems": MAX_STEPS},
        "when": {"type": ["string", "null"], "maxLength": 2000},
        "on_error": {"enum": [value.value for value in OnError]},
        "retries": {"type": "integer", "minimum": 0, "maximum": 10},
        "timeout_s": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT_S},
    },
    "additionalProperties": True,
}
_STEP = Draft202012Validator(_STEP_SCHEMA)
_COMPUTED = frozenset({"effect", "verdict", "preview", "undo", "state", "schema_hash", "progress"})
"""Fields of a stored step that an edit may send back; they are always worked out anew."""


def steps_of(
    raw: Sequence[Any], intents: Mapping[str, Intent], validators: Mapping[str, ParamsValidator]
) -> tuple[Step, ...]:
    """Checked steps; raises BadParams that names every wrong field relative to the RPC's params."""
    problems = Problems()
    placed = flattened(raw, problems)
    if not placed:
        problems.add("/steps", "must have at least one step")
    if len(placed) > MAX_STEPS:
        problems.add("/steps", f"must have at most {MAX_STEPS} steps")
    problems.settle()
    for place, item in placed:
        _check_shape(place, item, problems)
    problems.settle()
    ids = [item.get("id", f"s{number + 1}") for number, (_, item) in enumerate(placed)]
    steps = tuple(
        _step(_Place(place, ids[number], ids[:number], ids), item, intents, validators, problems)
        for number, (place, item) in enumerate(placed)
    )
    problems.settle()
    ancestors(steps)
    return steps


def _check_shape(here: str, item: Any, problems: Problems) -> None:
    for error in _STEP.iter_errors(item):
        for problem in describe(error):
            problems.add(f"{here}{problem['pointer']}", problem["message"])
    if isinstance(item, Mapping):
        for name in item.keys() - _STEP_SCHEMA["properties"].keys() - _COMPUTED:
            problems.add(f"{here}/{name}", "is not a field of a step")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a step stands."""

    here: str
    """Its JSON pointer."""
    id: str
    earlier: Sequence[str]
    """Ids of the steps before it."""
    ids: Sequence[str]
    """Ids of all steps."""


def _step(
    place: _Place,
    item: Mapping[str, Any],
    intents: Mapping[str, Intent],
    validators: Mapping[str, ParamsValidator],
    problems: Problems,
) -> Step:
    here = place.here
    params = item.get("params", {})
    needs = tuple(dict.fromkeys(item.get("needs", ())))
    if place.id in place.earlier:
        problems.add(f"{here}/id", f"{place.id} is used twice")
    for position, need in enumerate(needs):
        if need not in place.ids:
            problems.add(f"{here}/needs/{position}", f"names {need!r}, which is not a step of this plan")
    _check_references(place, params, problems)
    _check_condition(place, item.get("when"), problems)
    name = item["intent"].removeprefix("intent_")
    intent = intents.get(name)
    if intent is None:
        problems.add(f"{here}/intent", f"{name!r} is not an intent of this host")
        return Step(id=place.id, intent=name)
    for problem in validators[name].problems_with_references(params):
        problems.add(f"{here}/params{problem['pointer']}", problem["message"])
    if item.get("retries", 0) and not intent.idempotent:
        problems.add(f"{here}/retries", f"{name} is not idempotent, so it must not be retried")
    usual_s = LONG_TIMEOUT_S if intent.long_running else DEFAULT_TIMEOUT_S
    return Step(
        id=place.id,
        intent=name,
        params=params,
        needs=needs,
        when=item.get("when"),
        on_error=OnError(item.get("on_error", "stop")),
        retries=item.get("retries", 0),
        timeout_s=float(item.get("timeout_s", usual_s)),
        effect=intent.effect,
        schema_hash=intent.schema_hash,
    )


def _check_references(place: _Place, params: Any, problems: Problems) -> None:
    for pointer, reference in _located(f"{place.here}/params", params):
        _check_source(pointer, "refers to", reference["$from"], place, problems)
        path = reference.get("path")
        if path is None:
            continue
        try:
            jmespath.compile(path)
        except (JMESPathError, TypeError, AttributeError):
            problems.add(pointer, f"has a path that is not JMESPath: {path!r}")


def _check_condition(place: _Place, when: str | None, problems: Problems) -> None:
    if when is None:
        return
    pointer = f"{place.here}/when"
    try:
        sources = condition_sources(when)
    except BadParams as refused:
        problems.add(pointer, refused.details["fields"][0]["message"])
        return
    for source in sorted(sources):
        _check_source(pointer, "reads", source, place, problems)


def _check_source(pointer: str, verb: str, source: str, place: _Place, problems: Problems) -> None:
    if source not in place.ids:
        problems.add(pointer, f"{verb} {source!r}, which is not a step of this plan")
    elif source not in place.earlier:
        problems.add(pointer, f"{verb} {source!r}, which is not an earlier step")


def _located(pointer: str, value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All references inside a JSON value, each with its JSON pointer."""
    if is_reference(value):
        yield pointer, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _located(f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}", inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _located(f"{pointer}/{number}", inner)
