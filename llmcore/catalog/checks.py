"""What makes an intent fit for the catalogue, and params fit for an intent.

Used by `Catalog` when it is built and on every call; the only home of jsonschema. Knows no files.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError, ValidationError

from llmcore.errors import LLMCoreError
from llmcore.intent import Effect, Intent
from llmcore.plan import is_reference

_LIMITS: Mapping[str, str] = {
    "const": "must be {!r}",
    "minimum": "must be at least {}",
    "exclusiveMinimum": "must be more than {}",
    "maximum": "must be at most {}",
    "exclusiveMaximum": "must be less than {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} entries",
    "maxItems": "must have at most {} entries",
    "pattern": "must match {}",
    "format": "must be a {}",
}
NAME = re.compile(r"[a-z][a-z0-9_]{1,63}")


class CatalogError(LLMCoreError):
    """An intent that cannot be offered; stops the start."""

    code = "bad_catalog"

    def __init__(self, source: str, field: str, problem: str) -> None:
        """Name the file or pack, the field and what to do."""
        super().__init__(f"{source}: {field}: {problem}", source=source, field=field)


class ParamsValidator:
    """Checks params against one schema, compiled once."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Compile; raises jsonschema's SchemaError for a schema that is not one."""
        Draft202012Validator.check_schema(schema)
        self._validator = Draft202012Validator(schema, format_checker=FormatChecker())
        self._empty_ok = not schema.get("required")

    def problems(self, params: Mapping[str, Any]) -> list[dict[str, str]]:
        """`{"pointer", "message"}` for every misfit; empty if the params fit."""
        if not params and self._empty_ok:
            return []
        found: list[dict[str, str]] = []
        for error in self._validator.iter_errors(params):
            found.extend(describe(error))
        return found

    def problems_with_references(self, params: Mapping[str, Any]) -> list[dict[str, str]]:
        """The same, but a value that is a reference may stand for anything."""
        return [
            problem
            for error in self._validator.iter_errors(params)
            if not _touches_reference(params, error)
            for problem in describe(error)
        ]


def _touches_reference(params: Any, error: ValidationError) -> bool:
    value = params
    for part in error.absolute_path:
        value = value[part]
        if is_reference(value):
            return True
    return is_reference(value)


def describe(error: ValidationError) -> list[dict[str, str]]:
    """A jsonschema error as `{"pointer", "message"}` entries in plain words."""
    wanted = cast(Any, error.validator_value)
    schema = cast(Any, error.schema)
    instance = cast(Any, error.instance)
    rule = cast(Any, error.validator)
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in error.absolute_path)
    if rule == "required":
        missing = [name for name in wanted if name not in instance]
        names = [name for name in missing if error.message.startswith(repr(name))] or missing[:1]
        return [{"pointer": f"{pointer}/{name}", "message": "is missing"} for name in names]
    if rule == "additionalProperties":
        known = list(schema.get("properties", {}))
        offer = f"; known: {', '.join(known)}" if known else "; this takes no params"
        extra = [name for name in instance if name not in known]
        return [{"pointer": f"{pointer}/{name}", "message": f"is not a param of this intent{offer}"} for name in extra]
    return [{"pointer": pointer, "message": _sentence(error)}]


def _sentence(error: ValidationError) -> str:
    rule = cast(Any, error.validator)
    wanted = cast(Any, error.validator_value)
    match rule:
        case "type":
            return f"must be {wanted if isinstance(wanted, str) else ' or '.join(wanted)}"
        case "enum":
            return f"must be one of {', '.join(map(str, wanted))}"
        case "minLength" if wanted == 1:
            return "must not be empty"
        case _ if rule in _LIMITS:
            return _LIMITS[rule].format(wanted)
        case _:
            return f"does not fit the schema ({rule})"


def check_intent(intent: Intent) -> ParamsValidator:
    """The validator of a sound intent; raises CatalogError for anything else."""
    for field, problem in _faults(intent):
        raise CatalogError(intent.pack or "catalogue", f"{intent.name}/{field}", problem)
    try:
        validator = ParamsValidator(intent.schema)
    except SchemaError as error:
        problem = f"is not a valid JSON Schema: {error.message}"
        raise CatalogError(intent.pack, f"{intent.name}/schema", problem) from error
    for number, example in enumerate(intent.examples):
        for wrong in validator.problems(example.params):
            field = f"{intent.name}/examples/{number}/params{wrong['pointer']}"
            raise CatalogError(intent.pack, field, wrong["message"])
    return validator


def _faults(intent: Intent) -> Iterator[tuple[str, str]]:
    if not NAME.fullmatch(intent.name):
        yield "name", "must be lower-case words joined by _ (2 to 64 characters)"
    if not intent.description.strip():
        yield "description", "is missing; say in a sentence what the intent does"
    effect: Any = intent.effect
    if not isinstance(effect, Effect):
        yield "effect", f"{effect!r} is unknown; use read, write or destructive"
    if intent.schema.get("type") != "object":
        yield "schema", "must be a JSON Schema of type object"
    for number, example in enumerate(intent.examples):
        if not example.text.strip():
            yield f"examples/{number}/text", "is empty"
