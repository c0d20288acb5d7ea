"""The surface: every RPC by its name, checked params, answers of the contract, errors with their codes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.accounts import AccountOptions, Accounts
from llmcore.api import Api, Caller, Core
from llmcore.errors import (
    ApprovalRequired,
    BadParams,
    Conflict,
    Forbidden,
    LLMCoreError,
    NotFound,
    TimedOut,
    Unauthorized,
    Unavailable,
    UnknownIntent,
)
from llmcore.plan import Principal
from llmcore.planner import Draft, DraftStep
from llmcore.ports import Call
from llmcore.templates import Templates
from tests.rooms import ANNA, BO, OLGA, forever
from tests.turns import Stage, Watcher, stage

pytestmark = pytest.mark.asyncio


class Desk:
    """The api with everything behind it."""

    def __init__(self, play: Stage) -> None:
        """Over a stage."""
        self.play = play
        self.probes: dict[str, Any] = {"store": self._fine, "bus": self._fine}
        light = AccountOptions(hash_memory_kib=64, hash_rounds=1)
        rooms = play.rooms
        self.core = Core(
            session=play.session,
            replayer=play.replayer,
            topics=play.topics,
            store=rooms.store,
            catalog=rooms.catalog,
            accounts=Accounts(rooms.store, rooms.clock, light),
            conversations=play.conversations,
            templates=Templates(rooms.store, rooms.catalog, rooms.audit, rooms.clock),
            judge=rooms.judge,
            host=rooms.host,
            audit=rooms.audit,
            clock=rooms.clock,
            suggestions=None,
            status=lambda: {"version": "1"},
            probes=self.probes,
        )
        self.api = Api(self.core)

    @staticmethod
    async def _fine() -> Mapping[str, Any]:
        return {"status": "ok", "required": True, "reason": None}

    async def call(self, intent: str, params: Mapping[str, Any] | None = None, who: Principal = ANNA) -> Any:
        """As a person with a screen."""
        sink = self.play.watcher if who is ANNA else Watcher(who)
        return await self.api.call(intent, params or {}, Caller(who, sink))


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """On a new store."""
    async with stage(tmp_path) as play:
        yield Desk(play)


NGINX = {"module": "nginx"}


def look() -> Draft:
    """A draft of one read."""
    return Draft(kind="plan", steps=(DraftStep(intent="look", params=NGINX),), answered_by="local", confidence=1.0)


# --- chat ---


async def test_streaming_chat_is_acknowledged_at_once(desk: Desk) -> None:
    """The rest comes as events on the named topic; `intent_` may be written."""
    desk.play.planner.drafts.append(look())
    answer = await desk.call("intent_chat_llm", {"prompt": "is it up?", "topic": "/ui/updates/llm/mine"})
    assert answer["accepted"]
    assert answer["topic"] == "/ui/updates/llm/mine"
    finished = await desk.play.watcher.until("RUN_FINISHED")
    assert finished["threadId"] == answer["conversation_id"]


async def test_single_shot_chat_answers_with_everything(desk: Desk) -> None:
    """Text, plan, results, tokens."""
    desk.play.planner.drafts.append(look())
    answer = await desk.call("chat_llm", {"prompt": "is it up?", "params": {"stream": False}})
    assert answer["status"] == "done"
    assert answer["plan"]["steps"][0]["intent"] == "look"
    assert answer["results"][0]["result"] == {"ok": True, **NGINX}
    assert answer["usage"] == {"input_tokens": 0, "output_tokens": 0}
    again = {"prompt": "and now?", "conversation_id": answer["conversation_id"], "params": {"stream": False}}
    assert (await desk.call("chat_llm", again))["conversation_id"] == answer["conversation_id"]


async def test_single_shot_chat_that_takes_long_is_acknowledged(desk: Desk) -> None:
    """It goes on behind the answer."""
    desk.play.session.options = type(desk.play.session.options)(wait_s=0.01)
    desk.play.voice.pause = asyncio.Event().wait
    answer = await desk.call("chat_llm", {"prompt": "hm", "params": {"stream": False, "mode": "answer"}})
    assert (answer["status"], answer["accepted"]) == ("running", True)
    assert (await desk.call("run_cancel", {"run_id": answer["run_id"]}))["run"]["status"] in ("cancelled", "running")


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({}, "/prompt"),
        ({"prompt": ""}, "/prompt"),
        ({"prompt": "  "}, "/prompt"),
        ({"prompt": 3}, "/prompt"),
        ({"prompt": "x", "topic": "/stats"}, "/topic"),
        ({"prompt": "x", "params": {"mode": "wild"}}, "/params/mode"),
        ({"prompt": "x", "params": {"approved": True}}, "/params/approved"),
        ({"prompt": "x", "role": "admin"}, "/role"),
    ],
)
async def test_wrong_chat_params_name_the_field(desk: Desk, params: Mapping[str, Any], pointer: str) -> None:
    """With a pointer relative to params."""
    with pytest.raises(BadParams) as refused:
        await desk.call("chat_llm", params)
    assert [field["pointer"] for field in refused.value.details["fields"]] == [pointer]


async def test_foreign_conversation_and_topic_are_refused(desk: Desk) -> None:
    """Nobody speaks in another's chat."""
    mine = await desk.call("chat_llm", {"prompt": "x", "params": {"stream": False}})
    with pytest.raises(NotFound):
        await desk.call("chat_llm", {"prompt": "y", "conversation_id": mine["conversation_id"]}, BO)
    topic = f"/ui/updates/llm/{mine['conversation_id']}"
    for call in (
        desk.call("chat_llm", {"prompt": "y", "topic": topic}, BO),
        desk.call("subscribe_channel", {"topic": topic}, BO),
        desk.call("stream_resume", {"topic": topic, "after_seq": 0}, BO),
    ):
        with pytest.raises(Forbidden):
            await call


