"""The Cedar schema of an installation: who may act, on what, with which facts.

Used by `cedar` when a policy is loaded. Made from the catalogue and from the attributes of the targets, so that a wrong
name is refused at load and not discovered at night.
"""

from collections.abc import Iterable, Mapping

from llmcore.intent import Intent
from llmcore.plan import Effect
from llmcore.policy.facts import types_of_params

ROLES = ("admin", "developer", "observer")
KINDS: Mapping[str, str] = {"user": "User", "agent": "Agent", "service": "Service", "node": "Node"}
"""Kind of a principal -> its entity type."""
CONTEXT: Mapping[str, str] = {
    "approvals": "Long",
    "tainted": "Bool",
    "blast": "Long",
    "origin": "String",
    "confidence": "Long",
    "now": "Long",
    "hour": "Long",
    "weekday": "Long",
}


def schema_of(intents: Iterable[Intent], attributes: Mapping[str, str] | None = None) -> str:
    """An action an intent, grouped by effect; `attributes` are those that targets may have (name -> Cedar type)."""
    roles = ", ".join(quoted(role) for role in ROLES)
    further = "".join(f", {quoted(name)}?: {kind}" for name, kind in sorted((attributes or {}).items()))
    lines = [
        f"entity Role enum [{roles}];",
        *(
            f"entity {kind} in [Role] {{ name: String, role: String, kind: String, autonomy: Long }};"
            for kind in KINDS.values()
        ),
        f"entity Target {{ name: String, kind: String, production: Bool, owner: String{further} }};",
        # groups apply too, so that a rule about writes stands where a host has none
        *(f"action {quoted(effect.value)} {_applies({})};" for effect in Effect),
        *(_action(intent) for intent in intents),
    ]
    return "\n".join(lines)


def _action(intent: Intent) -> str:
    applies = _applies(types_of_params(intent.schema))
    return f"action {quoted(intent.name)} in [{quoted(intent.effect.value)}] {applies};"


def _applies(params: Mapping[str, str]) -> str:
    known = ", ".join(f"{name}: {kind}" for name, kind in CONTEXT.items())
    of_intent = ", ".join(f"{quoted(name)}?: {kind}" for name, kind in params.items())
    principals = ", ".join(KINDS.values())
    return (
        f"appliesTo {{ principal: [{principals}], resource: [Target],"
        f" context: {{ {known}, params: {{ {of_intent} }} }} }}"
    )


def quoted(text: str) -> str:
    """A text as Cedar writes it, whatever it holds."""
    return '"' + "".join(_character(each) for each in text) + '"'


def _character(each: str) -> str:
    if each in '"\\':
        return f"\\{each}"
    return each if each.isprintable() else f"\\u{{{ord(each):x}}}"
