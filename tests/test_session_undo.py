"""Taking back and asking again, through the whole session on a real store."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.cli.cards import card
from llmcore.errors import Conflict, LLMCoreError, NotFound, OutcomeUnknown
from llmcore.plan import Plan, PlanStatus, Preview, StepState, Undo, plan_json
from llmcore.planner import Draft, DraftStep
from llmcore.ports import Call
from llmcore.session.undoing import asks_undo
from tests.rooms import ANNA, BO, OLGA, POLICY
from tests.turns import Stage, stage

pytestmark = pytest.mark.asyncio


def act(intent: str, module: str, **more: Any) -> dict[str, Any]:
    """A step."""
    return {"intent": intent, "params": {"module": module}, **more}


@pytest_asyncio.fixture
async def play(tmp_path: Path) -> AsyncIterator[Stage]:
    """A session on a new store, on a host that can take back what it starts and stops."""
    async with stage(tmp_path) as built:
        built.rooms.host.hooks["undo_of"] = _undo_of
        yield built


async def _undo_of(intent: str, params: Mapping[str, Any], before: Any, result: Any, principal: object) -> Undo | None:
    opposite = {"start_it": "stop_it", "stop_it": "start_it"}.get(intent)
    return Undo(intent=opposite, params=params) if opposite else None


async def run(play: Stage, *steps: Mapping[str, Any], owner: Any = ANNA) -> Plan:
    """Propose and approve a chain; the plan at the end of its run."""
    number = len(await play.rooms.store.plan_list())
    made = play.rooms.plan(*steps, plan_id=f"pl_{number}", requester=owner, topic=f"/ui/updates/llm/cv_{owner.name}")
    plan = await play.session.propose(made, start=False)
    return await approve(play, plan)


async def approve(play: Stage, plan: Plan) -> Plan:
    """Approve it; the plan at the end of the segment."""
    started = await play.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
    await play.session.settled(started.run_id or "")
    return await now(play, plan)


async def now(play: Stage, plan: Plan) -> Plan:
    """The plan as it is stored."""
    found = await play.rooms.store.plan_get(plan.plan_id)
    assert found is not None
    return found


def states(plan: Plan) -> list[str]:
    """The states of its steps."""
    return [step.state.value for step in plan.steps]


def calls(play: Stage) -> list[tuple[str, str]]:
    """What the host was asked to do."""
    return [(intent, params["module"]) for intent, params in play.rooms.host.calls]


# --- on_error: undo ---


async def test_a_failure_takes_back_what_was_done_the_last_change_first(play: Stage) -> None:
    """In the same run; what could not begin is skipped; the end of the segment tells the failure."""
    play.rooms.host.plays["set_it"] = _fails
    ended = await run(
        play,
        act("start_it", "a"),
        act("stop_it", "b", needs=["s1"]),
        act("set_it", "c", needs=["s2"], on_error="undo"),
        act("start_it", "d", needs=["s3"]),
    )
    assert ended.status is PlanStatus.UNDONE
    assert states(ended) == ["undone", "undone", "failed", "skipped"]
    assert calls(play)[-2:] == [("start_it", "b"), ("stop_it", "a")]
    stored = await play.rooms.store.run_get(ended.run_id or "")
    assert stored is not None
    assert stored.status is PlanStatus.UNDONE
    assert "taken back" in stored.text
    assert play.watcher.kinds[-1] == "RUN_ERROR"
    actions = await play.rooms.actions()
    assert actions.count("step.begin") == 5
    assert "run.undo" in actions


async def test_what_cannot_be_taken_back_is_left_to_people(play: Stage) -> None:
    """The rest is taken back all the same, and what is left is named."""
    play.rooms.host.plays["stop_it"] = _fails
    ended = await run(
        play, act("start_it", "a"), act("set_it", "b", needs=["s1"]), act("stop_it", "c", needs=["s2"], on_error="undo")
    )
    assert ended.status is PlanStatus.NEEDS_HUMAN  # stopping fails here, so starting cannot be taken back either
    assert states(ended) == ["done", "done", "failed"]
    stored = await play.rooms.store.run_get(ended.run_id or "")
    assert stored is not None
    assert "**set_it** (s2)" in stored.text
    assert "**start_it** (s1)" in stored.text


async def test_taking_back_goes_on_after_a_crash(tmp_path: Path) -> None:
    """What was taken back before it is not taken back again."""
    async with stage(tmp_path) as before:
        before.rooms.host.hooks["undo_of"] = _undo_of
        before.rooms.host.plays["set_it"] = _fails
        made = before.rooms.plan(
            act("start_it", "a"), act("start_it", "b", needs=["s1"]), act("set_it", "c", needs=["s2"], on_error="undo")
        )
        plan = await before.session.propose(made, start=False)
        reached = _Blocked(before, "stop_it", "a")
        await before.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
        await reached.wait()
        assert calls(before)[-2:] == [("stop_it", "b"), ("stop_it", "a")]
    async with stage(tmp_path) as after:
        after.rooms.host.hooks["undo_of"] = _undo_of
        await after.watcher.until("RUN_ERROR")
        ended = await now(after, plan)
        assert calls(after) == []
        assert ended.status is PlanStatus.NEEDS_HUMAN  # nobody can say whether the interrupted one took effect
        assert states(ended) == ["done", "undone", "failed"]


# --- run_undo ---


async def test_a_run_is_taken_back_later_by_a_plan_of_its_own(play: Stage) -> None:
    """It waits for approval; with its end the first run, its plan and its steps are undone."""
    done = await run(play, {"intent": "list_all"}, act("start_it", "a"), act("stop_it", "b", needs=["s2"]))
    assert done.status is PlanStatus.DONE
    back = await play.session.undo(done.run_id or "", ANNA)
    assert (back.status, back.undoes) == (PlanStatus.PROPOSED, done.run_id)
    assert [(step.id, step.intent, step.params["module"]) for step in back.steps] == [
        ("s3", "start_it", "b"),
        ("s2", "stop_it", "a"),
    ]
    assert back.approval is not None
    assert back.approval.needed == 1
    ended = await approve(play, back)
    assert ended.status is PlanStatus.DONE
    first = await now(play, done)
    assert (first.status, states(first)) == (PlanStatus.UNDONE, ["undone", "undone", "undone"])
    stored = await play.rooms.store.run_get(done.run_id or "")
    assert stored is not None
    assert stored.status is PlanStatus.UNDONE
    shown = [event.event["content"] for event in play.watcher.events if event.event["type"] == "ACTIVITY_SNAPSHOT"]
    assert any(content["plan_id"] == done.plan_id and content["status"] == "undone" for content in shown)
    with pytest.raises(Conflict, match="taken back already"):
        await play.session.undo(done.run_id or "", ANNA)
    with pytest.raises(Conflict, match="took another one back"):
        await play.session.undo(ended.run_id or "", ANNA)


async def test_literal_params_are_taken_back_where_a_step_had_references(play: Stage) -> None:
    """The undo names what the reference meant when the step ran."""
    reference = {"$from": "s1", "path": "module"}
    steps = (act("start_it", "a"), {"intent": "stop_it", "params": {"module": reference}})
    done = await run(play, *steps)
    back = await play.session.undo(done.run_id or "", ANNA)
    assert [(step.intent, step.params["module"]) for step in back.steps] == [("start_it", "a"), ("stop_it", "a")]


async def test_an_undo_that_fails_leaves_the_run_to_people(play: Stage) -> None:
    """What was taken back before it is told as undone."""
    done = await run(play, act("start_it", "a"), act("stop_it", "b", needs=["s1"]))
    play.rooms.host.plays["stop_it"] = _fails
    back = await play.session.undo(done.run_id or "", ANNA)
    assert (await approve(play, back)).status is PlanStatus.FAILED
    first = await now(play, done)
    assert (first.status, states(first)) == (PlanStatus.NEEDS_HUMAN, ["done", "undone"])
    del play.rooms.host.plays["stop_it"]
    again = await play.session.undo(done.run_id or "", ANNA)
    assert [step.id for step in again.steps] == ["s1"], "what was taken back is not taken back again"
    await approve(play, again)
    assert (await now(play, done)).status is PlanStatus.UNDONE


@pytest.mark.parametrize("steps", [[act("look", "a")], [act("set_it", "a")]])
async def test_a_run_that_nothing_takes_back_says_so(play: Stage, steps: list[dict[str, Any]]) -> None:
    """Neither reads nor changes without an undo."""
    done = await run(play, *steps)
    with pytest.raises(Conflict, match="nothing to take back"):
        await play.session.undo(done.run_id or "", ANNA)


async def test_a_run_that_has_not_ended_is_not_taken_back(play: Stage) -> None:
    """An unknown step is a person's first; a second undo is not made beside an open one; a chat has nothing to undo."""
    done = await run(play, act("start_it", "a"))
    first = await play.session.undo(done.run_id or "", ANNA)
    with pytest.raises(Conflict, match=first.plan_id):
        await play.session.undo(done.run_id or "", ANNA)

    async def unsure(_: Call) -> Any:
        raise OutcomeUnknown("The connection broke.")

    play.rooms.host.plays["stop_it"] = unsure
    unknown = await run(play, act("stop_it", "b"))
    assert unknown.status is PlanStatus.WAITING
    with pytest.raises(Conflict, match="run_resolve"):
        await play.session.undo(unknown.run_id or "", ANNA)
    chat = await play.ended(await play.ask("hello"))
    with pytest.raises(Conflict, match="no plan"):
        await play.session.undo(chat.run_id, ANNA)


