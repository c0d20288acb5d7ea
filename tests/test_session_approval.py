"""Decisions in a session: a broken glass, drift, beginnings that come too late, edits, and plans that were forged."""

import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.approval import Tampered
from llmcore.errors import BadParams, Conflict, Expired, Forbidden, LLMCoreError, NotFound, OutcomeUnknown
from llmcore.plan import Approval, Plan, PlanStatus, StepState, stored_plan_json
from llmcore.ports import Call, Run
from tests.rooms import ANNA, BO, OLGA
from tests.test_plan_seal import places, with_other
from tests.test_session import START, STOP, waiting
from tests.test_session_crash import plan_now, stored, unclosed
from tests.turns import Stage, Watcher, stage

pytestmark = pytest.mark.asyncio

WHY = "the shop is down and nobody answers"


@pytest_asyncio.fixture
async def play(tmp_path: Path) -> AsyncIterator[Stage]:
    """A session on a new store."""
    async with stage(tmp_path) as built:
        yield built


class Listener(Watcher):
    """Notes what is told to everybody."""

    def __init__(self) -> None:
        """Nothing heard yet."""
        super().__init__(OLGA)
        self.heard: list[Mapping[str, Any]] = []

    def broadcast(self, frame: Mapping[str, Any]) -> None:
        """Note it."""
        self.heard.append(frame)


async def asks_more(play: Stage, plan: Plan, **approval: Any) -> Plan:
    """The plan as a policy would have it that asks for more."""
    more = play.rooms.approvals.sealed(replace(plan, approval=replace(plan.approval or Approval(), **approval)))
    assert await play.rooms.store.plan_swap(more, plan)
    return more


# --- breaking the glass -------------------------------------------------------------------------------------------


async def test_broken_glass_is_told_to_everybody_and_runs(play: Stage) -> None:
    """Two developers are asked, and not the requester; an admin who is the requester does it alone."""
    listener = Listener()
    play.topics.connect(listener)
    plan = await asks_more(play, await waiting(play), needed=2, roles=("developer",), excludes_requester=True)
    with pytest.raises(Forbidden):
        await play.session.approve(plan.plan_id, str(plan.digest), BO, WHY, break_glass=True)
    with pytest.raises(BadParams):
        await play.session.approve(plan.plan_id, str(plan.digest), ANNA, "hurry", break_glass=True)
    assert listener.heard == []
    await play.session.approve(plan.plan_id, str(plan.digest), ANNA, WHY, break_glass=True)
    assert (await play.watcher.until("RUN_FINISHED", 2))["outcome"]["type"] == "success"
    assert len(play.rooms.host.calls) == 1
    [told] = [frame for frame in listener.heard if frame["topic"] == "/notification"]
    assert told["data"]["message"] == f"anna broke the glass for plan {plan.plan_id}: {WHY}"
    assert {"plan.break_glass", "plan.begin"} <= set(await play.rooms.actions())


async def test_no_glass_breaks_a_deny(tmp_path: Path) -> None:
    """What policy forbids by now stays forbidden."""
    async with stage(tmp_path) as play:
        plan = await waiting(play)
    async with stage(tmp_path, policy='permit (principal, action in Action::"read", resource);') as play:
        with pytest.raises(Forbidden, match="any more"):
            await play.session.approve(plan.plan_id, str(plan.digest), ANNA, WHY, break_glass=True)
        assert (await plan_now(play, plan)).status is PlanStatus.PROPOSED


# --- waiting again ------------------------------------------------------------------------------------------------


async def test_plan_that_waits_for_a_word_about_a_step_names_the_way(play: Stage) -> None:
    """Not approvable; resolved, it goes on."""
    plan = await waiting(play)
    play.rooms.host.plays["stop_it"] = _unsure
    await play.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
    await play.watcher.until("RUN_FINISHED", 2)
    with pytest.raises(Conflict, match="run_resolve") as refused:
        await play.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
    assert refused.value.details["run_id"] == plan.run_id
    await play.session.resolve(str(plan.run_id), "s1", "done", ANNA)
    assert (await play.watcher.until("RUN_FINISHED", 3))["outcome"]["type"] == "success"
    assert len(play.rooms.host.calls) == 1


async def _unsure(_: Call) -> Any:
    raise OutcomeUnknown("Nobody knows.")


async def test_forged_word_about_a_step_is_not_taken_up(play: Stage, tmp_path: Path) -> None:
    """`run_resolve` looks at the seal too."""
    plan = await waiting(play)
    play.rooms.host.plays["stop_it"] = _unsure
    await play.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
    await play.watcher.until("RUN_FINISHED", 2)
    tamper(tmp_path, plan, {**stored_plan_json(await plan_now(play, plan)), "title": "another"})
    with pytest.raises(Tampered):
        await play.session.resolve(str(plan.run_id), "s1", "retry", ANNA)
    assert len(play.rooms.host.calls) == 1


