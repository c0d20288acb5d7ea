"""The contract on a real server: chains, plans, decisions and runs."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.contract_kit import PREFIX, House, Person, check_numbers

pytestmark = pytest.mark.asyncio

PLAN_KEYS = {
    "plan_id",
    "run_id",
    "topic",
    "conversation_id",
    "created_at",
    "digest",
    "status",
    "title",
    "request",
    "origin",
    "effect",
    "confidence",
    "answered_by",
    "steps",
    "approval",
}
STEP_KEYS = {
    "id",
    "intent",
    "params",
    "needs",
    "when",
    "on_error",
    "retries",
    "timeout_s",
    "effect",
    "verdict",
    "preview",
    "undo",
    "state",
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server without a model."""
    house = House(tmp_path_factory.mktemp("plans") / "house")
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


def step(number: int, intent: str, /, needs: tuple[str, ...] = (), **params: Any) -> dict[str, Any]:
    """A step as a client writes it."""
    return {"id": f"s{number}", "intent": intent, "params": params, "needs": list(needs)}


async def approve(person: Person, plan: dict[str, Any]) -> dict[str, Any]:
    """Approve what was seen; the plan that is answered."""
    answer = await person.data("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"])
    return dict(answer["plan"])


async def run_of(person: Person, run_id: str) -> dict[str, Any]:
    """A run and its shape."""
    run = (await person.data("run_get", run_id=run_id))["run"]
    assert {"run_id", "plan_id", "status", "steps"} <= set(run)
    return dict(run)


# --- proposing ----------------------------------------------------------------------------------------------------


async def test_a_proposed_chain_has_the_shape_of_the_contract(house: House, admin: Person) -> None:
    """Every key; defaults, verdict, preview, approval, undo, digest."""
    file = house.roots / "shape.txt"
    file.write_text("x")
    answer = await admin.data("intent_chain", title="Clean up", steps=[step(1, "delete_file", path=str(file))])
    assert set(answer) == {"plan_id", "digest", "status", "plan"}
    plan = answer["plan"]
    assert set(plan) >= PLAN_KEYS
    assert (plan["plan_id"], plan["digest"], plan["status"]) == (answer["plan_id"], answer["digest"], "proposed")
    assert re.fullmatch(r"pl_\w+", plan["plan_id"])
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", plan["digest"])
    assert TIME.fullmatch(plan["created_at"])
    assert (plan["run_id"], plan["title"], plan["effect"]) == (None, "Clean up", "destructive")
    assert plan["topic"] == PREFIX + plan["plan_id"]
    assert plan["origin"] == {"kind": "api", "id": "administrator", "tainted": False}
    (only,) = plan["steps"]
    assert set(only) >= STEP_KEYS
    defaults: dict[str, Any] = {
        "needs": [],
        "when": None,
        "on_error": "stop",
        "retries": 0,
        "timeout_s": 60,
        "state": "pending",
    }
    assert defaults.items() <= only.items()
    assert {"decision", "rules", "reason", "would_allow"} <= set(only["verdict"])
    assert only["verdict"]["decision"] == "ask"
    assert only["verdict"]["rules"]
    assert set(only["preview"]) == {"targets", "before", "after", "blast"}
    assert (only["preview"]["targets"], only["preview"]["blast"]) == ([str(file)], 1)
    approval = plan["approval"]
    assert {"needed", "roles", "given", "expires_at", "excludes_requester"} <= set(approval)
    assert "seal" not in approval
    assert (approval["needed"], approval["given"], approval["excludes_requester"]) == (1, [], False)
    assert set(approval["roles"]) == {"admin", "developer"}
    assert TIME.fullmatch(approval["expires_at"])
    assert (await admin.data("plan_get", plan_id=plan["plan_id"]))["plan"] == plan
    assert (await admin.data("plan_list"))["plans"][0] == plan
    assert file.exists()