async def test_resume_gives_what_was_missed(desk: Desk) -> None:
    """To whoever asks with a screen."""
    mine = await desk.call("chat_llm", {"prompt": "x", "params": {"stream": False}})
    screen = Watcher(ANNA)
    topic = f"/ui/updates/llm/{mine['conversation_id']}"
    answer = await desk.api.call("stream_resume", {"topic": topic, "after_seq": 0}, Caller(ANNA, screen))
    assert answer["last_seq"] == len(screen.events)
    await desk.api.call("unsubscribe_channel", {"topic": topic}, Caller(ANNA, screen))
    for name, params in (("stream_resume", {"topic": topic, "after_seq": 0}), ("subscribe_channel", {"topic": topic})):
        with pytest.raises(BadParams, match="connection"):
            await desk.api.call(name, params, Caller(ANNA))


async def test_assist_calls_of_cloudisense_are_served(desk: Desk) -> None:
    """One conversation of its own, which can be forgotten."""
    desk.play.planner.drafts.append(look())
    first = await desk.call("query_assist", {"query": "is it up?"})
    assert first["status"] == "done"
    second = await desk.call("query_assist", {"query": "and now?"})
    assert second["conversation_id"] == first["conversation_id"]
    assert await desk.call("clear_assist_session") == {"cleared": 1}
    assert (await desk.call("assist_introduction"))["examples"]


# --- intents ---


async def test_read_is_answered_directly_and_audited(desk: Desk) -> None:
    """By its own name."""
    assert await desk.call("intent_look", NGINX) == {"ok": True, **NGINX}
    assert "intent" in await desk.play.rooms.actions()


