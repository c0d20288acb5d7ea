"""Policy: may this principal take this step, now, with these facts? Allow, ask people, or deny, and why.

Called by `judge`. Pure: no I/O, no clock, no model. The rules are Cedar, checked at load against a schema made from the
catalogue. Every question is put twice, as things are and as if people had approved, to tell `ask` from `deny`; any
error while deciding is a deny. Only the rules that can be about an intent are asked, and a decision is kept for as long
as the facts that those rules speak of are the same.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import cedarpy

from llmcore.intent import Intent
from llmcore.plan import EVERYBODY, Decision, Principal, Step, Verdict
from llmcore.policy.explain import Answer, way_through
from llmcore.policy.facts import Facts, Named, PolicyError, told_as, types_of_params
from llmcore.policy.rules import PARAMS, Rule, read_rules
from llmcore.policy.schema import KINDS, ROLES, schema_of
from llmcore.policy.standing import always

APPROVERS = ("admin", "developer")
"""Who may approve where no rule says it."""
Reader = Callable[..., Sequence[Rule]]
"""Reads and checks the rules of a text: `(text, source=..., prefix=...)`."""
_RECENT = 4_000
"""Decisions that are kept."""
_SAME: Mapping[str, Any] = {"origin": "", "blast": 0, "confidence": 100, "now": 0, "hour": 0, "weekday": 1}
"""Facts of the context that make no difference unless a rule speaks of them, and what then stands for all."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """What can matter for one intent."""

    rules: Mapping[str, Rule]
    order: Mapping[str, int]
    """Cedar's name of a rule -> its place in the file."""
    policies: cedarpy.PolicySet
    params: Mapping[str, str]
    """Params that rules speak of, with their Cedar types."""
    uses: frozenset[str]
    targets: frozenset[str]

    def told_apart(self, actor: Principal, facts: Facts) -> tuple[Principal, Facts]:
        """The question without what makes no difference to it."""
        uses = self.uses
        same = {} if "context" in uses else {k: v for k, v in _SAME.items() if f"context.{k}" not in uses}
        attributes = tuple(pair for pair in facts.attributes if f"resource.{pair[0]}" in uses)
        if not uses & {"resource", "resource.name"} and not self.targets & {facts.target, ""}:
            same["target"] = ""
        if not uses & {"principal", "principal.name"}:
            actor = replace(actor, name="")
        return actor, replace(facts, attributes=attributes, **same)


