"""Approvals: bound to the digest, sealed, by the right person, in time, once."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.approval import Tampered, check_editable, stricter
from llmcore.errors import BadParams, Conflict, Expired, Forbidden, LLMCoreError, NotFound, Unavailable
from llmcore.plan import Approval, Decision, Plan, PlanStatus, Principal, StepState, Verdict, Vote, digest
from tests.rooms import ANNA, BO, OLGA, Rooms, rooms

pytestmark = pytest.mark.asyncio

EVA = Principal(name="eva", role="admin")
WHY = "the shop is down and nobody answers"


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[Rooms]:
    """The rooms on a new store."""
    async with rooms(tmp_path) as built:
        yield built


async def stored(house: Rooms, plan: Plan, **changes: Any) -> Plan:
    """A plan as the session stores it: with its digest, sealed."""
    plan = replace(plan, digest=digest(plan))
    plan = house.approvals.sealed(replace(plan, **changes))
    await house.store.plan_put(plan)
    return plan


async def proposed(house: Rooms, **approval: Any) -> Plan:
    """A stored plan that waits."""
    plan = house.plan({"intent": "stop_it", "params": {"module": "nginx"}}, requester=BO)
    asked = replace(house.approvals.asked(plan.steps), **{"needed": 1, **approval})
    return await stored(house, replace(plan, approval=asked))


async def approve(house: Rooms, plan: Plan, who: Principal, comment: str = "", **more: Any) -> Plan:
    """Approve what was stored."""
    return await house.approvals.approve(plan.plan_id, str(plan.digest), who, comment, **more)


async def now(house: Rooms, plan: Plan) -> Plan:
    """The plan as it is in the store."""
    found = await house.store.plan_get(plan.plan_id)
    assert found
    return found


async def facts(house: Rooms, action: str) -> dict[str, Any]:
    """The facts of the last audit record of an action."""
    await house.audit.flush()
    records = [json.loads(record) for _, record, _ in await house.store.audit_rows()]
    return dict([record for record in records if record["action"] == action][-1]["facts"])


# --- one person, several people -----------------------------------------------------------------------------------


async def test_one_approval_is_enough_where_one_is_needed(house: Rooms) -> None:
    """The requester may be the approver by default; the vote is on record."""
    plan = await proposed(house)
    approved = await approve(house, plan, BO, "go on")
    assert approved.status is PlanStatus.APPROVED
    assert approved.approval
    assert [(vote.by, vote.comment) for vote in approved.approval.given] == [("bo", "go on")]
    assert await now(house, plan) == approved
    assert (await facts(house, "plan.approve"))["comment"] == "go on"
    await house.approvals.begin(approved)
    assert [vote["by"] for vote in (await facts(house, "plan.begin"))["approvals"]] == ["bo"]


async def test_second_decision_is_told_who_was_first(house: Rooms) -> None:
    """A replayed frame does nothing."""
    plan = await proposed(house)
    await approve(house, plan, BO)
    for again in (BO, ANNA):
        with pytest.raises(Conflict, match="already approved by bo"):
            await approve(house, plan, again)
    with pytest.raises(Conflict, match="already approved by bo"):
        await house.approvals.reject(plan.plan_id, ANNA, "late")
    assert (await facts(house, "plan.reject.refused"))["error"] == "conflict"


@pytest.mark.parametrize("needed", [1, 3])
async def test_of_many_at_once_exactly_as_many_count_as_are_needed(house: Rooms, needed: int) -> None:
    """Fifty people press the button in the same moment; the others are told who was quicker."""
    plan = await proposed(house, needed=needed)
    people = [Principal(name=f"p{number}", role="admin") for number in range(50)]
    decisions = await asyncio.gather(*(approve(house, plan, person) for person in people), return_exceptions=True)
    counted = [decision for decision in decisions if isinstance(decision, Plan)]
    assert [decision.status for decision in counted].count(PlanStatus.APPROVED) == 1
    assert len(counted) == needed
    names = [vote.by for vote in ((await now(house, plan)).approval or Approval()).given]
    assert len(set(names)) == needed
    refused = [decision for decision in decisions if isinstance(decision, Conflict)]
    assert len(refused) == 50 - needed
    assert all(f"already approved by {', '.join(names)}" in refusal.message for refusal in refused)


async def test_two_of_two_are_two_people(house: Rooms) -> None:
    """The same person twice is refused; the plan waits until the second has agreed."""
    plan = await proposed(house, needed=2)
    half = await approve(house, plan, ANNA)
    assert half.status is PlanStatus.PROPOSED
    assert half.approval
    assert half.approval.execute_by is None
    with pytest.raises(Conflict, match="another person"):
        await approve(house, plan, ANNA)
    assert (await approve(house, plan, BO)).status is PlanStatus.APPROVED


async def test_a_vote_and_a_refusal_at_once_are_both_told(house: Rooms) -> None:
    """Whoever comes second meets the plan as the first has left it."""
    plan = await proposed(house, needed=2)
    decisions = await asyncio.gather(
        approve(house, plan, ANNA), house.approvals.reject(plan.plan_id, BO, "no"), return_exceptions=True
    )
    after = await now(house, plan)
    assert after.status is PlanStatus.REJECTED
    assert isinstance(decisions[1], Plan)
    if isinstance(decisions[0], Conflict):
        assert "already rejected by bo" in decisions[0].message


# --- who ----------------------------------------------------------------------------------------------------------


async def test_observer_neither_sees_nor_approves_anothers_plan(house: Rooms) -> None:
    """It is as if there were none, and it is audited."""
    plan = await proposed(house)
    for call in (
        house.approvals.visible(plan.plan_id, OLGA),
        approve(house, plan, OLGA),
        house.approvals.reject(plan.plan_id, OLGA, ""),
        house.approvals.approve("pl_none", "x", ANNA),
    ):
        with pytest.raises(NotFound):
            await call
    assert await house.approvals.visible_list(OLGA, [], 10) == []
    assert len(await house.approvals.visible_list(ANNA, [PlanStatus.PROPOSED], 10)) == 1
    assert (await house.actions()).count("plan.approve.refused") == 2
    assert (await facts(house, "plan.approve.refused"))["plan_id"] == "pl_none"


async def test_observer_may_not_approve_their_own_plan_nor_an_agent_any(house: Rooms) -> None:
    """Only people of the asked roles."""
    plan = await stored(house, replace(await proposed(house), plan_id="pl_2", requester=OLGA))
    with pytest.raises(Forbidden, match="role"):
        await approve(house, plan, OLGA)
    for other in ("agent", "service", "node"):
        with pytest.raises(NotFound):
            await approve(house, plan, Principal(name="bot", role="admin", kind=other))


async def test_requester_and_editor_are_excluded_where_policy_says_so(house: Rooms) -> None:
    """Four eyes: who wrote it does not approve it."""
    plan = await proposed(house, excludes_requester=True)
    with pytest.raises(Forbidden, match="asked for this plan"):
        await approve(house, plan, BO)
    edited = replace(plan, steps=house.catalog.steps([{"intent": "stop_it", "params": {"module": "shop"}}]))
    edited = await house.approvals.replace_steps(plan, replace(edited, digest=digest(edited)), [], ANNA)
    with pytest.raises(Forbidden, match="edited"):
        await approve(house, edited, ANNA)
    assert (await approve(house, edited, EVA)).status is PlanStatus.APPROVED


async def test_plan_of_reads_is_started_by_whoever_asked(house: Rooms) -> None:
    """It needs nobody's approval, so an observer may start their own."""
    plan = house.plan({"intent": "look", "params": {"module": "a"}}, requester=OLGA)
    plan = await stored(house, replace(plan, approval=house.approvals.asked(plan.steps)))
    assert (await approve(house, plan, OLGA)).status is PlanStatus.APPROVED


