"""The contract on a real server: a chat turn and its events, who gets them, and how they come again."""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import pytest
import pytest_asyncio
from ag_ui.core import Event
from pydantic import TypeAdapter

from tests.contract_kit import PREFIX, House, Person, check_numbers

pytestmark = pytest.mark.asyncio

LONG = "one two three four five six seven eight"
RULES: Sequence[Mapping[str, Any]] = (
    {"match": "count slowly", "reply": LONG, "chunks": 8, "delay_s": 0.05},
    {"match": "break off", "reply": "half a sen", "unfinished": True},
    {"match": "be down", "error": 401},
    {"match": "dance", "schema": True, "reply": {"kind": "none", "text": "I cannot dance."}},
    {"match": "", "schema": True, "reply": {"kind": "answer", "text": ""}},
    {"match": "", "reply": "A short answer."},
)
ANY_EVENT: TypeAdapter[Any] = TypeAdapter(Event)
ANSWER = {"mode": "answer"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server with a scripted model."""
    house = House(tmp_path_factory.mktemp("chat") / "house")
    house.scripted(RULES)
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


async def second(admin: Person, name: str, role: str) -> str:
    """Another person's token."""
    if name not in [user["name"] for user in (await admin.data("user_list"))["users"]]:
        await admin.data("user_add", name=name, role=role, password="another password")
    return str((await admin.data("user_token", name=name))["token"])


def joined(events: Sequence[Mapping[str, Any]]) -> str:
    """The text that was streamed."""
    return "".join(event["delta"] for event in events if event["type"] == "TEXT_MESSAGE_CONTENT")


# --- streaming ----------------------------------------------------------------------------------------------------


async def test_a_streamed_answer(admin: Person) -> None:
    """The acknowledgement, then events in AG-UI's order; envelope and numbers as promised."""
    topic = PREFIX + "streamed"
    accepted = await admin.data("chat_llm", prompt="count slowly", topic=topic, params=ANSWER)
    assert set(accepted) == {"accepted", "conversation_id", "run_id", "topic"}
    assert (accepted["accepted"], accepted["topic"]) == (True, topic)
    end = await admin.end(topic)
    for frame in [event for event in admin.peer.events if event["topic"] == topic]:
        assert set(frame) == {"name", "type", "status", "topic", "data", "meta", "timestamp"}
        assert (frame["name"], frame["type"], frame["status"]) == ("data_generated", "event", "data")
        assert frame["meta"] is None
        assert frame["timestamp"] > 1e12, "milliseconds"
        assert {"epoch", "seq", "run_id", "conversation_id", "event"} <= set(frame["data"])
        assert set(frame["data"]) <= {"epoch", "seq", "first_seq", "run_id", "conversation_id", "event"}
        assert frame["data"]["run_id"] == accepted["run_id"]
        assert frame["data"]["conversation_id"] == accepted["conversation_id"]
        ANY_EVENT.validate_python(frame["data"]["event"])
    check_numbers(admin.seen(topic))
    events = admin.events(topic)
    types = [event["type"] for event in events]
    assert types[:2] == ["RUN_STARTED", "TEXT_MESSAGE_START"]
    assert set(types[2:-2]) == {"TEXT_MESSAGE_CONTENT"}
    assert types[-2:] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]
    run = {"threadId": accepted["conversation_id"], "runId": f"{accepted['run_id']}.1"}
    assert run.items() <= events[0].items()
    assert run.items() <= end.items()
    assert joined(events) == end["result"]["text"] == LONG
    assert end["outcome"] == {"type": "success"}
    assert set(end["result"]["usage"]) == {"input_tokens", "output_tokens"}
    assert end["result"]["usage"]["output_tokens"] > 0
    assert end["result"]["plan_id"] is None


