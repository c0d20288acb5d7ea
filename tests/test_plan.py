"""The values of a plan: legal moves, references, order, digest and JSON."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import BadParams, Conflict
from llmcore.plan import (
    TERMINAL,
    Approval,
    Decision,
    Effect,
    Origin,
    Plan,
    PlanStatus,
    Preview,
    Principal,
    Step,
    StepState,
    Undo,
    Verdict,
    Vote,
    ancestors,
    digest,
    feeding_reads,
    is_reference,
    plan_from_json,
    plan_json,
    references,
)

ANNA = Principal(name="anna", role="admin")


def plan_of(*steps: Step, **changes: Any) -> Plan:
    """A plan of those steps."""
    return replace(
        Plan(
            plan_id="pl_1",
            requester=ANNA,
            conversation_id="cv_1",
            topic="/ui/updates/llm/cv_1",
            created_at="2026-01-01T00:00:00.000Z",
            origin=Origin(kind="chat", id="rn_1"),
            steps=steps,
        ),
        **changes,
    )


def step(step_id: str, effect: Effect = Effect.READ, needs: tuple[str, ...] = (), **params: Any) -> Step:
    """A step with those params."""
    return Step(id=step_id, intent="do_it", params=params, needs=needs, effect=effect)


def test_plan_effect_is_the_most_dangerous_of_its_steps() -> None:
    """One destructive step makes the plan destructive."""
    assert plan_of(step("s1"), step("s2", Effect.DESTRUCTIVE)).effect is Effect.DESTRUCTIVE
    assert plan_of(step("s1"), step("s2", Effect.WRITE)).effect is Effect.WRITE
    assert plan_of().effect is Effect.READ


def test_step_is_found_and_replaced_by_its_id() -> None:
    """Only the step of that id changes."""
    plan = plan_of(step("s1"), step("s2"))
    changed = plan.with_step(replace(plan.step("s2"), state=StepState.DONE))
    assert [found.state for found in changed.steps] == [StepState.PENDING, StepState.DONE]
    with pytest.raises(KeyError):
        plan.step("s9")


def test_decided_plans_do_not_move_any_more() -> None:
    """From a terminal status there is no way back to one in which something runs."""
    for status in TERMINAL:
        ended = plan_of(step("s1"), status=status)
        assert ended.moved(status) == ended
        for following in (PlanStatus.PROPOSED, PlanStatus.APPROVED, PlanStatus.RUNNING, PlanStatus.WAITING):
            with pytest.raises(Conflict):
                ended.moved(following)


def test_proposed_plan_can_be_approved_then_runs_then_is_done() -> None:
    """The usual way of a plan."""
    plan = plan_of(step("s1"))
    done = plan.moved(PlanStatus.APPROVED).moved(PlanStatus.RUNNING).moved(PlanStatus.DONE)
    assert done.status is PlanStatus.DONE


def test_references_are_found_at_any_depth() -> None:
    """In lists and objects, and nowhere else."""
    value = {"a": [{"$from": "s1", "path": "x"}], "b": {"c": {"$from": "s2"}}, "d": {"$from": 3}, "e": "s1"}
    assert [found["$from"] for found in references(value)] == ["s1", "s2"]
    assert not is_reference({"$from": "s1", "other": 1})


def test_steps_in_a_circle_are_refused_with_the_place() -> None:
    """The error names the first of them."""
    circle = [step("s1", needs=("s2",)), step("s2", needs=("s1",))]
    with pytest.raises(BadParams) as refused:
        ancestors(circle)
    assert refused.value.details["fields"][0]["pointer"] == "/steps/0/needs"


def test_ancestors_follow_needs_and_references() -> None:
    """Both count, and what is behind them."""
    steps = [step("a"), step("b", x={"$from": "a"}), step("c", needs=("b",))]
    assert ancestors(steps) == {"a": frozenset(), "b": frozenset("a"), "c": frozenset("ab")}


def test_reads_that_feed_a_change_run_first_and_others_do_not() -> None:
    """A read behind a change, or one that feeds nothing, is no part of segment 1."""
    steps = [
        step("look"),
        step("idle"),
        step("act", Effect.WRITE, x={"$from": "look"}),
        step("after", needs=("act",)),
        step("last", Effect.WRITE, needs=("after",)),
    ]
    assert feeding_reads(steps) == {"look"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1), JSON, max_size=4))
def test_digest_is_the_same_for_the_same_plan_whatever_the_order_of_keys(params: dict[str, Any]) -> None:
    """Key order is no difference; the plan's id, status and verdicts are none either."""
    one = plan_of(Step(id="s1", intent="do_it", params=params))
    other = plan_of(
        Step(
            id="s1",
            intent="do_it",
            params=dict(reversed(params.items())),
            verdict=Verdict(decision=Decision.ASK),
            state=StepState.DONE,
        ),
        plan_id="pl_2",
        status=PlanStatus.DONE,
    )
    assert digest(one) == digest(other)
    assert digest(one).startswith("sha256:")


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "s2"},
        {"intent": "do_that"},
        {"params": {"x": 2}},
        {"params": {"x": "1"}},
        {"params": {"x": 2**60}},
        {"needs": ("s0",)},
        {"when": "true"},
        {"retries": 1},
        {"timeout_s": 61.0},
        {"effect": Effect.READ},
        {"schema_hash": "other"},
        {"preview": Preview(targets=("b",))},
    ],
)
def test_digest_changes_with_all_that_decides_what_will_run(changed: dict[str, Any]) -> None:
    """Every one of these fields is covered."""
    base = Step(id="s1", intent="do_it", params={"x": 1}, preview=Preview(targets=("a",)))
    assert digest(plan_of(base)) != digest(plan_of(replace(base, **changed)))


def test_numbers_beyond_doubles_are_told_apart_in_the_digest() -> None:
    """Two job ids that are equal as doubles are not the same plan."""
    digests = {digest(plan_of(step("s1", job=number))) for number in (2**53, 2**53 + 1, 2**53 + 2)}
    assert len(digests) == 3


def test_plan_survives_its_json() -> None:
    """Everything that is stored comes back."""
    full = Step(
        id="s1",
        intent="restart_target",
        params={"module": "nginx"},
        needs=("s0",),
        when="true",
        retries=2,
        timeout_s=5.0,
        effect=Effect.DESTRUCTIVE,
        schema_hash="abc",
        verdict=Verdict(decision=Decision.ASK, rules=("r",), reason="why", would_allow="a person", approvals=2),
        preview=Preview(targets=("nginx",), before={"state": "running"}, after={}, blast=1),
        undo=Undo(intent="start_target", params={"module": "nginx"}),
        state=StepState.UNKNOWN,
    )
    approval = Approval(needed=2, roles=("admin",), given=(Vote(by="bo", at="now", comment="ok"),), expires_at="later")
    plan = plan_of(step("s0"), full, approval=approval, digest="sha256:1", run_id="rn_1", status=PlanStatus.WAITING)
    assert plan_from_json(plan_json(plan)) == plan
    assert plan_json(plan)["effect"] == "destructive"


def test_only_people_of_the_right_role_may_approve() -> None:
    """Agents and services never do, whatever their role."""
    assert ANNA.may_approve(())
    assert Principal(name="d", role="developer").may_approve(())
    assert not Principal(name="o", role="observer").may_approve(())
    assert not Principal(name="a", role="admin", kind="agent").may_approve(())
    assert not Principal(name="d", role="developer").may_approve(("admin",))
