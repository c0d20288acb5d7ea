"""References from a step's params to the result of an earlier step.

Used by the values of a plan and by the executor; knows only JSON values.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def is_reference(value: Any) -> bool:
    """True for `{"$from": step id, "path"?: JMESPath}`."""
    return isinstance(value, Mapping) and isinstance(value.get("$from"), str) and set(value) <= {"$from", "path"}


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
