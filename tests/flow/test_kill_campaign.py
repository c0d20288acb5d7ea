"""`kill -9` over chains with parallel steps, conditions, approvals and undo: the effects file is the judge."""

from pathlib import Path

import pytest

from tests.campaign.run import campaign

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]


async def right(folder: Path, seed: int, store: dict[str, str], kills: int = 5) -> None:
    """Nothing lost, nothing done twice, nothing unreported, out of order or without an approval."""
    tally = await campaign(folder, seed, store, kills)
    assert tally.faults == []
    assert tally.steps > 0


async def test_two_kills(tmp_path: Path) -> None:
    """A short one for every day."""
    await right(tmp_path, 1, {}, kills=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
async def test_ten_campaigns_on_sqlite(tmp_path: Path, seed: int) -> None:
    """Fifty kills."""
    await right(tmp_path, seed, {})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
async def test_ten_campaigns_on_postgres(tmp_path: Path, postgres_url: str, seed: int) -> None:
    """Fifty kills."""
    await right(tmp_path, seed, {"LLMCORE_STORE__URL": postgres_url})
