"""Three nodes on one store: fifty people approve at once, and one decision counts."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from llmcore.adapters.sql import StoreOptions
from llmcore.errors import Conflict
from llmcore.plan import Approval, Plan, PlanStatus, Principal
from tests.rooms import BO
from tests.turns import Stage, stage

pytestmark = pytest.mark.asyncio

PEOPLE = [Principal(name=f"p{number}", role="admin") for number in range(50)]


async def nodes(stack: AsyncExitStack, folder: Path, options: StoreOptions) -> list[Stage]:
    """Three sessions with connections of their own."""
    opened = [stage(folder, options=options, node=f"nd_{number}") for number in range(3)]
    return [await stack.enter_async_context(node) for node in opened]


async def proposed(node: Stage, needed: int) -> Plan:
    """A plan that waits for so many people."""
    plan = node.rooms.plan({"id": "s1", "intent": "stop_it", "params": {"module": "nginx"}}, requester=BO)
    stored = await node.session.propose(plan, start=False)
    asked = replace(stored.approval or Approval(), needed=needed)
    more = node.rooms.approvals.sealed(replace(stored, approval=asked))
    assert await node.rooms.store.plan_swap(more, stored)
    return more


@pytest.mark.parametrize("needed", [1, 2])
async def test_fifty_at_once_on_three_nodes_run_it_once(
    tmp_path: Path, store_options: StoreOptions, needed: int
) -> None:
    """As many count as are needed; every other is told by whom it was approved."""
    async with AsyncExitStack() as stack:
        stages = await nodes(stack, tmp_path, store_options)
        plan = await proposed(stages[0], needed)
        decisions = await asyncio.gather(
            *(
                stages[number % 3].session.approve(plan.plan_id, str(plan.digest), person, "")
                for number, person in enumerate(PEOPLE)
            ),
            return_exceptions=True,
        )
        counted = [decision for decision in decisions if isinstance(decision, Plan)]
        refused = [decision for decision in decisions if isinstance(decision, Conflict)]
        assert (len(counted), len(refused)) == (needed, 50 - needed)
        run_id = next(decision.run_id for decision in counted if decision.status is PlanStatus.APPROVED)
        for node in stages:
            await node.session.settled(str(run_id))
        after = await stages[0].rooms.store.plan_get(plan.plan_id)
        assert after
        assert after.status is PlanStatus.DONE
        assert after.approval
        names = [vote.by for vote in after.approval.given]
        assert len(set(names)) == needed
        assert all(f"already approved by {', '.join(names)}" in refusal.message for refusal in refused)
        assert sum(len(node.rooms.host.calls) for node in stages) == 1
        actions = await stages[0].rooms.actions()
        assert [actions.count(action) for action in ("plan.approve", "plan.approve.refused", "step.begin")] == [
            needed,
            50 - needed,
            1,
        ]


async def test_an_approval_and_a_refusal_at_once_on_two_nodes(tmp_path: Path, store_options: StoreOptions) -> None:
    """One of them counts; the other person is told by whom."""
    async with AsyncExitStack() as stack:
        stages = await nodes(stack, tmp_path, store_options)
        plan = await proposed(stages[0], 1)
        approving, rejecting = await asyncio.gather(
            stages[1].session.approve(plan.plan_id, str(plan.digest), PEOPLE[0], ""),
            stages[2].session.reject(plan.plan_id, PEOPLE[1], "no"),
            return_exceptions=True,
        )
        if isinstance(approving, Plan):
            assert isinstance(rejecting, Conflict)
            assert "already approved by p0" in rejecting.message
            await stages[1].session.settled(str(approving.run_id))
        else:
            assert isinstance(approving, Conflict)
            assert "already rejected by p1" in approving.message
        done = sum(len(node.rooms.host.calls) for node in stages)
        assert done == (1 if isinstance(approving, Plan) else 0)
