"""Approvals: bound to the digest, by the right person, in time, once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.errors import BadParams, Conflict, Expired, Forbidden, NotFound
from llmcore.plan import Approval, Decision, Plan, PlanStatus, Principal, Verdict, digest
from tests.rooms import ANNA, BO, OLGA, Rooms, rooms

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[Rooms]:
    """The rooms on a new store."""
    async with rooms(tmp_path) as built:
        yield built


async def proposed(house: Rooms, **approval: Any) -> Plan:
    """A stored plan that waits."""
    plan = house.plan({"intent": "stop_it", "params": {"module": "nginx"}}, requester=BO)
    asked = replace(house.approvals.asked(plan.steps), **{"needed": 1, **approval})
    plan = replace(plan, approval=asked, digest=digest(plan))
    await house.store.plan_put(plan)
    return plan


async def test_one_approval_is_enough_where_one_is_needed(house: Rooms) -> None:
    """The requester may be the approver by default; the vote is on record."""
    plan = await proposed(house)
    approved = await house.approvals.approve(plan.plan_id, str(plan.digest), BO, "go on")
    assert approved.status is PlanStatus.APPROVED
    assert approved.approval
    assert [(vote.by, vote.comment) for vote in approved.approval.given] == [("bo", "go on")]
    assert await house.store.plan_get(plan.plan_id) == approved
    assert "plan.approve" in await house.actions()


async def test_second_decision_is_told_who_was_first(house: Rooms) -> None:
    """A replayed frame does nothing."""
    plan = await proposed(house)
    await house.approvals.approve(plan.plan_id, str(plan.digest), BO)
    with pytest.raises(Conflict, match="approved already by bo"):
        await house.approvals.approve(plan.plan_id, str(plan.digest), ANNA)
    with pytest.raises(Conflict):
        await house.approvals.reject(plan.plan_id, ANNA, "late")


async def test_of_many_at_once_exactly_one_counts(house: Rooms) -> None:
    """Fifty people press the button in the same moment."""
    plan = await proposed(house)
    people = [Principal(name=f"p{number}", role="admin") for number in range(50)]
    decisions = await asyncio.gather(
        *(house.approvals.approve(plan.plan_id, str(plan.digest), person) for person in people), return_exceptions=True
    )
    assert sum(isinstance(decision, Plan) for decision in decisions) == 1
    assert all(isinstance(decision, Plan | Conflict) for decision in decisions)
    stored = await house.store.plan_get(plan.plan_id)
    assert stored
    assert stored.approval
    assert len(stored.approval.given) == 1


@pytest.mark.parametrize("wrong", ["sha256:0", "sha256", "x"])
async def test_other_digest_is_refused_and_audited(house: Rooms, wrong: str) -> None:
    """Nobody approves what they have not seen."""
    plan = await proposed(house)
    with pytest.raises(Conflict, match="changed"):
        await house.approvals.approve(plan.plan_id, wrong, ANNA)
    assert "plan.approve.refused" in await house.actions()
    with pytest.raises(BadParams):
        await house.approvals.approve(plan.plan_id, "", ANNA)


async def test_observer_neither_sees_nor_approves_anothers_plan(house: Rooms) -> None:
    """It is as if there were none."""
    plan = await proposed(house)
    for call in (
        house.approvals.visible(plan.plan_id, OLGA),
        house.approvals.approve(plan.plan_id, str(plan.digest), OLGA),
        house.approvals.reject(plan.plan_id, OLGA, ""),
    ):
        with pytest.raises(NotFound):
            await call
    assert await house.approvals.visible_list(OLGA, [], 10) == []
    assert len(await house.approvals.visible_list(ANNA, [PlanStatus.PROPOSED], 10)) == 1


async def test_observer_may_not_approve_their_own_plan_nor_an_agent_any(house: Rooms) -> None:
    """Only people of the asked roles."""
    plan = replace(await proposed(house), plan_id="pl_2", requester=OLGA)
    await house.store.plan_put(plan)
    with pytest.raises(Forbidden, match="role"):
        await house.approvals.approve("pl_2", str(plan.digest), OLGA)
    agent = Principal(name="bot", role="admin", kind="agent")
    with pytest.raises(NotFound):
        await house.approvals.approve("pl_2", str(plan.digest), agent)


async def test_two_of_two_are_two_people(house: Rooms) -> None:
    """The same person twice is refused; the plan waits until the second has agreed."""
    plan = await proposed(house, needed=2)
    half = await house.approvals.approve(plan.plan_id, str(plan.digest), ANNA)
    assert half.status is PlanStatus.PROPOSED
    with pytest.raises(Conflict, match="another person"):
        await house.approvals.approve(plan.plan_id, str(plan.digest), ANNA)
    whole = await house.approvals.approve(plan.plan_id, str(plan.digest), BO)
    assert whole.status is PlanStatus.APPROVED


async def test_requester_is_excluded_where_policy_says_so(house: Rooms) -> None:
    """Four eyes."""
    plan = await proposed(house, excludes_requester=True)
    with pytest.raises(Forbidden, match="requester"):
        await house.approvals.approve(plan.plan_id, str(plan.digest), BO)
    assert (await house.approvals.approve(plan.plan_id, str(plan.digest), ANNA)).status is PlanStatus.APPROVED


async def test_late_decision_is_refused_by_the_stored_time(house: Rooms) -> None:
    """No timer has to run: also after a restart."""
    plan = await proposed(house)
    house.clock.ahead_s = 3601
    with pytest.raises(Expired):
        await house.approvals.approve(plan.plan_id, str(plan.digest), ANNA)
    stored = await house.store.plan_get(plan.plan_id)
    assert stored
    assert stored.status is PlanStatus.EXPIRED
    assert "plan.expire" in await house.actions()
    assert await house.approvals.visible_list(ANNA, [PlanStatus.PROPOSED], 10) == []


async def test_rejected_plan_stays_rejected(house: Rooms) -> None:
    """With its reason in the audit."""
    plan = await proposed(house)
    assert (await house.approvals.reject(plan.plan_id, ANNA, "not now")).status is PlanStatus.REJECTED
    with pytest.raises(Conflict):
        await house.approvals.approve(plan.plan_id, str(plan.digest), ANNA)
    assert "plan.reject" in await house.actions()


async def test_edit_drops_the_approvals_given(house: Rooms) -> None:
    """What was approved is not what stands there now; who saw the old one is told."""
    plan = await proposed(house, needed=2)
    voted = await house.approvals.approve(plan.plan_id, str(plan.digest), ANNA)
    steps = house.catalog.steps([{"intent": "stop_it", "params": {"module": "other"}}])
    edited = replace(voted, steps=steps, approval=Approval(needed=2))
    edited = replace(edited, digest=digest(edited))
    await house.approvals.replace_steps(voted, edited, ANNA)
    with pytest.raises(Conflict, match="changed"):
        await house.approvals.approve(plan.plan_id, str(plan.digest), BO)
    with pytest.raises(Conflict):
        await house.approvals.replace_steps(voted, edited, ANNA)
    with pytest.raises(Forbidden):
        await house.approvals.replace_steps(edited, edited, OLGA)


async def test_unfinished_plan_cannot_be_approved(house: Rooms) -> None:
    """It has no digest before its reads have ended."""
    plan = replace(await proposed(house), plan_id="pl_2", digest=None)
    await house.store.plan_put(plan)
    with pytest.raises(Conflict, match="prepared"):
        await house.approvals.approve("pl_2", "sha256:1", ANNA)


async def test_plan_of_reads_is_started_by_whoever_asked(house: Rooms) -> None:
    """It needs nobody's approval, so an observer may start their own."""
    plan = house.plan({"intent": "look", "params": {"module": "a"}}, requester=OLGA)
    plan = replace(plan, approval=house.approvals.asked(plan.steps), digest=digest(plan))
    await house.store.plan_put(plan)
    assert (await house.approvals.approve("pl_1", str(plan.digest), OLGA)).status is PlanStatus.APPROVED


async def test_asked_sums_up_the_verdicts(house: Rooms) -> None:
    """People, roles and the time by which they have to decide."""
    verdict = Verdict(decision=Decision.ASK, approvals=2, roles=("admin",))
    steps = [replace(house.catalog.steps([{"intent": "list_all"}])[0], verdict=verdict)]
    asked = house.approvals.asked(steps)
    assert (asked.needed, asked.roles) == (2, ("admin",))
    assert asked.expires_at
