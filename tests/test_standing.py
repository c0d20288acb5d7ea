"""llmcore.standing and the pack `policy`: rules that an admin allows from now on, kept for all nodes."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.adapters.packs import PackCaller
from llmcore.adapters.sql import SqlStore, StoreOptions, open_store
from llmcore.catalog import Catalog, load_packs
from llmcore.errors import BadParams, NotFound, Unavailable
from llmcore.plan import Decision, Effect, Origin, Principal, Step, Undo
from llmcore.policy import Judge, load
from llmcore.ports import Call
from llmcore.standing import StandingRules
from tests.clocks import HandClock
from tests.rooms import POLICY

DORA = Principal(name="dora", role="developer")
RULE = {
    "rule_id": "rl_0123456789",
    "intent": "restart_target",
    "target": "web",
    "role": "developer",
    "kind": "user",
    "days": 2,
}
CATALOG = Catalog(load_packs())


class Node:
    """One process: a judge and its rules, with the pack that works on them."""

    def __init__(self, store: SqlStore, clock: HandClock) -> None:
        """Nothing is read yet."""
        self.judge = Judge(load(POLICY, CATALOG), lambda _: {}, clock)
        self.rules = StandingRules(store, self.judge, clock)
        self.pack = PackCaller(CATALOG, {"policy": self.rules})

    async def call(self, intent: str, /, **params: Any) -> Any:
        """Run an intent of the pack for dora."""
        return await self.pack.call(Call(intent=intent, params=params, principal=DORA, idempotency_key="k"))

    def decision(self, intent: str = "restart_target", target: str = "web") -> Decision:
        """What policy says of it now."""
        step = Step(id="s1", intent=intent, params={"module": target}, effect=Effect.DESTRUCTIVE)
        return self.judge.verdict(step, DORA, Origin(kind="chat", id="x")).decision


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    """A store for all nodes of a test."""
    opened = await open_store(StoreOptions(url=f"sqlite:///{tmp_path}/llmcore.db"))
    yield opened
    await opened.close()


@pytest.mark.asyncio
async def test_rule_counts_at_once_here_and_elsewhere_once_they_look(store: SqlStore) -> None:
    """It ends by time, or because it is withdrawn."""
    clock = HandClock()
    here, there = Node(store, clock), Node(store, clock)
    await there.rules.refresh()
    made = await here.call("allow_from_now_on", **RULE)
    assert (made["by"], made["expires_at"]) == ("dora", "2023-11-16T22:13:20.000Z")
    assert (here.decision(), there.decision()) == (Decision.ALLOW, Decision.ASK)
    await there.rules.refresh()
    assert there.decision() is Decision.ALLOW
    assert here.decision(target="db") is Decision.ASK
    assert await there.rules.known(made["rule_id"]) == made
    clock.time += 2 * 86_400
    assert (here.decision(), there.decision()) == (Decision.ASK, Decision.ASK)
    assert await here.rules.active() == []
    clock.time -= 2 * 86_400
    assert await there.call("withdraw_rule", rule_id=made["rule_id"]) == {"rule_id": made["rule_id"], "withdrawn": True}
    assert (here.decision(), there.decision()) == (Decision.ALLOW, Decision.ASK)
    await here.rules.refresh()
    assert here.decision() is Decision.ASK
    assert (await here.call("withdraw_rule", rule_id=made["rule_id"]))["withdrawn"] is False


@pytest.mark.asyncio
async def test_hooks_of_the_pack_show_check_and_take_back(store: SqlStore) -> None:
    """The card says what the rule means; what is gone cannot be withdrawn."""
    node = Node(store, HandClock())
    rule_id = RULE["rule_id"]
    shown = await node.pack.preview("allow_from_now_on", RULE, DORA)
    assert shown is not None
    assert shown.targets == ("restart_target on web",)
    assert shown.after["rule"].startswith(
        "For 2 days anybody with the role developer may run restart_target on web without being asked"
    )
    assert await node.pack.verify("allow_from_now_on", RULE, DORA) is False
    await node.call("allow_from_now_on", **RULE)
    assert await node.pack.verify("allow_from_now_on", RULE, DORA) is True
    back = await node.pack.undo_of("allow_from_now_on", RULE, None, None, DORA)
    assert back == Undo(intent="withdraw_rule", params={"rule_id": rule_id})
    before = await node.pack.preview("withdraw_rule", {"rule_id": rule_id}, DORA)
    assert before is not None
    assert before.before["intent"] == "restart_target"
    assert await node.pack.verify("withdraw_rule", {"rule_id": rule_id}, DORA) is False
    await node.call("withdraw_rule", rule_id=rule_id)
    assert await node.pack.verify("withdraw_rule", {"rule_id": rule_id}, DORA) is True
    with pytest.raises(NotFound):
        await node.pack.preview("withdraw_rule", {"rule_id": rule_id}, DORA)


@pytest.mark.asyncio
@pytest.mark.parametrize("intent", ["allow_from_now_on", "withdraw_rule", "no_such_thing"])
async def test_nothing_allows_the_rules_themselves(store: SqlStore, intent: str) -> None:
    """Nor what this host has not."""
    node = Node(store, HandClock())
    with pytest.raises(BadParams, match="is no intent that can be allowed"):
        await node.pack.preview("allow_from_now_on", {**RULE, "intent": intent}, DORA)
    with pytest.raises(BadParams):
        await node.call("allow_from_now_on", **{**RULE, "intent": intent})


@pytest.mark.asyncio
async def test_watching_goes_on_when_the_store_is_away(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is known stays in force; the next look finds what has changed."""
    monkeypatch.setattr("llmcore.standing.LOOK_S", 0.01)
    node = Node(store, HandClock())
    other = Node(store, HandClock())
    away, asked = True, asyncio.Event()
    ask = store.rules_version

    async def version() -> str:
        asked.set()
        if away:
            raise Unavailable("The store is away.")
        return await ask()

    monkeypatch.setattr(store, "rules_version", version)
    with caplog.at_level(logging.WARNING):
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(node.rules.watch())
            await asked.wait()
            away = False
            await other.call("allow_from_now_on", **RULE)
            while node.decision() is not Decision.ALLOW:
                asked.clear()
                await asked.wait()
            watching.cancel()
    assert "standing rules could not be read: The store is away." in caplog.text


def test_intents_of_the_pack_are_hidden() -> None:
    """Known by name, never listed or offered."""
    admin = Principal(name="a", role="admin")
    assert "allow_from_now_on" in CATALOG
    assert not {"allow_from_now_on", "withdraw_rule"} & {intent.name for intent in CATALOG.visible_to(admin)}