async def test_the_same_plan_has_the_same_digest(house: House, admin: Person) -> None:
    """And anything that decides what runs another one."""
    path = str(house.roots / "new-folder")

    async def digest(**change: Any) -> str:
        steps = [{**step(1, "create_folder", path=path), **change}]
        return str((await admin.data("chain", steps=steps, title=str(change)))["digest"])

    digests = [
        await digest(),
        await digest(retries=1),
        await digest(timeout_s=61),
        await digest(on_error="continue"),
        await digest(params={"path": path + "2"}),
    ]
    assert len(set(digests)) == len(digests)
    assert await digest() == digests[0]
    assert await digest(needs=[], when=None, on_error="stop", retries=0, timeout_s=60) == digests[0]


@pytest.mark.parametrize(
    ("steps", "pointer"),
    [
        ([], "/steps"),
        ("no list", "/steps"),
        ([7], "/steps/0"),
        ([{"id": "s1", "params": {}}], "/steps/0/intent"),
        ([step(1, "no_such_intent")], "/steps/0/intent"),
        ([step(1, "read_file")], "/steps/0/params/path"),
        ([step(1, "get_cpu_stats"), step(2, "read_file", path=5)], "/steps/1/params/path"),
        ([step(1, "get_cpu_stats"), step(1, "get_cpu_stats")], "/steps/1/id"),
        ([step(1, "get_cpu_stats", ("s9",))], "/steps/0/needs/0"),
        ([step(1, "get_cpu_stats", ("s2",)), step(2, "get_cpu_stats", ("s1",))], "/steps/"),
        ([step(1, "read_file", path={"$from": "s2", "path": "x"}), step(2, "list_logs")], "/steps/0/params/path"),
        ([step(1, "read_file", path={"$from": "s9", "path": "x"})], "/steps/0/params/path"),
        ([{**step(1, "get_cpu_stats"), "on_error": "explode"}], "/steps/0/on_error"),
        ([{**step(1, "get_cpu_stats"), "retries": -1}], "/steps/0/retries"),
        ([{**step(1, "get_cpu_stats"), "timeout_s": 0}], "/steps/0/timeout_s"),
        ([step(number, "get_cpu_stats") for number in range(1, 102)], "/steps"),
    ],
)
async def test_a_chain_that_cannot_run_is_refused_and_not_stored(admin: Person, steps: Any, pointer: str) -> None:
    """400 with pointers relative to `params`; no plan and no conversation of it are left."""
    plans, talks = await admin.data("plan_list"), await admin.data("conversation_list")
    answer = await admin.error("chain", steps=steps)
    assert (answer["code"], answer["data"]["error"]) == (400, "bad_params")
    assert answer["data"]["fields"][0]["pointer"].startswith(pointer), answer["data"]["fields"]
    assert await admin.data("plan_list") == plans
    assert await admin.data("conversation_list") == talks


async def test_a_file_that_is_missing_does_not_refuse_the_plan(house: House, admin: Person) -> None:
    """`preview` is null, and the step fails when it runs."""
    answer = await admin.data("chain", steps=[step(1, "delete_file", path=str(house.roots / "absent.txt"))])
    assert answer["plan"]["steps"][0]["preview"] is None
    run_id = (await approve(admin, answer["plan"]))["run_id"]
    end = await admin.end(answer["plan"]["topic"])
    assert (end["type"], end["code"]) == ("RUN_ERROR", "not_found")
    run = await run_of(admin, run_id)
    assert run["status"] == "failed"
    assert (run["steps"][0]["state"], run["steps"][0]["error"]["error"]) == ("failed", "not_found")
    assert run["steps"][0]["error"]["message"]


async def test_a_path_outside_the_roots_is_forbidden(admin: Person) -> None:
    """When proposed already."""
    answer = await admin.error("chain", steps=[step(1, "delete_file", path="/etc/passwd")])
    assert (answer["code"], answer["data"]["error"]) == (403, "forbidden")


# --- deciding -----------------------------------------------------------------------------------------------------


