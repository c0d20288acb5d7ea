"""The contract on a real server: frames, errors, roles, and every bundled intent by its own name."""

import json
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.contract_kit import HOOK, House, Person, http
from tests.peer import Peer

pytestmark = pytest.mark.asyncio

READS = {
    "get_system_stats",
    "get_cpu_stats",
    "get_memory_stats",
    "get_disk_stats",
    "get_network_stats",
    "get_system_time",
    "get_software_version",
    "check_process",
    "list_processes",
    "get_accessible_paths",
    "list_content",
    "read_file",
    "list_logs",
    "read_log",
    "list_targets",
    "get_target_status",
    "list_scripts",
}
WRITES = {
    "create_folder",
    "copy_file",
    "start_target",
    "scale_target",
    "stop_script_execution",
    "simple_http_notify",
    "simple_telegram_notify",
}
DESTRUCTIVE = {
    "write_file",
    "move_file",
    "delete_file",
    "delete_folder",
    "stop_target",
    "restart_target",
    "start_script_execution",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server without a model."""
    house = House(tmp_path_factory.mktemp("rpc") / "house")
    with house.open():
        yield house


@pytest.fixture(scope="module")
def token(house: House) -> str:
    """An administrator's access token."""
    return house.token()


@pytest_asyncio.fixture
async def admin(house: House, token: str) -> AsyncIterator[Person]:
    """The administrator."""
    async with house.person(token) as person:
        yield person


@pytest_asyncio.fixture
async def observer(house: House, admin: Person) -> AsyncIterator[Person]:
    """Somebody who may only look."""
    if len((await admin.data("user_list"))["users"]) == 1:
        await admin.data("user_add", name="watcher", role="observer", password="only looking")
    token = (await admin.data("user_token", name="watcher", days=1))["token"]
    async with house.person(token) as person:
        yield person


# --- frames -------------------------------------------------------------------------------------------------------


async def test_an_answer_has_exactly_the_keys_of_the_contract(admin: Person) -> None:
    """Its timestamp is in seconds; with and without the prefix."""
    for intent in ("intent_get_system_time", "get_system_time"):
        answer = await admin.peer.call(intent)
        assert set(answer) == {"requestid", "type", "status", "code", "data", "timestamp"}
        assert (answer["type"], answer["status"], answer["code"]) == ("rpc_response", "success", 200)
        assert abs(answer["timestamp"] - time.time()) < 60  # noqa: TID251 - the wall clock is what is promised


@pytest.mark.parametrize(
    ("frame", "request_id"),
    [
        ("nonsense", None),
        ("{", None),
        ('{"type":"rpc","requestid":"a","intent":"status","params":{"x":NaN}}', None),
        ("[]", None),
        ('"text"', None),
        ('{"type":"rpc","requestid":"a"}', "a"),
        ('{"type":"rpc","requestid":"b","intent":7}', "b"),
        ('{"type":"rpc","requestid":"c","intent":"status","params":[]}', "c"),
        ('{"type":"other","requestid":"d"}', "d"),
        ('{"type":"rpc","intent":"status","params":{}}', None),
        ('{"type":"rpc","requestid":"e","intent":"status","params":' + '{"a":' * 70 + "1" + "}" * 71, "e"),
    ],
)
async def test_bad_frames_are_answered_and_the_socket_stays(admin: Person, frame: str, request_id: str | None) -> None:
    """With the request's own id where there is one."""
    answer = await admin.peer.raw(frame)
    assert (answer["status"], answer["code"], answer["requestid"]) == ("error", 400, request_id)
    assert answer["data"]["error"] in ("bad_request", "bad_params")
    assert await admin.data("status")


async def test_sixty_levels_of_json_are_read(admin: Person) -> None:
    """The limit is 64: what is below it is a matter of the params."""
    deep: Any = 1
    for _ in range(60):
        deep = {"a": deep}
    assert (await admin.error("status", deep=deep))["data"]["error"] == "bad_params"


async def test_a_frame_over_a_mebibyte_closes_with_1009(house: House, token: str) -> None:
    """One just below it is answered."""
    async with house.person(token) as person:
        answer = await person.error("read_file", path="x" * (1 << 20 - 1))
        assert answer["data"]["error"] == "bad_params"
        room = (1 << 20) - 400
        assert (await person.error("read_file", path="x" * room))["data"]["error"] == "bad_params"
        await person.peer.ask("read_file", {"path": "x" * (1 << 20)})
        assert await person.peer.wait_closed() == 1009


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("intent", "params", "code", "error", "pointers"),
    [
        ("no_such_intent", {}, 404, "unknown_intent", None),
        ("intent_no_such_intent", {}, 404, "unknown_intent", None),
        ("read_file", {}, 400, "bad_params", ["/path"]),
        ("read_file", {"path": 7}, 400, "bad_params", ["/path"]),
        ("read_file", {"path": "x", "other": 1}, 400, "bad_params", ["/other"]),
        ("list_processes", {"sort_by": "name"}, 400, "bad_params", ["/sort_by"]),
        ("read_file", {"path": "/etc/passwd"}, 403, "forbidden", None),
        ("read_file", {"path": "../../../etc/passwd"}, 403, "forbidden", None),
        ("list_content", {"root": "/etc"}, 403, "forbidden", None),
        ("read_file", {"path": "absent.txt"}, 404, "not_found", None),
        ("read_log", {"name": "absent"}, 404, "not_found", None),
        ("get_target_status", {"module": "absent"}, 404, "not_found", None),
        ("chat_llm", {}, 400, "bad_params", ["/prompt"]),
        ("chat_llm", {"prompt": ""}, 400, "bad_params", ["/prompt"]),
        ("chat_llm", {"prompt": "x", "topic": "/stats"}, 400, "bad_params", ["/topic"]),
        ("chat_llm", {"prompt": "x", "params": {"mode": "other"}}, 400, "bad_params", ["/params/mode"]),
        ("chat_llm", {"prompt": "x", "params": {"stream": "yes"}}, 400, "bad_params", ["/params/stream"]),
        ("chat_llm", {"prompt": "x", "context": []}, 400, "bad_params", ["/context"]),
        ("chat_llm", {"prompt": "x", "conversation_id": "cv_absent"}, 404, "not_found", None),
        ("plan_get", {"plan_id": "pl_absent"}, 404, "not_found", None),
        ("plan_approve", {"plan_id": "pl_absent", "digest": "sha256:0"}, 404, "not_found", None),
        ("plan_approve", {"plan_id": "pl_absent"}, 400, "bad_params", ["/digest"]),
        ("plan_reject", {"plan_id": "pl_absent", "reason": "no"}, 404, "not_found", None),
        ("run_get", {"run_id": "rn_absent"}, 404, "not_found", None),
        ("run_cancel", {"run_id": "rn_absent"}, 404, "not_found", None),
        ("conversation_get", {"conversation_id": "cv_absent"}, 404, "not_found", None),
        ("stream_resume", {"topic": "/ui/updates/llm/x"}, 400, "bad_params", ["/after_seq"]),
        ("subscribe_channel", {"topic": "/nothing/of/ours"}, 400, "bad_params", ["/topic"]),
    ],
)
async def test_errors_have_the_code_and_the_pointer(
    admin: Person, intent: str, params: dict[str, Any], code: int, error: str, pointers: list[str] | None
) -> None:
    """Pointers are relative to `params`."""
    answer = await admin.error(intent, **params)
    assert (answer["code"], answer["data"]["error"]) == (code, error)
    if pointers is not None:
        assert [field["pointer"] for field in answer["data"]["fields"]] == pointers
        assert all(set(field) == {"pointer", "message"} and field["message"] for field in answer["data"]["fields"])