# --- too late -----------------------------------------------------------------------------------------------------


async def test_run_that_is_begun_too_late_never_begins(tmp_path: Path) -> None:
    """It waited in a queue, or the process was down: the stored time decides at the segment's begin."""
    async with stage(tmp_path) as before:
        plan = await waiting(before)
        await before.queue.stop(0)  # nothing is taken any more, as in a process that ends
        with pytest.raises(LLMCoreError):
            await before.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
        assert (await plan_now(before, plan)).status is PlanStatus.APPROVED
        assert (await stored(before, plan.run_id)).status is PlanStatus.RUNNING
        before.rooms.clock.ahead_s = 601
        await before.session.work(str(plan.run_id), 2)
        assert (await before.watcher.until("RUN_ERROR"))["code"] == "expired"
        assert (await plan_now(before, plan)).status is PlanStatus.EXPIRED
        run = await stored(before, plan.run_id)
        assert (run.status, run.text) == (
            PlanStatus.EXPIRED,
            "The plan was approved, but not begun in time; ask for it again.",
        )
        assert before.rooms.host.calls == []
    async with stage(tmp_path) as after:
        await after.session.recover()
        with pytest.raises(Expired):
            await after.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
        assert after.rooms.host.calls == []


async def test_recovery_starts_in_time_and_expires_what_is_late(tmp_path: Path) -> None:
    """Approved, and the process ended before the run was stored."""
    async with stage(tmp_path) as before:
        plan, late = await waiting(before), await waiting(before)
        for one in (plan, late):
            await before.rooms.approvals.approve(one.plan_id, str(one.digest), ANNA)
        await asks_more(before, await plan_now(before, late), execute_by="2026-01-01T00:00:00.000Z")
    async with stage(tmp_path) as after:
        await after.session.recover()
        assert (await after.watcher.until("RUN_FINISHED"))["outcome"]["type"] == "success"
        assert len(after.rooms.host.calls) == 1
        assert (await plan_now(after, late)).status is PlanStatus.EXPIRED
        assert (await stored(after, late.run_id)).status is PlanStatus.EXPIRED
        assert (await plan_now(after, plan)).status is PlanStatus.DONE


# --- edits --------------------------------------------------------------------------------------------------------


async def test_edit_tells_others_what_was_changed(play: Stage) -> None:
    """In the plan itself, so that the next approver sees it; the first one's approval is gone."""
    plan = await asks_more(play, await waiting(play, START, STOP), needed=2)
    await play.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
    steps = play.rooms.catalog.steps([{"id": "s2", "intent": "stop_it", "params": {"module": "shop"}}])
    edited = await play.session.edit(plan.plan_id, steps, BO)
    assert edited.edited_from
    assert (edited.edited_from.by, edited.edited_from.digest) == ("bo", plan.digest)
    assert [(change["step_id"], change["change"]) for change in edited.edited_from.diff] == [
        ("s1", "removed"),
        ("s2", "changed"),
    ]
    assert edited.edited_from.diff[1]["fields"] == {
        "params.module": {"before": "nginx", "after": "shop"},
        "targets": {"before": ["nginx"], "after": ["shop"]},
    }
    assert edited.approval
    assert edited.approval.given == ()
    shown = play.watcher.events[-1].event["content"]
    assert shown["edited_from"]["diff"] == list(edited.edited_from.diff)
    with pytest.raises(NotFound):
        await play.session.edit(plan.plan_id, steps, OLGA)
    assert (await play.rooms.actions()).count("plan.edit.refused") == 1
    await play.session.approve(plan.plan_id, str(edited.digest), BO, "")
    await play.watcher.until("RUN_FINISHED", 2)
    assert play.rooms.host.calls == [("stop_it", {"module": "shop"})]


# --- forged plans -------------------------------------------------------------------------------------------------


def tamper(folder: Path, plan: Plan, document: Any) -> None:
    """Write a document over that of a plan, past the program."""
    with closing(sqlite3.connect(folder / "llmcore.db")) as database:
        database.execute("UPDATE plan SET document = ? WHERE plan_id = ?", (json.dumps(document), plan.plan_id))
        database.commit()


NOT_READ = {("effect",)}
"""Worked out from the steps whenever it is shown."""


async def facts(play: Stage) -> list[tuple[str, str]]:
    """Action and plan of all audit records."""
    await play.rooms.audit.flush()
    records = [json.loads(record) for _, record, _ in await play.rooms.store.audit_rows(limit=100_000)]
    return [(record["action"], str(record["facts"].get("plan_id"))) for record in records]


