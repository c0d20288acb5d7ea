"""One chain with a parallel pair, a condition, a reference, an approval and an undo: from chat, socket and terminal."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.contract_kit import PREFIX, House, Person

pytestmark = pytest.mark.asyncio

WORDS = (
    "check the status of web, create the folders {a} and {b}, start web if it is stopped, "
    "and write file {a}/state.txt with the state of web; undo everything if anything fails"
)


def chain(folder: Path, name: str) -> list[dict[str, Any]]:
    """The steps; the two folders are made side by side."""
    one, two = folder / f"{name}-a", folder / f"{name}-b"
    return [
        {"id": "s1", "intent": "get_target_status", "params": {"module": "web"}},
        {"id": "s2", "intent": "create_folder", "params": {"path": str(one)}, "on_error": "undo"},
        {"id": "s3", "intent": "create_folder", "params": {"path": str(two)}, "on_error": "undo"},
        {
            "id": "s4",
            "intent": "start_target",
            "params": {"module": "web"},
            "needs": ["s2", "s3"],
            "when": "steps.s1.result.state == 'stopped'",
            "on_error": "undo",
        },
        {
            "id": "s5",
            "intent": "write_file",
            "params": {"path": str(one / "state.txt"), "content": {"$from": "s1", "path": "state"}},
            "needs": ["s2"],
            "on_error": "undo",
        },
    ]


def spoken(folder: Path, name: str) -> tuple[str, dict[str, Any]]:
    """The same in words, and as the model says it."""
    text = WORDS.format(a=folder / f"{name}-a", b=folder / f"{name}-b")
    steps = [
        {
            "intent": step["intent"],
            "params": step["params"],
            "needs": [int(need[1:]) - 1 for need in step.get("needs", [])],
            **({"when": step["when"]} if "when" in step else {}),
        }
        for step in chain(folder, name)
    ]
    return text, {"match": re.escape(f"{name}-a"), "schema": True, "reply": {"kind": "plan", "steps": steps}}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server whose model says the chain of the words."""
    house = House(tmp_path_factory.mktemp("chains") / "house")
    (house.folder / "target.state").write_text("stopped\n")
    house.scripted([spoken(house.roots, "chat")[1], {"match": "", "reply": "Done."}])
    with house.open():
        yield house


@pytest.fixture(scope="module")
def token(house: House) -> str:
    """An administrator's access token."""
    return house.token()


@pytest_asyncio.fixture
async def admin(house: House, token: str) -> AsyncIterator[Person]:
    """The administrator; the service is stopped."""
    (house.folder / "target.state").write_text("stopped\n")
    async with house.person(token) as person:
        yield person


def check_made(house: House, name: str) -> None:
    """Everything is there."""
    assert (house.roots / f"{name}-b").is_dir()
    assert (house.roots / f"{name}-a" / "state.txt").read_text() == "stopped"
    assert (house.folder / "target.state").read_text() == "running\n"


def check_gone(house: House, name: str) -> None:
    """Nothing of it is."""
    assert not list(house.roots.glob(f"{name}-*"))
    assert (house.folder / "target.state").read_text() == "stopped\n"


def check_card(plan: dict[str, Any]) -> None:
    """What people see before they approve: literal, with previews, the condition and how it is taken back."""
    assert plan["status"] == "proposed"
    by_id = {step["id"]: step for step in plan["steps"]}
    assert by_id["s1"]["state"] == "done"
    assert by_id["s5"]["params"]["content"] == "stopped"
    assert by_id["s4"]["when"] == "steps.s1.result.state == 'stopped'"
    assert by_id["s4"]["preview"]["targets"] == ["web"]
    assert by_id["s2"]["undo"]["intent"] == "delete_folder"
    assert {step["on_error"] for step in plan["steps"] if step["effect"] != "read"} == {"undo"}


async def take_back(person: Person, run_id: str) -> dict[str, Any]:
    """Undo a run; the first plan at the end."""
    back = (await person.data("run_undo", run_id=run_id))["plan"]
    assert back["status"] == "proposed"
    intents = [step["intent"] for step in back["steps"]]
    assert sorted(intents) == ["delete_file", "delete_folder", "delete_folder", "stop_target"]
    assert intents.index("delete_file") < 3, "a file goes before its folder"
    await person.data("plan_approve", plan_id=back["plan_id"], digest=back["digest"])
    await person.plan_until(back["plan_id"], "done")
    run = (await person.data("run_get", run_id=run_id))["run"]
    assert run["status"] == "undone"
    assert {step["state"] for step in run["steps"]} == {"undone"}
    plan: dict[str, Any] = (await person.data("plan_get", plan_id=run["plan_id"]))["plan"]
    assert plan["status"] == "undone"
    return plan


