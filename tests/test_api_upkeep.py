"""The surface of what keeps the installation clean."""

from collections.abc import AsyncIterator, Container
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio

from llmcore.adapters.host.trash import Purged
from llmcore.api import Api
from llmcore.errors import BadParams, Forbidden, Unavailable
from tests.rooms import BO
from tests.test_api import Desk
from tests.turns import stage

pytestmark = pytest.mark.asyncio


@dataclass
class Trash:
    """Notes how it was emptied."""

    asked: list[float | None] = field(default_factory=list)

    async def purge(self, older_than_s: float | None, keep: Container[str]) -> Purged:
        """One item of ten bytes goes."""
        self.asked.append(older_than_s)
        return Purged(1, 10)


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """On a new store."""
    async with stage(tmp_path) as play:
        yield Desk(play)


async def test_the_trash_is_emptied_by_admins(desk: Desk) -> None:
    """Of all, or of what is older; each time audited before anything goes."""
    trash = Trash()
    desk.api = Api(replace(desk.core, trash=trash))
    assert await desk.call("trash_purge") == {"items": 1, "bytes": 10, "kept": 0, "plans": []}
    await desk.call("intent_trash_purge", {"older_than_days": 0.5, "force": True})
    assert trash.asked == [0, 43_200]
    assert [action for action in await desk.play.rooms.actions() if action.startswith("trash")] == [
        "trash.purge",
        "trash.purged",
    ] * 2
    with pytest.raises(Forbidden, match="Only an admin"):
        await desk.call("trash_purge", {}, BO)
    with pytest.raises(BadParams):
        await desk.call("trash_purge", {"older_than_days": -1})


async def test_a_host_without_a_trash_says_so(desk: Desk) -> None:
    """Such as one that llmcore lives in."""
    with pytest.raises(Unavailable, match="keeps no trash"):
        await desk.call("trash_purge")
