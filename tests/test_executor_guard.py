"""What the executor looks at before and after each step: conditions, drift, policy of the moment, effects."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmcore.errors import LLMCoreError, Unavailable
from llmcore.executor import Executor, ExecutorOptions, StepEnded, StepHeld
from llmcore.plan import Approval, Plan, Preview, StepResult, Vote
from llmcore.ports import Call
from tests.rooms import ANNA, POLICY, Rooms, rooms, shown

pytestmark = pytest.mark.asyncio

STOP = {"intent": "stop_it", "params": {"module": "nginx"}}
SET = {"intent": "set_it", "params": {"module": "nginx"}}
LOOK = {"intent": "look", "params": {"module": "nginx"}}
START = {"intent": "start_it", "params": {"module": "nginx"}}


@dataclass(slots=True)
class Course:
    """What a run told."""

    results: dict[str, StepResult] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)

    @property
    def states(self) -> dict[str, str]:
        """State by step."""
        return {step_id: result.state.value for step_id, result in self.results.items()}

    def error(self, step_id: str) -> Mapping[str, Any]:
        """The error of a failed step."""
        found = self.results[step_id].error
        assert found is not None
        return found


async def run(house: Rooms, plan: Plan, executor: Executor | None = None) -> Course:
    """Run a plan to the end."""
    course = Course()
    async with aclosing((executor or house.executor).run(plan, "rn_1", ANNA)) as events:
        async for event in events:
            if isinstance(event, StepEnded):
                course.results[event.step.id] = event.result
            elif isinstance(event, StepHeld):
                course.held.append(event.reason)
    return course


def approved(plan: Plan, count: int = 1, **more: Any) -> Plan:
    """The plan as it was shown, with so many votes."""
    votes = tuple(Vote(by=f"person{number}", at="now") for number in range(count))
    return replace(shown(plan), approval=Approval(needed=count, roles=("admin", "developer"), given=votes, **more))


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[Rooms]:
    """The rooms on a new store."""
    async with rooms(tmp_path) as built:
        yield built


# --- conditions ---


@pytest.mark.parametrize(
    ("when", "state"),
    [
        ("steps.s1.state == 'done'", "done"),
        ("steps.s1.result.module == 'nginx' && steps.s1.result.ok", "done"),
        ("steps.s1.result.module == 'redis'", "skipped"),
        ("steps.s1.result.missing == 1", "failed"),
        ("steps.s1.result.module", "failed"),
        ("has(steps.s1.result.missing)", "skipped"),
    ],
)
async def test_condition_decides_about_its_step(house: Rooms, when: str, state: str) -> None:
    """One that errs or is neither true nor false fails it, without acting."""
    course = await run(house, house.plan(LOOK, {"intent": "list_all", "when": when}))
    assert course.states == {"s1": "done", "s2": state}
    assert len(house.host.calls) == (2 if state == "done" else 1)
    if state == "failed":
        assert course.error("s2")["error"] == "bad_params"


async def test_after_a_failure_that_goes_on_only_conditions_are_asked(house: Rooms) -> None:
    """Who needs the failed step is skipped, who has a condition about it decides by it, also about skipped steps."""
    house.host.plays["look"] = _fails
    course = await run(
        house,
        house.plan(
            {**LOOK, "on_error": "continue"},
            {"intent": "list_all", "needs": ["s1"]},
            {"intent": "list_all", "when": "steps.s1.state == 'failed'"},
            {"intent": "list_all", "when": "steps.s2.state == 'skipped' && steps.s1.result == null"},
            {"intent": "list_all", "needs": ["s3"]},
        ),
    )
    assert course.states == {"s1": "failed", "s2": "skipped", "s3": "done", "s4": "done", "s5": "done"}


async def test_a_step_named_before_what_it_needs_is_settled_too(house: Rooms) -> None:
    """The order of the list decides nothing."""
    house.host.plays["look"] = _fails
    course = await run(house, house.plan({"intent": "list_all", "needs": ["s2"]}, {**LOOK, "on_error": "continue"}))
    assert course.states == {"s1": "skipped", "s2": "failed"}


# --- drift ---


@pytest.mark.parametrize(
    "now",
    [Preview(targets=("apache",)), Preview(targets=("nginx", "apache"), blast=2), Preview(targets=("nginx",), blast=9)],
)
async def test_a_step_that_would_touch_something_else_does_not_begin(house: Rooms, now: Preview) -> None:
    """Other targets, or more of them, than people have seen; what does not need it goes on until then."""
    plan = approved(house.plan(STOP))
    _previews(house, now)
    course = await run(house, plan)
    assert course.held
    assert course.results == {}
    assert house.host.calls == []


async def test_what_nobody_saw_because_it_was_missing_is_drift_once_it_is_there(house: Rooms) -> None:
    """An approval of nothing is no approval of what a stranger has put there."""
    plan = approved(house.plan(STOP))
    plan = replace(plan, steps=(replace(plan.steps[0], preview=None),))
    course = await run(house, plan)
    assert course.held
    assert house.host.calls == []


async def test_what_the_plan_changed_itself_is_no_drift(house: Rooms) -> None:
    """The second step touches what the first one has made."""
    plan = approved(house.plan(SET, {**STOP, "needs": ["s1"]}))
    second = replace(plan.steps[1], preview=None)
    course = await run(house, replace(plan, steps=(plan.steps[0], second)))
    assert course.states == {"s1": "done", "s2": "done"}
    assert course.held == []


async def test_what_lies_inside_what_the_plan_changed_is_no_drift(house: Rooms) -> None:
    """Paths count as inside and around; names that only begin alike do not."""
    made = {"intent": "set_it", "params": {"module": "/srv/shop"}}
    inside = {"intent": "stop_it", "params": {"module": "/srv/shop/config"}, "needs": ["s1"]}
    beside = {"intent": "stop_it", "params": {"module": "/srv/shop2"}, "needs": ["s2"]}
    plan = approved(house.plan(made, inside, beside))
    bare = tuple(replace(step, preview=None) if step.id != "s1" else step for step in plan.steps)
    course = await run(house, replace(plan, steps=bare))
    assert course.states == {"s1": "done", "s2": "done"}
    assert "/srv/shop2" in course.held[0]


async def test_what_is_missing_by_now_fails_in_its_own_words(house: Rooms) -> None:
    """That is no drift: there is nothing else that would be touched."""
    plan = approved(house.plan(STOP))
    house.host.missing.add("nginx")
    course = await run(house, plan)
    assert course.states == {"s1": "done"}  # this host stops what it does not find
    assert course.held == []


# --- policy of the moment ---


TWO = """
@id("two") @reason("Two people.") @approvers("2") @role("admin")
permit (principal, action == Action::"stop_it", resource) when { context.approvals >= 2 };
"""
STRICT = POLICY.replace(
    'action in Action::"destructive", resource)\nwhen { context.approvals >= 1 }',
    "action, resource)\nwhen { context.approvals >= 9 }",
)


async def test_a_policy_that_asks_for_more_by_now_holds_the_step(tmp_path: Path) -> None:
    """More people, or others, than have approved; breaking the glass stands for all of them."""
    assert STRICT != POLICY
    async with rooms(tmp_path, STRICT + TWO) as house:
        plan = approved(house.plan(STOP))
        assert (await run(house, plan)).held
        two = approved(house.plan(STOP), 2)
        assert (await run(house, two)).held, "developers approved, and policy asks for admins"
        assert house.host.calls == []
        approval = Approval(needed=2, roles=("admin",), given=(Vote(by="bo", at="now", break_glass=True),))
        assert (await run(house, replace(plan, approval=approval))).states == {"s1": "done"}


async def test_admins_who_approved_are_enough(tmp_path: Path) -> None:
    """What was asked of people then is at least what policy asks now."""
    async with rooms(tmp_path, STRICT + TWO) as house:
        plan = approved(house.plan(STOP), 2)
        assert plan.approval is not None
        plan = replace(plan, approval=replace(plan.approval, roles=("admin",)))
        assert (await run(house, plan)).states == {"s1": "done"}


# --- effects ---


async def test_a_change_whose_effect_cannot_be_seen_has_failed(house: Rooms) -> None:
    """It is looked at several times; a look that fails counts as not seen."""
    looks: list[bool | Exception] = [False, Unavailable("away"), False]

    async def verify(intent: str, params: Mapping[str, Any], principal: object) -> bool:
        look = looks.pop(0)
        if isinstance(look, Exception):
            raise look
        return look

    executor = replace(house.executor, options=ExecutorOptions(verify_s=(0.0, 0.0, 0.0)))
    _hook(house, verify=verify)
    course = await run(house, approved(house.plan(STOP)), executor)
    assert course.states == {"s1": "failed"}
    assert course.error("s1")["error"] == "verify_failed"
    assert looks == []


async def test_an_effect_that_comes_late_is_seen(house: Rooms) -> None:
    """A service may need a moment."""
    looks = [False, True]

    async def verify(intent: str, params: Mapping[str, Any], principal: object) -> bool:
        return looks.pop(0)

    executor = replace(house.executor, options=ExecutorOptions(verify_s=(0.0, 0.0, 0.0)))
    _hook(house, verify=verify)
    assert (await run(house, approved(house.plan(STOP)), executor)).states == {"s1": "done"}


async def test_what_was_there_before_the_first_attempt_is_kept(house: Rooms) -> None:
    """A second attempt sees what the first has left, which is not what an undo has to bring back."""
    states = ["running", "half stopped", "half stopped"]

    async def preview(intent: str, params: Mapping[str, Any], principal: object) -> Preview:
        return Preview(targets=("nginx",), before={"state": states.pop(0)})

    tries: list[Call] = []

    async def play(call: Call) -> str:
        tries.append(call)
        if len(tries) < 3:
            raise LLMCoreError("not yet")
        return "set"

    house.host.plays["set_it"] = play
    plan = approved(house.plan({**SET, "retries": 2}))
    _hook(house, preview=preview)
    course = await run(house, plan)
    assert course.results["s1"].before == {"state": "running"}
    again = await house.executor.journaled(plan, "rn_1")
    assert again.results["s1"].before == {"state": "running"}


async def test_nothing_begins_once_the_time_of_the_plan_is_used_up(house: Rooms) -> None:
    """Neither later steps nor a longer wait inside one."""
    executor = replace(house.executor, options=ExecutorOptions(total_s=-1.0))
    course = await run(house, house.plan(LOOK, {"intent": "list_all", "needs": ["s1"]}), executor)
    assert course.states == {"s1": "failed", "s2": "skipped"}
    assert course.error("s1")["error"] == "timeout"
    assert house.host.calls == []


async def _fails(_: Call) -> Any:
    raise LLMCoreError("no")


def _previews(house: Rooms, preview: Preview) -> None:
    async def show(intent: str, params: Mapping[str, Any], principal: object) -> Preview:
        return preview

    _hook(house, preview=show)


def _hook(house: Rooms, **hooks: Any) -> None:
    """Let the host answer otherwise."""
    for name, hook in hooks.items():
        house.host.hooks[name] = hook