async def test_over_the_socket(house: House, admin: Person) -> None:
    """Proposed, approved once, run, taken back."""
    topic = f"{PREFIX}socket"
    asked = await admin.data("chain", steps=chain(house.roots, "socket"), topic=topic)
    check_card(asked["plan"])
    await admin.data("plan_approve", plan_id=asked["plan_id"], digest=asked["digest"])
    await admin.plan_until(asked["plan_id"], "done")
    check_made(house, "socket")
    run_id = (await admin.data("plan_get", plan_id=asked["plan_id"]))["plan"]["run_id"]
    await take_back(admin, run_id)
    check_gone(house, "socket")


async def test_from_chat(house: House, admin: Person) -> None:
    """A model says the chain, the words ask for the undo; `undo that` takes it back in the same chat."""
    topic = f"{PREFIX}words"
    text, _ = spoken(house.roots, "chat")
    asked = await admin.data("chat_llm", prompt=text, topic=topic)
    end = await admin.end(topic)
    assert end["outcome"]["type"] == "interrupt", end
    plan = (await admin.data("plan_get", plan_id=end["result"]["plan_id"]))["plan"]
    check_card(plan)
    await admin.data("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
    done = await admin.end(topic, 2)
    assert done["outcome"]["type"] == "success", done
    check_made(house, "chat")
    await admin.data("chat_llm", prompt="undo that", topic=topic, conversation_id=asked["conversation_id"])
    waits = await admin.end(topic, 3)
    back = (await admin.data("plan_get", plan_id=waits["result"]["plan_id"]))["plan"]
    await admin.data("plan_approve", plan_id=back["plan_id"], digest=back["digest"])
    await admin.end(topic, 4)
    assert (await admin.data("plan_get", plan_id=plan["plan_id"]))["plan"]["status"] == "undone"
    check_gone(house, "chat")


async def test_a_failure_takes_everything_back_by_itself(house: House, admin: Person) -> None:
    """The last step cannot be done: what was done before it is undone, the folder that was there stays."""
    steps = chain(house.roots, "fails")
    blocker = {"id": "s6", "intent": "start_script_execution", "params": {"name": "broken.sh"}, "on_error": "undo"}
    topic = f"{PREFIX}fails"
    asked = await admin.data("chain", steps=[*steps, {**blocker, "needs": ["s4", "s5"]}], topic=topic)
    await admin.data("plan_approve", plan_id=asked["plan_id"], digest=asked["digest"])
    plan = await admin.plan_until(asked["plan_id"], "undone")
    assert [step["state"] for step in plan["steps"]] == ["undone"] * 5 + ["failed"]
    check_gone(house, "fails")
    run = (await admin.data("run_get", run_id=plan["run_id"]))["run"]
    assert run["status"] == "undone"
    assert run["steps"][5]["error"]["error"]


async def test_from_the_terminal(house: House, token: str) -> None:
    """`plans`, `approve`, `runs`, `undo`: what a person does without a browser."""
    (house.folder / "target.state").write_text("stopped\n")
    known = {"LLMCORE_TOKEN": token}
    file = house.folder / "chain.json"
    file.write_text(json.dumps({"title": "Two folders", "steps": chain(house.roots, "terminal")}))
    proposed = house.command("chain", file, "--json", **known)
    assert proposed.returncode == 4, proposed.stderr
    asked = json.loads(proposed.stdout)
    assert asked["plan"]["title"] == "Two folders"
    shown = house.command("plans", asked["plan_id"], **known)
    assert "steps.s1.result.state == 'stopped'" in shown.stdout
    approved = house.command("approve", asked["plan_id"], "--digest", asked["digest"][7:15], **known)
    assert approved.returncode == 0, approved.stdout + approved.stderr
    check_made(house, "terminal")
    runs = json.loads(house.command("runs", "--json", **known).stdout)["runs"]
    run = next(run for run in runs if run["plan_id"] == asked["plan_id"])
    undo = house.command("undo", run["run_id"], "--json", **known)
    assert undo.returncode == 4, undo.stderr
    back = json.loads(undo.stdout)["plan"]
    card = house.command("undo", run["run_id"], **known)
    assert card.returncode == 1, "there is one already"
    assert back["plan_id"] in card.stderr
    taken = house.command("approve", back["plan_id"], "--digest", back["digest"], **known)
    assert taken.returncode == 0, taken.stdout + taken.stderr
    check_gone(house, "terminal")
