"""Checks values against a schema that a person wrote, in a time that grows with their length alone.

Used for the params of saved templates. The patterns of such a schema come from outside, and Python's own regular
expressions can be made to run for ever; these are matched by the automaton of pydantic's core, which knows neither
look-around nor back-references.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, cast

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend
from pydantic_core import SchemaError, SchemaValidator
from pydantic_core import ValidationError as Misfit

from llmcore.catalog.checks import ParamsValidator
from llmcore.errors import BadParams


class LinearValidator(ParamsValidator):
    """A `ParamsValidator` for schemas from outside."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Compile schema and patterns; raises BadParams for a pattern that cannot be matched in linear time."""
        for name, inner in schema.get("properties", {}).items():
            _check(name, inner.get("pattern", ""))
        super().__init__(schema)
        self._validator = _Linear(schema, format_checker=FormatChecker())


def _check(name: str, pattern: str) -> None:
    try:
        re.compile(pattern)  # JSON Schema's own check asks for this too
        _matcher(pattern)
    except (SchemaError, re.error):
        problem = "is no regular expression of the kind used here (no look-around, no back-references)"
        fields = [{"pointer": f"/params/{name}/pattern", "message": problem}]
        raise BadParams(f"The pattern of {name} {problem}.", fields) from None


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> SchemaValidator:
    return SchemaValidator(cast(Any, {"type": "str", "pattern": pattern, "regex_engine": "rust-regex"}))


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str):
        try:
            _matcher(pattern).validate_python(instance)
        except Misfit:
            yield ValidationError(f"does not match {pattern}")


_Linear = cast(Any, extend)(Draft202012Validator, {"pattern": _pattern})