async def test_who_may_take_back(play: Stage) -> None:
    """An approver may, on a topic of their own; a stranger does not see the run."""
    done = await run(play, act("start_it", "a"))
    with pytest.raises(NotFound):
        await play.session.undo(done.run_id or "", OLGA)
    back = await play.session.undo(done.run_id or "", BO)
    assert back.requester == BO
    assert back.topic != done.topic
    await approve(play, back)
    assert (await now(play, done)).status is PlanStatus.UNDONE


# --- in a chat ---


async def test_undo_that_in_a_chat(play: Stage) -> None:
    """The words propose to take back the last change of the conversation."""
    step = DraftStep(intent="start_it", params={"module": "nginx"})
    play.planner.drafts.append(Draft(kind="plan", steps=(step,), answered_by="local", confidence=0.9))
    asked = await play.ended(await play.ask("start nginx"))
    plan = await play.rooms.store.plan_get(asked.plan_id or "")
    assert plan is not None
    await approve(play, plan)
    undo = await play.ended(await play.ask("undo that", conversation_id=asked.conversation_id))
    assert undo.status is PlanStatus.PROPOSED
    back = await play.rooms.store.plan_get(undo.plan_id or "")
    assert back is not None
    assert [step.intent for step in back.steps] == ["stop_it"]
    await approve(play, back)
    assert (await now(play, plan)).status is PlanStatus.UNDONE