async def test_change_called_directly_waits_as_a_plan(desk: Desk) -> None:
    """The error names it; once approved it runs."""
    with pytest.raises(ApprovalRequired) as refused:
        await desk.call("stop_it", NGINX)
    plan_id = refused.value.details["plan_id"]
    assert plan_id in refused.value.message
    plan = (await desk.call("plan_get", {"plan_id": plan_id}))["plan"]
    await desk.call("plan_approve", {"plan_id": plan_id, "digest": plan["digest"]})
    await desk.play.watcher.until("RUN_FINISHED")
    assert desk.play.rooms.host.calls == [("stop_it", NGINX)]


async def test_observer_may_look_and_nothing_else(desk: Desk) -> None:
    """With rules and reason; changes are not even listed."""
    assert await desk.call("look", NGINX, OLGA)
    with pytest.raises(Forbidden) as refused:
        await desk.call("stop_it", NGINX, OLGA)
    assert refused.value.details["rules"] == ["observer-reads-only"]
    listed = {intent["name"] for intent in (await desk.call("intents_list", who=OLGA))["intents"]}
    assert listed == {"look", "list_all"}
    assert len((await desk.call("intents_list"))["intents"]) == 6


async def test_unknown_intent_and_wrong_params_are_told(desk: Desk) -> None:
    """With near names, with fields."""
    with pytest.raises(UnknownIntent, match="look"):
        await desk.call("lok")
    with pytest.raises(BadParams):
        await desk.call("look", {"x": 1})
    assert desk.api.knows("intent_look")
    assert desk.api.knows("chain")
    assert not desk.api.knows("lok")


