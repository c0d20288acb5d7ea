"""Policy on real servers: what a site allows in a few lines, and what is allowed from now on by an admin's approval."""

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.kill_kit import Killable, data_of, killable, run_until
from tests.peer import LIMIT_S, Frame, Peer

pytestmark = pytest.mark.asyncio
RESTART = "restart_target"
WEB = {"module": "web"}


def targets(folder: Path) -> dict[str, Any]:
    """Two services of sh, one of them in production."""

    def service(name: str, **attributes: Any) -> dict[str, Any]:
        state = folder / f"{name}.state"
        return {
            "status": ["cat", str(state)],
            "start": ["sh", "-c", f"echo running > {state}; echo {name} >> {folder / 'effects'}"],
            "stop": ["sh", "-c", f"echo stopped > {state}"],
            "attributes": attributes,
        }

    return {"web": service("web"), "shop": service("shop", production=True)}


async def until_answered(peer: Peer, status: str, intent: str, params: Mapping[str, Any]) -> Frame:
    """Ask until a node has noticed what another one decided."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            answer = await peer.call(intent, params)
            if answer["status"] == status:
                return answer
            await asyncio.sleep(0.05)


async def test_allowed_from_now_on_on_all_nodes_until_withdrawn(tmp_path: Path, postgres_url: str) -> None:
    """A developer asks, an admin on another node approves; the rule counts on both, for that target and role alone."""
    common = {
        "LLMCORE_STORE__URL": postgres_url,
        "LLMCORE_SYSTEM__TARGETS": json.dumps(targets(tmp_path)),
    }
    async with AsyncExitStack() as stack:
        nodes: list[Killable] = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            nodes.append(await stack.enter_async_context(killable(tmp_path / name, environment=common)))
        one, two = nodes
        await one.add_user("dora", "developer")
        two.tokens["dora"] = one.tokens["dora"]
        dora, admin = await one.peer("dora"), await two.peer()

        asked = await dora.call(RESTART, WEB)
        assert asked["data"]["error"] == "approval_required"
        wanted = await data_of(dora, "policy_allow", {"plan_id": asked["data"]["plan_id"], "days": 7})
        plan = wanted["plan"]
        assert plan["approval"]["roles"] == ["admin"]
        assert "restart_target on web without being asked" in plan["steps"][0]["preview"]["after"]["rule"]
        decision = {"plan_id": plan["plan_id"], "digest": plan["digest"]}
        assert (await dora.call("plan_approve", decision))["data"]["error"] == "forbidden"
        assert (await data_of(dora, "policy_rules"))["rules"] == []

        run_id = (await data_of(admin, "plan_approve", decision))["plan"]["run_id"]
        await run_until(admin, run_id, lambda run: run["status"] == "done")
        both = [dora, await two.peer("dora")]
        for peer in both:
            await until_answered(peer, "success", RESTART, WEB)
            assert (await peer.call(RESTART, {"module": "shop"}))["data"]["error"] == "approval_required"
            assert (await peer.call("stop_target", WEB))["data"]["error"] == "approval_required"
            assert [rule["intent"] for rule in (await data_of(peer, "policy_rules"))["rules"]] == [RESTART]
        assert (await admin.call(RESTART, WEB))["data"]["error"] == "approval_required"

        rule_id = (await data_of(admin, "policy_rules"))["rules"][0]["rule_id"]
        proposed = await data_of(dora, "policy_withdraw", {"rule_id": rule_id})
        assert proposed["plan"]["steps"][0]["intent"] == "withdraw_rule"
        assert (await data_of(admin, "policy_withdraw", {"rule_id": rule_id}))["withdrawn"] is True
        for peer in both:
            await until_answered(peer, "error", RESTART, WEB)
        assert (await admin.call("policy_withdraw", {"rule_id": rule_id}))["code"] == 404
        assert (tmp_path / "effects").read_text().split().count("shop") == 0


async def test_rule_is_there_after_a_restart_and_ends_with_an_undo(tmp_path: Path) -> None:
    """What an admin allowed outlives the process; taking the run back withdraws it."""
    environment = {"LLMCORE_SYSTEM__TARGETS": json.dumps(targets(tmp_path))}
    async with killable(tmp_path, environment=environment) as server:
        admin = await server.peer()
        asked = await admin.call(RESTART, WEB)
        plan = (await data_of(admin, "policy_allow", {"plan_id": asked["data"]["plan_id"]}))["plan"]
        decision = {"plan_id": plan["plan_id"], "digest": plan["digest"]}
        run_id = (await data_of(admin, "plan_approve", decision))["plan"]["run_id"]
        await run_until(admin, run_id, lambda run: run["status"] == "done")
        await server.kill()
        await server.start()
        admin = await server.peer()
        assert (await admin.call(RESTART, WEB))["status"] == "success"
        undo = (await data_of(admin, "run_undo", {"run_id": run_id}))["plan"]
        await data_of(admin, "plan_approve", {"plan_id": undo["plan_id"], "digest": undo["digest"]})
        await run_until(admin, run_id, lambda run: run["status"] == "undone")
        assert (await admin.call(RESTART, WEB))["data"]["error"] == "approval_required"
        assert await server.stop() == 0
    with sqlite3.connect(server.data / "llmcore.db") as database:
        records = [json.loads(text) for (text,) in database.execute("SELECT record FROM audit ORDER BY seq")]
    begun = [record["facts"]["intent"] for record in records if record["action"] == "step.begin"]
    assert [intent for intent in begun if "rule" in intent or "allow" in intent] == [
        "allow_from_now_on",
        "withdraw_rule",
    ]


async def test_short_policy_decides_and_a_wrong_one_stops_the_start(tmp_path: Path) -> None:
    """Yes, no, two approvals in production; the server with a wrong file says where and why."""
    policy = tmp_path / "site.yaml"
    policy.write_text("restart_target: yes\ndelete_*: no\nrestart_target@production: 2 approvals\n")
    environment = {
        "LLMCORE_SYSTEM__TARGETS": json.dumps(targets(tmp_path)),
        "LLMCORE_POLICY__FILE": str(policy),
    }
    async with killable(tmp_path, environment=environment) as server:
        admin = await server.peer()
        assert (await admin.call(RESTART, WEB))["status"] == "success"
        asked = await admin.call(RESTART, {"module": "shop"})
        plan = (await data_of(admin, "plan_get", {"plan_id": asked["data"]["plan_id"]}))["plan"]
        assert plan["approval"]["needed"] == 2
        refused = await admin.call("delete_file", {"path": str(server.roots / "x")})
        assert (refused["data"]["error"], refused["data"]["rules"]) == ("forbidden", ["delete_*"])
        started = await admin.call("stop_target", WEB)
        assert started["data"]["error"] == "approval_required"  # not named: the default policy
        await server.stop()
        policy.write_text("restart_target: yes\nrestart_target@prodution: no\n")
        with pytest.raises(AssertionError, match=r"site.yaml:2: restart_target@prodution: .*did you mean @production"):
            await server.start()
