"""The main story with PostgreSQL as the store: chat, plan, approve, a power failure, go on, the audit is right."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.kill_kit import Killable, data_of, ended, killable, run_until
from tests.peer import Frame

pytestmark = pytest.mark.asyncio


async def verified(server: Killable) -> int:
    """`llmcore audit verify` with the server's settings; its exit code."""
    command = (sys.executable, "-m", "llmcore", "audit", "verify", "--data-dir", str(server.data))
    process = await asyncio.create_subprocess_exec(*command, env=server.settings(), stdout=asyncio.subprocess.DEVNULL)
    return await process.wait()


def _begun(event: Frame, run_id: str) -> bool:
    """The script of that run has said its first word."""
    told = event["data"]
    return bool(told["run_id"] == run_id and told["event"]["type"] == "ACTIVITY_DELTA" and "begun" in str(told))


async def test_a_day_on_postgres(tmp_path: Path, postgres_url: str) -> None:
    """Everything that has to last is in the database, and nothing of it in a file."""
    effects = tmp_path / "effects"
    async with killable(tmp_path, environment={"LLMCORE_STORE__URL": postgres_url}) as server:
        server.script("once.sh", f'#!/bin/sh\necho "$1" >> {effects}\necho begun\nsleep "$2"\n')
        peer = await server.peer()
        chat = await data_of(peer, "chat_llm", {"prompt": "which processes eat the memory?"})
        assert (await ended(peer, chat["run_id"]))["outcome"]["type"] == "success"
        told = await data_of(peer, "chat_llm", {"prompt": "run once.sh e1 0", "params": {"stream": False}})
        plan = told["plan"]
        steps = [{"id": "s1", "intent": "start_script_execution", "params": {"name": "once.sh", "args": "second 300"}}]
        chain = await data_of(peer, "chain", {"steps": steps})
        decision = {"plan_id": chain["plan_id"], "digest": chain["digest"]}
        running = (await data_of(peer, "plan_approve", decision))["plan"]["run_id"]
        await peer.until(lambda: any(_begun(event, running) for event in peer.events))
        await server.kill()
        await server.start()
        peer = await server.peer()
        assert (await data_of(peer, "plan_get", {"plan_id": plan["plan_id"]}))["plan"] == plan
        await data_of(peer, "plan_approve", {"plan_id": plan["plan_id"], "digest": plan["digest"]})
        await run_until(peer, told["run_id"], lambda run: run["status"] == "done")
        unknown = await run_until(peer, running, lambda run: run["status"] == "waiting")
        assert [step["state"] for step in unknown["steps"]] == ["unknown"]
        resolve = {"run_id": running, "step_id": "s1", "outcome": "stop"}
        assert (await data_of(peer, "run_resolve", resolve))["run"]["status"] == "failed"
        listed = (await data_of(peer, "conversation_list"))["conversations"]
        assert chat["conversation_id"] in [conversation["conversation_id"] for conversation in listed]
        assert await server.stop() == 0
        assert sorted(effects.read_text().split()) == ["e1", "second"]
        assert b"Traceback" not in server.said, server.said.decode()
        assert await verified(server) == 0
        assert not list(server.data.glob("*.db"))
