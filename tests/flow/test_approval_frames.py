"""Approval frames on a real server, replayed and altered in every field: nothing happens, and each is in the trail."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.contract_kit import PASSWORD, House, Person

pytestmark = pytest.mark.asyncio

WHY = "the disk is full and nobody answers"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server whose plans wait for a second person, for a short while where that is said."""
    house = House(tmp_path_factory.mktemp("frames") / "house")
    with house.open():
        yield house


@pytest.fixture(scope="module")
def tokens(house: House) -> dict[str, str]:
    """Access tokens of one person of each role."""
    return {"administrator": house.token()}


@pytest_asyncio.fixture
async def admin(house: House, tokens: dict[str, str]) -> AsyncIterator[Person]:
    """The administrator."""
    async with house.person(tokens["administrator"]) as person:
        for name, role in (("dev", "developer"), ("obs", "observer")):
            if name not in tokens:
                await person.data("user_add", name=name, role=role, password=PASSWORD)
                tokens[name] = house.token(name, PASSWORD)
        yield person


async def proposed(house: House, admin: Person, name: str) -> tuple[Path, dict[str, Any]]:
    """A file, and the plan to delete it, which waits."""
    file = house.roots / name
    file.write_text("x")
    steps = [{"id": "s1", "intent": "delete_file", "params": {"path": str(file)}}]
    return file, dict((await admin.data("chain", steps=steps))["plan"])


async def refusals(admin: Person, **wanted: Any) -> list[dict[str, Any]]:
    """What the trail has about refused approvals, newest first."""
    records = await admin.data("audit_query", action="plan.approve.refused", **wanted)
    return [dict(record["facts"]) for record in records["records"]]


async def test_every_altered_field_is_refused_and_audited(house: House, admin: Person) -> None:
    """Of a frame that would have been right."""
    file, plan = await proposed(house, admin, "altered.txt")
    _, other = await proposed(house, admin, "other.txt")
    right = {"plan_id": plan["plan_id"], "digest": plan["digest"], "comment": "fine"}
    digest = str(plan["digest"])
    altered: list[tuple[dict[str, Any], int]] = [
        ({"plan_id": other["plan_id"]}, 409),
        ({"plan_id": "pl_none"}, 404),
        ({"plan_id": ""}, 400),
        ({"plan_id": 7}, 400),
        ({"digest": other["digest"]}, 409),
        ({"digest": digest.upper()}, 409),
        ({"digest": digest[:-1]}, 409),
        ({"digest": f"{digest} "}, 409),
        ({"digest": ""}, 400),
        ({"digest": None}, 400),
        ({"comment": 5}, 400),
        ({"comment": "x" * 2001}, 400),
        ({"break_glass": "yes"}, 400),
        ({"break_glass": True, "comment": "short"}, 400),
        ({"by": "dev"}, 400),
        ({"principal": {"name": "dev", "role": "admin"}}, 400),
        ({"steps": plan["steps"]}, 400),
    ]
    for number, (change, code) in enumerate(altered, 1):
        answer = await admin.error("plan_approve", **{**right, **change})
        assert answer["code"] == code, change
        assert len(await refusals(admin, limit=100)) == number, change
    assert file.exists()
    assert (await admin.data("plan_get", plan_id=plan["plan_id"]))["plan"] == plan


async def test_a_replayed_frame_does_nothing(house: House, admin: Person) -> None:
    """The same frame again, also from another socket; the file that came back stays."""
    file, plan = await proposed(house, admin, "replayed.txt")
    frame = {"plan_id": plan["plan_id"], "digest": plan["digest"]}
    await admin.data("plan_approve", **frame)
    await admin.end(plan["topic"])
    file.write_text("again")
    for _ in range(2):
        answer = await admin.error("plan_approve", **frame)
        assert (answer["code"], "already approved by administrator" in answer["message"]) == (409, True)
    assert file.read_text() == "again"
    assert [fact["error"] for fact in await refusals(admin, plan_id=plan["plan_id"])] == ["conflict"] * 2