async def test_reads_run_at_once_without_any_model(admin: Person) -> None:
    """Steps, tool calls with arguments and result, plan snapshots at every change, the whole text at the end."""
    topic = PREFIX + "reads"
    await admin.data("chat_llm", prompt="which processes eat the memory?", topic=topic)
    end = await admin.end(topic)
    events = admin.events(topic)
    for event in events:
        ANY_EVENT.validate_python(event)
    check_numbers(admin.seen(topic))
    types = [event["type"] for event in events if not event["type"].startswith("ACTIVITY")]
    assert types[0] == "RUN_STARTED"
    steps = types[types.index("STEP_STARTED") : types.index("STEP_FINISHED") + 1]
    call = [f"TOOL_CALL_{part}" for part in ("START", "ARGS", "END", "RESULT")]
    assert steps == ["STEP_STARTED", *call, "STEP_FINISHED"]
    (args,) = admin.events(topic, "TOOL_CALL_ARGS")
    (result,) = admin.events(topic, "TOOL_CALL_RESULT")
    assert json.loads(args["delta"])["sort_by"] == "memory"
    assert json.loads(result["content"])["processes"]
    snapshots = admin.events(topic, "ACTIVITY_SNAPSHOT")
    assert {snapshot["activityType"] for snapshot in snapshots} == {"llmcore.plan"}
    assert {snapshot["messageId"] for snapshot in snapshots} == {end["result"]["plan_id"]}
    states = [snapshot["content"]["steps"][0]["state"] for snapshot in snapshots]
    assert [state for number, state in enumerate(states) if states[number - 1 : number] != [state]] == [
        "pending",
        "running",
        "done",
    ]
    assert snapshots[-1]["content"]["status"] == "done"
    assert snapshots[-1]["content"]["answered_by"] == "local"
    assert end["outcome"] == {"type": "success"}
    assert joined(events) == end["result"]["text"]


async def test_an_answer_in_one_piece(admin: Person) -> None:
    """`stream:false`: everything in the RPC's answer, and the same events all the same."""
    whole = await admin.data("chat_llm", prompt="say something", params={"stream": False})
    assert {"conversation_id", "run_id", "status", "text", "usage"} <= set(whole)
    assert (whole["status"], whole["text"]) == ("done", "A short answer.")
    assert set(whole["usage"]) == {"input_tokens", "output_tokens"}
    read = await admin.data("chat_llm", prompt="which processes eat the memory?", params={"stream": False})
    assert (read["status"], read["plan"]["status"]) == ("done", "done")
    (result,) = read["results"]
    assert result["intent"] == "list_processes"
    assert (await admin.end(PREFIX + read["conversation_id"]))["result"]["text"] == read["text"]


