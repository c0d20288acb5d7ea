"""The facts that a decision is made of, and their types.

Filled by `judge`, asked for by the rules, typed for them by `schema`. Pure values; nothing here decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmcore.errors import LLMCoreError

Scalar = str | bool | int
Named = tuple[tuple[str, Scalar], ...]
"""Names and values in order of the names: a record that can be compared and kept in a cache."""

_LONG = 2**63 - 1
_OF_KIND = {"string": "String", "integer": "Long", "boolean": "Bool"}


class PolicyError(LLMCoreError):
    """The policy text is wrong; the message says where and why."""

    code = "bad_policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is true of a step at the moment of asking; worked out by code, never by a model."""

    target: str = ""
    """The main thing touched; empty for none."""
    target_kind: str = ""
    production: bool = False
    owner: str = ""
    attributes: Named = ()
    """Further attributes of the target, from the settings and the preview."""
    tainted: bool = False
    blast: int = 0
    """Number of targets touched."""
    origin: str = "chat"
    approvals: int = 0
    """Distinct people who have approved."""
    confidence: int = 100
    """How sure the planner is, in per cent."""
    params: Named = ()
    """The scalar params of the step."""
    now: int = 0
    """Epoch seconds."""
    hour: int = 0
    """0 to 23, in the time zone of the policy."""
    weekday: int = 1
    """1 (Monday) to 7 (Sunday), in the time zone of the policy."""


def types_of_params(schema: Mapping[str, Any]) -> dict[str, str]:
    """Param name -> Cedar type, for the params whose values are single texts, whole numbers or truths."""
    found = {name: _type_of(prop) for name, prop in schema.get("properties", {}).items()}
    return {name: kind for name, kind in found.items() if kind}


def _type_of(prop: Any) -> str:
    """Of several types text is told, if text is among them: a job id may be written either way."""
    if not isinstance(prop, Mapping):
        return ""
    told = prop.get("type")
    kinds = {told} if isinstance(told, str) else set(told or ())
    for option in (*prop.get("anyOf", ()), *prop.get("oneOf", ())):
        kinds.add(option.get("type") if isinstance(option, Mapping) and isinstance(option.get("type"), str) else "any")
    if "enum" in prop and not kinds:
        kinds = {_json_type(value) for value in prop["enum"]}
    if kinds == {"string", "integer"}:
        return "String"
    return _OF_KIND.get(kinds.pop(), "") if len(kinds) == 1 else ""


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "integer" if isinstance(value, int) else "any"


def told_as(kind: str, value: Any) -> Scalar | None:
    """A JSON value as a Cedar type, None where it is none of it, such as a reference to another step's result.

    Whole numbers beyond 64 bits become the nearest that there is, so that a limit holds for them too.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if kind == "Bool":
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    if kind == "String":
        return str(value)
    return max(-_LONG - 1, min(_LONG, value)) if isinstance(value, int) else None


def types_of_attributes(targets: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Attribute -> Cedar type, over all targets of the settings; raises PolicyError where two targets differ in type.

    Numbers that are not whole are unknown to rules.
    """
    found: dict[str, str] = {}
    for target, attributes in targets.items():
        for name, value in attributes.items():
            kind = _OF_KIND.get(_json_type(value), "")
            wanted = _FIXED.get(name, found.setdefault(name, kind) if kind else "")
            if wanted and wanted != kind:
                raise PolicyError(
                    f"system.targets: {target}: attribute {name} is {value!r}, but must be a {wanted} like elsewhere;"
                    " correct LLMCORE_SYSTEM__TARGETS."
                )
    return {name: kind for name, kind in found.items() if name not in _FIXED}


_FIXED: Mapping[str, str] = {"name": "String", "kind": "String", "production": "Bool", "owner": "String"}
"""What every target has."""
