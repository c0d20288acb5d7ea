"""Works out the facts of a step, asks the policy, and sums a plan's verdicts up to what its approval needs.

Used at proposal, at approval and before every step, so that all three ask the same question.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmcore.plan import Decision, Effect, Origin, Principal, Step, Verdict
from llmcore.policy.cedar import Facts, Policy

Attributes = Callable[[str], Mapping[str, Any]]
"""Name of a target -> its attributes from the settings (`production`, `owner`, `kind`); empty if unknown."""

_ORDER = (Decision.ALLOW, Decision.ASK, Decision.DENY)


@dataclass(frozen=True, slots=True)
class Judge:
    """The policy together with what this host knows of its targets."""

    policy: Policy
    attributes: Attributes

    def verdict(self, step: Step, actor: Principal, origin: Origin, approvals: int = 0) -> Verdict:
        """What policy says of one step of a plan of that origin, with so many people's approval."""
        targets = self._targets(step)
        known = [self.attributes(target) for target in targets]
        facts = Facts(
            target=targets[0] if targets else "",
            target_kind=next((str(found["kind"]) for found in known if "kind" in found), ""),
            production=any(found.get("production") is True for found in known),
            owner=next((str(found["owner"]) for found in known if "owner" in found), ""),
            tainted=origin.tainted,
            blast=step.preview.blast if step.preview else len(targets),
            origin=origin.kind,
            approvals=approvals,
        )
        return self.policy.decide(step, actor, facts)

    @staticmethod
    def _targets(step: Step) -> Sequence[str]:
        if step.preview:
            return step.preview.targets
        if step.effect is Effect.READ:
            return ()
        return [value for value in step.params.values() if isinstance(value, str)][:1]


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