async def test_another_digest_is_a_conflict(house: House, admin: Person) -> None:
    """Also a part of the right one, and that of before an edit, which drops what was given."""
    file = house.roots / "edited.txt"
    file.write_text("x")
    plan = (await admin.data("chain", steps=[step(1, "delete_file", path=str(file))]))["plan"]
    for digest in ("sha256:" + "0" * 64, plan["digest"][:20], "x"):
        answer = await admin.error("plan_approve", plan_id=plan["plan_id"], digest=digest)
        assert (answer["code"], answer["data"]["error"]) == (409, "conflict")
    steps = [step(1, "create_folder", path=str(house.roots / "edited"))]
    edited = (await admin.data("plan_edit", plan_id=plan["plan_id"], steps=steps))["plan"]
    assert (edited["plan_id"], edited["status"]) == (plan["plan_id"], "proposed")
    assert edited["digest"] != plan["digest"]
    assert edited["steps"][0]["preview"]["targets"] == [str(house.roots / "edited")]
    assert (await admin.error("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"]))["code"] == 409
    approved = await admin.data("plan_approve", plan_id=plan["plan_id"], digest=edited["digest"], comment="fine")
    (vote,) = approved["plan"]["approval"]["given"]
    assert (vote["by"], vote["comment"]) == ("administrator", "fine")
    assert TIME.fullmatch(vote["at"])
    await admin.end(plan["topic"])
    assert file.exists()
    assert (house.roots / "edited").is_dir()
    for intent, params in (
        ("plan_approve", {"digest": edited["digest"]}),
        ("plan_reject", {"reason": "late"}),
        ("plan_edit", {"steps": steps}),
    ):
        assert (await admin.error(intent, plan_id=plan["plan_id"], **params))["code"] == 409


async def test_a_bad_edit_changes_nothing(house: House, admin: Person) -> None:
    """The plan stays as it was."""
    steps = [step(1, "create_folder", path=str(house.roots / "unedited"))]
    plan = (await admin.data("chain", steps=steps))["plan"]
    answer = await admin.error("plan_edit", plan_id=plan["plan_id"], steps=[step(1, "no_such_intent")])
    assert answer["data"]["fields"][0]["pointer"] == "/steps/0/intent"
    assert (await admin.data("plan_get", plan_id=plan["plan_id"]))["plan"] == plan


async def test_a_rejected_plan_never_runs(house: House, admin: Person) -> None:
    """With a reason; its viewers are told."""
    plan = (await admin.data("chain", steps=[step(1, "create_folder", path=str(house.roots / "never"))]))["plan"]
    rejected = (await admin.data("plan_reject", plan_id=plan["plan_id"], reason="not today"))["plan"]
    assert rejected["status"] == "rejected"
    shown = admin.events(plan["topic"], "ACTIVITY_SNAPSHOT")
    assert shown[-1]["content"]["status"] == "rejected"
    assert (await admin.error("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"]))["code"] == 409
    assert not (house.roots / "never").exists()


# --- running ------------------------------------------------------------------------------------------------------


async def test_reads_alone_are_not_run_until_they_are_started(admin: Person) -> None:
    """`approval.needed` is 0, and `plan_approve` starts them."""
    topic = PREFIX + "reads-alone"
    steps = [step(1, "get_cpu_stats"), step(2, "list_processes", ("s1",), limit=2)]
    answer = await admin.data("chain", steps=steps, topic=topic)
    assert (answer["status"], answer["plan"]["approval"]["needed"]) == ("proposed", 0)
    assert answer["plan"]["topic"] == topic
    assert "run_id" not in answer
    assert admin.events(topic, "RUN_STARTED", "STEP_STARTED") == []
    started = await approve(admin, answer["plan"])
    assert (await admin.end(topic))["outcome"] == {"type": "success"}
    run = await run_of(admin, started["run_id"])
    assert (run["status"], [one["state"] for one in run["steps"]]) == ("done", ["done", "done"])
    assert len(run["steps"][1]["result"]["processes"]) == 2
    assert all(TIME.fullmatch(one[key]) for one in run["steps"] for key in ("started_at", "finished_at"))
    assert (await admin.data("run_list"))["runs"][0]["run_id"] == started["run_id"]
    assert (await admin.data("plan_get", plan_id=answer["plan_id"]))["plan"]["status"] == "done"
    check_numbers(admin.seen(topic))


