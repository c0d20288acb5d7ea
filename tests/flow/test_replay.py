"""A run of months ago is planned again on a real server: the model gone, under other rules, as a case for eval."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.kill_kit import Killable, data_of, ended, started
from tests.vendor_server import Answer, VendorServer

pytestmark = pytest.mark.asyncio

WORDS = "web is stuck; restart web please"
"""Not sure enough for the local matcher, so that a model is asked."""
SAID = '{"kind":"plan","steps":[{"intent":"restart_target","params":{"module":"web"}}]}'
STRICT = 'forbid (principal, action == Action::"restart_target", resource) when { true };'
PACK = """
from llmcore.intent import Effect, intent

@intent(effect=Effect.READ, idempotent=True, examples=[("water the plants", {})])
async def water_plants() -> dict:
    \"\"\"Water all plants.\"\"\"
    return {}
"""


@pytest_asyncio.fixture
async def vendor() -> AsyncIterator[VendorServer]:
    """A model that makes one plan of everything."""
    async with VendorServer(Answer(SAID)) as running:
        yield running


@pytest.fixture
def prepared(tmp_path: Path, vendor: VendorServer) -> Killable:
    """A server that asks it, with one target."""
    state = tmp_path / "web.state"
    target = {
        "status": ["cat", str(state)],
        "start": ["sh", "-c", f"echo running > {state}"],
        "stop": ["sh", "-c", f"echo stopped > {state}"],
        "restart": ["sh", "-c", f"echo running > {state}"],
    }
    state.write_text("running\n")
    environment = {
        "LLMCORE_LLM__PROVIDER": "local",
        "LLMCORE_LLM__BASE_URL": vendor.openai_url,
        "LLMCORE_LLM__MODEL": "tiny",
        "LLMCORE_SYSTEM__TARGETS": json.dumps({"web": target}),
    }
    return Killable(tmp_path, environment=environment)


async def asked(server: Killable, words: str) -> tuple[str, dict[str, Any]]:
    """A chat turn: the run, and what ended it."""
    peer = await server.peer()
    accepted = await data_of(peer, "chat_llm", {"prompt": words, "params": {"mode": "auto"}})
    return accepted["run_id"], await ended(peer, accepted["run_id"])


async def command(server: Killable, *words: str | Path) -> tuple[int, str]:
    """Exit code and output of a command that talks to the server."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "llmcore", *map(str, words)),
        env={**server.settings(), "LLMCORE_URL": server.url, "LLMCORE_TOKEN": await server.token()},
        cwd=server.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode is not None
    return process.returncode, said


async def replayed(server: Killable, run_id: str) -> tuple[int, Any]:
    """Exit code and answer of `llmcore replay --json`."""
    code, said = await command(server, "replay", run_id, "--json")
    return code, json.loads(said)


async def test_a_plan_of_a_model_is_the_same_when_the_model_is_gone(prepared: Killable, vendor: VendorServer) -> None:
    """Not one request more, nothing runs, and no new plan is there; after a restart too."""
    async with started(prepared) as server:
        run_id, end = await asked(server, WORDS)
        assert end["result"]["answered_by"] == "local_model"
        asked_then = len(vendor.requests)
        assert asked_then > 0
        await server.stop()
        server.environment = {**server.environment, "LLMCORE_LLM__BASE_URL": "http://127.0.0.1:9/v1"}
        await server.start()
        code, answer = await replayed(server, run_id)
        assert (code, answer["same"], answer["differences"], answer["changed"]) == (0, True, [], {})
        assert answer["same_prompts"] is True
        assert [step["intent"] for step in answer["recorded"][0]["draft"]["steps"]] == ["restart_target"]
        code, said = await command(server, "replay", run_id)
        assert (code, said) == (0, "The same: plan and decisions are what they were.\n")
        assert len(vendor.requests) == asked_then
        peer = await server.peer()
        assert len((await data_of(peer, "plan_list"))["plans"]) == 1
        recorded = (await data_of(peer, "audit_query", {"action": "plan.propose", "run_id": run_id}))["records"]
        assert len(recorded) == 1


