"""Approvals: decisions of people on plans, bound to the digest, sealed, single use, resolved once.

Called by session. Knows neither the model nor how steps run. The one conditional write in the store decides between two
people who are equally quick; the other is told who was first. Times are compared with what is stored, so that nothing
has to run for something to expire.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from llmcore.audit import Audit
from llmcore.errors import BadParams, Conflict, Expired, Forbidden, LLMCoreError, NotFound
from llmcore.plan import TERMINAL, Approval, Edit, Plan, PlanStatus, Principal, Step, StepState, Vote, genuine, seal
from llmcore.policy import approval_of
from llmcore.ports import Clock, Store, from_rfc3339, rfc3339

OPEN = (PlanStatus.PROPOSED, PlanStatus.WAITING)
SECRET = "approvals"  # noqa: S105 - its name in the store
GLASS_COMMENT = 10
"""Characters of the reason that breaking the glass needs at least."""

Demand = Callable[[Plan], Approval]
"""What policy asks of people for a plan at this moment; raises Forbidden where it denies the plan."""


class Tampered(Conflict):
    """The stored plan is not what this installation wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalOptions:
    """How long a plan may wait, in seconds."""

    decision_s: float = 24 * 3600.0
    execution_s: float = 3600.0
    """From the last approval to the beginning of the run."""


