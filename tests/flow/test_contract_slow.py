"""The contract on a real server: work that takes longer than an RPC may wait, and a site's own policy and pack."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.contract_kit import PREFIX, ROOT, House, Person

pytestmark = pytest.mark.asyncio

PACK = '''
"""A pack of one site."""

import asyncio
from typing import Annotated

from llmcore.intent import Effect, intent


@intent(effect=Effect.READ, examples=[(f"take a nap of {n} seconds", {"seconds": n}) for n in range(1, 9)])
async def nap(seconds: Annotated[float, "how long"]) -> dict[str, str]:
    """Sleep for a while."""
    await asyncio.sleep(seconds)
    return {"text": f"slept {seconds:g}"}
'''
ALLOWED = """
@id("site-scripts")
@reason("This site lets its developers run its scripts.")
permit (principal in Role::"admin", action == Action::"start_script_execution", resource);
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server with a pack and a policy of its own."""
    house = House(tmp_path_factory.mktemp("slow") / "house")
    (house.folder / "packs").mkdir()
    (house.folder / "packs" / "naps.py").write_text(PACK)
    policy = (ROOT / "config" / "policy" / "default.cedar").read_text("utf-8")
    (house.folder / "site.cedar").write_text(policy + ALLOWED)
    house.more = {
        "LLMCORE_PACKS__PATH": str(house.folder / "packs"),
        "LLMCORE_POLICY__FILE": str(house.folder / "site.cedar"),
        "LLMCORE_SERVER__WEBHOOK_TOKEN": "",
    }
    with house.open():
        yield house


@pytest_asyncio.fixture
async def admin(house: House) -> AsyncIterator[Person]:
    """The administrator."""
    async with house.person(house.token()) as person:
        yield person


async def test_what_policy_allows_is_answered_directly(admin: Person) -> None:
    """A script's result, or its error."""
    result = await admin.data("start_script_execution", name="greet", args="you")
    assert set(result) == {"script_id", "exit_code", "output", "truncated"}
    assert (result["exit_code"], result["output"], result["truncated"]) == (0, "hello you\n", False)
    failed = await admin.error("start_script_execution", name="broken")
    assert "3" in failed["message"]
    assert (await admin.error("start_script_execution", name="absent"))["code"] == 404


async def test_a_pack_of_the_site_is_there(admin: Person) -> None:
    """Listed, called, understood."""
    assert await admin.data("nap", seconds=0.01) == {"text": "slept 0.01"}
    answer = await admin.data("chat_llm", prompt="take a nap of 0 seconds", params={"stream": False})
    assert answer["plan"]["steps"][0]["intent"] == "nap"


async def test_without_a_token_in_the_settings_there_is_no_webhook(house: House) -> None:
    """404, whatever is sent."""
    for token in ("", "x"):
        answer = house.post("/hooks/alertmanager", {"version": "4", "alerts": []}, Authorization=f"Bearer {token}")
        assert answer.status == 404


async def test_long_work_is_acknowledged_within_ten_seconds(house: House, admin: Person) -> None:
    """A script, a chat in one piece, a chain whose reads are not done: they go on and tell their end by events."""
    topic = PREFIX + "nap"
    nap = {"prompt": "take a nap of 9 seconds", "params": {"stream": False}, "topic": topic}
    steps = [
        {"id": "s1", "intent": "nap", "params": {"seconds": 9}},
        {
            "id": "s2",
            "intent": "write_file",
            "params": {"path": "slept.txt", "content": {"$from": "s1", "path": "text"}},
        },
    ]
    async with asyncio.timeout(10):
        script = await admin.peer.ask("start_script_execution", {"name": "endless"})
        chain = await admin.peer.ask("chain", {"steps": steps})
        read = await admin.peer.ask("nap", {"seconds": 60})
        chat = await admin.peer.ask("chat_llm", nap)
        accepted = (await admin.peer.answer_to(script))["data"]
        proposed = (await admin.peer.answer_to(chain))["data"]
        late = await admin.peer.answer_to(read)
        talk = (await admin.peer.answer_to(chat))["data"]
    assert set(accepted) == {"accepted", "run_id", "topic"}
    assert accepted["accepted"] is True
    assert (proposed["status"], proposed["digest"]) == ("running", None)
    assert {"accepted": True, "topic": topic, "status": "running"}.items() <= talk.items()
    assert {"conversation_id", "run_id"} <= set(talk)
    assert "slept 9" in (await admin.end(topic))["result"]["text"]
    assert (late["code"], late["data"]["error"]) == (504, "timeout")
    assert (await admin.data("run_get", run_id=accepted["run_id"]))["run"]["status"] == "running"
    await admin.data("run_cancel", run_id=accepted["run_id"])
    assert (await admin.end(accepted["topic"]))["outcome"] == {"type": "cancelled"}
    assert (await admin.end(proposed["plan"]["topic"]))["outcome"]["type"] == "interrupt"
    plan = (await admin.data("plan_get", plan_id=proposed["plan_id"]))["plan"]
    assert plan["status"] == "proposed"
    assert plan["steps"][1]["params"]["content"] == "slept 9"
    await admin.data("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
    assert (await admin.end(plan["topic"], 2))["outcome"] == {"type": "success"}
    assert (house.roots / "slept.txt").read_text() == "slept 9"