async def test_the_wrong_person_is_refused(house: House, admin: Person, tokens: dict[str, str]) -> None:
    """An observer sees no such plan; a developer breaks no glass; the names are those of the connections."""
    file, plan = await proposed(house, admin, "person.txt")
    frame = {"plan_id": plan["plan_id"], "digest": plan["digest"], "comment": WHY}
    async with house.person(tokens["obs"]) as observer, house.person(tokens["dev"]) as developer:
        assert (await observer.error("plan_approve", **frame))["code"] == 404
        assert (await developer.error("plan_approve", **frame, break_glass=True))["code"] == 403
    assert file.exists()
    records = (await admin.data("audit_query", action="plan.approve.refused", plan_id=plan["plan_id"]))["records"]
    assert [record["actor"]["name"] for record in records] == ["dev", "obs"]


async def test_an_approval_of_the_plan_before_the_edit_is_refused(house: House, admin: Person) -> None:
    """The answer to the edit tells what was changed; so does the plan, to everybody."""
    file, plan = await proposed(house, admin, "edited.txt")
    made = house.roots / "made"
    target = str(made)
    steps = [{"id": "s1", "intent": "create_folder", "params": {"path": target}}]
    edited = await admin.data("plan_edit", plan_id=plan["plan_id"], steps=steps)
    [change] = edited["diff"]
    assert (change["step_id"], change["change"]) == ("s1", "changed")
    assert change["fields"]["intent"] == {"before": "delete_file", "after": "create_folder"}
    assert change["fields"]["params.path"] == {"before": str(file), "after": target}
    assert edited["plan"]["edited_from"]["diff"] == edited["diff"]
    assert edited["plan"]["edited_from"]["digest"] == plan["digest"]
    answer = await admin.error("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
    assert answer["code"] == 409
    assert len(await refusals(admin, plan_id=plan["plan_id"])) == 1
    assert file.exists()
    assert not made.exists()


async def test_a_broken_glass_is_heard_by_everybody(house: House, admin: Person, tokens: dict[str, str]) -> None:
    """Also by who may see nothing else of it."""
    file, plan = await proposed(house, admin, "glass.txt")
    frame = {"plan_id": plan["plan_id"], "digest": plan["digest"], "comment": WHY, "break_glass": True}
    async with house.person(tokens["obs"]) as observer:
        await observer.data("subscribe_channel", topic="/notification")
        approved = await admin.data("plan_approve", **frame)
        assert approved["plan"]["approval"]["given"][0]["break_glass"] is True
        await observer.peer.until(lambda: any(WHY in str(event) for event in observer.peer.events))
    await admin.end(plan["topic"])
    assert not file.exists()
    records = (await admin.data("audit_query", action="plan.break_glass"))["records"]
    assert [record["facts"]["plan_id"] for record in records] == [plan["plan_id"]]


async def test_a_late_frame_is_refused(tmp_path: Path) -> None:
    """By the stored time, for the decision."""
    house = House(tmp_path / "house", more={"LLMCORE_APPROVAL__EXPIRES_S": "0.001"})
    with house.open():
        async with house.person(house.token()) as admin:
            file, plan = await proposed(house, admin, "late.txt")
            answer = await admin.error("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
            assert (answer["code"], answer["data"]["error"]) == (410, "expired")
            assert (await admin.data("plan_get", plan_id=plan["plan_id"]))["plan"]["status"] == "expired"
            assert [fact["error"] for fact in await refusals(admin)] == ["expired"]
            assert file.exists()


async def test_a_run_that_cannot_begin_in_time_never_does(tmp_path: Path) -> None:
    """By the stored time, for the execution."""
    house = House(tmp_path / "house", more={"LLMCORE_APPROVAL__EXECUTE_S": "0.000001"})
    with house.open():
        async with house.person(house.token()) as admin:
            file, plan = await proposed(house, admin, "late.txt")
            await admin.data("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
            end = await admin.end(plan["topic"])
            assert (end["type"], end["code"]) == ("RUN_ERROR", "expired")
            after = (await admin.data("plan_get", plan_id=plan["plan_id"]))["plan"]
            assert after["status"] == "expired"
            assert (await admin.data("run_get", run_id=after["run_id"]))["run"]["status"] == "expired"
            assert file.exists()