async def test_a_plan_that_waits_interrupts(house: House, admin: Person) -> None:
    """The card, the interrupt, and a second segment after the approval; `status` proposed in one piece."""
    file = house.roots / "asked.txt"
    file.write_text("x")
    topic = PREFIX + "asked"
    accepted = await admin.data("chat_llm", prompt=f"delete the file {file}", topic=topic)
    end = await admin.end(topic)
    assert end["outcome"]["type"] == "interrupt"
    plan = admin.events(topic, "ACTIVITY_SNAPSHOT")[-1]["content"]
    assert end["result"]["plan_id"] == plan["plan_id"]
    assert (plan["status"], plan["run_id"]) == ("proposed", accepted["run_id"])
    assert plan["request"] == f"delete the file {file}"
    assert plan["origin"]["kind"] == "chat"
    approved = await admin.data("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
    assert approved["plan"]["run_id"] == accepted["run_id"]
    assert (await admin.end(topic, 2))["outcome"] == {"type": "success"}
    started = admin.events(topic, "RUN_STARTED")
    assert [event["runId"] for event in started] == [f"{accepted['run_id']}.1", f"{accepted['run_id']}.2"]
    check_numbers(admin.seen(topic))
    assert not file.exists()
    file.write_text("x")
    whole = await admin.data("chat_llm", prompt=f"delete the file {file}", params={"stream": False})
    assert (whole["status"], whole["plan"]["status"]) == ("proposed", "proposed")


async def test_mode_plan_runs_nothing(admin: Person) -> None:
    """Not even reads; the plan is there and can be started."""
    topic = PREFIX + "only-plan"
    prompt = "which processes eat the memory?"
    await admin.data("chat_llm", prompt=prompt, topic=topic, params={"mode": "plan"})
    end = await admin.end(topic)
    assert admin.events(topic, "STEP_STARTED", "TOOL_CALL_START") == []
    plan = (await admin.data("plan_get", plan_id=end["result"]["plan_id"]))["plan"]
    assert (plan["status"], plan["approval"]["needed"]) == ("proposed", 0)
    await admin.data("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
    assert (await admin.end(topic, 2))["outcome"] == {"type": "success"}


async def test_mode_answer_never_plans(house: House, admin: Person) -> None:
    """Whatever is asked for."""
    topic = PREFIX + "only-answer"
    await admin.data("chat_llm", prompt=f"delete the file {house.roots}/x", topic=topic, params=ANSWER)
    end = await admin.end(topic)
    assert end["result"]["text"] == "A short answer."
    assert admin.events(topic, "ACTIVITY_SNAPSHOT", "STEP_STARTED") == []


async def test_what_cannot_be_done_is_said(admin: Person) -> None:
    """An answer, no error, and no plan."""
    refused = await admin.data("chat_llm", prompt="please dance for me", params={"stream": False})
    assert refused["status"] == "done"
    assert refused["text"]
    assert "plan" not in refused


async def test_a_missing_slot_is_asked_for_and_the_answer_continues_the_plan(house: House, admin: Person) -> None:
    """In the same conversation."""
    asked = await admin.data("chat_llm", prompt="restart the service", params={"stream": False})
    assert asked["status"] == "done"
    assert "name of the service" in asked["text"]
    assert "plan" not in asked
    talk = asked["conversation_id"]
    whole = await admin.data("chat_llm", prompt="web", conversation_id=talk, params={"stream": False})
    (step,) = whole["plan"]["steps"]
    assert (whole["plan"]["status"], step["intent"], step["params"]) == (
        "proposed",
        "restart_target",
        {"module": "web"},
    )


@pytest.mark.parametrize(("prompt", "said"), [("break off", "half a sen"), ("be down", "")])
async def test_a_model_that_fails_ends_in_an_error(admin: Person, prompt: str, said: str) -> None:
    """As an event with a code; what was said is kept and marked."""
    topic = PREFIX + prompt.replace(" ", "-")
    accepted = await admin.data("chat_llm", prompt=prompt, topic=topic, params=ANSWER)
    end = await admin.end(topic)
    assert end["type"] == "RUN_ERROR"
    assert end["code"] == "provider_error"
    assert joined(admin.events(topic)) == said
    run = (await admin.data("run_get", run_id=accepted["run_id"]))["run"]
    assert run["status"] == "failed"
    whole = await admin.data("chat_llm", prompt=prompt, params={"stream": False, **ANSWER})
    assert whole["status"] == "failed"


async def test_an_unknown_provider_is_refused(admin: Person) -> None:
    """Before anything is stored."""
    before = await admin.data("conversation_list")
    answer = await admin.error("chat_llm", prompt="hello", params={"provider": "absent"})
    assert (answer["code"], answer["data"]["error"]) == (400, "bad_params")
    assert await admin.data("conversation_list") == before


async def test_context_and_options_are_taken(admin: Person) -> None:
    """Any object as context; all options of the contract."""
    options = {"stream": False, "provider": "scripted", "model": "m", "temperature": 0.2, "max_tokens": 50, **ANSWER}
    context = {"page": "/stats", "selection": {"pid": 1}}
    assert (await admin.data("chat_llm", prompt="hi", context=context, params=options))["text"] == "A short answer."


# --- conversations ------------------------------------------------------------------------------------------------


async def test_a_conversation_goes_on(admin: Person) -> None:
    """By its id; read, renamed, exported, deleted."""
    first = await admin.data("chat_llm", prompt="say something", params={"stream": False, **ANSWER})
    named = first["conversation_id"]
    again = await admin.data("chat_llm", prompt="more", conversation_id=named, params={"stream": False, **ANSWER})
    assert again["conversation_id"] == named
    read = (await admin.data("conversation_get", conversation_id=named))["conversation"]
    said = [(message["role"], message["content"]) for message in read["messages"]]
    assert said == [
        ("user", "say something"),
        ("assistant", "A short answer."),
        ("user", "more"),
        ("assistant", "A short answer."),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", message["created_at"]) for message in read["messages"])
    await admin.data("conversation_rename", conversation_id=named, title="Another name")
    listed = (await admin.data("conversation_list"))["conversations"]
    assert (listed[0]["conversation_id"], listed[0]["title"]) == (named, "Another name")
    exported = await admin.data("conversation_export", conversation_id=named)
    assert "say something" in json.dumps(exported)
    await admin.data("conversation_delete", conversation_id=named)
    assert (await admin.error("conversation_get", conversation_id=named))["code"] == 404
    other = await admin.data("chat_llm", prompt="x", params={"stream": False, **ANSWER})
    assert other["conversation_id"] != named


# --- who gets the events ------------------------------------------------------------------------------------------


async def test_events_reach_who_starts_and_who_approves_once(house: House, admin: Person, token: str) -> None:
    """All their sockets, subscribed or not; nobody else's; each event once."""
    file = house.roots / "shared.txt"
    file.write_text("x")
    starter = await second(admin, "dana", "developer")
    outsider = await second(admin, "olaf", "observer")
    async with house.person(starter) as dana, house.person(token) as other, house.person(outsider) as olaf:
        step = {"id": "s1", "intent": "delete_file", "params": {"path": str(file)}}
        plan = await dana.data("chain", steps=[step])
        topic = plan["plan"]["topic"]
        await dana.data("subscribe_channel", topic=topic)
        assert not admin.seen(topic)
        await admin.data("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
        for person in (dana, admin, other):
            assert (await person.end(topic))["outcome"] == {"type": "success"}
        check_numbers(dana.seen(topic))
        assert [data["seq"] for data in admin.seen(topic)] == [data["seq"] for data in other.seen(topic)]
        assert len({data["seq"] for data in admin.seen(topic)}) == len(admin.seen(topic))
        assert admin.events(topic, "RUN_STARTED", "STEP_STARTED", "STEP_FINISHED")
        assert admin.seen(topic)[-1] == dana.seen(topic)[-1]
        await olaf.data("status")
        assert not olaf.seen(topic)
    assert not file.exists()


async def test_events_may_come_before_the_answer_and_still_all_can_be_had(admin: Person) -> None:
    """`stream_resume` with `after_seq` 0 before anything was asked, then everything live and once."""
    topic = PREFIX + "early"
    resumed = await admin.data("stream_resume", topic=topic, after_seq=0)
    assert resumed == {"topic": topic, "epoch": 1, "last_seq": 0}
    await admin.data("chat_llm", prompt="count slowly", topic=topic, params=ANSWER)
    await admin.end(topic)
    check_numbers(admin.seen(topic))


async def test_missed_events_come_again_in_order(house: House, admin: Person, token: str) -> None:
    """From any number, on a socket that is new; what is over and what is still running."""
    topic = PREFIX + "missed"
    await admin.data("chat_llm", prompt="count slowly", topic=topic, params=ANSWER)
    await admin.end(topic)
    last = admin.seen(topic)[-1]["seq"]
    for after in (0, 1, 2, last // 2, last - 1, last):
        async with house.person(token) as late:
            told = await late.data("stream_resume", topic=topic, after_seq=after, epoch=1)
            assert told == {"topic": topic, "epoch": 1, "last_seq": last}
            await late.data("get_system_time")  # the replay leaves before later answers
            numbers = [(data.get("first_seq", data["seq"]), data["seq"]) for data in late.seen(topic)]
            assert [first for first, _ in numbers] == [after + 1, *(seq + 1 for _, seq in numbers)][: len(numbers)]


async def test_who_comes_while_it_runs_gets_all_of_it(house: House, admin: Person, token: str) -> None:
    """The beginning again and the rest live; a client that passes over what it has reads the whole text."""
    topic = PREFIX + "joined"
    await admin.data("chat_llm", prompt="count slowly", topic=topic, params=ANSWER)
    await admin.peer.until(lambda: bool(admin.events(topic, "TEXT_MESSAGE_CONTENT")))
    async with house.person(token) as late:
        await late.data("stream_resume", topic=topic, after_seq=0)
        await late.end(topic)
        assert joined([data["event"] for data in sorted_once(late.seen(topic))]) == LONG


def sorted_once(seen: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As a client of the contract reads: what it has is passed over."""
    taken: list[Mapping[str, Any]] = []
    expected = 1
    for data in sorted(seen, key=lambda data: int(data.get("first_seq", data["seq"]))):
        first = data.get("first_seq", data["seq"])
        if first == expected:
            taken.append(data)
            expected = data["seq"] + 1
    return taken
