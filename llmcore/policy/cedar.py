"""Policy: may this principal take this step, now, with these facts? Allow, ask people, or deny, and why.

Called by session and api before anything runs and again before every step. Pure: facts in, verdict out; no I/O, no
clock, no model. The rules are Cedar; the schema they are checked against is generated from the catalogue, so a wrong
name is refused at load and not discovered at night. Every question is put twice, as things are and as if people had
approved, to tell `ask` from `deny`; any error while deciding is a deny.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cedarpy

from llmcore.errors import LLMCoreError
from llmcore.intent import Intent
from llmcore.plan import Decision, Effect, Principal, Step, Verdict

_KINDS = {"user": "User", "agent": "Agent", "service": "Service", "node": "Node"}
_AS_IF_APPROVED = 1_000
"""More approvals than any rule can ask for."""


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
    tainted: bool = False
    blast: int = 0
    """Number of targets touched."""
    origin: str = "chat"
    approvals: int = 0
    """Distinct people who have approved."""


@dataclass(frozen=True, slots=True)
class _Rule:
    id: str
    reason: str
    approvers: int
    roles: tuple[str, ...]


@dataclass(slots=True)
class Policy:
    """Rules that have been checked against the catalogue. Immutable after `load`."""

    version: str
    _policies: cedarpy.PolicySet
    _schema: cedarpy.Schema
    _rules: Mapping[str, _Rule]
    _entities: Any = field(init=False, default=None)
    _decided: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Keep recent decisions, which depend on nothing but the question, and parsed entities of new ones."""
        self._entities = lru_cache(maxsize=2_000)(self._entities_of)
        self._decided = lru_cache(maxsize=4_000)(self._decide)

    def decide(self, step: Step, actor: Principal, facts: Facts) -> Verdict:
        """Allow, ask or deny, with rule ids, reason and what would make it pass."""
        verdict: Verdict = self._decided(step.intent, actor, facts)
        return verdict

    def _decide(self, intent: str, actor: Principal, facts: Facts) -> Verdict:
        allowed, rules, errors = self._ask(intent, actor, facts, facts.approvals)
        if allowed:
            return Verdict(decision=Decision.ALLOW, rules=_ids(rules), reason=_reason(rules))
        if errors:
            return Verdict(decision=Decision.DENY, reason="The policy could not be evaluated, so the answer is no.")
        could, asking, _ = self._ask(intent, actor, facts, max(facts.approvals, _AS_IF_APPROVED))
        if could:
            return _asks(asking, rules)
        forbidding = rules or asking
        reason = _reason(forbidding) or f"No rule allows {intent} for the role {actor.role}."
        return Verdict(
            decision=Decision.DENY,
            rules=_ids(forbidding),
            reason=reason,
            would_allow=f"A policy rule that permits {intent} for the role {actor.role}; an admin can add one.",
        )

    def _ask(self, intent: str, actor: Principal, facts: Facts, approvals: int) -> tuple[bool, list[_Rule], list[str]]:
        request = {
            "principal": {"type": _KINDS.get(actor.kind, "Service"), "id": actor.name},
            "action": {"type": "Action", "id": intent},
            "resource": {"type": "Target", "id": facts.target},
            "context": {
                "approvals": approvals,
                "tainted": facts.tainted,
                "blast": facts.blast,
                "origin": facts.origin,
            },
        }
        entities = self._entities(actor, facts.target, facts.target_kind, facts.production, facts.owner)
        answer = cedarpy.is_authorized(request, self._policies, entities, self._schema)
        errors = list(answer.diagnostics.errors)
        rules = [self._rules[policy] for policy in answer.diagnostics.reasons]
        return answer.decision == cedarpy.Decision.Allow and not errors, rules, errors

    def _entities_of(self, actor: Principal, target: str, kind: str, production: bool, owner: str) -> cedarpy.Entities:
        entities = [
            {
                "uid": {"type": _KINDS.get(actor.kind, "Service"), "id": actor.name},
                "attrs": {},
                "parents": [{"type": "Role", "id": actor.role}],
            },
            {
                "uid": {"type": "Target", "id": target},
                "attrs": {"kind": kind, "production": production, "owner": owner},
                "parents": [],
            },
        ]
        return cedarpy.Entities.from_json_str(json.dumps(entities), self._schema)


def load(text: str, intents: Iterable[Intent], source: str = "policy") -> Policy:
    """Check Cedar text against the intents of this host; raises PolicyError that names file, rule and reason."""
    schema_text = schema_of(intents)
    try:
        listed = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
        policies = cedarpy.PolicySet.from_str(text)
    except ValueError as error:
        raise PolicyError(f"{source}: not valid Cedar: {error}") from error
    rules = {policy: _rule(source, policy, entry.get("annotations") or {}) for policy, entry in listed.items()}
    for problem in cedarpy.validate_policies(text, schema_text).errors:
        name = rules[problem.policy_id].id if problem.policy_id in rules else problem.policy_id
        raise PolicyError(f"{source}: rule {name}: {problem.error}")
    return Policy(hash_of(text), policies, cedarpy.Schema.from_str(schema_text), rules)


def hash_of(text: str) -> str:
    """A short name of a policy text, kept in plans and audit."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _rule(source: str, policy: str, notes: Mapping[str, str]) -> _Rule:
    name = notes.get("id", policy)
    asked = notes.get("approvers", "1")
    if not asked.isdigit() or not 1 <= int(asked) <= 10:
        raise PolicyError(f"{source}: rule {name}: @approvers must be a number from 1 to 10, not {asked!r}")
    roles = tuple(role.strip() for role in notes.get("role", "admin,developer").split(",") if role.strip())
    unknown = set(roles) - {"admin", "developer", "observer"}
    if unknown:
        raise PolicyError(f"{source}: rule {name}: @role names {', '.join(sorted(unknown))}, which is not a role")
    return _Rule(name, notes.get("reason", ""), int(asked), roles)


def schema_of(intents: Iterable[Intent]) -> str:
    """The Cedar schema of a catalogue: an action an intent, grouped by effect."""
    applies = (
        "appliesTo { principal: [User, Agent, Service, Node], resource: [Target], "
        "context: { approvals: Long, tainted: Bool, blast: Long, origin: String } }"
    )
    lines = [
        "entity Role;",
        *(f"entity {kind} in [Role];" for kind in _KINDS.values()),
        "entity Target { kind: String, production: Bool, owner: String };",
        # groups apply too, so that a rule about writes stands where a host has none
        *(f'action "{effect.value}" {applies};' for effect in Effect),
        *(f'action "{intent.name}" in ["{intent.effect.value}"] {applies};' for intent in intents),
    ]
    return "\n".join(lines)


def _ids(rules: Iterable[_Rule]) -> tuple[str, ...]:
    return tuple(sorted({rule.id for rule in rules}))


def _reason(rules: Iterable[_Rule]) -> str:
    return " ".join(dict.fromkeys(rule.reason for rule in rules if rule.reason))


def _asks(asking: list[_Rule], holding: list[_Rule]) -> Verdict:
    needed = max((rule.approvers for rule in asking), default=1)
    strictest = max(asking, key=lambda rule: rule.approvers, default=_Rule("", "", 1, ("admin", "developer")))
    people = "one person" if needed == 1 else f"{needed} people"
    return Verdict(
        decision=Decision.ASK,
        rules=_ids([*asking, *holding]),
        reason=_reason([*asking, *holding]),
        would_allow=f"Approval by {people} with the role {' or '.join(strictest.roles)}.",
        approvals=needed,
        roles=strictest.roles,
    )
