"""The story of provisioning on a real server with real processes: asked, approved once, taken back, run again.

"Provision a small web service called shop with 2 replicas" from chat, over the WebSocket and from the terminal.
"""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.contract_kit import PASSWORD, House, Person
from tests.flow.webservice_kit import WebService, house_with

ASKED = "provision a small web service called {name} with {replicas} replicas"
INTENTS = ["create_folder", "write_file", "start_target", "scale_target", "get_target_status"]
ODD = "would you kindly make {} come back to life by a restart"
RULES = (
    {
        "match": "make web@shop come back",
        "schema": True,
        "reply": {"kind": "plan", "steps": [{"intent": "restart_target", "params": {"module": "web@shop"}}]},
    },
    {"match": "", "schema": True, "reply": {"kind": "none", "steps": []}},
    {"match": "", "reply": "Well."},
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, WebService]]:
    """A server, and what its target does."""
    house, service = house_with(tmp_path_factory.mktemp("provisioning"))
    house.scripted(RULES)
    try:
        with house.open():
            yield house, service
    finally:
        service.end()


@pytest_asyncio.fixture
async def admin(world: tuple[House, WebService]) -> AsyncIterator[Person]:
    """The administrator."""
    async with world[0].person(world[0].token()) as person:
        yield person


async def approved(person: Person, plan: dict[str, Any], end: str = "done") -> dict[str, Any]:
    """Approve what was seen, once, and wait for the end."""
    await person.data("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
    return await person.plan_until(plan["plan_id"], end)


async def taken_back(person: Person, run_id: str) -> None:
    """Undo a run."""
    back = (await person.data("run_undo", run_id=run_id))["plan"]
    await approved(person, back)
    assert (await person.data("run_get", run_id=run_id))["run"]["status"] == "undone"


def nothing_left(house: House, service: WebService, name: str) -> bool:
    """True if neither folder nor processes are there."""
    return not (house.roots / name).exists() and not service.running(name)


def is_there(house: House, service: WebService, name: str, replicas: int) -> bool:
    """True if all of it is."""
    file = house.roots / name / "service.ini"
    written = file.read_text() == f"[service]\nname = {name}\nreplicas = {replicas}\n"
    return written and len(service.running(name)) == replicas


@pytest.mark.asyncio
async def test_from_chat_to_a_service_and_back(world: tuple[House, WebService], admin: Person) -> None:
    """Understood by its template without a model; nothing happens before the one approval; undone completely."""
    house, service = world
    answer = await admin.data("chat_llm", prompt=ASKED.format(name="shop", replicas=2), params={"stream": False})
    plan = answer["plan"]
    assert (plan["status"], plan["answered_by"], answer["usage"]["input_tokens"]) == ("proposed", "template", 0)
    assert [step["intent"] for step in plan["steps"]] == INTENTS
    assert plan["approval"]["needed"] == 1
    assert plan["steps"][2]["preview"]["targets"] == ["web@shop"]
    assert nothing_left(house, service, "shop")
    done = await approved(admin, plan)
    assert is_there(house, service, "shop", 2)
    run = (await admin.data("run_get", run_id=done["run_id"]))["run"]
    assert run["steps"][-1]["result"] == {"module": "web@shop", "state": "running"}
    await taken_back(admin, done["run_id"])
    assert nothing_left(house, service, "shop")


@pytest.mark.asyncio
async def test_saved_under_a_name_of_ones_own_and_run_again(world: tuple[House, WebService], admin: Person) -> None:
    """From the plan that ran, with other values, by name and by words; deleted in the end."""
    house, service = world
    plan = (await admin.data("template_run", name="web-service", params={"name": "blog", "replicas": 2}))["plan"]
    assert (plan["origin"], plan["answered_by"]) == (
        {"kind": "template", "id": "web-service", "tainted": False},
        "template",
    )
    done = await approved(admin, plan)
    assert is_there(house, service, "blog", 2)
    saved = await admin.data(
        "template_save",
        name="my-service",
        plan_id=plan["plan_id"],
        params={"name": {"value": "blog"}, "replicas": {"value": 2, "maximum": 5}},
        examples=["give me a service {name} times {replicas}"],
    )
    assert saved["template"]["owner"] == "administrator"
    assert {name: one["type"] for name, one in saved["template"]["params"].items()} == {
        "name": "string",
        "replicas": "integer",
    }
    again = await admin.data("template_run", name="my-service", params={"name": "news", "replicas": 3}, mode="run")
    assert again["status"] == "proposed", "policy asks, whoever runs it"
    newer = await approved(admin, again["plan"])
    assert is_there(house, service, "news", 3)
    assert is_there(house, service, "blog", 2)
    said = await admin.data("chat_llm", prompt="Give me a service wiki times 1.", params={"stream": False})
    assert said["plan"]["answered_by"] == "template"
    await admin.data("plan_reject", plan_id=said["plan"]["plan_id"], reason="enough")
    too_many = await admin.error("template_run", name="my-service", params={"name": "x", "replicas": 6})
    assert too_many["data"]["fields"] == [{"pointer": "/params/replicas", "message": "must be at most 5"}]
    for run_id, name in ((newer["run_id"], "news"), (done["run_id"], "blog")):
        await taken_back(admin, run_id)
        assert nothing_left(house, service, name)
    names = [one["name"] for one in (await admin.data("template_list"))["templates"]]
    assert names == ["my-service", "web-service"]
    await admin.data("template_delete", name="my-service")
    assert (await admin.error("template_run", name="my-service"))["code"] == 404
    assert (await admin.error("template_delete", name="web-service"))["code"] == 409
    records = (await admin.data("audit_query", action="template.*", limit=50))["records"]
    assert {"template.save", "template.run", "template.delete"} <= {record["action"] for record in records}


@pytest.mark.asyncio
async def test_the_same_as_a_chain_over_the_socket(world: tuple[House, WebService], admin: Person) -> None:
    """Step by step, without a template."""
    house, service = world
    steps = [
        {"id": "folder", "intent": "create_folder", "params": {"path": "wiki"}},
        {
            "id": "config",
            "intent": "write_file",
            "params": {"path": "wiki/service.ini", "content": "[service]\nname = wiki\nreplicas = 1\n"},
            "needs": ["folder"],
        },
        {"id": "start", "intent": "start_target", "params": {"module": "web@wiki"}, "needs": ["config"]},
    ]
    plan = (await admin.data("intent_chain", title="A wiki", steps=steps))["plan"]
    done = await approved(admin, plan)
    assert is_there(house, service, "wiki", 1)
    await taken_back(admin, done["run_id"])
    assert nothing_left(house, service, "wiki")


@pytest.mark.asyncio
async def test_a_failure_in_the_middle_takes_everything_back(world: tuple[House, WebService], admin: Person) -> None:
    """`on_error: undo` of the template: no half of a service is left."""
    house, service = world
    (service.folder / "broken").touch()
    try:
        plan = (await admin.data("template_run", name="web-service", params={"name": "lame", "replicas": 2}))["plan"]
        undone = await approved(admin, plan, "undone")
        assert [step["state"] for step in undone["steps"]][:2] == ["undone", "undone"]
        assert nothing_left(house, service, "lame")
    finally:
        (service.folder / "broken").unlink()


def test_from_the_terminal(world: tuple[House, WebService], tmp_path: Path) -> None:
    """Ask, approve, save, run again; exit 4 while it waits."""
    house, service = world
    assert house.command("login", "--url", house.url, stdin=f"{PASSWORD}\n").returncode == 0
    asked = house.command("ask", "--json", *ASKED.format(name="cafe", replicas=2).split())
    assert asked.returncode == 4, asked.stderr
    plan = json.loads(asked.stdout)["plan"]
    approval = house.command("approve", plan["plan_id"], "--digest", plan["digest"])
    assert approval.returncode == 0, approval.stdout + approval.stderr
    assert is_there(house, service, "cafe", 2)
    named = ("--param", "name=cafe", "--param", "replicas=2")
    saved = house.command("templates", "save", "cafe-like", "--plan", plan["plan_id"], *named)
    assert saved.returncode == 0, saved.stderr
    ran = house.command("templates", "run", "cafe-like", "name=bar", "replicas=1", "--json")
    assert ran.returncode == 4, ran.stderr
    again = json.loads(ran.stdout)
    assert house.command("approve", again["plan_id"], "--digest", again["digest"]).returncode == 0
    assert is_there(house, service, "bar", 1)
    runs = json.loads(house.command("runs", "--json").stdout)["runs"]
    for run in [run for run in runs if run["plan_id"] in (plan["plan_id"], again["plan_id"])]:
        back = house.command("undo", run["run_id"], "--json")
        undo = json.loads(back.stdout)["plan"]
        assert house.command("approve", undo["plan_id"], "--digest", undo["digest"]).returncode == 0
    assert nothing_left(house, service, "cafe")
    assert nothing_left(house, service, "bar")
    assert house.command("templates", "delete", "cafe-like").returncode == 0


@pytest.mark.asyncio
async def test_the_same_request_with_another_value_costs_no_call(admin: Person) -> None:
    """A model plans it once; the second is answered by the cache, and asks for approval all the same."""
    params = {"stream": False}
    first = await admin.data("chat_llm", prompt=ODD.format("web@shop"), params=params)
    second = await admin.data("chat_llm", prompt=ODD.format("web@blog"), params=params)
    assert [answer["plan"]["answered_by"] for answer in (first, second)] == ["scripted", "cache"]
    assert (first["usage"]["input_tokens"] > 0, second["usage"]["input_tokens"]) == (True, 0)
    assert second["plan"]["steps"][0]["params"] == {"module": "web@blog"}
    assert second["plan"]["status"] == "proposed"
    negated = await admin.data("chat_llm", prompt="don't " + ODD.format("web@news"), params=params)
    assert negated.get("plan") is None
    for answer in (first, second):
        await admin.data("plan_reject", plan_id=answer["plan"]["plan_id"], reason="only asked")
