"""One campaign: a seed decides what is asked and when the server is killed.

Called by the test and by the command.
"""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.campaign.history import History, Tally
from tests.campaign.load import Load
from tests.kill_kit import Killable

KILLS = 5
PACK = Path(__file__).with_name("pack.py")


async def campaign(folder: Path, seed: int, store: Mapping[str, str], kills: int = KILLS) -> Tally:
    """Kill a server `kills` times under load and judge what is left; `store` are the settings of its store."""
    packs = folder / "packs"
    packs.mkdir(parents=True)
    shutil.copy(PACK, packs / "effects_pack.py")
    environment = {"LLMCORE_SERVER__RATE_LIMIT": "0", "LLMCORE_PACKS__PATH": json.dumps([str(packs)]), **store}
    server = Killable(folder, environment=environment)
    load = Load(server, random.Random(seed))  # noqa: S311 - a schedule, no secret
    history = History(load, packs / "effects", load.dice)
    try:
        for _ in range(kills):
            await server.start()
            await history.answer(await server.peer(), patient=False)
            await load.life(load.dice.uniform(0.2, 1.2))
        await server.start()
        tally = await history.judge(await server.peer())
        assert await server.stop() == 0
    finally:
        if server.running:
            await server.kill()
    assert b"Traceback" not in server.said, server.said.decode()
    verify(server)
    return tally


def verify(server: Killable) -> None:
    """`llmcore audit verify`, as an auditor runs it."""
    command = [sys.executable, "-m", "llmcore", "audit", "verify", "--data-dir", str(server.data)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=server.settings())
    assert done.returncode == 0, done.stdout + done.stderr
