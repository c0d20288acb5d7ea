"""A thousand plans wait for people: a power failure changes none of them, and waiting is all that they do."""

import asyncio
from pathlib import Path

import pytest

from tests.kill_kit import data_of, killable, run_until
from tests.peer import Peer

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300), pytest.mark.slow]

PLANS = 1000
AT_ONCE = 20


async def proposed(peer: Peer, folder: Path, numbers: range) -> list[dict[str, str]]:
    """Plans that make a folder each, waiting."""

    async def one(number: int) -> dict[str, str]:
        steps = [{"id": "s1", "intent": "create_folder", "params": {"path": str(folder / f"made-{number}")}}]
        told = await data_of(peer, "chain", {"steps": steps})
        return {"plan_id": told["plan_id"], "digest": told["digest"]}

    return await asyncio.gather(*(one(number) for number in numbers))


async def test_a_thousand_approvals_outlive_the_process(tmp_path: Path) -> None:
    """All are still there with their digests; the oldest, the newest and one between can be approved at once."""
    async with killable(tmp_path, environment={"LLMCORE_SERVER__RATE_LIMIT": "0"}) as server:
        peer = await server.peer()
        plans: list[dict[str, str]] = []
        for first in range(0, PLANS, AT_ONCE):
            plans += await proposed(peer, server.roots, range(first, first + AT_ONCE))
        await server.kill()
        await server.start()
        peer = await server.peer()
        for number in (0, PLANS - 1, PLANS // 2):
            run_id = (await data_of(peer, "plan_approve", plans[number]))["plan"]["run_id"]
            await run_until(peer, run_id, lambda run: run["status"] == "done")
        made = sorted(folder.name for folder in server.roots.iterdir())
        assert made == sorted(f"made-{number}" for number in (0, PLANS - 1, PLANS // 2))
        for plan in plans[1 :: PLANS // 10]:
            kept = (await data_of(peer, "plan_get", {"plan_id": plan["plan_id"]}))["plan"]
            assert (kept["status"], kept["digest"]) == ("proposed", plan["digest"])
        assert await server.stop() == 0
