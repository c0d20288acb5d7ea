"""What `app` puts together for looking back: versions in the records, recordings that end, logins that are told."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from llmcore.api import Caller
from llmcore.app import upkeep
from llmcore.app.build import SYSTEM
from llmcore.plan import Principal
from tests.test_app import running, settings_of

ADMIN = Principal(name="administrator", role="admin")


async def _rows(built: Any) -> list[dict[str, Any]]:
    base = built.house.base
    await base.audit.flush()
    return [json.loads(text) for _, text, _ in await base.store.audit_rows()]


@pytest.mark.asyncio
async def test_records_name_what_decided_and_old_recordings_end(tmp_path: Path) -> None:
    """From the first record on; the daily round forgets recordings after as many days as the settings say."""
    settings = await asyncio.to_thread(settings_of, tmp_path, LLMCORE_AUDIT__RECORDINGS_DAYS="2")
    async with running(settings) as built:
        house, base = built.house, built.house.base
        rows = await _rows(built)
        assert rows[0]["action"] == "server.start"
        assert rows[0]["actor"]["name"] == SYSTEM.name
        assert "user.add" in [row["action"] for row in rows]
        chat = await house.api.call("chat_llm", {"prompt": "how much memory is free?"}, Caller(ADMIN))
        await house.session.settled(chat["run_id"])
        told = next(row["facts"] for row in await _rows(built) if row["action"] == "plan.propose")
        versions = {"catalog": base.host.catalog.version, "policy": base.judge.policy.version}
        assert told["versions"] == versions
        recording = await base.recorder.get(chat["run_id"])
        assert recording is not None
        assert recording["rounds"][0]["versions"] == base.recorder.versions()
        replayed = await house.api.call("run_replay", {"run_id": chat["run_id"]}, Caller(ADMIN))
        assert replayed["same"], replayed
        for run_id, days in (("old", 3), ("new", 1)):
            await base.store.recording_submit(run_id, base.clock.now() - days * upkeep.DAY_S, {"run_id": run_id})
        await upkeep.clean(house)
        assert await base.recorder.get("old") is None
        assert await base.recorder.get("new") is not None
