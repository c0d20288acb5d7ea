"""Chains inside chains: flat steps that carry references and conditions along."""

from typing import Any

import pytest

from llmcore.errors import BadParams
from llmcore.plan import Step
from tests.planner_kit import bundled


def steps(*raw: dict[str, Any]) -> dict[str, Step]:
    """The checked steps by id."""
    return {step.id: step for step in bundled().steps(list(raw))}


def chain(*inner: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A nested chain."""
    return {"intent": "intent_chain", "params": {"steps": list(inner)}, **more}


CPU = {"intent": "get_cpu_stats"}


def test_a_nested_chain_becomes_steps_of_the_plan() -> None:
    """Waiting for what the chain waits for; who waits for the chain waits for its last steps."""
    found = steps(
        {"intent": "list_targets"},
        chain(CPU, {"intent": "get_system_time", "needs": ["s1"]}, needs=["s1"]),
        {"intent": "get_memory_stats", "needs": ["s2"]},
    )
    assert {name: (step.intent, step.needs) for name, step in found.items()} == {
        "s1": ("list_targets", ()),
        "s2_s1": ("get_cpu_stats", ("s1",)),
        "s2_s2": ("get_system_time", ("s1", "s2_s1")),
        "s3": ("get_memory_stats", ("s2_s2",)),
    }


def test_references_and_conditions_inside_go_along() -> None:
    """Those to steps outside stay; the chain's own condition stands before each of its steps."""
    start = {
        "id": "start",
        "intent": "start_target",
        "params": {"module": {"$from": "look", "path": "module"}},
        "when": "steps.look.result.state == 'stopped'",
    }
    look = {"id": "look", "intent": "get_target_status", "params": {"module": "nginx"}}
    after = {"intent": "get_system_time", "needs": ["start"]}
    found = steps({"id": "first", **CPU}, chain(look, start, after, id="fix", when="steps.first.state == 'done'"))
    assert found["fix_start"].params["module"]["$from"] == "fix_look"
    assert found["fix_start"].when == "(steps.first.state == 'done') && (steps.fix_look.result.state == 'stopped')"
    assert found["fix_s3"].when == "(steps.first.state == 'done') && (steps.fix_start.state == \"done\")"
    assert found["fix_look"].when == "(steps.first.state == 'done')"


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        ([CPU, chain({"intent": "gone"})], "/steps/1/params/steps/0/intent"),
        ([chain(CPU, {"intent": "get_cpu_stats", "when": "x"})], "/steps/0/params/steps/1/when"),
        (
            [chain(chain(chain(chain(chain(CPU)))))],
            "/steps/0/params/steps/0/params/steps/0/params/steps/0/params/steps/0",
        ),
        ([chain(CPU, retries=2)], "/steps/0/retries"),
        ([chain(*[CPU] * 101)], "/steps"),
        ([chain()], "/steps/0/intent"),
        ([chain(3)], "/steps/0/params/steps/0"),  # type: ignore[arg-type]  # what comes from outside
        ([{"intent": "chain", "params": {"steps": "x"}}], "/steps/0/intent"),
    ],
)
def test_what_is_wrong_inside_is_told_where_it_stands(raw: list[Any], pointer: str) -> None:
    """Pointers lead into the nested chain."""
    with pytest.raises(BadParams) as refused:
        bundled().steps(raw)
    assert pointer in [field["pointer"] for field in refused.value.details["fields"]]


def test_approvals_and_roles_inside_a_nested_chain_are_no_fields() -> None:
    """What only people and code decide cannot be smuggled in."""
    with pytest.raises(BadParams):
        bundled().steps([chain({**CPU, "approved": True})])
    with pytest.raises(BadParams):
        bundled().steps([chain(CPU, approval={"needed": 0})])
