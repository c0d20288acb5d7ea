"""Inside a CloudiSENSE host: llmcore as a module among modules of the real cdscore."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cloudisense_host import UNRULY, Browser, host_with_llmcore

pytestmark = [pytest.mark.asyncio, pytest.mark.logs_errors(UNRULY)]

STORY = "Once upon a time there was a server that never slept. " * 4


@pytest.fixture
def conf(tmp_path: Path) -> dict[str, Any]:
    """A model that tells a story piece by piece."""
    script = tmp_path / "script.json"
    rules = [
        {"match": "long story", "reply": STORY, "chunks": 100, "delay_s": 0.5},
        {"match": "story", "reply": STORY, "chunks": 40, "delay_s": 0.01},
        {"match": "", "schema": True, "reply": {"kind": "none", "text": "I cannot do that."}},
        {"match": "", "reply": "Done."},
    ]
    script.write_text(json.dumps(rules), "utf-8")
    return {"llm": {"provider": "scripted", "script": str(script)}}


async def test_a_day_inside_a_host(data_dir: Path, conf: dict[str, Any]) -> None:
    """Chat streamed to the client object, a plan of the host's own intent approved and run once, a chain."""
    async with host_with_llmcore(data_dir, **conf) as (host, _, targets):
        assert {"intent_chat_llm", "intent_chain", "intent_plan_approve", "intent_query_assist"} <= host.offered
        anna = Browser(host)
        known = {intent["name"]: intent["effect"] for intent in (await anna.ask("intents_list"))["intents"]}
        assert known["restart_target"] == known["polish_floor"] == "destructive"
        assert known["list_targets"] == "read"
        assert not {"chat_llm", "subscribe_channel", "publish_channel"} & set(known)

        # --- two chats at once: both are acknowledged before either has ended, and come straight to the client
        mode = {"mode": "answer"}
        first, second = await asyncio.gather(
            anna.ask("chat_llm", prompt="Tell me a story", params=mode, topic="/ui/updates/llm/one"),
            anna.ask("intent_chat_llm", prompt="Another story", params=mode, topic="/ui/updates/llm/two"),
        )
        assert first["accepted"] is second["accepted"] is True
        assert "RUN_FINISHED" not in anna.log
        await anna.until("RUN_FINISHED", 2)
        for acknowledged in (first, second):
            events = [data for data in anna.events if data["conversation_id"] == acknowledged["conversation_id"]]
            firsts = [data.get("first_seq", data["seq"]) for data in events]
            assert firsts == [1, *(data["seq"] + 1 for data in events[:-1])]
            kinds = [data["event"]["type"] for data in events]
            assert (kinds[0], kinds[-1]) == ("RUN_STARTED", "RUN_FINISHED")
            pieces = [data["event"] for data in events if data["event"]["type"] == "TEXT_MESSAGE_CONTENT"]
            assert len(pieces) > 1
            assert "".join(piece["delta"] for piece in pieces) == STORY

        # --- a change of the host: a plan, the wrong digest, the right one, run exactly once as the person who may
        anna.events.clear()
        await anna.ask("chat_llm", prompt="restart nginx")
        finished = await anna.until("RUN_FINISHED")
        assert finished["outcome"]["type"] == "interrupt"
        plan = anna.plan
        assert [(step["intent"], step["params"]) for step in plan["steps"]] == [("restart_target", {"module": "nginx"})]
        assert targets.calls == []
        assert "has changed" in await anna.refused("plan_approve", plan_id=plan["plan_id"], digest="sha256:" + "0" * 64)
        await anna.ask("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
        assert (await anna.until("RUN_FINISHED", 2))["outcome"]["type"] == "success"
        assert anna.plan["status"] == "done"
        assert targets.calls == [("restart_target", {"module": "nginx"}, "anna")]

        # --- a chain: reads feed, what the host refuses is told, what nobody has described asks too
        chain = await anna.ask("chain", steps=[{"intent": "list_targets"}], mode="run")
        run = await _ended(anna, chain["run_id"])
        assert run["steps"][0]["result"][0]["module"] == "nginx"
        steps = [
            {"id": "s1", "intent": "polish_floor", "params": {"wax": True}},
            {"id": "s2", "intent": "restart_target", "params": {"module": "broken"}, "needs": ["s1"]},
        ]
        chain = await anna.ask("intent_chain", steps=steps)
        approved = await anna.ask("plan_approve", plan_id=chain["plan_id"], digest=chain["digest"])
        run = await _ended(anna, approved["plan"]["run_id"])
        assert [step["state"] for step in run["steps"]] == ["done", "failed"]
        assert "it does not stop" in run["steps"][1]["error"]["message"]
        assert targets.calls[1][:2] == ("polish_floor", {"wax": True})


async def _ended(browser: Browser, run_id: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            run = (await browser.ask("run_get", run_id=run_id))["run"]
            if run["status"] != "running":
                return dict(run)


async def test_who_may_what_is_what_the_host_says_of_its_client(data_dir: Path, conf: dict[str, Any]) -> None:
    """An observer and a client of which the host says nothing may read; what they claim in params counts nothing."""
    async with host_with_llmcore(data_dir, **conf) as (host, _, targets):
        anna, olga, nobody = Browser(host), Browser(host, "olga", "observer"), Browser(host, None, None)
        restart = [{"intent": "restart_target", "params": {"module": "nginx"}}]
        for browser in (olga, nobody):
            assert "Policy does not allow restart_target" in await browser.refused("chain", steps=restart)
            names = [intent["name"] for intent in (await browser.ask("intents_list"))["intents"]]
            assert "list_targets" in names
            assert "restart_target" not in names
            claim = {"username": "anna", "role": "admin"}
            assert "username" in await browser.refused("chain", steps=restart, **claim)
        plan = await anna.ask("chain", steps=restart)
        await olga.refused("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
        mine = await anna.ask("chat_llm", prompt="list the targets")
        await anna.until("RUN_FINISHED")
        await olga.refused("conversation_get", conversation_id=mine["conversation_id"])
        await olga.refused("stream_resume", topic=mine["topic"], after_seq=0)
        assert olga.events == []
        assert targets.calls == []


async def test_a_client_that_reads_nothing_holds_up_nobody(data_dir: Path, conf: dict[str, Any]) -> None:
    """The others get everything, in the same intents, while one does not read; later it has all it missed."""
    async with host_with_llmcore(data_dir, **conf) as (host, _, _targets):
        anna, bo = Browser(host), Browser(host, "bo", "developer")
        await bo.ask("plan_list")
        bo.reads.clear()
        told = await bo.send("chat_llm", prompt="Tell me a story", params={"mode": "answer"})
        await anna.ask("chat_llm", prompt="Tell me a story", params={"mode": "answer"})
        await anna.until("RUN_FINISHED")
        assert anna.text == STORY
        assert bo.events == []
        bo.reads.set()
        await told
        await bo.until("RUN_FINISHED")
        assert bo.text == STORY


async def test_the_hosts_assist_panel_is_served_and_the_end_is_told(data_dir: Path, conf: dict[str, Any]) -> None:
    """A question of the panel gets its whole answer; a reaction rule may ask too; after the end there are words."""
    async with host_with_llmcore(data_dir, **conf) as (host, module, _):
        anna = Browser(host)
        answer = await anna.ask("query_assist", query="which services can you manage?")
        assert "nginx" in json.dumps(answer)
        rule = await host.action_dispatcher.handle_request_direct(
            None, "chat_llm", {"prompt": "list the targets", "__event__": {"name": "alarm"}}
        )
        assert rule["accepted"] is True
        await module.close()
        assert "llmcore is stopped" in await anna.refused("chat_llm", prompt="hello")


async def test_a_chat_outlives_its_socket_and_the_host(data_dir: Path, conf: dict[str, Any]) -> None:
    """A closed client is let go, its model call ended; after a restart of the host its conversations are there."""
    async with host_with_llmcore(data_dir, **conf) as (host, _, _targets):
        anna = Browser(host)
        begun = await anna.ask("chat_llm", prompt="A long story", params={"mode": "answer"})
        await anna.until("TEXT_MESSAGE_CONTENT")
        anna.closed = True
        otto = Browser(host, "otto", "admin")
        async with asyncio.timeout(30):
            while (run := (await otto.ask("run_list"))["runs"][0])["status"] == "running":
                pass
        assert (run["run_id"], run["status"]) == (begun["run_id"], "cancelled")
    async with host_with_llmcore(data_dir, **conf) as (host, _, _targets):
        anna = Browser(host)
        (conversation,) = (await anna.ask("conversation_list"))["conversations"]
        assert conversation["conversation_id"] == begun["conversation_id"]