async def test_undo_where_nothing_was_changed(play: Stage) -> None:
    """It says so."""
    ended = await play.ended(await play.ask("please undo it"))
    assert ended.status is PlanStatus.FAILED
    assert "nothing to take back" in ended.text


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("undo that", True),
        ("Roll back.", True),
        ("please take it back", True),
        ("revert that!", True),
        ("undo the restart of nginx tomorrow", False),
        ("how do I undo that?", False),
        ("do not undo that", False),
    ],
)
async def test_words_that_mean_undo(words: str, meant: bool) -> None:
    """Only words that mean nothing else."""
    assert asks_undo(words) is meant


# --- drift ---


async def test_drift_asks_again_with_another_digest(play: Stage) -> None:
    """What was done stays done, the old digest is void, the new one goes on."""
    made = play.rooms.plan(act("start_it", "a"), act("stop_it", "b", needs=["s1"]))
    plan = await play.session.propose(made, start=False)
    play.rooms.host.hooks["preview"] = _elsewhere
    waits = await approve(play, plan)
    assert waits.status is PlanStatus.WAITING
    assert states(waits) == ["done", "pending"]
    assert waits.digest != plan.digest
    assert waits.approval is not None
    assert (waits.approval.given, waits.approval.needed) == ((), 1)
    assert waits.steps[1].preview is not None
    assert waits.steps[1].preview.targets == ("elsewhere",)
    assert waits.drift is not None
    assert "elsewhere" in waits.drift.reason
    assert [(change["step_id"], change["fields"]) for change in waits.drift.diff if change["change"] == "changed"] == [
        ("s2", {"targets": {"before": ["b"], "after": ["elsewhere"]}})
    ]
    assert "not as it was approved" in card(plan_json(waits))
    assert play.watcher.events[-1].event["outcome"]["type"] == "interrupt"
    with pytest.raises(Conflict):
        await play.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
    assert calls(play) == [("start_it", "a")]
    ended = await approve(play, waits)
    assert ended.status is PlanStatus.DONE
    assert calls(play) == [("start_it", "a"), ("stop_it", "b")]
    assert "plan.drift" in await play.rooms.actions()


