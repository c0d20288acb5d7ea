"""References of a step's params, replaced by what they find.

Used by the executor, and by session to show literal params before anyone approves.
"""

from collections.abc import Mapping
from typing import Any

import jmespath

from llmcore.errors import LLMCoreError
from llmcore.plan import StepResult, is_reference


class EmptyReference(LLMCoreError):
    """A reference finds nothing in the result it names."""

    code = "not_found"
    status = 404


def resolve(value: Any, results: Mapping[str, StepResult]) -> Any:
    """A JSON value with its references replaced by what they find; raises LLMCoreError if one finds nothing."""
    if is_reference(value):
        source = results.get(value["$from"])
        found = source.result if source else None
        if "path" in value:
            found = jmespath.search(value["path"], found)
        if found is None:
            where = f" at {value['path']}" if "path" in value else ""
            raise EmptyReference(f"The result of {value['$from']} has nothing{where}.")
        return found
    if isinstance(value, Mapping):
        return {key: resolve(inner, results) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(inner, results) for inner in value]
    return value