async def test_too_many_requests_a_second_are_429(tmp_path: Path) -> None:
    """With the time to wait; stopping gets through."""
    house = House(tmp_path / "house", {"LLMCORE_SERVER__RATE_LIMIT": "3"})
    with house.open():
        async with house.person(house.token()) as person:
            asked = [await person.peer.ask("get_system_time") for _ in range(20)]
            stop = await person.error("run_cancel", run_id="rn_absent")
            answers = [await person.peer.answer_to(request_id) for request_id in asked]
    refused = [answer for answer in answers if answer["status"] == "error"]
    assert len(refused) < len(answers)
    assert refused
    assert {answer["code"] for answer in refused} == {429}
    assert all(answer["data"]["error"] == "rate_limited" for answer in refused)
    assert all(answer["data"]["retry_after_s"] > 0 for answer in refused)
    assert stop["code"] == 404


async def test_a_long_request_delays_no_other(house: House, admin: Person) -> None:
    """A chat that runs a script, and twenty answers meanwhile."""
    topic = "/ui/updates/llm/busy"
    step = {"id": "s1", "intent": "start_script_execution", "params": {"name": "endless"}}
    plan = await admin.data("chain", steps=[step], topic=topic)
    approved = await admin.data("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
    await admin.peer.until(lambda: bool(admin.events(topic, "ACTIVITY_DELTA")))
    for _ in range(20):
        await admin.data("get_system_time")
    run = (await admin.data("run_cancel", run_id=approved["plan"]["run_id"]))["run"]
    assert run["status"] == "cancelled"
    assert (await admin.end(topic))["outcome"] == {"type": "cancelled"}


# --- the catalogue ------------------------------------------------------------------------------------------------


async def test_the_catalogue_is_the_bundled_one(admin: Person) -> None:
    """Every name of section 6 with its effect, description, schema and examples."""
    intents = (await admin.data("intents_list"))["intents"]
    effects = {intent["name"]: intent["effect"] for intent in intents}
    expected = {
        **dict.fromkeys(READS, "read"),
        **dict.fromkeys(WRITES, "write"),
        **dict.fromkeys(DESTRUCTIVE, "destructive"),
    }
    assert effects == expected
    for intent in intents:
        assert intent["description"]
        assert intent["schema"]["type"] == "object"
        assert len(intent["examples"]) >= 8


@pytest.mark.parametrize(
    ("name", "required", "optional"),
    [
        ("check_process", {"name"}, set()),
        ("list_processes", set(), {"sort_by", "limit"}),
        ("list_content", {"root"}, {"path"}),
        ("read_file", {"path"}, set()),
        ("create_folder", {"path"}, set()),
        ("copy_file", {"source", "destination"}, set()),
        ("write_file", {"path", "content"}, set()),
        ("move_file", {"source", "destination"}, set()),
        ("delete_file", {"path"}, set()),
        ("delete_folder", {"root", "dirname"}, {"delete_non_empty"}),
        ("read_log", {"name"}, {"lines", "contains"}),
        ("get_target_status", {"module"}, set()),
        ("start_target", {"module"}, set()),
        ("stop_target", {"module"}, set()),
        ("restart_target", {"module"}, set()),
        ("scale_target", {"module", "replicas"}, set()),
        ("start_script_execution", {"name"}, {"args"}),
        ("stop_script_execution", {"script_id"}, set()),
        ("simple_http_notify", {"http"}, {"message"}),
        ("simple_telegram_notify", {"message"}, {"chat_id", "bot"}),
    ],
)
async def test_params_have_the_names_of_the_contract(
    admin: Person, name: str, required: set[str], optional: set[str]
) -> None:
    """And no other."""
    intents = {intent["name"]: intent for intent in (await admin.data("intents_list"))["intents"]}
    schema = intents[name]["schema"]
    assert set(schema.get("required", ())) == required
    assert set(schema["properties"]) == required | optional


async def test_results_that_others_rely_on(house: House, admin: Person) -> None:
    """Their keys, exactly."""
    file = house.roots / "read.txt"
    file.write_text("twelve chars")
    assert await admin.data("read_file", path=str(file)) == {
        "path": str(file),
        "content": "twelve chars",
        "size": 12,
        "truncated": False,
    }
    listed = (await admin.data("list_content", root=str(house.roots)))["entries"]
    assert {"name": "read.txt", "type": "file", "size": 12}.items() <= next(
        entry for entry in listed if entry["name"] == "read.txt"
    ).items()
    assert all(set(entry) == {"name", "type", "size", "modified"} for entry in listed)
    processes = (await admin.data("list_processes", sort_by="memory", limit=3))["processes"]
    assert len(processes) == 3
    assert all(set(one) == {"pid", "name", "user", "cpu_percent", "memory_bytes"} for one in processes)
    sizes = [one["memory_bytes"] for one in processes]
    assert sizes == sorted(sizes, reverse=True)
    assert await admin.data("get_target_status", module="web") == {"module": "web", "state": "stopped"}
    assert (await admin.data("read_log", name="app", contains="ERROR"))["lines"] == ["two ERROR"]
    assert (await admin.data("get_accessible_paths"))["paths"] == [str(house.roots)]


@pytest.mark.parametrize("name", sorted(READS - {"check_process", "read_log", "read_file", "list_content"}))
async def test_reads_are_answered_from_the_machine(admin: Person, name: str) -> None:
    """By their own names, without asking anybody."""
    params = {"module": "web"} if name == "get_target_status" else {}
    assert isinstance(await admin.data(name, **params), dict)


# --- changes ------------------------------------------------------------------------------------------------------


async def approved(person: Person, intent: str, **params: Any) -> dict[str, Any]:
    """Call a change directly, approve the plan that waits, and wait for its end; the run's step."""
    waits = await person.error(intent, **params)
    assert (waits["code"], waits["data"]["error"]) == (403, "approval_required")
    plan_id = waits["data"]["plan_id"]
    assert plan_id in waits["message"]
    plan = (await person.data("plan_get", plan_id=plan_id))["plan"]
    assert plan["status"] == "proposed"
    run_id = (await person.data("plan_approve", plan_id=plan_id, digest=plan["digest"]))["plan"]["run_id"]
    await person.end(plan["topic"])
    (step,) = (await person.data("run_get", run_id=run_id))["run"]["steps"]
    assert set(step) == {"id", "intent", "state", "result", "error", "attempts", "started_at", "finished_at"}
    return dict(step)


async def test_a_change_called_directly_waits_as_a_plan(house: House, admin: Person) -> None:
    """Its id is in `data` and named in `message`; approved, it really happens."""
    step = await approved(admin, "create_folder", path=str(house.roots / "made"))
    assert (step["state"], step["error"], step["attempts"]) == ("done", None, 1)
    assert (house.roots / "made").is_dir()
    (house.roots / "made" / "a.txt").write_text("x")
    await approved(admin, "copy_file", source=str(house.roots / "made/a.txt"), destination=str(house.roots / "made/b"))
    await approved(admin, "move_file", source=str(house.roots / "made/b"), destination=str(house.roots / "made/c"))
    await approved(admin, "write_file", path=str(house.roots / "made/d.txt"), content="new")
    assert sorted(path.name for path in (house.roots / "made").iterdir()) == ["a.txt", "c", "d.txt"]
    await approved(admin, "delete_file", path=str(house.roots / "made/c"))
    step = await approved(admin, "delete_folder", root=str(house.roots), dirname="made")
    assert step["state"] == "failed"
    await approved(admin, "delete_folder", root=str(house.roots), dirname="made", delete_non_empty=True)
    assert not (house.roots / "made").exists()


@pytest.mark.parametrize("intent", ["copy_file", "move_file"])
async def test_onto_an_existing_file_is_a_conflict(house: House, admin: Person, intent: str) -> None:
    """Whether it was there when asked or appeared before it ran; nothing is overwritten."""
    source, there, later = (house.roots / f"{intent}-{name}" for name in ("source", "there", "later"))
    source.write_text("new")
    there.write_text("old")
    answer = await admin.error(intent, source=str(source), destination=str(there))
    if answer["data"]["error"] == "approval_required":
        step = await approved(admin, intent, source=str(source), destination=str(there))
        assert (step["state"], step["error"]["error"]) == ("failed", "conflict")
    else:
        assert (answer["code"], answer["data"]["error"]) == (409, "conflict")
    waits = await admin.error(intent, source=str(source), destination=str(later))
    later.write_text("old")
    plan = (await admin.data("plan_get", plan_id=waits["data"]["plan_id"]))["plan"]
    await admin.data("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
    assert (await admin.end(plan["topic"]))["code"] == "conflict"
    assert there.read_text() == later.read_text() == "old"
    assert source.read_text() == "new"


async def test_targets_are_started_and_stopped(house: House, admin: Person) -> None:
    """The state follows."""
    assert (await approved(admin, "start_target", module="web"))["state"] == "done"
    assert (await admin.data("get_target_status", module="web"))["state"] == "running"
    assert (await approved(admin, "restart_target", module="web"))["state"] == "done"
    assert (await approved(admin, "stop_target", module="web"))["state"] == "done"
    assert (await admin.data("get_target_status", module="web"))["state"] == "stopped"


# --- scripts ------------------------------------------------------------------------------------------------------


async def test_a_script_ends_when_its_process_ends(admin: Person) -> None:
    """Its result; args are words, not a shell's line; the extension is optional."""
    step = await approved(admin, "start_script_execution", name="greet", args="'a b;id' $HOME")
    assert step["state"] == "done"
    assert set(step["result"]) == {"script_id", "exit_code", "output", "truncated"}
    assert step["result"]["exit_code"] == 0
    assert step["result"]["output"] == "hello a b;id\n"
    assert step["result"]["truncated"] is False
    assert (await approved(admin, "start_script_execution", name="greet.sh"))["result"]["output"] == "hello\n"


async def test_a_script_that_exits_with_another_code_failed(admin: Person) -> None:
    """Its output and code can still be read."""
    step = await approved(admin, "start_script_execution", name="broken")
    assert step["state"] == "failed"
    assert "3" in step["error"]["message"]
    assert step["result"]["exit_code"] == 3
    assert sorted(step["result"]["output"].splitlines()) == ["on the way", "oops"]


async def test_a_script_that_is_not_there(admin: Person) -> None:
    """No path leads out of the folder."""
    for name in ("absent", "../app.log", "/bin/true", "sub/x.sh"):
        answer = await admin.error("start_script_execution", name=name)
        if answer["data"]["error"] == "approval_required":
            step = await approved(admin, "start_script_execution", name=name)
            assert step["state"] == "failed"
            assert step["error"]["error"] in ("not_found", "forbidden", "bad_params")


async def test_a_running_script_is_stopped_by_its_id(admin: Person) -> None:
    """By `stop_script_execution`; the step that ran it has failed then."""
    step = {"id": "s1", "intent": "start_script_execution", "params": {"name": "endless.sh"}}
    plan = await admin.data("chain", steps=[step])
    topic = plan["plan"]["topic"]
    await admin.data("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
    await admin.peer.until(lambda: "begun" in json.dumps(admin.events(topic, "ACTIVITY_DELTA")))
    (running,) = (await admin.data("list_scripts"))["running"]
    assert (await approved(admin, "stop_script_execution", script_id=running["script_id"]))["state"] == "done"
    assert (await admin.end(topic))["type"] == "RUN_ERROR"
    assert (await admin.data("list_scripts"))["running"] == []


# --- roles and topics ---------------------------------------------------------------------------------------------


async def test_an_observer_only_looks(house: House, admin: Person, observer: Person) -> None:
    """Reads, sees no mutating intent, is refused with rules and reason, approves nothing."""
    assert await observer.data("get_cpu_stats")
    visible = {intent["name"] for intent in (await observer.data("intents_list"))["intents"]}
    assert visible == READS
    file = house.roots / "theirs.txt"
    file.write_text("x")
    for intent, params in (
        ("delete_file", {"path": str(file)}),
        ("create_folder", {"path": str(house.roots / "no")}),
        ("chain", {"steps": [{"id": "s1", "intent": "delete_file", "params": {"path": str(file)}}]}),
        ("chain", {"mode": "run", "steps": [{"id": "s1", "intent": "delete_file", "params": {"path": str(file)}}]}),
    ):
        refused = await observer.error(intent, **params)
        assert (refused["code"], refused["data"]["error"]) == (403, "forbidden")
        assert refused["data"]["rules"]
        assert refused["data"]["reason"]
    waiting = (await admin.error("delete_file", path=str(file)))["data"]["plan_id"]
    digest = (await admin.data("plan_get", plan_id=waiting))["plan"]["digest"]
    assert (await observer.error("plan_approve", plan_id=waiting, digest=digest))["code"] in (403, 404)
    for rpc in ("user_list", "audit_query"):
        assert (await observer.error(rpc))["data"]["error"] == "forbidden"
    assert (await observer.error("user_add", name="x", role="admin", password="long enough"))["code"] == 403
    assert file.exists()


async def test_what_is_somebody_elses_cannot_be_read(admin: Person, observer: Person) -> None:
    """Topic, conversation, run and plan."""
    topic = "/ui/updates/llm/private"
    chat = await admin.data("chat_llm", prompt="what time is it on this machine?", topic=topic)
    await admin.end(topic)
    for intent, params in (
        ("subscribe_channel", {"topic": topic}),
        ("stream_resume", {"topic": topic, "after_seq": 0}),
        ("conversation_get", {"conversation_id": chat["conversation_id"]}),
        ("conversation_export", {"conversation_id": chat["conversation_id"]}),
        ("conversation_delete", {"conversation_id": chat["conversation_id"]}),
        ("run_get", {"run_id": chat["run_id"]}),
        ("run_cancel", {"run_id": chat["run_id"]}),
        ("chat_llm", {"prompt": "x", "topic": topic}),
        ("chat_llm", {"prompt": "x", "conversation_id": chat["conversation_id"]}),
        ("chain", {"steps": [{"id": "s1", "intent": "get_cpu_stats", "params": {}}], "topic": topic}),
    ):
        assert (await observer.error(intent, **params))["code"] in (403, 404), intent
    assert (await observer.data("conversation_list"))["conversations"] == []
    assert (await observer.data("run_list"))["runs"] == []
    assert not observer.seen(topic)


def _notified(peer: Peer) -> bool:
    return any(event["name"] == "text_notification" for event in peer.events)


async def test_statistics_and_notifications(house: House, admin: Person, observer: Person) -> None:
    """`/stats` comes to those who subscribe; a short message for everybody comes to everybody."""
    await admin.data("subscribe_channel", topic="/stats")
    await admin.peer.until(lambda: any(event["topic"] == "/stats" for event in admin.peer.events))
    stats = next(event for event in admin.peer.events if event["topic"] == "/stats")
    assert (stats["name"], stats["type"], stats["status"], stats["meta"]) == ("data_generated", "event", "data", None)
    assert stats["timestamp"] > 1e12, "milliseconds"
    await admin.data("unsubscribe_channel", topic="/stats")
    alert = {"status": "firing", "labels": {"alertname": "Told"}, "startsAt": "2026-01-01T00:00:00Z"}
    body = json.dumps({"version": "4", "alerts": [alert]}).encode()
    assert http(f"{house.url}/hooks/alertmanager", body, Authorization=f"Bearer {HOOK}").status == 202
    for person in (admin, observer):
        await person.peer.until(partial(_notified, person.peer))
        told = next(event for event in person.peer.events if event["name"] == "text_notification")
        assert (told["topic"], told["type"]) == ("/notification", "event")


async def test_batches_hold_events_only(admin: Person) -> None:
    """An array is of events; answers come alone."""
    topic = "/ui/updates/llm/batches"
    await admin.data("chat_llm", prompt="which processes eat the memory?", topic=topic)
    await admin.end(topic)
    for frame in admin.peer.frames:
        if isinstance(frame, list):
            assert {item["type"] for item in frame} == {"event"}


async def test_smart_assist_calls(admin: Person) -> None:
    """Served by us where CloudiSENSE's module is absent."""
    assert await admin.data("assist_introduction")
    answer = await admin.data("query_assist", query="what time is it on this machine?")
    assert answer["text"]
    await admin.data("clear_assist_session")


async def test_audit_is_read_newest_first(admin: Person) -> None:
    """However few records are asked for; who, what, when."""
    await admin.data("get_memory_stats")
    await admin.error("create_folder", path="audited")
    records = (await admin.data("audit_query", limit=2))["records"]
    everything = (await admin.data("audit_query", limit=5000))["records"]
    assert records == everything[:2]
    assert [record["seq"] for record in everything] == list(range(len(everything), 0, -1))
    assert records[0]["action"] == "plan.propose"
    assert records[0]["actor"]["name"] == "administrator"
    pages = (await admin.data("audit_query", after_seq=2, limit=2))["records"]
    assert [record["seq"] for record in pages] == [4, 3]
