"""RPCs for looking back: who may read the trail, what is found, what a refusal and a result leave behind."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Connection, update

from llmcore.adapters.sql.schema import audit
from llmcore.audit import verify
from llmcore.errors import BadParams, Forbidden, NotFound, TimedOut, Unavailable
from llmcore.planner import Draft, DraftStep
from llmcore.ports import Call
from tests.rooms import BO, OLGA, forever
from tests.test_api import Desk, look
from tests.turns import stage

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """On a new store."""
    async with stage(tmp_path) as play:
        yield Desk(play)


async def told(desk: Desk, action: str) -> list[dict[str, Any]]:
    """The facts of all records of an action, oldest first."""
    await desk.core.audit.flush()
    records = [json.loads(text) for _, text, _ in await desk.core.store.audit_rows()]
    return [record["facts"] for record in records if record["action"] == action]


async def queried(desk: Desk, **params: Any) -> list[Mapping[str, Any]]:
    """What an admin finds."""
    await desk.core.audit.flush()
    records: list[Mapping[str, Any]] = (await desk.call("audit_query", params))["records"]
    return records


async def test_an_admin_finds_everything_others_their_own(desk: Desk) -> None:
    """Others have to say that they ask for their own records."""
    await desk.call("chat_llm", {"prompt": "hello", "params": {"stream": False}})
    await desk.call("chat_llm", {"prompt": "hello from bo", "params": {"stream": False}}, who=BO)
    assert {record["actor"]["name"] for record in await queried(desk, action="chat")} == {"anna", "bo"}
    for params in ({}, {"actor": "anna"}):
        with pytest.raises(Forbidden, match="admin"):
            await desk.call("audit_query", params, who=BO)
    own = (await desk.call("audit_query", {"actor": "bo", "action": "chat"}, who=BO))["records"]
    assert [record["facts"]["prompt"] for record in own] == ["hello from bo"]
    with pytest.raises(Forbidden):
        await desk.call("audit_export", who=BO)


async def test_records_are_found_by_what_they_are_about(desk: Desk) -> None:
    """Plan, run, words, time; pages go on below."""
    desk.play.planner.drafts.append(Draft(kind="plan", steps=(DraftStep(intent="stop_it", params={"module": "x"}),)))
    answer = await desk.call("chat_llm", {"prompt": "stop x", "params": {"stream": False}})
    plan = answer["plan"]
    proposed = await queried(desk, plan_id=plan["plan_id"], action="plan.propose")
    assert [record["facts"]["digest"] for record in proposed] == [plan["digest"]]
    assert {record["action"] for record in await queried(desk, run_id=answer["run_id"])} >= {"chat", "plan.propose"}
    assert await queried(desk, text="STOP X") != []
    assert await queried(desk, since="2000-01-01T00:00:00Z", until="2001-01-01T00:00:00+01:00") == []
    everything = await queried(desk)
    first = await desk.call("audit_query", {"limit": 1})
    assert first == {"records": everything[:1], "before_seq": everything[0]["seq"]}
    assert await queried(desk, before_seq=first["before_seq"]) == everything[1:]
    after = await desk.call("audit_query", {"after_seq": 1, "limit": 2})
    assert after == {"records": everything[-3:-1], "before_seq": None}
    assert await queried(desk, after_seq=0, action="chat") == await queried(desk, action="chat")
    assert await queried(desk, after_seq=10_000) == []
    with pytest.raises(BadParams) as refused:
        await desk.call("audit_query", {"since": "yesterday or so"})
    assert refused.value.details["fields"][0]["pointer"] == "/since"


async def test_a_long_trail_is_searched_in_parts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request looks at a bounded part and says where to go on."""
    monkeypatch.setattr("llmcore.adapters.sql.trail.WINDOW", 2)
    monkeypatch.setattr("llmcore.api.auditing.WINDOWS", 2)
    await desk.core.store.audit_submit([{"n": number} for number in range(10)])
    answer = await desk.call("audit_query", {"action": "nothing"})
    assert answer == {"records": [], "before_seq": 7}
    rest = await desk.call("audit_query", {"action": "nothing", "before_seq": 4})
    assert rest == {"records": [], "before_seq": None}