async def test_slow_read_times_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the ten seconds that a client waits."""
    monkeypatch.setattr("llmcore.api.intents.WAIT_S", 0.01)
    desk.play.rooms.host.plays["look"] = forever
    with pytest.raises(TimedOut):
        await desk.call("look", NGINX)


# --- chains ---


async def test_chain_is_proposed_then_approved_and_can_be_looked_at(desk: Desk) -> None:
    """The whole way over RPCs."""
    steps = [{"intent": "look", "params": NGINX}, {"intent": "stop_it", "params": NGINX, "needs": ["s1"]}]
    answer = await desk.call("intent_chain", {"steps": steps, "title": "Stop it"})
    assert answer["status"] == "proposed"
    assert answer["plan"]["topic"] == f"/ui/updates/llm/{answer['plan_id']}"
    assert [plan["plan_id"] for plan in (await desk.call("plan_list", {"status": "proposed"}))["plans"]] == [
        answer["plan_id"]
    ]
    approved = await desk.call("plan_approve", {"plan_id": answer["plan_id"], "digest": answer["digest"]})
    run_id = approved["plan"]["run_id"]
    await desk.play.watcher.until("RUN_FINISHED", 2)
    run = (await desk.call("run_get", {"run_id": run_id}))["run"]
    assert run["status"] == "done"
    assert [(step["state"], step["attempts"]) for step in run["steps"]] == [("done", 1), ("done", 1)]
    assert (await desk.call("run_list"))["runs"][0]["run_id"] == run_id
    assert (await desk.call("run_list", who=BO))["runs"] == []


async def test_chain_runs_at_once_what_policy_allows(desk: Desk) -> None:
    """`run` of reads; a chain of reads that is only proposed waits for its start."""
    ran = await desk.call("chain", {"steps": [{"intent": "list_all"}], "mode": "run"})
    assert ran["run_id"]
    await desk.play.watcher.until("RUN_FINISHED")
    proposed = await desk.call("chain", {"steps": [{"intent": "list_all"}]})
    assert (proposed["status"], proposed["plan"]["approval"]["needed"]) == ("proposed", 0)


@pytest.mark.parametrize(
    ("step", "pointer"),
    [
        ({"intent": "gone"}, "/steps/0/intent"),
        ({"intent": "look", "params": {}}, "/steps/0/params/module"),
        ({"intent": "list_all", "when": "steps.s2.state =="}, "/steps/0/when"),
        ({"intent": "list_all", "on_error": "panic"}, "/steps/0/on_error"),
    ],
)
async def test_refused_chain_names_the_field(desk: Desk, step: Mapping[str, Any], pointer: str) -> None:
    """Relative to the params of the RPC."""
    with pytest.raises(BadParams) as refused:
        await desk.call("chain", {"steps": [step]})
    assert refused.value.details["fields"][0]["pointer"] == pointer


async def test_plan_is_edited_and_rejected(desk: Desk) -> None:
    """Another digest; then the end."""
    answer = await desk.call("chain", {"steps": [{"intent": "stop_it", "params": NGINX}]})
    steps = [{"id": "s1", "intent": "stop_it", "params": {"module": "shop"}}]
    edited = (await desk.call("plan_edit", {"plan_id": answer["plan_id"], "steps": steps}))["plan"]
    assert edited["digest"] != answer["digest"]
    with pytest.raises(Conflict):
        await desk.call("plan_approve", {"plan_id": answer["plan_id"], "digest": answer["digest"]})
    rejected = await desk.call("plan_reject", {"plan_id": answer["plan_id"], "reason": "no"}, BO)
    assert rejected["plan"]["status"] == "rejected"
    with pytest.raises(NotFound):
        await desk.call("plan_get", {"plan_id": answer["plan_id"]}, OLGA)


async def test_waiting_run_has_nothing_to_resolve(desk: Desk) -> None:
    """Only an unknown step does."""
    ran = await desk.call("chain", {"steps": [{"intent": "list_all"}], "mode": "run"})
    await desk.play.watcher.until("RUN_FINISHED")
    with pytest.raises(Conflict):
        await desk.call("run_resolve", {"run_id": ran["run_id"], "step_id": "s1", "outcome": "done"})


# --- conversations ---


async def test_conversations_are_listed_read_renamed_exported_and_deleted(desk: Desk) -> None:
    """By their owner."""
    told = await desk.call("chat_llm", {"prompt": "hello", "params": {"stream": False}})
    named = {"conversation_id": told["conversation_id"]}
    assert [one["title"] for one in (await desk.call("conversation_list"))["conversations"]] == ["hello"]
    assert (await desk.call("conversation_list", who=BO))["conversations"] == []
    messages = (await desk.call("conversation_get", named))["conversation"]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    renamed = await desk.call("conversation_rename", {**named, "title": "greeting"})
    assert renamed["conversation"]["title"] == "greeting"
    assert "# greeting" in (await desk.call("conversation_export", named))["conversation"]["markdown"]
    assert (await desk.call("conversation_delete", named))["deleted"]
    with pytest.raises(NotFound):
        await desk.call("conversation_get", named)


# --- users ---


async def test_admin_manages_users_and_others_only_their_own_password(desk: Desk) -> None:
    """Tokens and passwords work afterwards."""
    await desk.call("user_add", {"name": "zoe", "role": "developer", "password": "correct horse"})
    zoe = Principal(name="zoe", role="developer")
    assert [user["name"] for user in (await desk.call("user_list"))["users"]] == ["zoe"]
    token = (await desk.call("user_token", {"name": "zoe", "days": 1}))["token"]
    assert (await desk.core.accounts.authenticate(token))[0] == zoe
    await desk.call("user_passwd", {"password": "battery staple"}, zoe)
    with pytest.raises(Unauthorized):
        await desk.core.accounts.authenticate(token)
    for name, params in (
        ("user_list", {}),
        ("user_add", {"name": "x", "role": "admin", "password": "12345678"}),
        ("user_passwd", {"name": "anna", "password": "12345678"}),
        ("user_token", {"name": "anna"}),
    ):
        with pytest.raises(Forbidden):
            await desk.call(name, params, zoe)


# --- the server itself ---


async def test_ready_is_as_bad_as_the_worst_that_is_required(desk: Desk) -> None:
    """Optional components only degrade."""

    async def broken() -> Mapping[str, Any]:
        raise Unavailable("It is gone.")

    async def optional() -> Mapping[str, Any]:
        return {"status": "down", "required": False, "reason": "off"}

    assert (await desk.api.ready())["status"] == "ok"
    desk.probes["bus"] = optional
    assert (await desk.api.ready())["status"] == "degraded"
    desk.probes["store"] = broken
    ready = await desk.api.ready()
    assert ready["status"] == "down"
    assert ready["components"]["store"] == {"status": "down", "required": True, "reason": "It is gone."}


async def test_probe_that_hangs_is_down(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it."""
    monkeypatch.setattr("llmcore.api.system.PROBE_S", 0.01)
    desk.probes["store"] = asyncio.Event().wait
    assert (await desk.api.ready())["components"]["store"]["status"] == "down"