async def test_a_waiting_plan_after_drift_can_be_rejected(play: Stage) -> None:
    """Then nothing more of it happens."""
    plan = await play.session.propose(play.rooms.plan(act("stop_it", "b")), start=False)
    play.rooms.host.hooks["preview"] = _elsewhere
    waits = await approve(play, plan)
    assert waits.status is PlanStatus.WAITING
    rejected = await play.session.reject(plan.plan_id, ANNA, "no")
    assert rejected.status is PlanStatus.REJECTED
    assert calls(play) == []
    assert rejected.steps[0].state is StepState.PENDING


async def test_what_ran_before_the_rest_was_rejected_is_taken_back(play: Stage) -> None:
    """It is not true that nothing ran."""
    made = play.rooms.plan(act("start_it", "a"), act("stop_it", "b", needs=["s1"]))
    plan = await play.session.propose(made, start=False)
    play.rooms.host.hooks["preview"] = _elsewhere
    waits = await approve(play, plan)
    with pytest.raises(Conflict, match="approve or reject the rest first"):
        await play.session.undo(waits.run_id or "", ANNA)
    await play.session.reject(plan.plan_id, ANNA, "no")
    del play.rooms.host.hooks["preview"]
    back = await play.session.undo(waits.run_id or "", ANNA)
    assert [(step.id, step.intent) for step in back.steps] == [("s1", "stop_it")]
    await approve(play, back)
    assert (await now(play, plan)).status is PlanStatus.UNDONE


async def test_what_was_shown_as_new_and_is_there_by_now_is_drift(play: Stage) -> None:
    """The same target, but somebody has put something there."""
    there = [False, True, True]

    async def preview(intent: str, params: Mapping[str, Any], principal: object) -> Preview:
        return Preview(targets=(str(params["module"]),), before={"exists": there.pop(0)})

    play.rooms.host.hooks["preview"] = preview
    plan = await play.session.propose(play.rooms.plan(act("stop_it", "b")), start=False)
    waits = await approve(play, plan)
    assert waits.status is PlanStatus.WAITING
    assert calls(play) == []


async def _elsewhere(intent: str, params: Mapping[str, Any], principal: object) -> Preview:
    target = "elsewhere" if intent == "stop_it" else str(params["module"])
    return Preview(targets=(target,), before={"state": "running"})


async def _fails(_: Call) -> Any:
    raise LLMCoreError("no")


class _Blocked:
    """Lets one call of an intent begin and never end."""

    def __init__(self, play: Stage, intent: str, module: str) -> None:
        self._reached = asyncio.Event()

        async def block(call: Call) -> Any:
            if call.params["module"] == module:
                self._reached.set()
                await asyncio.Event().wait()
            return {}

        play.rooms.host.plays[intent] = block

    async def wait(self) -> None:
        """Until the call has begun."""
        await self._reached.wait()


async def test_an_undo_that_policy_forbids_is_not_promised(tmp_path: Path) -> None:
    """The card says none, before anybody approves."""
    never = '@id("never-stop") forbid (principal, action == Action::"stop_it", resource);'
    async with stage(tmp_path, policy=f"{POLICY}\n{never}") as play:
        play.rooms.host.hooks["undo_of"] = _undo_of
        plan = await play.session.propose(play.rooms.plan(act("start_it", "a")), start=False)
        assert plan.steps[0].undo is None