async def test_a_damaged_record_is_shown_as_such(desk: Desk) -> None:
    """And hides no other."""
    await desk.core.audit.record("one", BO)

    def spoil(connection: Connection) -> None:
        connection.execute(update(audit).where(audit.c.seq == 1).values(record="no json"))

    await desk.core.audit.record("two", BO)
    await desk.play.rooms.store._write(spoil)
    newest, damaged = await queried(desk)
    assert newest["action"] == "two"
    assert (damaged["action"], damaged["facts"]) == ("damaged", {"record": "no json"})


async def test_an_export_gives_the_rows_as_they_are(desk: Desk) -> None:
    """With the hash before the first and the number of the last."""
    for number in range(5):
        await desk.core.audit.record(f"act{number}", BO)
    page = await desk.call("audit_export", {"limit": 2})
    assert (page["last_seq"], page["previous"]) == (5, "0" * 64)
    rows = [(row["seq"], row["record"], row["hash"]) for row in page["rows"]]
    rest = await desk.call("audit_export", {"after_seq": 2})
    rows += [(row["seq"], row["record"], row["hash"]) for row in rest["rows"]]
    assert verify(rows, None).rows == 5
    later = await desk.call("audit_export", {"since": "2100-01-01"})
    assert (later["rows"], later["previous"]) == ([], rows[-1][2])


async def test_what_came_of_a_read_is_one_record(desk: Desk) -> None:
    """Its result by hash; its error; that it was late or cancelled."""
    host = desk.play.rooms.host
    await desk.call("look", {"module": "nginx"})

    async def broken(_: Call) -> Any:
        raise Unavailable("The service is away.")

    host.plays["look"] = broken
    with pytest.raises(Unavailable):
        await desk.call("look", {"module": "nginx"})
    begun = asyncio.Event()

    async def stuck(call: Call) -> Any:
        begun.set()
        await forever(call)

    host.plays["look"] = stuck
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(desk.call("look", {"module": "nginx"}))
        await begun.wait()
        waiting.cancel()
    fine, failed, left = await told(desk, "intent")
    assert fine["result"]["summary"] == '{"module":"nginx","ok":true}'
    assert len(fine["result"]["sha256"]) == 64
    assert failed["error"]["error"] == "unavailable"
    assert left["error"] == {"error": "cancelled"}
    assert all(one["params"] == {"module": "nginx"} for one in (fine, failed, left))


async def test_a_late_read_is_one_record(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `timeout`."""
    monkeypatch.setattr("llmcore.api.intents.WAIT_S", 0.01)
    desk.play.rooms.host.plays["look"] = forever
    with pytest.raises(TimedOut):
        await desk.call("look", {"module": "nginx"})
    assert [one["error"]["error"] for one in await told(desk, "intent")] == ["timeout"]


async def test_refusals_are_records(desk: Desk) -> None:
    """Who was refused what, and why: a request, an intent, a plan."""
    with pytest.raises(Forbidden):
        await desk.call("user_list", who=OLGA)
    with pytest.raises(Forbidden):
        await desk.call("stop_it", {"module": "nginx"}, who=OLGA)
    with pytest.raises(Forbidden):
        await desk.call("chain", {"steps": [{"id": "s1", "intent": "stop_it", "params": {"module": "x"}}]}, who=OLGA)
    assert [(one["request"], one["reason"]) for one in await told(desk, "refused")] == [
        ("user_list", "Only an admin may do this.")
    ]
    (denied,) = await told(desk, "intent.denied")
    assert (denied["intent"], denied["params"]) == ("stop_it", {"module": "nginx"})
    assert denied["reason"]
    (plan,) = await told(desk, "plan.denied")
    assert plan["steps"][0]["verdict"]["decision"] == "deny"
    assert await told(desk, "plan.propose") == []


async def test_a_run_is_replayed_for_those_who_may_see_it(desk: Desk) -> None:
    """The stage's planner drafts what it is told, so the same draft is the same."""
    desk.play.planner.drafts += [look(), look()]
    run_id = (await desk.call("chat_llm", {"prompt": "is it up?", "params": {"stream": False}}))["run_id"]
    answer = await desk.call("run_replay", {"run_id": run_id})
    assert (answer["run_id"], answer["same"]) == (run_id, True)
    with pytest.raises(NotFound):
        await desk.call("run_replay", {"run_id": run_id}, who=OLGA)
    with pytest.raises(NotFound):
        await desk.call("run_replay", {"run_id": "rn_none"})