async def test_asked_sums_up_the_verdicts(house: Rooms) -> None:
    """People, roles and the time by which they have to decide."""
    verdict = Verdict(decision=Decision.ASK, approvals=2, roles=("admin",))
    steps = [replace(house.catalog.steps([{"intent": "list_all"}])[0], verdict=verdict)]
    asked = house.approvals.asked(steps)
    assert (asked.needed, asked.roles) == (2, ("admin",))
    assert asked.expires_at


# --- policy at the moment of the vote -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now_asked", "expected"),
    [
        (Approval(), (1, ("admin", "developer"), False, 1)),
        (Approval(needed=1, roles=("developer", "admin")), (1, ("admin", "developer"), False, 1)),
        (Approval(needed=2, roles=("admin", "developer")), (2, ("admin", "developer"), False, 1)),
        (Approval(needed=1, roles=("admin",)), (1, ("admin",), False, 0)),
        (Approval(needed=1, roles=("owner",)), (1, ("owner",), False, 0)),
        (
            Approval(needed=1, roles=("admin", "developer"), excludes_requester=True),
            (1, ("admin", "developer"), True, 0),
        ),
    ],
)
async def test_the_stricter_of_then_and_now_holds(
    now_asked: Approval, expected: tuple[int, tuple[str, ...], bool, int]
) -> None:
    """Votes are kept only where the same people would be asked."""
    asked = Approval(needed=1, roles=("admin", "developer"), given=(Vote(by="bo", at=""),))
    found = stricter(asked, now_asked)
    assert (found.needed, found.roles, found.excludes_requester, len(found.given)) == expected
    assert stricter(Approval(), now_asked).needed == now_asked.needed


