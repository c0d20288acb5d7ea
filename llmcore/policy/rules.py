"""Reads Cedar text: its rules with their lines, annotations, and what of the facts each of them speaks of.

Used by `cedar` when a policy is loaded. What a rule speaks of tells which rules can matter for an intent, which facts a
decision has to be kept apart by, and which other facts would let a refused step pass.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cedarpy

from llmcore.intent import Intent
from llmcore.plan import Effect
from llmcore.policy.facts import PolicyError, types_of_params
from llmcore.policy.schema import CONTEXT, ROLES

MAX_APPROVERS = 10
PARAMS = "context.params"
_TOKENS = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"|;|\S', re.DOTALL)
_FLIPS: Mapping[str, Sequence[int]] = {">=": (0,), "<": (0,), ">": (1,), "<=": (1,), "==": (0, 1), "!=": (0, 1)}
"""Comparison with a number -> how far from it the answer is another one than for the whole number before."""
_MIRRORED = {">=": "<=", "<": ">", ">": "<", "<=": ">="}
_ENTITY = {
    "principal": frozenset({"name", "role", "kind", "autonomy"}),
    "resource": frozenset({"name", "kind", "production", "owner"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One statement of a policy."""

    policy_id: str
    """Cedar's own name of it."""
    id: str
    """What people call it: its `@id`, else its line."""
    line: int
    permits: bool
    document: Mapping[str, Any]
    """Cedar's JSON of it."""
    intents: frozenset[str]
    """Intents that it can be about."""
    blanket: bool
    """It is about every intent, so it says nothing of any of them in particular."""
    uses: frozenset[str]
    """Facts that it speaks of, such as `context.now`, `resource.owner`, `principal.name`."""
    numbers: Mapping[str, tuple[int, ...]]
    """Fact -> the whole numbers at which an answer may be another one than just before them."""
    targets: frozenset[str]
    """Targets that it names."""
    asks: bool
    """It has a say in who approves: it speaks of approvals, or is annotated so."""
    reason: str = ""
    approvers: int = 1
    roles: tuple[str, ...] = ()
    """Roles that may approve; none: it has no say in that."""
    excludes: bool = False
    """Whoever asked may not approve."""


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Every statement with the line on which it begins, up to and with its `;`, comments left out of the count."""
    begin: int | None = None
    end = 0
    for token in _TOKENS.finditer(text):
        if token.group().startswith("//"):
            continue
        begin = token.start() if begin is None else begin
        end = token.end()
        if token.group() == ";":
            yield text.count("\n", 0, begin) + 1, text[begin:end]
            begin = None
    if begin is not None:
        yield text.count("\n", 0, begin) + 1, text[begin:end]


def is_permit(statement: str) -> bool:
    """True for one statement that permits; raises ValueError for what is none."""
    found = json.loads(cedarpy.policies_to_json_str(statement))["staticPolicies"]
    return [rule["effect"] for rule in found.values()] == ["permit"]


def read_rules(
    text: str,
    *,
    intents: Sequence[Intent],
    schema: str,
    attributes: Mapping[str, str],
    source: str,
    prefix: str = "policy",
) -> Sequence[Rule]:
    """The rules of a text, in order, after checking them; raises PolicyError with file, line, rule and reason.

    `prefix` keeps their inner names apart from those of other texts.
    """
    found = _parsed(text, source)
    lines = [line for line, _ in statements(text)]
    known = _Known(intents, attributes)
    rules = {
        f"policy{number}": _rule(f"{prefix}{number}", line, found[f"policy{number}"], known, source)
        for number, line in enumerate(lines)
    }
    for problem in cedarpy.validate_policies(text, schema).errors:
        rule = rules[problem.policy_id]
        raise _wrong(source, rule.line, rule.id, re.sub(r"^for policy `\w+`[,:] ", "", problem.error))
    return list(rules.values())


def _parsed(text: str, source: str) -> Mapping[str, Mapping[str, Any]]:
    for line, statement in statements(text):
        try:
            document = json.loads(cedarpy.policies_to_json_str(statement))
        except ValueError as error:
            raise PolicyError(f"{source}:{line}: not valid Cedar: {error}") from error
        if document["templates"]:
            raise PolicyError(f"{source}:{line}: a template (?principal, ?resource) decides nothing; name an entity")
    found: Mapping[str, Mapping[str, Any]] = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
    return found


def _wrong(source: str, line: int, rule: str, problem: str) -> PolicyError:
    return PolicyError(f"{source}:{line}: rule {rule}: {problem}", line=line, rule=rule)


class _Known:
    """What a rule may speak of here."""

    def __init__(self, intents: Sequence[Intent], attributes: Mapping[str, str]) -> None:
        self.groups = {
            effect.value: frozenset(intent.name for intent in intents if intent.effect is effect) for effect in Effect
        }
        self.all = frozenset(intent.name for intent in intents)
        self.params = {intent.name: frozenset(types_of_params(intent.schema)) for intent in intents}
        self.attributes = attributes

    def about(self, scope: Mapping[str, Any]) -> frozenset[str]:
        """The intents that the action part of a rule means."""
        if scope["op"] == "All":
            return self.all
        entities = scope["entities"] if "entities" in scope else [scope["entity"]]
        names = [entity["id"] for entity in entities]
        return frozenset().union(*(self.groups.get(name, frozenset({name}) & self.all) for name in names))

    def lacks(self, fact: str, intents: Iterable[str]) -> str | None:
        """What is wrong with a fact, None if there is such a fact."""
        owner, _, name = fact.partition(".")
        if fact.startswith(f"{PARAMS}."):
            name = fact.removeprefix(f"{PARAMS}.")
            known = sorted(frozenset().union(*(self.params[intent] for intent in intents)))
            return None if name in known else f"no intent of this rule has a param {name!r}{_offer(known)}"
        if owner == "context":
            return None if name in (*CONTEXT, "params") else f"context has no {name!r}{_offer([*CONTEXT, 'params'])}"
        of_kind = (*_ENTITY[owner], *self.attributes) if owner == "resource" else tuple(_ENTITY[owner])
        if name in of_kind:
            return None
        if owner == "resource":
            return f"no target has an attribute {name!r}{_offer(sorted(of_kind))}; LLMCORE_SYSTEM__TARGETS gives more"
        return f"principal has no {name!r}{_offer(sorted(of_kind))}"


def _offer(names: Sequence[str]) -> str:
    return f" (there are {', '.join(names)})" if names else " that rules can ask for"


class _Reader:
    """Walks the conditions of one rule and notes what they speak of."""

    def __init__(self) -> None:
        self.uses: set[str] = set()
        self.numbers: defaultdict[str, set[int]] = defaultdict(set)

    def read(self, node: Any) -> None:
        if isinstance(node, list):
            for inner in node:
                self.read(inner)
        elif isinstance(node, Mapping):
            self._read_node(node)

    def _read_node(self, node: Mapping[str, Any]) -> None:
        path = _path(node)
        if path is not None:
            self.uses.add(_fact(path))
            return
        for operator, body in node.items():
            if operator == "has" and (owner := _path(body["left"])):
                self.uses.add(_fact((*owner, body["attr"])))
                continue
            if operator == "is" and _path(body["left"]):
                continue  # the kind of an entity is always told apart
            if operator in _FLIPS:
                self._compared(body["left"], body["right"], _FLIPS[operator])
                self._compared(body["right"], body["left"], _FLIPS[_MIRRORED.get(operator, operator)])
            if operator == "Value":
                self._entity(body)
            else:
                self.read(list(body.values()) if isinstance(body, Mapping) else body)

    def _entity(self, value: Any) -> None:
        """An entity that is named makes it matter who or what exactly is asked about."""
        kind = value["__entity"]["type"] if isinstance(value, Mapping) and "__entity" in value else "Role"
        if kind != "Role":
            self.uses.add("resource" if kind == "Target" else "principal")

    def _compared(self, one: Any, other: Any, flips: Sequence[int]) -> None:
        path, value = _path(one), other.get("Value")
        if path is not None and isinstance(value, int) and not isinstance(value, bool):
            self.numbers[_fact(path)].update(value + flip for flip in flips)


def _path(node: Mapping[str, Any]) -> tuple[str, ...] | None:
    """`context.params.module` as its parts; None for any other expression."""
    if "Var" in node:
        return (str(node["Var"]),)
    if "." in node:
        left = _path(node["."]["left"])
        return None if left is None else (*left, str(node["."]["attr"]))
    return None


def _fact(path: Sequence[str]) -> str:
    return ".".join(path)


def _rule(policy_id: str, line: int, document: Mapping[str, Any], known: _Known, source: str) -> Rule:
    notes: Mapping[str, str] = {key: value or "" for key, value in (document.get("annotations") or {}).items()}
    name = notes.get("id") or f"line-{line}"
    reader = _Reader()
    reader.read([condition["body"] for condition in document["conditions"]])
    intents = known.about(document["action"])
    for problem in _problems(document, notes, reader, intents, known):
        raise _wrong(source, line, name, problem)
    named = [document[part] for part in ("principal", "resource") if document[part]["op"] in ("==", "in")]
    targets = [scope["entity"]["id"] for scope in named if scope["entity"]["type"] == "Target"]
    if document["principal"]["op"] == "==":
        reader.uses.add("principal.name")
    return Rule(
        policy_id=policy_id,
        id=name,
        line=line,
        permits=document["effect"] == "permit",
        document=document,
        intents=intents,
        blanket=document["action"]["op"] == "All",
        uses=frozenset(reader.uses),
        numbers={fact: tuple(sorted(values)) for fact, values in reader.numbers.items()},
        targets=frozenset(targets),
        asks="context.approvals" in reader.uses or not {"approvers", "role", "excludes"}.isdisjoint(notes),
        reason=notes.get("reason", ""),
        approvers=int(notes.get("approvers", "1")),
        roles=tuple(role for role in ROLES if role in _names(notes.get("role", ""))),
        excludes="requester" in _names(notes.get("excludes", "")),
    )


def _problems(
    document: Mapping[str, Any], notes: Mapping[str, str], reader: _Reader, intents: frozenset[str], known: _Known
) -> Iterator[str]:
    asked = notes.get("approvers", "1")
    if not (asked.isascii() and asked.isdigit() and 1 <= int(asked) <= MAX_APPROVERS):
        yield f"@approvers must be a number from 1 to {MAX_APPROVERS}, not {asked!r}"
    for note, allowed in (("role", ROLES), ("excludes", ("requester",))):
        wrong = [name for name in _names(notes.get(note, "")) if name not in allowed]
        if wrong:
            yield f"@{note} names {', '.join(wrong)}; it takes {' or '.join(allowed)}"
    action = document["action"]
    if action["op"] == "==" and action["entity"]["id"] in known.groups:
        group = action["entity"]["id"]
        yield f'action == Action::"{group}" is never asked; write action in Action::"{group}"'
    for fact in sorted(reader.uses):
        if "." in fact and intents and (problem := known.lacks(fact, intents)):
            yield problem


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