async def test_status_says_who_one_is(desk: Desk) -> None:
    """And what runs."""
    status = await desk.call("status", who=BO)
    assert status["user"] == {"name": "bo", "role": "developer", "kind": "user"}
    assert status["intents"] == 6


async def test_audit_is_for_admins(desk: Desk) -> None:
    """Newest first, by action."""
    await desk.call("chat_llm", {"prompt": "hello", "params": {"stream": False}})
    records = (await desk.call("audit_query", {"action": "chat"}))["records"]
    assert [record["action"] for record in records] == ["chat"]
    with pytest.raises(Forbidden):
        await desk.call("audit_query", who=BO)


async def test_alerts_need_their_room(desk: Desk) -> None:
    """Without it the answer says so."""
    named = {"suggestion_id": "sg"}
    for name, params in (("alert_list", {}), ("suggestion_list", {}), ("suggestion_accept", named)):
        with pytest.raises(Unavailable):
            await desk.call(name, params)


async def test_viewer_who_leaves_ends_the_model_call_and_a_slow_one_does_not(desk: Desk) -> None:
    """Only a client that went away by itself."""
    desk.play.voice.pause = asyncio.Event().wait
    await desk.call("chat_llm", {"prompt": "x", "params": {"mode": "answer"}})
    await desk.play.watcher.until("TEXT_MESSAGE_CONTENT")
    desk.api.disconnected(desk.play.watcher, by_us=True)
    assert not desk.play.voice.closed.is_set()
    desk.play.topics.connect(desk.play.watcher)
    desk.api.disconnected(desk.play.watcher, by_us=False)
    async with asyncio.timeout(30):
        await desk.play.voice.closed.wait()


OPEN = """
@id("all") permit (principal, action, resource);
"""


async def test_change_that_policy_allows_runs_at_once_and_is_journaled(tmp_path: Path) -> None:
    """Its result is the answer; a failure is the error; a long one is acknowledged."""
    async with stage(tmp_path, policy=OPEN) as play:
        desk = Desk(play)
        assert await desk.call("start_it", NGINX) == {"ok": True, **NGINX}
        assert "step.begin" in await play.rooms.actions()
        play.rooms.host.plays["stop_it"] = _broken
        with pytest.raises(LLMCoreError, match="It is locked") as failed:
            await desk.call("stop_it", NGINX)
        assert (failed.value.code, failed.value.status) == ("conflict", 409)
        play.session.options = type(play.session.options)(wait_s=0.01)
        play.rooms.host.plays["long_job"] = forever
        answer = await desk.call("long_job", NGINX)
        assert answer["accepted"]
        await desk.call("run_cancel", {"run_id": answer["run_id"]})


async def _broken(_: Call) -> Any:
    raise Conflict("It is locked.")