@dataclass(frozen=True, slots=True)
class Approvals:
    """Pending decisions of this installation."""

    store: Store
    audit: Audit
    clock: Clock
    key: bytes
    """Seals plans; the same on all nodes (`SECRET` in the store)."""
    options: ApprovalOptions = ApprovalOptions()

    # --- what a plan needs, and who sees it ---

    def asked(self, steps: Sequence[Step]) -> Approval:
        """What a plan of these steps needs from people, counted from now."""
        needed, roles, excludes = approval_of(steps)
        return Approval(
            needed=needed, roles=roles, expires_at=self._in(self.options.decision_s), excludes_requester=excludes
        )

    def sealed(self, plan: Plan) -> Plan:
        """The plan as it is to be stored: whatever has a digest has a seal."""
        return seal(plan, self.key)

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

    # --- decisions ---

    async def approve(
        self,
        plan_id: str,
        digest: str,
        principal: Principal,
        comment: str = "",
        *,
        break_glass: bool = False,
        demand: Demand = lambda plan: plan.approval or Approval(),
    ) -> Plan:
        """Give one person's approval; the plan is `approved` with the last one needed.

        `demand` is asked again now, and where it has become stricter the stricter holds. With `break_glass` an admin
        stands for everybody, with a reason. Raises Conflict (other digest, already decided, same person again,
        tampered with), Expired, Forbidden (wrong person, or policy denies it), NotFound; each refusal is audited.
        """

        def voted(plan: Plan) -> Plan:
            _check_undecided(plan)
            _check_digest(plan, digest)
            asked = stricter(plan.approval or Approval(), demand(plan))
            if break_glass:
                _check_glass(principal, comment)
            else:
                _check_person(plan, asked, principal)
            vote = Vote(by=principal.name, at=self._in(0), comment=comment, break_glass=break_glass)
            given = (*(earlier for earlier in asked.given if earlier.by != vote.by), vote)
            return self._with_votes(plan, replace(asked, given=given))

        facts = {"plan_id": plan_id, "digest": digest, "comment": comment, "break_glass": break_glass}
        async with self.refusals("plan.approve", principal, **facts):
            decided = await self._decided(plan_id, principal, voted)
        await self.audit.record("plan.break_glass" if break_glass else "plan.approve", principal, **facts)
        return decided

    async def reject(self, plan_id: str, principal: Principal, reason: str) -> Plan:
        """Say no for good; the requester or anyone who could approve may. Raises as `approve` does."""

        def rejected(plan: Plan) -> Plan:
            _check_open(plan)
            vote = Vote(by=principal.name, at=self._in(0), comment=reason)
            return replace(
                plan.moved(PlanStatus.REJECTED), approval=replace(plan.approval or Approval(), rejected=vote)
            )

        async with self.refusals("plan.reject", principal, plan_id=plan_id, reason=reason):
            plan = await self._decided(plan_id, principal, rejected)
        await self.audit.record("plan.reject", principal, plan_id=plan_id, digest=plan.digest, reason=reason)
        return plan

    async def replace_steps(
        self, plan: Plan, edited: Plan, diff: Sequence[dict[str, Any]], principal: Principal
    ) -> Plan:
        """Store an edited plan (new digest), with what was changed; approvals given before are dropped."""
        edit = Edit(digest=plan.digest or "", by=principal.name, at=self._in(0), diff=tuple(diff))

        def replaced(now: Plan) -> Plan:
            check_editable(now)
            if now.digest != plan.digest:
                raise Conflict("The plan was changed by somebody else at this moment.", plan_id=plan.plan_id)
            return replace(edited, edited_from=edit)

        async with self.refusals("plan.edit", principal, plan_id=plan.plan_id, digest_before=plan.digest):
            stored = await self._decided(plan.plan_id, principal, replaced)
        await self.audit.record(
            "plan.edit",
            principal,
            plan_id=plan.plan_id,
            digest_before=plan.digest,
            digest=stored.digest,
            diff=list(diff),
        )
        return stored

    @asynccontextmanager
    async def refusals(self, action: str, principal: Principal, **facts: Any) -> AsyncIterator[None]:
        """Audit as `<action>.refused` what is refused inside; raises it again."""
        try:
            yield
        except LLMCoreError as refused:
            if not refused.retryable:  # one that may work in a moment was not refused
                facts |= {"error": refused.code, "why": refused.message}
                await self.audit.record(f"{action}.refused", principal, **facts)
            raise

    # --- the beginning of a run ---

    async def begin(self, plan: Plan) -> None:
        """Let a decided plan run, or run on: raises as `check` does, and puts down by whose word it runs."""
        await self.check(plan)
        given = plan.approval.given if plan.approval else ()
        votes = [{"by": vote.by, "at": vote.at, "break_glass": vote.break_glass} for vote in given]
        await self.audit.record(
            "plan.begin", plan.requester, plan_id=plan.plan_id, run_id=plan.run_id, digest=plan.digest, approvals=votes
        )

    async def check(self, plan: Plan) -> None:
        """Raise Tampered or Expired where a plan that was decided may not run (any more); it has ended then."""
        await self.check_intact(plan, plan.requester)
        approval = plan.approval or Approval()
        if approval.weight < approval.needed:
            raise await self._tampered(plan, plan.requester)
        if (await self._expired(plan)).status is PlanStatus.EXPIRED:
            raise Expired("The plan was approved, but not begun in time; ask for it again.", plan_id=plan.plan_id)

    async def check_intact(self, plan: Plan, principal: Principal) -> None:
        """Raise Tampered where a plan that could still run is not as we stored it; it has ended then."""
        if plan.status not in TERMINAL and not self._intact(plan):
            raise await self._tampered(plan, principal)

    def _intact(self, plan: Plan) -> bool:
        if plan.digest is None:  # its reads have not ended; nobody can have decided on it
            return plan.approval is None and plan.status is not PlanStatus.APPROVED
        return genuine(plan, self.key)

    async def _tampered(self, plan: Plan, principal: Principal) -> Tampered:
        ended = PlanStatus.REJECTED if plan.status in OPEN else PlanStatus.FAILED
        await self.store.plan_swap(replace(plan, status=ended), plan)
        facts = {"plan_id": plan.plan_id, "run_id": plan.run_id, "digest": plan.digest, "status": plan.status.value}
        await self.audit.record("plan.tampered", principal, **facts)
        return Tampered(
            "The stored plan is not what this server wrote: somebody changed it from outside. Nothing of it runs.",
            plan_id=plan.plan_id,
        )

    # --- inside ---

    def _with_votes(self, plan: Plan, approval: Approval) -> Plan:
        if approval.weight < approval.needed:
            return replace(plan, approval=approval)
        decided = replace(approval, execute_by=self._in(self.options.execution_s))
        return replace(plan.moved(PlanStatus.APPROVED), approval=decided)

    async def _decided(self, plan_id: str, principal: Principal, change: Callable[[Plan], Plan]) -> Plan:
        """Change a plan as it is at the moment of writing: again, where somebody else was a little quicker."""
        while True:
            plan = await self.visible(plan_id, principal)
            await self.check_intact(plan, principal)
            changed = self.sealed(change(plan))
            if await self.store.plan_swap(changed, plan):
                return changed
            if await self.store.plan_get(plan_id) == plan:  # its row and its document disagree
                raise await self._tampered(plan, principal)

    async def _expired(self, plan: Plan) -> Plan:
        until = _deadline(plan)
        if until is None or not self._is_past(until) or not self._intact(plan):
            return plan
        late = self.sealed(plan.moved(PlanStatus.EXPIRED))
        if await self.store.plan_swap(late, plan):
            await self.audit.record(
                "plan.expire", plan.requester, plan_id=plan.plan_id, digest=plan.digest, was=plan.status.value
            )
            return late
        return await self.store.plan_get(plan.plan_id) or late

    def _is_past(self, moment: str) -> bool:
        """True also for what is no time at all: the seal will tell."""
        try:
            return self.clock.now() >= from_rfc3339(moment)
        except ValueError:
            return True

    def _in(self, seconds: float) -> str:
        return rfc3339(self.clock.now() + seconds)