async def test_policy_that_became_stricter_asks_for_more(house: Rooms) -> None:
    """The vote counts, and one more is needed; where policy denies it, none helps."""
    plan = await proposed(house)
    more = Approval(needed=2, roles=("admin", "developer"))
    half = await approve(house, plan, BO, demand=lambda _: more)
    assert half.status is PlanStatus.PROPOSED
    assert half.approval
    assert half.approval.needed == 2

    def denied(_: Plan) -> Approval:
        raise Forbidden("Policy does not allow stop_it any more.")

    for glass in (False, True):
        with pytest.raises(Forbidden, match="any more"):
            await approve(house, plan, ANNA, WHY, demand=denied, break_glass=glass)
    assert "any more" in (await facts(house, "plan.approve.refused"))["why"]


# --- digest and edits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["sha256:0", "sha256", "x"])
async def test_other_digest_is_refused_and_audited(house: Rooms, wrong: str) -> None:
    """Nobody approves what they have not seen."""
    plan = await proposed(house)
    with pytest.raises(Conflict, match="changed"):
        await house.approvals.approve(plan.plan_id, wrong, ANNA)
    assert (await facts(house, "plan.approve.refused"))["digest"] == wrong
    with pytest.raises(BadParams):
        await house.approvals.approve(plan.plan_id, "", ANNA)


async def test_edit_drops_the_approvals_given(house: Rooms) -> None:
    """What was approved is not what stands there now; who saw the old one is told, and can read what was changed."""
    plan = await proposed(house, needed=2)
    voted = await approve(house, plan, ANNA)
    steps = house.catalog.steps([{"intent": "stop_it", "params": {"module": "other"}}])
    edited = replace(voted, steps=steps, approval=Approval(needed=2))
    edited = replace(edited, digest=digest(edited))
    change = {"step_id": "s1", "change": "changed", "fields": {}}
    after = await house.approvals.replace_steps(voted, edited, [change], ANNA)
    assert after.edited_from
    assert (after.edited_from.digest, after.edited_from.by) == (plan.digest, "anna")
    assert (await now(house, plan)).edited_from == after.edited_from
    with pytest.raises(Conflict, match="changed"):
        await approve(house, plan, BO)
    with pytest.raises(Conflict, match="somebody else"):
        await house.approvals.replace_steps(voted, edited, [], ANNA)
    with pytest.raises(NotFound):
        await house.approvals.replace_steps(after, edited, [], OLGA)
    assert (await facts(house, "plan.edit"))["digest_before"] == plan.digest


async def test_what_may_be_edited(house: Rooms) -> None:
    """Only what nobody has begun, and what is ready."""
    plan = await proposed(house)
    check_editable(plan)
    for other in (
        replace(plan, status=PlanStatus.WAITING),
        replace(plan, status=PlanStatus.DONE),
        replace(plan, digest=None),
    ):
        with pytest.raises(Conflict):
            check_editable(other)
    with pytest.raises(Expired):
        check_editable(replace(plan, status=PlanStatus.EXPIRED))


async def test_unfinished_plan_cannot_be_approved_but_rejected(house: Rooms) -> None:
    """It has no digest before its reads have ended."""
    plan = replace(house.plan({"intent": "look", "params": {"module": "a"}}), digest=None)
    await house.store.plan_put(plan)
    with pytest.raises(Conflict, match="prepared"):
        await house.approvals.approve("pl_1", "sha256:1", ANNA)
    rejected = await house.approvals.reject("pl_1", ANNA, "no")
    assert rejected.status is PlanStatus.REJECTED


# --- time ---------------------------------------------------------------------------------------------------------


async def test_late_decision_is_refused_by_the_stored_time(tmp_path: Path) -> None:
    """No timer has to run: also after a restart."""
    async with rooms(tmp_path) as house:
        plan = await proposed(house)
    async with rooms(tmp_path) as house:
        house.clock.ahead_s = 3601
        with pytest.raises(Expired):
            await approve(house, plan, ANNA)
        assert (await now(house, plan)).status is PlanStatus.EXPIRED
        assert "plan.expire" in await house.actions()
        assert await house.approvals.visible_list(ANNA, [PlanStatus.PROPOSED], 10) == []


