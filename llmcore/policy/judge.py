"""Works out the facts of a step, asks the policy, and sums a plan's verdicts up to what its approval needs.

Used at proposal, at approval and before every step, so that all three ask the same question. The clock is handed in;
rules that people have approved for a while are added by `use`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Protocol

from llmcore.plan import Decision, Effect, Origin, Principal, Step, Verdict
from llmcore.policy.cedar import Policy
from llmcore.policy.facts import Facts, Named, told_as
from llmcore.policy.standing import ALLOW, WITHDRAW, StandingRule

Attributes = Callable[[str], Mapping[str, Any]]
"""Name of a target -> its attributes from the settings (`production`, `owner`, `kind`, ...); empty if unknown."""

_ORDER = (Decision.ALLOW, Decision.ASK, Decision.DENY)
_OWN = frozenset({"name", "kind", "production", "owner"})
"""Attributes that have a fact of their own."""


class Time(Protocol):
    """What the judge needs of a clock."""

    def now(self) -> float:
        """Epoch seconds."""
        ...


@dataclass(frozen=True, slots=True)
class _Moment:
    """A clock that stands still."""

    seconds: float

    def now(self) -> float:
        """That moment."""
        return self.seconds


class Judge:
    """The policy together with what this host knows of its targets and of the time."""

    def __init__(self, policy: Policy, attributes: Attributes, clock: Time, zone: tzinfo = UTC) -> None:
        """`zone` is where the hours and days of rules are meant."""
        self._file = policy
        self.policy = policy
        """What decides now: the policy of the installation and the standing rules."""
        self._attributes = attributes
        self._clock = clock
        self._zone = zone

    def at(self, moment: float) -> "Judge":
        """The same judge at another time (epoch seconds)."""
        made = copy(self)
        made._clock = _Moment(moment)
        return made

    def use(self, rules: Iterable[StandingRule]) -> None:
        """Decide with these standing rules besides the policy of the installation, from now on."""
        texts = [rule.cedar() for rule in rules if rule.intent in self._file]
        self.policy = self._file.with_more("\n".join(texts), "standing") if texts else self._file

    def may_stand(self, intent: str) -> bool:
        """True for an intent that a standing rule may be about: any but those that make and end such rules."""
        return intent in self._file and intent not in (ALLOW, WITHDRAW)

    def verdict(
        self,
        step: Step,
        actor: Principal,
        origin: Origin,
        approvals: int = 0,
        confidence: int = 100,
        *,
        foreseen: bool = False,
    ) -> Verdict:
        """What policy says of one step of a plan of that origin, with so many people's approval.

        `confidence` is in per cent. A step with several targets is judged by the one that policy is strictest about.
        `foreseen`: there is no preview yet; whose the targets are is supposed to be as the actor needs it, so that the
        step is refused only once that is known.
        """
        policy = self.policy
        now = self._clock.now()
        local = datetime.fromtimestamp(now, self._zone)
        targets = targets_of(step)
        known: dict[str, Any] = {
            "tainted": origin.tainted,
            "blast": step.preview.blast if step.preview else len(targets),
            "origin": origin.kind,
            "approvals": approvals,
            "confidence": confidence,
            "params": policy.params_of(step),
            "now": int(now),
            "hour": local.hour,
            "weekday": local.isoweekday(),
        }
        told = {about: None for about in self._about(step, targets, actor.name if foreseen else "")}
        return _strictest([policy.decide(step, actor, Facts(**dict(about), **known)) for about in told])

    def _about(self, step: Step, targets: Sequence[str], owner: str) -> Iterator[tuple[tuple[str, Any], ...]]:
        """The facts about each target; the settings go before what the intent itself tells."""
        further = step.preview.attributes if step.preview else {}
        for target in targets or ("",):
            found = {**further, **self._attributes(target)}
            yield (
                ("target", target),
                ("target_kind", _text(found.get("kind"))),
                ("production", found.get("production") is True),
                ("owner", _text(found.get("owner")) or owner),
                ("attributes", _named(found)),
            )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _named(found: Mapping[str, Any]) -> Named:
    kinds = {str: "String", bool: "Bool", int: "Long"}
    told = ((name, told_as(kinds.get(type(value), ""), value)) for name, value in sorted(found.items()))
    return tuple((name, value) for name, value in told if value is not None and name not in _OWN)


def targets_of(step: Step) -> Sequence[str]:
    """What a step touches: what its preview told, else the first text among the params of a change."""
    if step.preview:
        return step.preview.targets
    if step.effect is Effect.READ:
        return ()
    return [value for value in step.params.values() if isinstance(value, str)][:1]


def _strictest(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict for all targets: a denial, else what all who ask want together."""
    worst = max(verdicts, key=lambda verdict: (_ORDER.index(verdict.decision), verdict.approvals))
    if len(verdicts) == 1 or worst.decision is not Decision.ASK:
        return worst
    asking = [verdict for verdict in verdicts if verdict.decision is Decision.ASK]
    roles = [role for role in worst.roles if all(role in verdict.roles for verdict in asking)]
    return Verdict(
        decision=Decision.ASK,
        rules=tuple(sorted({rule for verdict in asking for rule in verdict.rules})),
        reason=" ".join(dict.fromkeys(verdict.reason for verdict in asking)),
        would_allow=worst.would_allow,
        approvals=worst.approvals,
        roles=tuple(roles) or worst.roles,
        excludes_requester=any(verdict.excludes_requester for verdict in asking),
    )


def approval_of(steps: Sequence[Step]) -> tuple[int, tuple[str, ...], bool]:
    """People needed, their roles, and whether the requester is excluded: the worst step decides."""
    asking = [step.verdict for step in steps if step.verdict and step.verdict.decision is Decision.ASK]
    if not asking:
        return 0, (), False
    roles = set(asking[0].roles).intersection(*(verdict.roles for verdict in asking))
    return (
        max(verdict.approvals for verdict in asking),
        tuple(sorted(roles)) or asking[0].roles,
        any(verdict.excludes_requester for verdict in asking),
    )


def stricter(now: Verdict, approved: Verdict | None) -> bool:
    """True if policy has become stricter since the step was approved."""
    before = approved.decision if approved else Decision.ALLOW
    return _ORDER.index(now.decision) > _ORDER.index(Decision.ALLOW if before is Decision.ASK else before)
