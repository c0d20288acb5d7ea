"""llmcore built for a program that it lives in: which intents it offers, what it knows of the host's names."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from llmcore.api import Caller
from llmcore.app import embedded
from llmcore.app.embedded import DATA_DIR, Embedded, HostNames, build_embedded, guest_catalog, names_in
from llmcore.errors import Unavailable
from llmcore.plan import Effect, Preview, Principal, Undo
from llmcore.ports import Call
from llmcore.settings import SettingsError, load
from tests.rooms import ANNA, HandClock

PACK = """
intents:
  - {name: polish_floor, description: Polish the floor., effect: write, schema: {type: object}}
  - {name: list_targets, description: Their own words., effect: read}
  - {name: absent, description: The host has none of it., effect: read}
"""
INTENTS = {
    "list_targets": "targets",
    "restart_target": "targets",
    "polish_floor": "floor",
    "Bad Name": "floor",
    "query_assist": "assist",
    "chat_llm": "other",
    "test": "",
    "publish_channel": "",
}


class Lists:
    """A host that gives what a test sets."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        """Each call is answered by `answer`."""
        self.answer = answer
        self.calls: list[Call] = []
        self.called = asyncio.Event()

    async def call(self, call: Call) -> Any:
        """Note it and answer."""
        self.calls.append(call)
        self.called.set()
        value = self.answer()
        return await value if asyncio.iscoroutine(value) else value

    async def preview(self, intent: str, params: Mapping[str, Any], principal: Principal) -> Preview | None:
        """None."""
        return None

    async def undo_of(
        self, intent: str, params: Mapping[str, Any], before: Any, result: Any, principal: Principal
    ) -> Undo | None:
        """None."""
        return None

    async def verify(self, intent: str, params: Mapping[str, Any], principal: Principal) -> bool | None:
        """Nobody can tell."""
        return None


def test_only_what_the_host_has_is_offered(tmp_path: Path) -> None:
    """Ours describes most; what nobody describes may do harm; the operator's file has the last word."""
    catalog = guest_catalog(load(None, {}), INTENTS)
    assert [intent.name for intent in catalog] == ["list_targets", "restart_target", "polish_floor", "test"]
    unknown = catalog.get("polish_floor")
    assert (unknown.effect, unknown.pack) == (Effect.DESTRUCTIVE, "floor")
    assert unknown.description == "Intent polish_floor of the host's module floor."
    assert catalog.validate("polish_floor", {"anything": 1}) is unknown
    assert (catalog.get("restart_target").pack, catalog.get("test").pack) == ("targets", "cloudisense")

    (tmp_path / "own.yaml").write_text(PACK, "utf-8")
    catalog = guest_catalog(load(None, {"LLMCORE_PACKS__PATH": str(tmp_path)}), INTENTS)
    assert catalog.get("polish_floor").effect is Effect.WRITE
    assert catalog.get("list_targets").description == "Their own words."
    assert "absent" not in catalog


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (["a", " b ", "a", ""], ("a", "b")),
        ([{"name": "a", "topic": "/t"}, {"module": "b"}, {"alias": "c"}, {"id": 7}, {}, 5, None], ("a", "b", "c")),
        ({"count": 1, "targets": [{"name": "a"}]}, ("a",)),
        ({"a": 1}, ()),
        ("a", ()),
        (None, ()),
    ],
)
def test_names_are_found_in_whatever_a_host_gives(value: Any, names: tuple[str, ...]) -> None:
    """Its modules agree on no shape."""
    assert names_in(value) == names


@pytest.mark.asyncio
async def test_lists_are_asked_for_again_when_they_are_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known comes at once; a host that fails or is silent leaves it as it was."""
    monkeypatch.setattr(embedded, "LOOK_S", 0.01)
    clock, answers = HandClock(), iter([["a"], ["b"]])
    host = Lists(lambda: next(answers))
    async with asyncio.TaskGroup() as tasks:
        names = HostNames(host, clock, tasks, {"targets": "list_targets"})
        assert names.known() == {"targets": (), "logs": (), "scripts": ()}
        assert names._looking is not None
        await names._looking
        assert names.known()["targets"] == ("a",)
        assert len(host.calls) == 1
        monkeypatch.setattr(embedded, "KEEP_S", -1.0)
        assert names.known()["targets"] == ("a",)
        await names._looking
        assert names.known()["targets"] == ("b",)
        host.answer = asyncio.Event().wait
        await names.look()
        host.answer = lambda: _refuse()
        await names.look()
        monkeypatch.setattr(embedded, "KEEP_S", 30.0)
        assert names.known()["targets"] == ("b",)
        await names.close()
        await HostNames(host, clock, tasks, {}).close()
    assert {call.principal.role for call in host.calls} == {"observer"}


def _refuse() -> Any:
    raise Unavailable("not now")


async def _allow_from_now_on(inside: Embedded) -> None:
    """Our own pack of standing rules works beside the host's intents, hidden like anywhere."""
    caller = Caller(ANNA)
    step = {"intent": "restart_target", "params": {"module": "nginx"}}
    plan = await inside.api.call("chain", {"steps": [step]}, caller)
    rule = await inside.api.call("policy_allow", {"plan_id": plan["plan_id"]}, caller)
    decision = {"plan_id": rule["plan_id"], "digest": rule["digest"]}
    approved = await inside.api.call("plan_approve", decision, caller)
    await inside.house.session.settled(approved["plan"]["run_id"])
    rules = (await inside.api.call("policy_rules", {}, caller))["rules"]
    assert [(found["intent"], found["target"]) for found in rules] == [("restart_target", "nginx")]


@pytest.mark.asyncio
async def test_it_is_built_from_what_the_host_hands_over(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below its configuration are the environment and, for data, a folder that no server of ours uses."""
    host = Lists(lambda: ["nginx"])
    monkeypatch.setenv("LLMCORE_LIMITS__JSON_DEPTH", "7")
    usual = (await asyncio.to_thread(load, None, {}, {"data_dir": DATA_DIR})).data_dir
    for conf, folder in (({}, usual), ({"data_dir": str(data_dir)}, data_dir)):
        async with asyncio.TaskGroup() as tasks:
            inside = await build_embedded(conf, host, INTENTS, tasks)
            settings = inside.house.base.settings
            assert (settings.data_dir, settings.limits.json_depth) == (folder, 7)
            assert inside.topics is inside.house.base.topics
            assert inside.house.base.host.vocabulary()["targets"] == ("nginx",)
            listed = await inside.api.call("intents_list", {}, Caller(ANNA))
            assert [intent["name"] for intent in listed["intents"]][:2] == ["list_targets", "restart_target"]
            assert await inside.house.base.store.user_list() == []
            await _allow_from_now_on(inside)
            await inside.close()
        assert (folder / "llmcore.db").exists()
    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(SettingsError, match="conf: "):
            await build_embedded({"llm": {"provider": 5}}, host, INTENTS, tasks)
