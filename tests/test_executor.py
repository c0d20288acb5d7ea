"""The executor: order, parallel branches, journal, crashes, time-outs, references."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.errors import Conflict, LLMCoreError, NotFound, OutcomeUnknown
from llmcore.executor import RETRY, StepBegan, StepEnded, StepProgress, resolve
from llmcore.plan import Approval, Plan, StepResult, StepState, Vote
from llmcore.ports import Attempt, Call
from tests.rooms import ANNA, POLICY, Rooms, forever, rooms, shown

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[Rooms]:
    """The rooms on a new store."""
    async with rooms(tmp_path) as built:
        yield built


def approved(plan: Plan) -> Plan:
    """The plan with one vote."""
    return replace(shown(plan), approval=Approval(needed=1, given=(Vote(by="anna", at="now"),)))


async def run(house: Rooms, plan: Plan, only: frozenset[str] | None = None) -> dict[str, StepResult]:
    """Run it to the end; the results by step."""
    ended: dict[str, StepResult] = {}
    async with aclosing(house.executor.run(plan, "rn_1", ANNA, only)) as events:
        async for event in events:
            if isinstance(event, StepEnded):
                ended[event.step.id] = event.result
    return ended


def states(results: Mapping[str, StepResult]) -> dict[str, str]:
    """State by step."""
    return {step_id: result.state.value for step_id, result in results.items()}


ACT = {"intent": "stop_it", "params": {"module": "nginx"}}
LOOK = {"intent": "look", "params": {"module": "nginx"}}


async def test_steps_run_in_the_order_of_their_needs_and_are_journaled(house: Rooms) -> None:
    """Each attempt has a row with its outcome, and a record before and after."""
    plan = approved(house.plan({**ACT, "needs": ["s2"]}, LOOK))
    assert states(await run(house, plan)) == {"s2": "done", "s1": "done"}
    assert [call[0] for call in house.host.calls] == ["look", "stop_it"]
    attempts = await house.store.attempt_list("rn_1")
    assert {(attempt.step_id, attempt.attempt, attempt.outcome) for attempt in attempts} == {
        ("s1", 1, "done"),
        ("s2", 1, "done"),
    }
    actions = await house.actions()
    assert actions.count("step.begin") == actions.count("step.end") == 2


async def test_branches_that_do_not_wait_run_at_the_same_time(house: Rooms) -> None:
    """Two steps meet: neither could end without the other."""
    meeting = asyncio.Barrier(2)

    async def meet(_: Call) -> Any:
        await meeting.wait()

    house.host.plays["look"] = meet
    assert states(await run(house, house.plan(LOOK, LOOK))) == {"s1": "done", "s2": "done"}


async def test_results_flow_into_later_params(house: Rooms) -> None:
    """By JMESPath."""

    async def listing(_: Call) -> Any:
        return {"all": [{"name": "a", "up": True}, {"name": "b", "up": False}]}

    house.host.plays["list_all"] = listing
    reference = {"$from": "s1", "path": "all[?!up].name | [0]"}
    plan = approved(house.plan({"intent": "list_all"}, {"intent": "start_it", "params": {"module": reference}}))
    await run(house, plan)
    assert house.host.calls[-1] == ("start_it", {"module": "b"})


async def test_reference_that_finds_nothing_fails_its_step(house: Rooms) -> None:
    """Nothing is called with a hole in it."""
    plan = approved(house.plan(LOOK, {"intent": "start_it", "params": {"module": {"$from": "s1", "path": "gone"}}}))
    results = await run(house, plan)
    assert states(results) == {"s1": "done", "s2": "failed"}
    assert results["s2"].error
    assert results["s2"].error["error"] == "not_found"
    assert [call[0] for call in house.host.calls] == ["look"]


async def test_found_value_that_does_not_fit_fails_its_step(house: Rooms) -> None:
    """The schema is asked again with literal params."""
    house.host.plays["look"] = lambda _: _value(3)
    plan = approved(house.plan(LOOK, {"intent": "start_it", "params": {"module": {"$from": "s1"}}}))
    assert states(await run(house, plan))["s2"] == "failed"


async def _value(value: Any) -> Any:
    return value


async def test_failure_stops_the_rest_or_only_what_depends_on_it(house: Rooms) -> None:
    """`stop` skips all that has not begun; `continue` skips dependents only."""
    house.host.plays["look"] = lambda _: _raise(NotFound("It is gone."))
    stopped = house.plan(LOOK, {"intent": "list_all", "needs": ["s1"]})
    assert states(await run(house, stopped)) == {"s1": "failed", "s2": "skipped"}
    going = house.plan(
        {**LOOK, "on_error": "continue"}, {"intent": "list_all", "needs": ["s1"]}, {"intent": "list_all"}
    )
    async with aclosing(house.executor.run(going, "rn_2", ANNA)) as events:
        ended = {event.step.id: event.result async for event in events if isinstance(event, StepEnded)}
    assert states(ended) == {"s1": "failed", "s3": "done", "s2": "skipped"}


async def _raise(error: Exception) -> Any:
    raise error


async def test_step_is_retried_as_often_as_it_says(house: Rooms) -> None:
    """Only until it works; every try is journaled with the same idempotency key."""
    tries: list[str] = []

    async def third(call: Call) -> Any:
        tries.append(call.idempotency_key)
        if len(tries) < 3:
            raise Conflict("Not yet.")
        return "ok"

    house.host.plays["look"] = third
    results = await run(house, house.plan({**LOOK, "retries": 2}))
    assert (results["s1"].state, results["s1"].attempts) == (StepState.DONE, 3)
    assert len(set(tries)) == 1
    assert [attempt.outcome for attempt in await house.store.attempt_list("rn_1")] == ["failed", "failed", "done"]


async def test_late_change_is_unknown_and_late_repeatable_one_failed(house: Rooms) -> None:
    """Nobody can say whether the first took effect."""
    house.host.plays.update({"stop_it": forever, "set_it": forever})
    late = {"timeout_s": 0.01}
    results = await run(house, approved(house.plan({**ACT, **late}, {**ACT, **late, "intent": "set_it"})))
    assert states(results) == {"s1": "unknown", "s2": "failed"}
    assert results["s1"].error
    assert results["s1"].error["error"] == "timeout"


async def test_intent_that_cannot_tell_is_unknown(house: Rooms) -> None:
    """And the plan goes no further."""
    house.host.plays["stop_it"] = lambda _: _raise(OutcomeUnknown("The connection broke."))
    plan = approved(house.plan({**ACT, "on_error": "continue"}, {"intent": "list_all", "needs": ["s1"]}))
    assert states(await run(house, plan)) == {"s1": "unknown"}


async def test_cancelling_stops_the_step_and_says_so_in_the_journal(house: Rooms) -> None:
    """The outcome is written although the task is going down."""
    begun = asyncio.Event()

    async def wait(call: Call) -> Any:
        begun.set()
        await forever(call)

    house.host.plays["stop_it"] = wait
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run(house, approved(house.plan(ACT))))
        await begun.wait()
        running.cancel()
    attempts = await house.store.attempt_list("rn_1")
    assert [attempt.outcome for attempt in attempts] == ["unknown"]


async def test_what_ended_before_a_crash_is_not_done_again(house: Rooms) -> None:
    """Its result is taken from the journal, also for references."""
    plan = approved(house.plan(ACT, {"intent": "start_it", "params": {"module": {"$from": "s1", "path": "module"}}}))
    await house.store.attempt_begin(_attempt("s1"))
    await house.store.attempt_end(replace(_attempt("s1"), outcome="done", result={"module": "kept"}))
    assert states(await run(house, plan)) == {"s1": "done", "s2": "done"}
    assert house.host.calls == [("start_it", {"module": "kept"})]


async def test_change_that_was_running_at_a_crash_is_unknown_and_not_repeated(house: Rooms) -> None:
    """A row without an outcome is all there is."""
    await house.store.attempt_begin(_attempt("s1"))
    assert states(await run(house, approved(house.plan(ACT, LOOK)))) == {"s1": "unknown"}
    assert house.host.calls == []


async def test_read_that_was_running_at_a_crash_is_repeated(house: Rooms) -> None:
    """It may be: it changes nothing."""
    await house.store.attempt_begin(_attempt("s1"))
    results = await run(house, house.plan(LOOK))
    assert (results["s1"].state, results["s1"].attempts) == (StepState.DONE, 2)


async def test_unknown_step_is_tried_again_once_a_person_says_so(house: Rooms) -> None:
    """The person's word is the outcome of the old attempt."""
    await house.store.attempt_begin(_attempt("s1"))
    await house.store.attempt_end(replace(_attempt("s1"), outcome=RETRY))
    assert states(await run(house, approved(house.plan(ACT)))) == {"s1": "done"}


