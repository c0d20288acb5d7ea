"""The executor under a lease: what another node has taken, what was ordered to stop, what a process leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.executor import Fenced, Leaving, StepEnded, Stopped
from llmcore.plan import Approval, Plan, PlanStatus, StepState, Vote
from llmcore.ports import Attempt, Call, Lease, Run
from tests.rooms import ANNA, Rooms, rooms, shown

pytestmark = pytest.mark.asyncio

PAIR = (
    {"intent": "stop_it", "params": {"module": "a"}},
    {"intent": "stop_it", "params": {"module": "b"}, "needs": ["s1"]},
)


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[Rooms]:
    """The rooms on a new store."""
    async with rooms(tmp_path) as built:
        yield built


async def leased(house: Rooms, node: str = "n1") -> Lease:
    """A lease that another node may take at once."""
    lease = await house.store.lease_take("rn_1", 1, node, -1)
    assert lease
    return lease


def plan_of(house: Rooms) -> Plan:
    """Two changes, one after the other."""
    plan = shown(house.plan(*PAIR))
    return replace(plan, approval=Approval(needed=1, given=(Vote(by="anna", at="now"),)))


async def run(house: Rooms, lease: Lease) -> list[tuple[str, StepState]]:
    """Run it under a lease; the steps that ended."""
    ended: list[tuple[str, StepState]] = []
    try:
        async with aclosing(house.executor.run(plan_of(house), "rn_1", ANNA, lease=lease)) as events:
            async for event in events:
                if isinstance(event, StepEnded):
                    ended.append((event.step.id, event.result.state))
    finally:
        house.host.calls.append(("ended", {step_id: state.value for step_id, state in ended}))
    return ended


async def test_a_held_lease_changes_nothing(house: Rooms) -> None:
    """Both steps are done."""
    assert [state for _, state in await run(house, await leased(house))] == [StepState.DONE, StepState.DONE]


async def test_nothing_begins_under_a_lost_lease(house: Rooms) -> None:
    """Nor is anything told."""
    old = await leased(house)
    await leased(house, "n2")
    with pytest.raises(Fenced):
        await run(house, old)
    assert house.host.calls == [("ended", {})]
    assert await house.store.attempt_list("rn_1") == []


async def test_the_end_of_a_step_does_not_count_under_a_lost_lease(house: Rooms) -> None:
    """The other node has said already what is known of it."""
    old = await leased(house)

    async def taken(_: Call) -> Any:
        await leased(house, "n2")
        return {}

    house.host.plays["stop_it"] = taken
    with pytest.raises(Fenced):
        await run(house, old)
    [attempt] = await house.store.attempt_list("rn_1")
    assert attempt.outcome is None
    assert house.host.calls[-1] == ("ended", {})


async def test_a_step_that_is_interrupted_under_a_lost_lease_is_only_interrupted(house: Rooms) -> None:
    """Its cancelling goes on."""
    old, began = await leased(house), asyncio.Event()

    async def hangs(_: Call) -> Any:
        began.set()
        await asyncio.Event().wait()

    house.host.plays["stop_it"] = hangs
    running = asyncio.ensure_future(run(house, old))
    await began.wait()
    await leased(house, "n2")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    [attempt] = await house.store.attempt_list("rn_1")
    assert attempt.outcome is None


async def test_an_order_to_stop_lets_the_running_step_end(house: Rooms) -> None:
    """The next one does not begin, and stays as it is."""
    await house.store.run_put(
        Run(
            run_id="rn_1",
            conversation_id="cv_1",
            topic="t",
            owner=ANNA,
            status=PlanStatus.RUNNING,
            created_at="now",
        )
    )

    async def ordered(_: Call) -> Any:
        await house.store.order_stop("chief", "now", "fire", hold=False)
        return {}

    house.host.plays["stop_it"] = ordered
    with pytest.raises(Stopped):
        await run(house, await leased(house))
    assert house.host.calls[-1] == ("ended", {"s1": "done"})
    assert "step.refused" in await house.actions()


async def test_a_process_that_leaves_lets_the_running_step_end(house: Rooms) -> None:
    """What is left is for the next one."""

    async def leaves(_: Call) -> Any:
        house.executor.leaving.set()
        return {}

    house.host.plays["stop_it"] = leaves
    with pytest.raises(Leaving):
        await run(house, await leased(house))
    assert house.host.calls[-1] == ("ended", {"s1": "done"})


async def test_an_attempt_that_somebody_else_has_written_is_unknown(house: Rooms, monkeypatch: Any) -> None:
    """It may have acted, or may be acting."""
    real = house.store.attempt_begin

    async def late(attempt: Attempt, lease: Lease | None = None) -> Any:
        await real(replace(attempt, started_at="before"))
        return await real(attempt, lease)

    monkeypatch.setattr(house.store, "attempt_begin", late)
    assert await run(house, await leased(house)) == [("s1", StepState.UNKNOWN)]