async def test_approved_plan_that_is_not_begun_in_time_expires(tmp_path: Path) -> None:
    """By the stored time, apart from that of the decision; whoever looks, or would begin it, finds it so."""
    async with rooms(tmp_path) as house:
        house.clock.ahead_s = 3000
        approved = await approve(house, await proposed(house), BO)
    async with rooms(tmp_path) as house:
        house.clock.ahead_s = 3599
        await house.approvals.check(approved)
        house.clock.ahead_s = 3601
        with pytest.raises(Expired, match="not begun in time"):
            await house.approvals.begin(approved)
        assert (await now(house, approved)).status is PlanStatus.EXPIRED
        assert (await facts(house, "plan.expire"))["was"] == "approved"
        assert "plan.begin" not in await house.actions()
        assert (await house.approvals.visible("pl_1", BO)).status is PlanStatus.EXPIRED


async def test_two_who_find_it_late_expire_it_once(house: Rooms) -> None:
    """And see the same."""
    await proposed(house)
    house.clock.ahead_s = 3601
    seen = await asyncio.gather(*(house.approvals.visible("pl_1", ANNA) for _ in range(5)))
    assert {plan.status for plan in seen} == {PlanStatus.EXPIRED}
    assert (await house.actions()).count("plan.expire") == 1


async def test_running_plan_does_not_expire(house: Rooms) -> None:
    """It was begun in time."""
    approved = await approve(house, await proposed(house), BO)
    running = house.approvals.sealed(approved.moved(PlanStatus.RUNNING))
    assert await house.store.plan_swap(running, approved)
    house.clock.ahead_s = 1_000_000
    await house.approvals.begin(running)


# --- rejection ----------------------------------------------------------------------------------------------------


async def test_rejected_plan_stays_rejected(house: Rooms) -> None:
    """With its reason, and who said so."""
    plan = await proposed(house)
    rejected = await house.approvals.reject(plan.plan_id, ANNA, "not now")
    assert rejected.status is PlanStatus.REJECTED
    assert rejected.approval
    assert rejected.approval.rejected
    assert (rejected.approval.rejected.by, rejected.approval.rejected.comment) == ("anna", "not now")
    with pytest.raises(Conflict, match="already rejected by anna"):
        await approve(house, plan, ANNA)
    assert (await facts(house, "plan.reject"))["reason"] == "not now"


async def test_ended_plan_without_votes_is_told_by_its_status(house: Rooms) -> None:
    """Nobody is named who has not decided."""
    plan = await proposed(house)
    await house.store.plan_swap(plan.moved(PlanStatus.CANCELLED), plan)
    with pytest.raises(Conflict, match="is cancelled already"):
        await approve(house, plan, ANNA)


# --- waiting plans ------------------------------------------------------------------------------------------------


async def test_plan_with_an_unknown_step_is_resolved_not_approved(house: Rooms) -> None:
    """And does not expire: nothing but a person's word can end it."""
    plan = await proposed(house)
    unsure = plan.with_step(replace(plan.steps[0], state=StepState.UNKNOWN))
    unsure = await stored(house, replace(unsure, plan_id="pl_2", run_id="rn_2"), status=PlanStatus.WAITING)
    house.clock.ahead_s = 1_000_000
    with pytest.raises(Conflict, match="run_resolve") as refused:
        await approve(house, unsure, ANNA)
    assert refused.value.details == {"plan_id": "pl_2", "run_id": "rn_2", "step_id": "s1"}


async def test_plan_that_waits_because_of_drift_is_approved_again(house: Rooms) -> None:
    """With its new digest."""
    plan = await stored(house, replace(await proposed(house), plan_id="pl_2"), status=PlanStatus.WAITING)
    assert (await approve(house, plan, ANNA)).status is PlanStatus.APPROVED


# --- breaking the glass -------------------------------------------------------------------------------------------


