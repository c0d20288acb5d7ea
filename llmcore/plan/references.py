"""References from a step's params to the result of an earlier step.

Used by the values of a plan and by the executor; knows only JSON values.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def is_reference(value: Any) -> bool:
    """True for `{"$from": step id, "path"?: JMESPath}`."""
    return isinstance(value, Mapping) and isinstance(value.get("$from"), str) and set(value) <= {"$from", "path"}


def renamed_references(value: Any, names: Mapping[str, str]) -> Any:
    """A JSON value whose references name other steps: old id -> new id."""
    if is_reference(value):
        return {**value, "$from": names.get(value["$from"], value["$from"])}
    if isinstance(value, Mapping):
        return {key: renamed_references(inner, names) for key, inner in value.items()}
    return [renamed_references(inner, names) for inner in value] if isinstance(value, list | tuple) else value


def references(value: Any) -> Iterator[Mapping[str, Any]]:
    """All references inside a JSON value."""
    if is_reference(value):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from references(inner)