async def test_only_an_admin_stops_everything(desk: Desk) -> None:
    """Nobody else, nor lets it begin again; refusals are in the trail."""
    for who in (BO, OLGA):
        for name in ("stop_all", "stop_all_release"):
            with pytest.raises(Forbidden, match="Only an admin"):
                await desk.call(name, who=who)
    chief = Principal(name="chief", role="admin")
    told = await desk.call("stop_all", {"reason": " fire ", "hold": True}, who=chief)
    assert {**told["stopped"], "at": ""} == {"by": "chief", "at": "", "reason": "fire", "hold": True, "runs": []}
    assert await desk.call("stop_all_release", who=chief) == {"released": True}
    actions = await desk.play.rooms.actions()
    assert [actions.count(name) for name in ("stop_all.refused", "stop_all_release.refused", "stop_all")] == [2, 2, 1]


async def test_a_run_is_taken_back_by_rpc(desk: Desk) -> None:
    """The answer is the plan that waits; afterwards run, plan and steps are undone."""
    asked = await desk.call("chain", {"steps": [{"intent": "start_it", "params": NGINX}]})
    await desk.call("plan_approve", {"plan_id": asked["plan_id"], "digest": asked["digest"]})
    run_id = (await desk.call("plan_get", {"plan_id": asked["plan_id"]}))["plan"]["run_id"]
    await desk.play.session.settled(run_id)
    back = (await desk.call("run_undo", {"run_id": run_id}))["plan"]
    assert (back["status"], back["undoes"]) == ("proposed", run_id)
    await desk.call("plan_approve", {"plan_id": back["plan_id"], "digest": back["digest"]})
    now = (await desk.call("plan_get", {"plan_id": back["plan_id"]}))["plan"]
    await desk.play.session.settled(now["run_id"])
    run = (await desk.call("run_get", {"run_id": run_id}))["run"]
    assert (run["status"], [step["state"] for step in run["steps"]]) == ("undone", ["undone"])


async def test_frame_that_cannot_be_read_as_a_decision_is_in_the_trail(desk: Desk) -> None:
    """Other RPCs' misfits are not."""
    for intent in ("plan_approve", "plan_reject", "plan_get"):
        with pytest.raises(BadParams):
            await desk.call(intent, {"plan_id": 7})
    actions = await desk.play.rooms.actions()
    assert [action for action in actions if action.endswith(".refused")] == [
        "plan.approve.refused",
        "plan.reject.refused",
    ]


async def test_edit_answers_what_it_has_changed(desk: Desk) -> None:
    """Step by step, and the plan remembers it."""
    asked = await desk.call("chain", {"steps": [{"id": "s1", "intent": "stop_it", "params": NGINX}]})
    steps = [{"id": "s1", "intent": "stop_it", "params": {"module": "shop"}}]
    answer = await desk.call("plan_edit", {"plan_id": asked["plan_id"], "steps": steps})
    assert answer["diff"][0]["fields"]["params.module"] == {"before": "nginx", "after": "shop"}
    assert answer["plan"]["edited_from"]["diff"] == answer["diff"]
    why = {"comment": "nobody else is there", "break_glass": True}
    approved = await desk.call("plan_approve", {"plan_id": asked["plan_id"], "digest": answer["plan"]["digest"], **why})
    assert approved["plan"]["approval"]["given"][0]["break_glass"]


async def test_why_a_step_could_not_be_attempted_is_told(desk: Desk) -> None:
    """A condition that errs and a reference that finds nothing leave no attempt, but a reason."""
    steps = [
        {"intent": "look", "params": NGINX},
        {"intent": "list_all", "when": "steps.s1.result.gone == 1", "on_error": "continue"},
        {"intent": "look", "params": {"module": {"$from": "s1", "path": "gone"}}, "on_error": "continue"},
    ]
    ran = await desk.call("chain", {"steps": steps, "mode": "run"})
    await desk.play.session.settled(ran["run_id"])
    told = (await desk.call("run_get", {"run_id": ran["run_id"]}))["run"]["steps"]
    assert [step["state"] for step in told] == ["done", "failed", "failed"]
    assert [step["error"] and step["error"]["error"] for step in told] == [None, "bad_params", "not_found"]
    assert [step["attempts"] for step in told] == [1, 0, 0]