async def test_admin_breaks_the_glass(house: Rooms) -> None:
    """Alone, for all the people asked and though excluded; with a reason, and on record as what it was."""
    plan = replace(await proposed(house), plan_id="pl_2", requester=ANNA)
    asked = Approval(needed=3, roles=("developer",), excludes_requester=True)
    plan = await stored(house, replace(plan, approval=asked))
    for who, comment, error in ((BO, WHY, Forbidden), (ANNA, " short    ", BadParams), (ANNA, "", BadParams)):
        with pytest.raises(error):
            await approve(house, plan, who, comment, break_glass=True)
    with pytest.raises(Forbidden):
        await approve(house, plan, ANNA, WHY)
    approved = await approve(house, plan, ANNA, WHY, break_glass=True)
    assert approved.status is PlanStatus.APPROVED
    assert approved.approval
    assert [(vote.by, vote.break_glass) for vote in approved.approval.given] == [("anna", True)]
    assert (await facts(house, "plan.break_glass"))["comment"] == WHY
    assert "plan.approve" not in await house.actions()
    await house.approvals.begin(approved)


async def test_who_has_voted_may_break_the_glass_too(house: Rooms) -> None:
    """One vote is left of that person."""
    plan = await proposed(house, needed=3)
    await approve(house, plan, BO)
    await approve(house, plan, ANNA)
    approved = await approve(house, plan, ANNA, WHY, break_glass=True)
    assert approved.approval
    assert [vote.by for vote in approved.approval.given] == ["bo", "anna"]


# --- the seal -----------------------------------------------------------------------------------------------------


async def swapped(house: Rooms, plan: Plan, before: Plan) -> Plan:
    """Somebody with access to the database writes another plan in its place."""
    assert await house.store.plan_swap(plan, before)
    return plan


async def test_approved_by_nobody_is_not_begun(house: Rooms) -> None:
    """Whatever the status says; also where the seal is right but the votes are too few."""
    plan = await proposed(house)
    forged = await swapped(house, replace(plan, status=PlanStatus.APPROVED), plan)
    with pytest.raises(Tampered):
        await house.approvals.begin(forged)
    assert (await now(house, plan)).status is PlanStatus.FAILED
    assert (await facts(house, "plan.tampered"))["status"] == "approved"
    with pytest.raises(Tampered):
        await house.approvals.check(house.approvals.sealed(forged))


async def test_plan_without_digest_was_decided_by_nobody(house: Rooms) -> None:
    """One that is being prepared has neither approval nor an approved status."""
    plan = replace(house.plan({"intent": "look", "params": {"module": "a"}}), status=PlanStatus.RUNNING)
    await house.approvals.check(plan)
    for forged in (replace(plan, status=PlanStatus.APPROVED), replace(plan, approval=Approval())):
        with pytest.raises(Tampered):
            await house.approvals.check(forged)


async def test_steps_that_are_not_those_of_the_digest_are_refused(house: Rooms) -> None:
    """Also where the seal is ours."""
    plan = await proposed(house)
    other = house.catalog.steps([{"intent": "stop_it", "params": {"module": "other"}}])
    await swapped(house, house.approvals.sealed(replace(plan, steps=other)), plan)
    with pytest.raises(Tampered):
        await approve(house, plan, ANNA)
    assert (await now(house, plan)).status is PlanStatus.REJECTED
    assert {"plan.tampered", "plan.approve.refused"} <= set(await house.actions())


async def test_times_of_a_changed_plan_are_not_believed(house: Rooms) -> None:
    """Nor are they read, whatever they are."""
    plan = await proposed(house)
    assert plan.approval
    await swapped(house, replace(plan, approval=replace(plan.approval, expires_at="whenever")), plan)
    assert (await house.approvals.visible("pl_1", ANNA)).status is PlanStatus.PROPOSED
    with pytest.raises(Tampered):
        await approve(house, plan, ANNA)


async def test_row_that_disagrees_with_its_document_is_refused(house: Rooms, tmp_path: Path) -> None:
    """The columns were changed, the document was not: nothing can be decided, and it does not hang."""
    plan = await proposed(house)
    with closing(sqlite3.connect(tmp_path / "llmcore.db")) as database:
        database.execute("UPDATE plan SET votes = 'x'")
        database.commit()
    with pytest.raises(Tampered):
        await approve(house, plan, ANNA)
    assert (await now(house, plan)) == plan


async def test_what_may_work_in_a_moment_is_not_called_refused(house: Rooms) -> None:
    """A store that is away has refused nobody."""
    with pytest.raises(Unavailable):
        async with house.approvals.refusals("plan.approve", ANNA):
            raise Unavailable("The store is away.")
    with pytest.raises(LLMCoreError):
        async with house.approvals.refusals("plan.approve", ANNA):
            raise LLMCoreError("No.")
    assert (await house.actions()).count("plan.approve.refused") == 1
