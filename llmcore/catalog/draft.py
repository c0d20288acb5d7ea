"""From the JSON of a chain or an edit to checked steps.

Used by `Catalog.steps`; everything here comes from outside and is told apart field by field.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jsonschema import Draft202012Validator

from llmcore.catalog.checks import ParamsValidator, describe
from llmcore.errors import BadParams
from llmcore.intent import Intent
from llmcore.plan import DEFAULT_TIMEOUT_S, MAX_STEPS, OnError, Step, ancestors, is_reference

MAX_TIMEOUT_S = 86_400.0

_STEP_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["intent"],
    "properties": {
        "id": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]{0,31}$"},
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


class _Problems:
    """Collects `{"pointer", "message"}`; raises once at the end so that a caller sees all of them."""

    def __init__(self) -> None:
        self.fields: list[dict[str, str]] = []

    def add(self, pointer: str, message: str) -> None:
        self.fields.append({"pointer": pointer, "message": message})

    def settle(self) -> None:
        if self.fields:
            first = self.fields[0]
            raise BadParams(f"The plan is refused: {first['pointer']} {first['message']}.", self.fields)


def steps_of(
    raw: Sequence[Any], intents: Mapping[str, Intent], validators: Mapping[str, ParamsValidator]
) -> tuple[Step, ...]:
    """Checked steps; raises BadParams that names every wrong field relative to the RPC's params."""
    problems = _Problems()
    if not raw:
        problems.add("/steps", "must have at least one step")
    if len(raw) > MAX_STEPS:
        problems.add("/steps", f"must have at most {MAX_STEPS} steps")
    problems.settle()
    for number, item in enumerate(raw):
        _check_shape(number, item, problems)
    problems.settle()
    ids = [item.get("id", f"s{number + 1}") for number, item in enumerate(raw)]
    steps = tuple(_step(number, item, ids, intents, validators, problems) for number, item in enumerate(raw))
    problems.settle()
    ancestors(steps)
    return steps


def _check_shape(number: int, item: Any, problems: _Problems) -> None:
    for error in _STEP.iter_errors(item):
        for problem in describe(error):
            problems.add(f"/steps/{number}{problem['pointer']}", problem["message"])
    if isinstance(item, Mapping):
        for name in item.keys() - _STEP_SCHEMA["properties"].keys() - _COMPUTED:
            problems.add(f"/steps/{number}/{name}", "is not a field of a step")


def _step(
    number: int,
    item: Mapping[str, Any],
    ids: Sequence[str],
    intents: Mapping[str, Intent],
    validators: Mapping[str, ParamsValidator],
    problems: _Problems,
) -> Step:
    here = f"/steps/{number}"
    params = item.get("params", {})
    needs = tuple(dict.fromkeys(item.get("needs", ())))
    if ids[number] in ids[:number]:
        problems.add(f"{here}/id", f"{ids[number]} is used twice")
    for position, need in enumerate(needs):
        if need not in ids:
            problems.add(f"{here}/needs/{position}", f"names {need!r}, which is not a step of this plan")
    _check_references(f"{here}/params", params, ids[:number], ids, problems)
    name = item["intent"].removeprefix("intent_")
    intent = intents.get(name)
    if intent is None:
        problems.add(f"{here}/intent", f"{name!r} is not an intent of this host")
        return Step(id=ids[number], intent=name)
    for problem in validators[name].problems_with_references(params):
        problems.add(f"{here}/params{problem['pointer']}", problem["message"])
    if item.get("retries", 0) and not intent.idempotent:
        problems.add(f"{here}/retries", f"{name} is not idempotent, so it must not be retried")
    return Step(
        id=ids[number],
        intent=name,
        params=params,
        needs=needs,
        when=item.get("when"),
        on_error=OnError(item.get("on_error", "stop")),
        retries=item.get("retries", 0),
        timeout_s=float(item.get("timeout_s", DEFAULT_TIMEOUT_S)),
        effect=intent.effect,
        schema_hash=intent.schema_hash,
    )


def _check_references(here: str, params: Any, earlier: Sequence[str], ids: Sequence[str], problems: _Problems) -> None:
    for pointer, reference in _located(here, params):
        source = reference["$from"]
        if source not in ids:
            problems.add(pointer, f"refers to {source!r}, which is not a step of this plan")
        elif source not in earlier:
            problems.add(pointer, f"refers to {source!r}, which is not an earlier step")
        path = reference.get("path")
        if path is None:
            continue
        try:
            jmespath.compile(path)
        except (JMESPathError, TypeError, AttributeError):
            problems.add(pointer, f"has a path that is not JMESPath: {path!r}")


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
