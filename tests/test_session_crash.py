"""What a session makes of a process that ended at the worst moment, and of a store that went away at one.

A crash is played by putting back the row that the last moment would have written, then opening everything anew.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmcore.adapters import local
from llmcore.errors import Conflict, Unavailable
from llmcore.executor import core
from llmcore.plan import Plan, PlanStatus, StepState, digest, is_reference
from llmcore.ports import Call, Run
from tests.rooms import ANNA, forever
from tests.test_session import LOOK, START, STOP, plan_of, waiting
from tests.turns import Stage, stage

pytestmark = pytest.mark.asyncio

AWAY = Unavailable("The disk under the store is full.", component="store")


async def unclosed(play: Stage, run_id: str | None) -> None:
    """The process ended before the end of a segment was stored."""
    run = await stored(play, run_id)
    await play.rooms.store.run_put(replace(run, status=PlanStatus.RUNNING, text=""))


async def stored(play: Stage, run_id: str | None) -> Run:
    """A run as it is in the store."""
    run = await play.rooms.store.run_get(str(run_id))
    assert run
    return run


async def plan_now(play: Stage, plan: Plan) -> Plan:
    """A plan as it is in the store."""
    found = await play.rooms.store.plan_get(plan.plan_id)
    assert found
    return found


def fails_once(play: Stage, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """The store is away the next time it is asked this; the queue does not wait long before it tries again."""
    monkeypatch.setattr(local, "RETRY_S", (0.01,))
    monkeypatch.setattr(core, "WRITE_AGAIN_S", 0.01)
    real: Callable[..., Any] = getattr(play.rooms.store, method)
    left = [AWAY]

    async def flaky(*args: Any) -> Any:
        if left:
            raise left.pop()
        return await real(*args)

    monkeypatch.setattr(play.rooms.store, method, flaky)


async def test_a_waiting_plan_whose_segment_was_not_closed_still_waits(tmp_path: Path) -> None:
    """Same digest; nothing runs before somebody approves."""
    async with stage(tmp_path) as before:
        plan = await waiting(before)
        await unclosed(before, plan.run_id)
    async with stage(tmp_path) as after:
        assert (await after.watcher.until("RUN_FINISHED"))["outcome"]["type"] == "interrupt"
        assert await plan_now(after, plan) == plan
        assert (await stored(after, plan.run_id)).status is PlanStatus.PROPOSED
        assert after.rooms.host.calls == []
        await after.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
        assert (await after.watcher.until("RUN_FINISHED", 2))["outcome"]["type"] == "success"
        said = await after.rooms.store.message_list(plan.conversation_id)
        assert [message.role for message in said] == ["user", "assistant", "assistant"]


async def test_a_plan_that_ended_is_only_told_again(tmp_path: Path) -> None:
    """Its results are in the journal."""
    async with stage(tmp_path) as before:
        before.planner.drafts.append(plan_of(LOOK))
        run = await before.ended(await before.ask("is nginx up?"))
        await unclosed(before, run.run_id)
    async with stage(tmp_path) as after:
        end = await after.watcher.until("RUN_FINISHED")
        assert end["result"]["text"] == run.text
        assert [entry["state"] for entry in end["result"]["results"]] == ["done"]
        assert (await stored(after, run.run_id)).status is PlanStatus.DONE
        assert after.rooms.host.calls == []


async def test_a_plan_that_failed_has_failed_after_the_restart_too(tmp_path: Path) -> None:
    """A step that failed before the crash is not forgotten because the next one was not begun."""
    async with stage(tmp_path) as before:
        plan = await waiting(before, START, STOP)
        await before.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
        await before.watcher.until("RUN_FINISHED", 2)
        now = await plan_now(before, plan)
        begun = replace(now, status=PlanStatus.RUNNING)
        failed = begun.with_step(replace(begun.steps[0], state=StepState.FAILED))
        attempt = (await before.rooms.store.attempt_list(str(plan.run_id)))[0]
        no = {"error": "x", "message": "no"}
        await before.rooms.store.attempt_end(replace(attempt, outcome="failed", error=no), resolve=True)
        assert await before.rooms.store.plan_swap(before.rooms.approvals.sealed(failed), now)
        await unclosed(before, plan.run_id)
    async with stage(tmp_path) as after:
        assert (await after.watcher.until("RUN_ERROR"))["code"] == "x"
        assert (await plan_now(after, plan)).status is PlanStatus.FAILED


async def test_reads_of_an_earlier_life_are_filled_in(tmp_path: Path) -> None:
    """What people approve is literal, also if the process ended between the reads and the proposal."""
    steps: list[dict[str, Any]] = [
        {"id": "s1", "intent": "look", "params": {"module": "nginx"}},
        {"id": "s2", "intent": "stop_it", "params": {"module": {"$from": "s1", "path": "module"}}},
    ]
    async with stage(tmp_path) as before:
        proposed = await before.session.propose(before.rooms.plan(*steps), start=False)
        asked = before.rooms.plan(*steps)
        undone = replace(proposed, status=PlanStatus.RUNNING, digest=None, approval=None)
        undone = undone.with_step(replace(asked.steps[1], verdict=proposed.steps[1].verdict))
        assert await before.rooms.store.plan_swap(undone, proposed)
        await unclosed(before, proposed.run_id)
    async with stage(tmp_path) as after:
        await after.watcher.until("RUN_FINISHED")
        plan = await plan_now(after, proposed)
        assert plan.digest == proposed.digest
        assert not is_reference(plan.steps[1].params["module"])
        assert after.rooms.host.calls == []


async def test_a_plan_that_was_shown_only_is_shown_only(tmp_path: Path) -> None:
    """In mode `plan` with reads there is nothing to approve."""
    async with stage(tmp_path) as before:
        feeding = ("stop_it", {"module": {"$from": "s1", "path": "module"}})
        before.planner.drafts.append(plan_of(LOOK, feeding))
        run = await before.ended(await before.ask("stop it", mode="plan"))
        await unclosed(before, run.run_id)
    async with stage(tmp_path) as after:
        await after.watcher.until("RUN_FINISHED")
        assert "reads first" in after.watcher.text


async def test_a_plan_without_its_run_begins_after_a_restart(tmp_path: Path) -> None:
    """The plan was stored as running, its run was not."""
    async with stage(tmp_path) as before:
        plan = before.rooms.plan({"id": "s1", "intent": "look", "params": {"module": "nginx"}})
        await before.topics.open(plan.topic, plan.conversation_id, ANNA)
        running = replace(plan, status=PlanStatus.RUNNING, run_id="rn_1", digest=digest(plan))
        await before.rooms.store.plan_put(before.rooms.approvals.sealed(running))
    async with stage(tmp_path) as after:
        await after.session.recover()
        await after.watcher.until("RUN_FINISHED")
        assert (await plan_now(after, plan)).status is PlanStatus.DONE
        await after.session.recover()
        assert len(after.rooms.host.calls) == 1


async def test_recovery_leaves_alone_what_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that runs, and one that somebody begins at this moment."""
    async with stage(tmp_path) as play:
        plan = await waiting(play)
        play.rooms.host.plays["stop_it"] = forever
        real = play.topics.open

        async def slow(*args: Any) -> None:
            await play.session.recover()
            await real(*args)

        monkeypatch.setattr(play.topics, "open", slow)
        await play.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
        await play.watcher.until("STEP_STARTED")
        await play.session.recover()
        assert (await stored(play, plan.run_id)).segment == 2
        assert len(play.rooms.host.calls) == 1