async def chain(play: Stage, number: int) -> Plan:
    """A plan with as many different fields as there are, which waits."""
    raw = [
        {"id": "s1", "intent": "start_it", "params": {"module": "nginx"}, "on_error": "continue"},
        {
            "id": "s2",
            "intent": "stop_it",
            "params": {"module": "shop"},
            "needs": ["s1"],
            "when": 'steps.s1.state == "done"',
        },
    ]
    plan = play.rooms.plan(*raw, plan_id=f"pl_{number}", title="a chain", request="a chain", undoes=None)
    return await play.session.propose(plan, start=False)


async def test_no_changed_field_of_a_waiting_plan_is_approved(play: Stage, tmp_path: Path) -> None:
    """Each is refused and audited; nothing is called."""
    flips = [place for place in places(stored_plan_json(await chain(play, 0))) if place not in NOT_READ]
    assert len(flips) > 70
    for number, place in enumerate(flips, 1):
        plan = await chain(play, number)
        tamper(tmp_path, plan, with_other(stored_plan_json(plan), place))
        with pytest.raises(LLMCoreError):
            await play.session.approve(plan.plan_id, str(plan.digest), BO, "")
        with pytest.raises(LLMCoreError):  # again, and by breaking the glass
            await play.session.approve(plan.plan_id, str(plan.digest), ANNA, WHY, break_glass=True)
    await play.session.recover()
    assert play.rooms.host.calls == []
    refused = {plan for action, plan in await facts(play) if action == "plan.approve.refused"}
    assert refused >= {f"pl_{number}" for number in range(1, len(flips) + 1)}


def begun(plan: Plan, run_id: str) -> Run:
    """The run of a plan, as the session stores it just before its first segment."""
    return Run(
        run_id=run_id,
        conversation_id=plan.conversation_id,
        topic=plan.topic,
        owner=plan.requester,
        status=PlanStatus.RUNNING,
        created_at=plan.created_at,
        plan_id=plan.plan_id,
    )


@pytest.mark.logs_errors("cannot be read")
async def test_no_changed_field_of_an_approved_plan_runs(tmp_path: Path) -> None:
    """Changed between the approval and the begin of its run: by recovery, and by the queue after a restart."""
    async with stage(tmp_path) as before:
        sample = await chain(before, 0)
        approved = await before.rooms.approvals.approve(sample.plan_id, str(sample.digest), ANNA, "fine")
        flips = [place for place in places(stored_plan_json(approved)) if place not in NOT_READ]
        assert len(flips) > 75
        for number, place in enumerate(flips, 1):
            plan = await chain(before, number)
            decided = await before.rooms.approvals.approve(plan.plan_id, str(plan.digest), ANNA, "fine")
            if number % 2:  # its run was stored already, so the queue has it
                await before.rooms.store.run_put(begun(decided, f"rn_{number}"))
            tamper(tmp_path, plan, with_other(stored_plan_json(decided), place))
    async with stage(tmp_path) as after:
        await after.session.recover()
        for run in await after.rooms.store.run_list(statuses=[PlanStatus.RUNNING], limit=1000):
            await after.session.settled(run.run_id)
        started = {plan for action, plan in await facts(after) if action == "plan.begin"}
        assert started == {"pl_0"}
        assert len(after.rooms.host.calls) == 2
        tampered = [plan for action, plan in await facts(after) if action == "plan.tampered"]
        assert len(tampered) > 75


async def test_forged_plan_that_runs_is_stopped_by_the_restart(tmp_path: Path) -> None:
    """The journal of a run that was interrupted is not gone on with for another plan."""
    async with stage(tmp_path) as before:
        plan = await waiting(before, START, STOP)
        await before.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
        await before.watcher.until("RUN_FINISHED", 2)
        ran = await plan_now(before, plan)
        half = replace(ran, status=PlanStatus.RUNNING)
        half = half.with_step(replace(half.steps[1], state=StepState.PENDING))
        assert await before.rooms.store.plan_swap(before.rooms.approvals.sealed(half), ran)
        document = stored_plan_json(await plan_now(before, plan))
        document["steps"].append({**document["steps"][1], "id": "s3", "params": {"module": "payroll"}})
        tamper(tmp_path, plan, document)
        await unclosed(before, plan.run_id)
    async with stage(tmp_path) as after:
        assert (await after.watcher.until("RUN_ERROR"))["code"] == "conflict"
        assert (await plan_now(after, plan)).status is PlanStatus.FAILED
        assert (await stored(after, plan.run_id)).status is PlanStatus.FAILED
        assert after.rooms.host.calls == []
