"""Approvals: decisions of people on plans, bound to the digest, single use, resolved once.

Called by session. Knows neither the model nor how steps run. The one conditional write in the store decides between two
people who are equally quick; the other is told who was first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llmcore.audit import Audit
from llmcore.errors import BadParams, Conflict, Expired, Forbidden, NotFound
from llmcore.plan import Approval, Plan, PlanStatus, Principal, Step, Vote
from llmcore.policy import approval_of
from llmcore.ports import Clock, Store, from_rfc3339, rfc3339

OPEN = (PlanStatus.PROPOSED, PlanStatus.WAITING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalOptions:
    """How long a proposed plan may wait."""

    decision_s: float = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Approvals:
    """Pending decisions of this installation."""

    store: Store
    audit: Audit
    clock: Clock
    options: ApprovalOptions = ApprovalOptions()

    def asked(self, steps: Sequence[Step]) -> Approval:
        """What a plan of these steps needs from people, counted from now."""
        needed, roles, excludes = approval_of(steps)
        expires = rfc3339(self.clock.now() + self.options.decision_s)
        return Approval(needed=needed, roles=roles, expires_at=expires, excludes_requester=excludes)

    async def visible(self, plan_id: str, principal: Principal) -> Plan:
        """A plan that this caller may see: their own, or one they could approve; NotFound for all others."""
        plan = await self.store.plan_get(plan_id)
        if plan is None or not sees(plan, principal):
            raise NotFound("There is no such plan, or it is not yours to see.", plan_id=plan_id)
        return await self._expired(plan)

    async def visible_list(self, principal: Principal, statuses: Sequence[PlanStatus], limit: int) -> list[Plan]:
        """The plans that this caller may see, newest first."""
        requester = None if principal.may_approve(()) else principal.name
        plans = await self.store.plan_list(requester, statuses, limit)
        seen = [await self._expired(plan) for plan in plans if sees(plan, principal)]
        return [plan for plan in seen if not statuses or plan.status in statuses]

    async def approve(self, plan_id: str, digest: str, principal: Principal, comment: str = "") -> Plan:
        """Give one person's approval; the plan is `approved` with the last one needed.

        Raises Conflict (other digest, already decided, same person again), Expired, Forbidden (wrong role).
        """
        plan = await self.visible(plan_id, principal)
        try:
            self._check_open(plan)
            self._check_digest(plan, digest)
            self._check_person(plan, principal)
        except (Conflict, Expired, Forbidden) as refused:
            await self.audit.record(
                "plan.approve.refused", principal, plan_id=plan_id, digest=digest, reason=refused.message
            )
            raise
        approval = plan.approval or Approval()
        vote = Vote(by=principal.name, at=rfc3339(self.clock.now()), comment=comment)
        voted = replace(plan, approval=replace(approval, given=(*approval.given, vote)))
        enough = len(voted.approval.given if voted.approval else ()) >= approval.needed
        decided = voted.moved(PlanStatus.APPROVED) if enough and plan.status is PlanStatus.PROPOSED else voted
        await self._decide(decided, plan)
        await self.audit.record("plan.approve", principal, plan_id=plan_id, digest=digest, comment=comment)
        return decided

    async def reject(self, plan_id: str, principal: Principal, reason: str) -> Plan:
        """Say no for good; the requester or anyone who could approve may."""
        plan = await self.visible(plan_id, principal)
        self._check_open(plan)
        if plan.requester.name != principal.name and not principal.may_approve(_roles(plan)):
            raise Forbidden("Only the requester or an approver may reject this plan.", plan_id=plan_id)
        rejected = plan.moved(PlanStatus.REJECTED)
        await self._decide(rejected, plan)
        await self.audit.record("plan.reject", principal, plan_id=plan_id, digest=plan.digest, reason=reason)
        return rejected

    async def replace_steps(self, plan: Plan, edited: Plan, principal: Principal) -> Plan:
        """Store an edited plan (new digest); approvals given before are dropped."""
        self._check_open(plan)
        if plan.requester.name != principal.name and not principal.may_approve(_roles(plan)):
            raise Forbidden("Only the requester or an approver may edit this plan.", plan_id=plan.plan_id)
        await self._decide(edited, plan)
        await self.audit.record(
            "plan.edit", principal, plan_id=plan.plan_id, digest_before=plan.digest, digest=edited.digest
        )
        return edited

    async def _expired(self, plan: Plan) -> Plan:
        expires = plan.approval.expires_at if plan.approval else None
        if plan.status not in OPEN or expires is None or self.clock.now() < from_rfc3339(expires):
            return plan
        late = plan.moved(PlanStatus.EXPIRED)
        if await self.store.plan_swap(late, plan):
            await self.audit.record("plan.expire", plan.requester, plan_id=plan.plan_id, digest=plan.digest)
            return late
        return await self.store.plan_get(plan.plan_id) or late

    async def _decide(self, decided: Plan, expected: Plan) -> None:
        if await self.store.plan_swap(decided, expected):
            return
        now = await self.store.plan_get(expected.plan_id)
        raise _too_late(now or expected)

    @staticmethod
    def _check_open(plan: Plan) -> None:
        if plan.status is PlanStatus.EXPIRED:
            raise Expired("The plan has expired; ask for it again.", plan_id=plan.plan_id)
        if plan.status not in OPEN:
            raise _too_late(plan)
        if plan.digest is None:
            raise Conflict("The plan is still being prepared; wait for its digest.", plan_id=plan.plan_id)

    @staticmethod
    def _check_digest(plan: Plan, digest: str) -> None:
        if not digest:
            raise BadParams("The digest is missing.", [{"pointer": "/digest", "message": "is missing"}])
        if digest != plan.digest:
            raise Conflict(
                "The plan has changed since you saw it; look at it again before you approve.",
                plan_id=plan.plan_id,
                digest=plan.digest,
            )

    @staticmethod
    def _check_person(plan: Plan, principal: Principal) -> None:
        approval = plan.approval or Approval()
        if approval.needed == 0 and principal.name == plan.requester.name:
            return
        if not principal.may_approve(approval.roles):
            roles = " or ".join(approval.roles or ("admin", "developer"))
            raise Forbidden(
                f"This plan needs the approval of a person with the role {roles}.", plan_id=plan.plan_id, roles=roles
            )
        if approval.excludes_requester and principal.name == plan.requester.name:
            raise Forbidden("The requester may not approve this plan.", plan_id=plan.plan_id)
        if any(vote.by == principal.name for vote in approval.given):
            raise Conflict("You have approved this plan already; it needs another person.", plan_id=plan.plan_id)


def sees(plan: Plan, principal: Principal) -> bool:
    """The requester, and every person who could approve it."""
    return plan.requester.name == principal.name or principal.may_approve(_roles(plan))


def _roles(plan: Plan) -> tuple[str, ...]:
    return plan.approval.roles if plan.approval else ()


def _too_late(plan: Plan) -> Conflict:
    votes = plan.approval.given if plan.approval else ()
    by = f" by {votes[-1].by}" if votes and plan.status is not PlanStatus.REJECTED else ""
    return Conflict(f"The plan is {plan.status.value} already{by}.", plan_id=plan.plan_id, status=plan.status.value)