def _attempt(step_id: str) -> Attempt:
    return Attempt(run_id="rn_1", step_id=step_id, attempt=1, idempotency_key=f"rn_1:{step_id}", started_at="now")


async def test_policy_is_asked_again_before_every_step(tmp_path: Path) -> None:
    """What it denies by now fails; nothing acts."""
    never = '@id("never") @reason("Not today.") forbid (principal, action == Action::"stop_it", resource);'
    async with rooms(tmp_path, f"{POLICY}\n{never}") as house:
        results = await run(house, approved(house.plan(ACT)))
        assert states(results) == {"s1": "failed"}
        assert results["s1"].error
        assert results["s1"].error["error"] == "forbidden"
        assert results["s1"].error["rules"] == ["never"]
        assert house.host.calls == []


async def test_intent_that_changed_since_the_plan_was_made_is_not_run(house: Rooms) -> None:
    """Another schema behind the same name is another action."""
    plan = approved(house.plan(ACT))
    old = replace(plan.steps[0], schema_hash="older")
    assert states(await run(house, replace(plan, steps=(old,)))) == {"s1": "failed"}
    assert house.host.calls == []


async def test_only_the_chosen_steps_run(house: Rooms) -> None:
    """Segment 1 leaves the changes alone."""
    assert states(await run(house, house.plan(LOOK, ACT), frozenset({"s1"}))) == {"s1": "done"}


async def test_viewers_hear_of_the_beginning_the_progress_and_the_end(house: Rooms) -> None:
    """In this order."""

    async def telling(call: Call) -> Any:
        call.progress({"text": "half"})
        return 1

    house.host.plays["look"] = telling
    async with aclosing(house.executor.run(house.plan(LOOK), "rn_1", ANNA)) as events:
        kinds = [type(event) async for event in events]
    assert kinds == [StepBegan, StepProgress, StepEnded]


async def test_references_are_replaced_wherever_they_stand() -> None:
    """In lists and objects; a missing step finds nothing."""
    results = {"s1": StepResult(step_id="s1", intent="look", state=StepState.DONE, result={"a": [1, 2]})}
    value = {"x": [{"$from": "s1", "path": "a[1]"}], "y": {"$from": "s1"}, "z": "s1"}
    assert resolve(value, results) == {"x": [2], "y": {"a": [1, 2]}, "z": "s1"}
    with pytest.raises(LLMCoreError):
        resolve({"$from": "s9"}, results)