def sees(plan: Plan, principal: Principal) -> bool:
    """The requester, and every person who could approve it."""
    roles = plan.approval.roles if plan.approval else ()
    return plan.requester.name == principal.name or principal.may_approve(roles) or principal.may_approve(("admin",))


def stricter(asked: Approval, now: Approval) -> Approval:
    """What was asked at first, and more where policy asks for more by now.

    Votes of people who would not be asked any more are dropped with all others: who gave them had other rules before
    their eyes.
    """
    if now.needed == 0:
        return asked
    roles = tuple(role for role in asked.roles if role in now.roles) or now.roles
    excludes = asked.excludes_requester or now.excludes_requester
    same = asked.needed == 0 or (set(roles) == set(asked.roles) and excludes == asked.excludes_requester)
    return replace(
        asked,
        needed=max(asked.needed, now.needed),
        roles=roles,
        excludes_requester=excludes,
        given=asked.given if same else (),
    )


def _deadline(plan: Plan) -> str | None:
    """When it is too late for what a plan waits for; None where it waits for nothing, or for what no time decides."""
    if plan.approval is None or any(step.state is StepState.UNKNOWN for step in plan.steps):
        return None
    if plan.status is PlanStatus.APPROVED:
        return plan.approval.execute_by
    return plan.approval.expires_at if plan.status in OPEN else None


def check_editable(plan: Plan) -> None:
    """Raise Conflict or Expired for a plan whose steps may not be changed."""
    _check_open(plan)
    if plan.status is PlanStatus.WAITING:
        raise Conflict("A part of the plan has run; reject the rest and make a new plan.", plan_id=plan.plan_id)
    if plan.digest is None:
        raise _unprepared(plan)


def _check_open(plan: Plan) -> None:
    if plan.status is PlanStatus.EXPIRED:
        raise Expired("The plan has expired; ask for it again.", plan_id=plan.plan_id)
    if plan.status not in OPEN:
        raise _too_late(plan)


def _check_undecided(plan: Plan) -> None:
    _check_open(plan)
    unsure = next((step for step in plan.steps if step.state is StepState.UNKNOWN), None)
    if unsure is not None:
        raise Conflict(
            f"Nobody can say whether step {unsure.id} happened: it is not approved, it is resolved (run_resolve,"
            f" or `llmcore resolve {plan.run_id} {unsure.id} done|retry|stop`).",
            plan_id=plan.plan_id,
            run_id=plan.run_id,
            step_id=unsure.id,
        )
    if plan.digest is None:
        raise _unprepared(plan)


def _check_digest(plan: Plan, digest: str) -> None:
    if not digest:
        raise BadParams("The digest is missing.", [{"pointer": "/digest", "message": "is missing"}])
    if digest != plan.digest:
        raise Conflict(
            "The plan has changed since you saw it; look at it again before you approve.",
            plan_id=plan.plan_id,
            digest=plan.digest,
        )


def _check_person(plan: Plan, approval: Approval, principal: Principal) -> None:
    if approval.needed == 0 and principal.name == plan.requester.name:
        return
    if not principal.may_approve(approval.roles):
        roles = " or ".join(approval.roles or ("admin", "developer"))
        raise Forbidden(
            f"This plan needs the approval of a person with the role {roles}.", plan_id=plan.plan_id, roles=roles
        )
    authors = {plan.requester.name, *([plan.edited_from.by] if plan.edited_from else ())}
    if approval.excludes_requester and principal.name in authors:
        raise Forbidden("Who asked for this plan, or edited it, may not approve it.", plan_id=plan.plan_id)
    if any(vote.by == principal.name for vote in approval.given):
        raise Conflict("You have approved this plan already; it needs another person.", plan_id=plan.plan_id)


def _check_glass(principal: Principal, comment: str) -> None:
    if not principal.may_approve(("admin",)):
        raise Forbidden("Only a person with the role admin may break the glass.")
    if len(comment.strip()) < GLASS_COMMENT:
        problem = f"must say why, in at least {GLASS_COMMENT} characters"
        raise BadParams(f"To break the glass, the comment {problem}.", [{"pointer": "/comment", "message": problem}])


def _unprepared(plan: Plan) -> Conflict:
    return Conflict("The plan is still being prepared; wait for its digest.", plan_id=plan.plan_id)


def _too_late(plan: Plan) -> Conflict:
    approval, status = plan.approval or Approval(), plan.status
    said = f"The plan is {status} already."
    if approval.rejected is not None and status is PlanStatus.REJECTED:
        said = f"The plan was already rejected by {approval.rejected.by}."
    elif approval.given:
        names = ", ".join(vote.by for vote in approval.given)
        said = f"The plan was already approved by {names}; it is {status} now."
    return Conflict(said, plan_id=plan.plan_id, status=status.value)