@dataclass(slots=True)
class Policy:
    """Rules that have been checked against the catalogue. Immutable after `load`."""

    version: str
    text: str
    """The Cedar that decides."""
    rules: Sequence[Rule]
    _schema: cedarpy.Schema
    _params: Mapping[str, Mapping[str, str]]
    """Intent -> its params that rules could ask for."""
    _read: Reader
    _scopes: Any = field(init=False, default=None)
    _entities: Any = field(init=False, default=None)
    _decided: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Keep recent decisions, which depend on nothing but the question, and parsed entities of new ones."""
        self._scopes = lru_cache(maxsize=None)(self._scope_of)
        self._entities = lru_cache(maxsize=_RECENT)(self._entities_of)
        self._decided = lru_cache(maxsize=_RECENT)(self._decide)

    def __contains__(self, intent: str) -> bool:
        """True for an intent of the catalogue that this policy was checked against."""
        return intent in self._params

    def with_more(self, text: str, name: str) -> "Policy":
        """The same with more rules, which errors call by `name`; raises PolicyError."""
        rules = [*self.rules, *self._read(text, source=name, prefix=name)]
        whole = f"{self.text}\n{text}"
        return Policy(hash_of(whole), whole, rules, self._schema, self._params, self._read)

    def decide(self, step: Step, actor: Principal, facts: Facts) -> Verdict:
        """Allow, ask or deny, with rule ids, reason and what would make it pass."""
        if step.intent not in self:
            return Verdict(decision=Decision.DENY, reason=f"The policy knows no intent {step.intent}.")
        verdict: Verdict = self._decided(step.intent, *self._scopes(step.intent).told_apart(actor, facts))
        return verdict

    def params_of(self, step: Step) -> Named:
        """The params of a step that rules speak of, as facts; references to results that are not there yet are none."""
        if step.intent not in self:
            return ()
        kinds: Mapping[str, str] = self._scopes(step.intent).params
        told = ((name, told_as(kind, step.params.get(name))) for name, kind in kinds.items())
        return tuple((name, value) for name, value in told if value is not None)

    def _scope_of(self, intent: str) -> _Scope:
        rules = {rule.policy_id: rule for rule in self.rules if intent in rule.intents}
        documents = {name: rule.document for name, rule in rules.items()}
        policies = cedarpy.PolicySet.from_json_str(
            json.dumps({"staticPolicies": documents, "templates": {}, "templateLinks": []})
        )
        uses = frozenset().union(*(rule.uses for rule in rules.values()))
        whole = bool(uses & {"context", PARAMS})
        params = {name: kind for name, kind in self._params[intent].items() if whole or f"{PARAMS}.{name}" in uses}
        targets = frozenset().union(*(rule.targets for rule in rules.values()))
        order = {name: place for place, name in enumerate(rules)}
        return _Scope(rules, order, policies, params, uses, targets)

    def _decide(self, intent: str, actor: Principal, facts: Facts) -> Verdict:
        verdict = self._judged(intent, actor, facts)
        if verdict.decision is not Decision.DENY:
            return verdict

        def ask(actor: Principal, facts: Facts) -> Answer:
            return self._ask(intent, actor, replace(facts, approvals=max(facts.approvals, EVERYBODY)))

        rules = tuple(self._scopes(intent).rules.values())
        found = way_through(ask, rules, actor, facts)
        if found is None:
            would = f"A policy rule that permits {intent} for the role {actor.role}; an admin can add one."
            return replace(verdict, would_allow=would)
        passes = self._judged(intent, found.actor, found.facts)
        return replace(verdict, would_allow=found.sentence(_asked(passes)))

    def _judged(self, intent: str, actor: Principal, facts: Facts) -> Verdict:
        now = self._ask(intent, actor, facts)
        if now.allowed:
            return Verdict(decision=Decision.ALLOW, rules=_ids(now.rules), reason=_reason(now.rules))
        if now.errors:
            return Verdict(decision=Decision.DENY, reason="The policy could not be evaluated, so the answer is no.")
        approved = self._ask(intent, actor, replace(facts, approvals=max(facts.approvals, EVERYBODY)))
        if approved.allowed:
            return self._asks(intent, actor, facts, (now, approved))
        forbidding = approved.rules or now.rules
        if forbidding:
            return Verdict(decision=Decision.DENY, rules=_ids(forbidding), reason=_reason(forbidding))
        return self._by_default(intent, actor)

    def _asks(self, intent: str, actor: Principal, facts: Facts, answers: tuple[Answer, Answer]) -> Verdict:
        """Ask as many people, of such roles, as the strictest of the rules that ask."""
        now, approved = answers
        asking = [*(rule for rule in approved.rules if rule.asks), *now.rules]
        needed = max((rule.approvers for rule in asking), default=1)
        known = {count for rule in asking for count in rule.numbers.get("context.approvals", ()) if count > needed}
        for count in (needed, *sorted(known)) if known else ():
            if self._ask(intent, actor, replace(facts, approvals=count)).allowed:
                needed = count
                break
        verdict = Verdict(
            decision=Decision.ASK,
            rules=_ids([*approved.rules, *now.rules]),
            reason=_reason([*approved.rules, *now.rules]),
            approvals=needed,
            roles=_roles(asking),
            excludes_requester=any(rule.excludes for rule in asking),
        )
        asked = _asked(verdict)
        return replace(verdict, would_allow=f"{asked[0].upper()}{asked[1:]}.")

    def _by_default(self, intent: str, actor: Principal) -> Verdict:
        """Nothing permits it: name the rules that are about the intent."""
        about = [rule for rule in self._scopes(intent).rules.values() if rule.permits and not rule.blanket]
        reason = f"No rule allows {intent} for the role {actor.role} as things are"
        told = f"; about it: {', '.join(_ids(about))}." if about else "; none is about it."
        return Verdict(decision=Decision.DENY, rules=_ids(about), reason=reason + told)

    def _ask(self, intent: str, actor: Principal, facts: Facts) -> Answer:
        scope = self._scopes(intent)
        request = {
            "principal": {"type": _type_of(actor), "id": actor.name},
            "action": {"type": "Action", "id": intent},
            "resource": {"type": "Target", "id": facts.target},
            "context": {
                "approvals": facts.approvals,
                "tainted": facts.tainted,
                "blast": facts.blast,
                "origin": facts.origin,
                "confidence": facts.confidence,
                "now": facts.now,
                "hour": facts.hour,
                "weekday": facts.weekday,
                "params": dict(facts.params),
            },
        }
        try:
            entities = self._entities(
                actor, facts.target, facts.target_kind, facts.production, facts.owner, facts.attributes
            )
            answer = cedarpy.is_authorized(request, scope.policies, entities, self._schema)
        except ValueError as wrong:  # a name that is no text, or an attribute of another type than rules expect
            return Answer(False, (), (str(wrong),))
        errors = tuple(answer.diagnostics.errors)
        decided = answer.diagnostics.reasons  # in no order of their own
        rules = tuple(scope.rules[name] for name in sorted(decided, key=scope.order.__getitem__))
        return Answer(answer.decision == cedarpy.Decision.Allow and not errors, rules, errors)

    def _entities_of(
        self, actor: Principal, target: str, kind: str, production: bool, owner: str, attributes: Named
    ) -> cedarpy.Entities:
        told = {"name": actor.name, "role": actor.role, "kind": actor.kind, "autonomy": actor.autonomy}
        entities = [
            {
                "uid": {"type": _type_of(actor), "id": actor.name},
                "attrs": told,
                "parents": [{"type": "Role", "id": actor.role}] if actor.role in ROLES else [],
            },
            {
                "uid": {"type": "Target", "id": target},
                "attrs": {
                    **dict(attributes),
                    "name": target,
                    "kind": kind,
                    "production": production,
                    "owner": owner,
                },
                "parents": [],
            },
        ]
        return cedarpy.Entities.from_json_str(json.dumps(entities), self._schema)


def load(
    text: str, intents: Iterable[Intent], source: str = "policy", attributes: Mapping[str, str] | None = None
) -> Policy:
    """Check Cedar text against the intents of this host and what its targets tell (attribute -> Cedar type).

    The rules that hold under every policy are added. Raises PolicyError that names file, line, rule and reason.
    """
    offered = list(intents)
    schema = schema_of(offered, attributes)
    try:
        checked = cedarpy.Schema.from_str(schema)
    except ValueError as error:
        raise PolicyError(f"{source}: the catalogue makes no schema for rules: {error}") from error
    read = partial(read_rules, intents=offered, schema=schema, attributes=attributes or {})
    params = {intent.name: types_of_params(intent.schema) for intent in offered}
    policy = Policy(hash_of(text), text, read(text, source=source), checked, params, read)
    return policy.with_more(always(params), "always")


def hash_of(text: str) -> str:
    """A short name of a policy text, kept in plans and audit."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _type_of(actor: Principal) -> str:
    return KINDS.get(actor.kind, "Service")


def _ids(rules: Iterable[Rule]) -> tuple[str, ...]:
    return tuple(sorted({rule.id for rule in rules}))


def _reason(rules: Iterable[Rule]) -> str:
    return " ".join(dict.fromkeys(rule.reason for rule in rules if rule.reason))


def _roles(asking: Sequence[Rule]) -> tuple[str, ...]:
    """The roles that all who ask accept; where there is none, those of the strictest."""
    asked = [rule for rule in asking if rule.roles]
    common = [role for role in ROLES if all(role in rule.roles for rule in asked)]
    if not asked:
        return APPROVERS
    return tuple(common) or max(asked, key=lambda rule: rule.approvers).roles


def _asked(verdict: Verdict) -> str:
    """Whose approval a verdict asks for, in words; empty if nobody's."""
    if verdict.decision is not Decision.ASK:
        return ""
    people = "one person" if verdict.approvals == 1 else f"{verdict.approvals} people"
    other = " other than who asked" if verdict.excludes_requester else ""
    return f"approval by {people}{other} with the role {' or '.join(verdict.roles)}"
