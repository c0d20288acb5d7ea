"""llmcore.api: "allow this from now on", what is allowed so, and withdrawing it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.api import Api, Caller
from llmcore.catalog import load_packs
from llmcore.errors import ApprovalRequired, BadParams, Conflict, Forbidden, NotFound, Unavailable
from llmcore.plan import Preview, Principal
from llmcore.ports import Call
from llmcore.standing import StandingRules
from tests.rooms import ANNA, BO, INTENTS, OLGA
from tests.test_api import NGINX, Desk
from tests.turns import stage

pytestmark = pytest.mark.asyncio
PACK = [intent for intent in load_packs() if not intent.offered]
STOP = {"id": "s1", "intent": "stop_it", "params": NGINX}
LOOK = {"id": "s2", "intent": "look", "params": NGINX}


@pytest_asyncio.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """A host that has the pack of standing rules too, played by the rules themselves."""
    monkeypatch.setattr("tests.rooms.INTENTS", (*INTENTS, *PACK))
    async with stage(tmp_path) as play:
        rooms = play.rooms
        standing = StandingRules(rooms.store, rooms.judge, rooms.clock)

        async def allow(call: Call) -> Any:
            return await standing.allow(by=call.principal.name, **call.params)

        async def withdraw(call: Call) -> Any:
            return await standing.withdraw(call.params["rule_id"])

        rooms.host.plays |= {"allow_from_now_on": allow, "withdraw_rule": withdraw}
        made = Desk(play)
        made.core = replace(made.core, standing=standing)
        made.api = Api(made.core)
        yield made


async def test_rule_is_a_plan_that_an_admin_approves(desk: Desk) -> None:
    """Proposed by a developer for their own role; then what it allows is not asked about."""
    plan_id = (await desk.call("chain", {"steps": [STOP, LOOK]}, BO))["plan_id"]
    wanted = await desk.call("policy_allow", {"plan_id": plan_id}, BO)
    params = wanted["plan"]["steps"][0]["params"]
    expected = {"intent": "stop_it", "target": "nginx", "role": "developer", "kind": "user", "days": 30}
    assert params == {"rule_id": params["rule_id"], **expected}
    assert (wanted["status"], wanted["plan"]["approval"]["roles"]) == ("proposed", ["admin"])
    decision = {"plan_id": wanted["plan_id"], "digest": wanted["digest"]}
    with pytest.raises(Forbidden):
        await desk.call("plan_approve", decision, BO)
    assert await desk.call("policy_rules", {}, BO) == {"rules": []}
    run_id = (await desk.call("plan_approve", decision))["plan"]["run_id"]
    await desk.core.session.settled(run_id)
    (rule,) = (await desk.call("policy_rules", {}, OLGA))["rules"]
    assert (rule["rule_id"], rule["by"], rule["target"]) == (params["rule_id"], "bo", "nginx")
    assert (await desk.call("stop_it", NGINX, BO))["ok"] is True
    with pytest.raises(ApprovalRequired):
        await desk.call("stop_it", {"module": "db"}, BO)
    with pytest.raises(ApprovalRequired):
        await desk.call("stop_it", NGINX)

    withdrawal = await desk.call("policy_withdraw", {"rule_id": rule["rule_id"]}, BO)
    assert withdrawal["plan"]["steps"][0]["intent"] == "withdraw_rule"
    assert await desk.call("policy_withdraw", {"rule_id": rule["rule_id"]}) == {
        "rule_id": rule["rule_id"],
        "withdrawn": True,
    }
    assert "policy.withdraw" in await desk.play.rooms.actions()
    with pytest.raises(ApprovalRequired):
        await desk.call("stop_it", NGINX, BO)
    with pytest.raises(NotFound):
        await desk.call("policy_withdraw", {"rule_id": rule["rule_id"]})


async def test_one_exact_step_and_target_are_meant(desk: Desk) -> None:
    """Of several one is named; what has no target, or belongs to somebody who only reads, cannot be allowed."""
    two = (await desk.call("chain", {"steps": [STOP, {**STOP, "id": "s3", "intent": "start_it"}]}))["plan_id"]
    for wrong in ({}, {"step_id": "s9"}):
        with pytest.raises(BadParams) as refused:
            await desk.call("policy_allow", {"plan_id": two, **wrong})
        assert refused.value.details["fields"][0]["pointer"] == "/step_id"
    named = await desk.call("policy_allow", {"plan_id": two, "step_id": "s3", "days": 1, "role": "developer"})
    params = named["plan"]["steps"][0]["params"]
    assert (params["intent"], params["role"], params["days"]) == ("start_it", "developer", 1)
    reads = (await desk.call("chain", {"steps": [LOOK]}, OLGA))["plan_id"]
    with pytest.raises(Forbidden, match="only reads"):
        await desk.call("policy_allow", {"plan_id": reads}, OLGA)
    with pytest.raises(Conflict, match="only one exact target"):
        await desk.call("policy_allow", {"plan_id": reads, "role": "developer"})
    with pytest.raises(NotFound):
        await desk.call("policy_allow", {"plan_id": two}, OLGA)


async def test_host_without_the_pack_says_so(desk: Desk) -> None:
    """As inside a program that has intents of its own."""
    plain = Api(replace(desk.core, standing=None))
    for intent, params in (("policy_rules", {}), ("policy_withdraw", {"rule_id": "rl_1"})):
        with pytest.raises(Unavailable, match="not set up"):
            await plain.call(intent, params, Caller(ANNA, desk.play.watcher))


OWN = """
@id("own") @reason("Only on what is one's own.")
permit (principal, action, resource) when { resource.owner == principal.name };
@id("reads") permit (principal, action in Action::"read", resource);
"""


async def test_owner_is_known_by_the_preview_alone(tmp_path: Path) -> None:
    """Nobody is refused before it has looked; what is another's is refused before anybody is asked."""
    async with stage(tmp_path, policy=OWN) as play:
        owners = {"mine": "bo", "yours": "anna"}

        async def preview(intent: str, params: Mapping[str, Any], principal: Principal) -> Preview:
            return Preview(targets=(params["module"],), attributes={"owner": owners[params["module"]]})

        play.rooms.host.hooks["preview"] = preview
        desk = Desk(play)
        assert (await desk.call("stop_it", {"module": "mine"}, BO))["ok"] is True
        for ask in (
            desk.call("stop_it", {"module": "yours"}, BO),
            desk.call("chain", {"steps": [{"intent": "stop_it", "params": {"module": "yours"}}]}, BO),
        ):
            with pytest.raises(Forbidden, match=r"on what it would touch: No rule allows stop_it") as refused:
                await ask
            assert refused.value.details["rules"] == []
            assert refused.value.details["would_allow"] == "On what belongs to bo."
        assert [params for _, params in play.rooms.host.calls] == [{"module": "mine"}]
        assert (await play.rooms.actions()).count("plan.denied") == 2
