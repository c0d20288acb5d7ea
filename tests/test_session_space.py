"""A session on a full disk: what is new is refused before anything is promised, what runs waits."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from llmcore.catalog import Catalog
from llmcore.errors import Unavailable
from llmcore.plan import PlanStatus
from llmcore.session.space import admit
from tests.rooms import ANNA, INTENTS, Rooms
from tests.turns import Stage, stage

pytestmark = pytest.mark.asyncio
START = {"id": "s1", "intent": "start_it", "params": {"module": "a"}}
STOP = {"id": "s2", "intent": "stop_it", "params": {"module": "a"}}


@dataclass
class Disk:
    """Full when the test says so."""

    shortage: str | None = None

    def relieve(self) -> bool:
        """Nothing is kept."""
        return False


class Filling:
    """Full from the approval on, for a while."""

    asked = 0

    @property
    def shortage(self) -> str | None:
        """Asked once by the approval, then by the step."""
        self.asked += 1
        return "Make room." if 1 < self.asked < 5 else None

    def relieve(self) -> bool:
        """Nothing is kept."""
        return False


@pytest_asyncio.fixture
async def play(tmp_path: Path) -> AsyncIterator[Stage]:
    """On a new store."""
    async with stage(tmp_path) as built:
        yield built


def disk_of(rooms: Rooms) -> Disk:
    """The disk under the store, for the test to fill."""
    disk = Disk()
    rooms.store._options = replace(rooms.store._options, space=disk)
    return disk


async def test_only_plans_that_free_space_are_let_in(play: Stage) -> None:
    """Every step has to."""
    rooms, disk = play.rooms, disk_of(play.rooms)
    catalog = Catalog([replace(intent, frees_space=intent.name == "stop_it") for intent in INTENTS])
    disk.shortage = "Make room."
    admit(rooms.plan(STOP), catalog, rooms.store)
    with pytest.raises(Unavailable, match="Make room") as refused:
        admit(rooms.plan(START, STOP), catalog, rooms.store)
    assert refused.value.details == {"component": "disk", "reason": "full"}
    with pytest.raises(Unavailable, match="Make room"):
        await rooms.store.check()


async def test_proposals_approvals_and_prose_are_refused(play: Stage) -> None:
    """Nothing of them is kept; afterwards they work."""
    waits = await play.session.propose(play.rooms.plan(START, plan_id="pl_9"), start=False)
    disk = disk_of(play.rooms)
    disk.shortage = "Make room."
    with pytest.raises(Unavailable, match="Make room"):
        await play.session.propose(play.rooms.plan(START, plan_id="pl_10"), start=False)
    with pytest.raises(Unavailable, match="Make room"):
        await play.session.approve(waits.plan_id, waits.digest or "", ANNA, "")
    with pytest.raises(Unavailable, match="Make room"):
        await play.ask("hello", mode="answer")
    assert await play.rooms.store.plan_get("pl_10") is None
    disk.shortage = None
    approved = await play.session.approve(waits.plan_id, waits.digest or "", ANNA, "")
    await play.session.settled(approved.run_id or "")
    done = await play.rooms.store.plan_get(waits.plan_id)
    assert done is not None
    assert done.status is PlanStatus.DONE


async def test_a_step_waits_for_space(play: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins by itself once there is some."""
    monkeypatch.setattr("llmcore.executor.core.WRITE_AGAIN_S", 0.01)
    waits = await play.session.propose(play.rooms.plan(START, plan_id="pl_9"), start=False)
    disk = Filling()
    play.rooms.store._options = replace(play.rooms.store._options, space=disk)
    approved = await play.session.approve(waits.plan_id, waits.digest or "", ANNA, "")
    async with asyncio.timeout(10):
        await play.session.settled(approved.run_id or "")
    assert disk.asked == 5
    assert [name for name, _ in play.rooms.host.calls] == ["start_it"]