async def test_plan_that_ends_while_it_is_recovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list was read before its end; it stays ended."""
    async with stage(tmp_path) as play:
        plan = await waiting(play)
        await play.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
        await play.watcher.until("RUN_FINISHED", 2)
        old = replace(await plan_now(play, plan), status=PlanStatus.RUNNING)

        async def stale(**_: Any) -> list[Plan]:
            return [old]

        monkeypatch.setattr(play.rooms.store, "plan_list", stale)
        await play.session.recover()
        assert (await stored(play, plan.run_id)).status is PlanStatus.DONE


async def test_approval_in_the_moment_of_the_proposal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who approves as soon as the card appears does not meet the end of the segment that proposed it."""
    async with stage(tmp_path) as play:
        gate = asyncio.Event()
        real = play.rooms.store.run_put

        async def slow(run: Run, *lease: Any) -> bool:
            if run.status is PlanStatus.PROPOSED:
                await gate.wait()
            return await real(run, *lease)

        monkeypatch.setattr(play.rooms.store, "run_put", slow)
        play.planner.drafts.append(plan_of(STOP))
        run = await play.ask("stop nginx")
        await play.watcher.until("TEXT_MESSAGE_END")
        plan = (await play.session.visible_plans(ANNA, [], 1))[0]
        async with asyncio.TaskGroup() as group:
            approving = group.create_task(play.session.approve(plan.plan_id, str(plan.digest), ANNA, ""))
            await asyncio.sleep(0.05)
            gate.set()
        assert approving.result().run_id == run.run_id
        await play.watcher.until("RUN_FINISHED", 2)
        assert len(play.rooms.host.calls) == 1