async def test_another_policy_and_another_catalogue_are_told(prepared: Killable, tmp_path: Path) -> None:
    """What policy says now, and which versions have changed; exit 1 where the decisions differ."""
    async with started(prepared) as server:
        run_id, _ = await asked(server, WORDS)
        await server.stop()
        (tmp_path / "pack.py").write_text(PACK)
        server.environment = {**server.environment, "LLMCORE_PACKS__PATH": json.dumps([str(tmp_path / "pack.py")])}
        await server.start()
        code, answer = await replayed(server, run_id)
        assert (code, answer["same"], list(answer["changed"])) == (0, True, ["catalog"])
        assert answer["same_prompts"] is False, "the model would be told of the new intent"
        await server.stop()
        policy = Path(__file__).parents[2] / "config" / "policy" / "default.cedar"
        strict = '@id("no_restart")\n@reason("Not in this house.")\n' + STRICT
        (tmp_path / "strict.cedar").write_text(policy.read_text() + strict)
        server.environment = {**server.environment, "LLMCORE_POLICY__FILE": str(tmp_path / "strict.cedar")}
        await server.start()
        code, answer = await replayed(server, run_id)
        assert (code, answer["same"]) == (1, False)
        (difference,) = answer["differences"]
        assert (difference["step"], difference["what"]) == ("s1", "policy")
        assert (difference["recorded"]["decision"], difference["now"]["decision"]) == ("ask", "deny")
        code, said = await command(server, "replay", run_id)
        assert code == 1
        assert "s1 policy" in said
        assert "Since then the policy has changed" in said


async def test_runs_without_a_model_are_replayed_too(prepared: Killable, vendor: VendorServer) -> None:
    """Of the local matcher, of the plan cache, of a template that is gone since; a chain has no words to plan from."""
    async with started(prepared) as server:
        local, end = await asked(server, "restart web")
        assert end["result"]["answered_by"] == "local"
        await asked(server, WORDS)
        requests = len(vendor.requests)
        remembered, end = await asked(server, WORDS)
        assert end["result"]["answered_by"] == "cache"
        question, _ = await asked(server, "what is the meaning of life?")
        peer = await server.peer()
        steps = [{"id": "s1", "intent": "restart_target", "params": {"module": "web"}}]
        await data_of(peer, "template_save", {"name": "dance", "steps": steps, "examples": ["do the dance"]})
        template, end = await asked(server, "do the dance")
        assert end["result"]["answered_by"] == "template"
        await data_of(peer, "template_delete", {"name": "dance"})
        for run_id in (local, remembered, question, template):
            assert (await replayed(server, run_id))[1]["differences"] == []
        assert len(vendor.requests) > requests, "the question went to the model"
        steps = [{"id": "s1", "intent": "get_cpu_stats", "params": {}}]
        chain = await data_of(peer, "chain", {"steps": steps, "mode": "run"})
        code, said = await command(server, "replay", chain["run_id"])
        assert code == 1
        assert "no recording" in said


async def test_a_real_run_becomes_a_case_for_eval(prepared: Killable, tmp_path: Path, vendor: VendorServer) -> None:
    """One line that `llmcore eval` reads, and gets right with the same model."""
    async with started(prepared) as server:
        run_id, _ = await asked(server, WORDS)
        cases = tmp_path / "cases.jsonl"
        for _ in range(2):
            assert (await command(server, "replay", run_id, "--case", cases))[0] == 0
        lines = [json.loads(line) for line in cases.read_text("utf-8").splitlines()]
        expect = {"kind": "plan", "steps": [{"intent": "restart_target", "params": {"module": "web"}}]}
        assert lines == [{"id": run_id, "text": WORDS, "expect": expect}] * 2
        code, said = await command(server, "eval", cases, "--min", "1", "--json", "--data-dir", server.data)
        assert (code, json.loads(said)["right"]) == (0, 1.0), said
