"""Checks values against a schema that a person wrote, in a time that grows with their length alone.

Used for the params of saved templates. The patterns of such a schema come from outside, and Python's own regular
expressions can be made to run for ever; these are matched by the automaton of pydantic's core, which knows neither
look-around nor back-references.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, cast

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend
from pydantic import StringConstraints, TypeAdapter
from pydantic import ValidationError as Misfit
from pydantic_core import SchemaError

from llmcore.catalog.checks import ParamsValidator
from llmcore.errors import BadParams


class LinearValidator(ParamsValidator):
    """A `ParamsValidator` for schemas from outside."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Compile schema and patterns; raises BadParams for a pattern that cannot be matched in linear time."""
        super().__init__(schema)
        self._validator = _Linear(schema, format_checker=FormatChecker())
        for name, inner in schema.get("properties", {}).items():
            if "pattern" in inner:
                _check(name, inner["pattern"])


def _check(name: str, pattern: str) -> None:
    try:
        _matcher(pattern)
    except SchemaError:
        problem = "is no regular expression of the kind used here (no look-around, no back-references)"
        raise BadParams(
            f"The pattern of {name} {problem}.", [{"pointer": f"/params/{name}/pattern", "message": problem}]
        ) from None


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> TypeAdapter[str]:
    return TypeAdapter(Annotated[str, StringConstraints(pattern=pattern)])


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str):
        try:
            _matcher(pattern).validate_python(instance)
        except Misfit:
            yield ValidationError(f"does not match {pattern}")


_Linear = cast(Any, extend)(Draft202012Validator, {"pattern": _pattern})