async def test_rejection_in_the_moment_of_the_proposal(tmp_path: Path) -> None:
    """The run ends as rejected."""
    async with stage(tmp_path) as play:
        plan = await waiting(play)
        await play.session.reject(plan.plan_id, ANNA, "no")
        assert (await stored(play, plan.run_id)).status is PlanStatus.REJECTED


@pytest.mark.parametrize("method", ["attempt_begin", "attempt_end", "plan_swap", "run_put", "message_add"])
async def test_segment_goes_on_when_the_store_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Once, whatever it was that could not be written."""
    async with stage(tmp_path) as play:
        plan = await waiting(play)
        play.rooms.host.plays["stop_it"] = lambda _: _done(play, monkeypatch, method)
        if method == "attempt_begin":
            fails_once(play, monkeypatch, method)
        await play.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
        end = await play.watcher.until("RUN_FINISHED", 2)
        assert end["outcome"]["type"] == "success"
        assert len(play.rooms.host.calls) == 1
        assert (await plan_now(play, plan)).status is PlanStatus.DONE


async def _done(play: Stage, monkeypatch: pytest.MonkeyPatch, method: str) -> Any:
    if method != "attempt_begin":
        fails_once(play, monkeypatch, method)
    return {"stopped": True}


async def test_process_that_ends_before_an_outcome_could_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nobody knows it; the step is not repeated, a person says what became of it."""
    async with stage(tmp_path) as before:
        plan = await waiting(before)
        written = asyncio.Event()

        async def away(*_: Any) -> None:
            written.set()
            raise AWAY

        monkeypatch.setattr(before.rooms.store, "attempt_end", away)
        await before.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
        await written.wait()
    async with stage(tmp_path) as play:
        assert (await play.watcher.until("RUN_FINISHED"))["outcome"]["type"] == "interrupt"
        now = await plan_now(play, plan)
        assert (now.status, now.steps[0].state) == (PlanStatus.WAITING, StepState.UNKNOWN)
        await play.session.resolve(str(plan.run_id), "s1", "done", ANNA)
        assert (await play.watcher.until("RUN_FINISHED", 2))["outcome"]["type"] == "success"
        assert play.rooms.host.calls == []


async def test_stopped_while_the_store_was_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's word is kept in mind until it can be written."""
    async with stage(tmp_path) as play:
        plan = await waiting(play)
        play.rooms.host.plays["stop_it"] = forever
        await play.session.approve(plan.plan_id, str(plan.digest), ANNA, "")
        await play.watcher.until("STEP_STARTED")
        fails_once(play, monkeypatch, "message_add")
        await play.session.cancel(str(plan.run_id), ANNA)
        assert (await play.watcher.until("RUN_FINISHED", 2))["outcome"]["type"] == "cancelled"
        assert (await stored(play, plan.run_id)).status is PlanStatus.CANCELLED
        assert len(play.rooms.host.calls) == 1


async def test_stopped_in_the_moment_of_the_proposal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plan cannot be approved any more."""
    async with stage(tmp_path) as play:
        real = play.rooms.store.run_put

        async def slow(run: Run, *lease: Any) -> bool:
            if run.status is PlanStatus.PROPOSED:
                await asyncio.Event().wait()
            return await real(run, *lease)

        monkeypatch.setattr(play.rooms.store, "run_put", slow)
        play.planner.drafts.append(plan_of(STOP))
        run = await play.ask("stop nginx")
        await play.watcher.until("TEXT_MESSAGE_END")
        await play.session.cancel(run.run_id, ANNA)
        plan = (await play.session.visible_plans(ANNA, [], 1))[0]
        assert plan.status is PlanStatus.CANCELLED
        with pytest.raises(Conflict):
            await play.session.approve(plan.plan_id, str(plan.digest), ANNA, "")


async def test_stopped_before_its_turn_came(tmp_path: Path) -> None:
    """A run that waits for a place in the queue ends with an event too."""
    async with stage(tmp_path, parallel=1) as play:
        started = asyncio.Event()

        async def long(_: Call) -> Any:
            started.set()
            return await forever(_)

        play.rooms.host.plays["look"] = long
        play.planner.drafts += [plan_of(LOOK), plan_of(LOOK)]
        await play.ask("is nginx up?")
        await started.wait()
        second = await play.ask("is nginx up?")
        run = await play.session.cancel(second.run_id, ANNA)
        assert run.status is PlanStatus.CANCELLED
        assert (await play.watcher.until("RUN_FINISHED"))["outcome"]["type"] == "cancelled"