async def test_run_starts_at_once_what_policy_allows(house: House, admin: Person) -> None:
    """Reads run; a change still waits."""
    topic = PREFIX + "at-once"
    answer = await admin.data("chain", steps=[step(1, "get_cpu_stats")], mode="run", topic=topic)
    assert re.fullmatch(r"rn_\w+", answer["run_id"])
    assert (await admin.end(topic))["outcome"] == {"type": "success"}
    steps = [step(1, "create_folder", path=str(house.roots / "not-at-once"))]
    waits = await admin.data("chain", steps=steps, mode="run")
    assert waits["status"] == "proposed"
    assert not (house.roots / "not-at-once").exists()


async def test_reads_that_feed_a_change_run_first(house: House, admin: Person) -> None:
    """What is approved is literal; the approval covers the rest; references among reads resolve."""
    folder = house.roots / "fed"
    folder.mkdir()
    (folder / "name.txt").write_text(str(folder / "made-of-content"))
    topic = PREFIX + "fed"
    steps = [
        step(1, "list_content", root=str(house.roots), path="fed"),
        step(2, "read_file", path={"$from": "s1", "path": "join('/', ['fed', entries[0].name])"}),
        step(3, "create_folder", path={"$from": "s2", "path": "content"}),
        step(4, "get_system_time", ("s3",)),
    ]
    answer = await admin.data("chain", steps=steps, topic=topic)
    plan = answer["plan"]
    assert answer["status"] == "proposed"
    assert answer["run_id"] == plan["run_id"]
    assert [one["state"] for one in plan["steps"]] == ["done", "done", "pending", "pending"]
    assert plan["steps"][2]["params"] == {"path": str(folder / "made-of-content")}
    assert plan["steps"][2]["preview"]["targets"] == [str(folder / "made-of-content")]
    assert plan["origin"]["tainted"] is True
    assert not (folder / "made-of-content").exists()
    assert (await admin.end(topic))["outcome"]["type"] == "interrupt"
    assert (await approve(admin, plan))["run_id"] == answer["run_id"]
    assert (await admin.end(topic, 2))["outcome"] == {"type": "success"}
    assert (folder / "made-of-content").is_dir()
    run = await run_of(admin, answer["run_id"])
    assert [one["state"] for one in run["steps"]] == ["done"] * 4
    assert [one["attempts"] for one in run["steps"]] == [1] * 4
    check_numbers(admin.seen(topic))


async def test_a_reference_among_changes_stays_one(house: House, admin: Person) -> None:
    """Until the step before it has its result; a change of the plan's own steps is no drift."""
    script = step(1, "start_script_execution", name="greet", args=str(house.roots / "by-script"))
    path = {"$from": "s1", "path": "output"}
    plan = (await admin.data("chain", steps=[script, step(2, "write_file", path="out.txt", content=path)]))["plan"]
    assert plan["steps"][1]["params"]["content"] == path
    await approve(admin, plan)
    assert (await admin.end(plan["topic"]))["outcome"] == {"type": "success"}
    assert (house.roots / "out.txt").read_text() == f"hello {house.roots}/by-script\n"
    made, inside = str(house.roots / "own"), str(house.roots / "own" / "a.txt")
    steps = [
        step(1, "create_folder", path=made),
        step(2, "write_file", ("s1",), path=inside, content="one"),
        step(3, "move_file", ("s2",), source=inside, destination=made + "/b.txt"),
    ]
    plan = (await admin.data("chain", steps=steps))["plan"]
    await approve(admin, plan)
    assert (await admin.end(plan["topic"]))["outcome"] == {"type": "success"}
    assert (house.roots / "own" / "b.txt").read_text() == "one"


async def test_a_reference_that_finds_nothing_fails_its_step(admin: Person) -> None:
    """Not the server."""
    steps = [step(1, "get_cpu_stats"), step(2, "check_process", name={"$from": "s1", "path": "nothing.here"})]
    answer = await admin.data("chain", steps=steps, mode="run")
    assert (await admin.end(answer["plan"]["topic"]))["type"] == "RUN_ERROR"
    run = await run_of(admin, answer["run_id"])
    assert [one["state"] for one in run["steps"]] == ["done", "failed"]


@pytest.mark.parametrize(("on_error", "states"), [("stop", ["failed", "skipped", "skipped"]), ("continue", None)])
async def test_a_failure_stops_or_skips_what_depends_on_it(
    house: House, admin: Person, on_error: str, states: list[str] | None
) -> None:
    """With `continue` what does not depend on it still runs."""
    steps = [
        {**step(1, "read_file", path="absent.txt"), "on_error": on_error},
        step(2, "get_cpu_stats", ("s1",)),
        step(3, "get_system_time", () if on_error == "continue" else ("s2",)),
    ]
    answer = await admin.data("chain", steps=steps, mode="run")
    await admin.end(answer["plan"]["topic"])
    run = await run_of(admin, answer["run_id"])
    assert [one["state"] for one in run["steps"]] == (states or ["failed", "skipped", "done"])
    assert run["steps"][1]["error"] is None or run["steps"][1]["attempts"] == 0


async def test_a_run_is_cancelled_wherever_it_is(house: House, admin: Person) -> None:
    """In a step, and while its plan waits; afterwards nothing of it runs."""
    steps = [
        step(1, "start_script_execution", name="endless"),
        step(2, "create_folder", ("s1",), path=str(house.roots / "cancelled")),
    ]
    plan = (await admin.data("chain", steps=steps))["plan"]
    run_id = (await approve(admin, plan))["run_id"]
    said = {"op": "add", "path": "/steps/0/progress/-", "value": {"stream": "stdout", "text": "begun\n"}}
    topic = plan["topic"]
    await admin.peer.until(lambda: any(said in delta["patch"] for delta in admin.events(topic, "ACTIVITY_DELTA")))
    assert {delta["activityType"] for delta in admin.events(topic, "ACTIVITY_DELTA")} == {"llmcore.plan"}
    assert (await admin.data("run_cancel", run_id=run_id))["run"]["status"] == "cancelled"
    assert (await admin.end(plan["topic"]))["outcome"] == {"type": "cancelled"}
    assert (await admin.data("plan_get", plan_id=plan["plan_id"]))["plan"]["status"] == "cancelled"
    assert (await admin.data("run_cancel", run_id=run_id))["run"]["status"] == "cancelled"
    topic = PREFIX + "cancelled-waiting"
    file = house.roots / "still.txt"
    file.write_text("x")
    asked = await admin.data("chat_llm", prompt=f"delete the file {file}", topic=topic)
    end = await admin.end(topic)
    assert (await admin.data("run_cancel", run_id=asked["run_id"]))["run"]["status"] == "cancelled"
    plan = (await admin.data("plan_get", plan_id=end["result"]["plan_id"]))["plan"]
    assert plan["status"] == "cancelled"
    assert (await admin.error("plan_approve", plan_id=plan["plan_id"], digest=plan["digest"]))["code"] == 409
    assert file.exists()
    assert not (house.roots / "cancelled").exists()


async def test_lists_are_newest_first(admin: Person) -> None:
    """Plans and runs; by status too."""
    plans = (await admin.data("plan_list"))["plans"]
    assert [plan["created_at"] for plan in plans] == sorted((plan["created_at"] for plan in plans), reverse=True)
    waiting = (await admin.data("plan_list", status="proposed"))["plans"]
    assert {plan["status"] for plan in waiting} <= {"proposed"}
    runs = (await admin.data("run_list"))["runs"]
    assert [run["created_at"] for run in runs] == sorted((run["created_at"] for run in runs), reverse=True)
