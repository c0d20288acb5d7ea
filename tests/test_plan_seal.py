"""What an edit changed, told step by step; and the seal of a stored plan, which no change of the document survives."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.plan import (
    Approval,
    Edit,
    Effect,
    OnError,
    Origin,
    Plan,
    Preview,
    Principal,
    Step,
    Undo,
    Verdict,
    Vote,
    digest,
    genuine,
    plan_from_json,
    seal,
    step_diff,
    stored_plan_json,
)
from llmcore.plan.documents import dumps, loads
from llmcore.plan.values import Decision

KEY = b"a key"


def step(name: str, **changes: Any) -> Step:
    """A step that stops something."""
    return Step(**{"id": name, "intent": "stop_it", "params": {"module": "nginx"}, **changes})


def changes(before: list[Step], after: list[Step]) -> list[tuple[str, str, dict[str, Any]]]:
    """The diff in short."""
    return [(change["step_id"], change["change"], change["fields"]) for change in step_diff(before, after)]


# --- the diff -----------------------------------------------------------------------------------------------------


def test_the_same_steps_are_the_same() -> None:
    """Whatever policy says of them, and however a number is written."""
    verdict = Verdict(decision=Decision.ASK)
    assert changes([step("s1", timeout_s=60)], [step("s1", timeout_s=60.0, verdict=verdict)]) == [("s1", "same", {})]


def test_each_field_that_decides_is_told() -> None:
    """Params one by one; what was not there before has no `before`."""
    after = step(
        "s1",
        intent="start_it",
        params={"module": "shop", "replicas": 2},
        needs=("s0",),
        when="steps.s0.result.up",
        on_error=OnError.UNDO,
        retries=2,
        timeout_s=5,
        effect=Effect.WRITE,
        preview=Preview(targets=("shop",)),
    )
    [(_, word, fields)] = changes([step("s1")], [after])
    assert word == "changed"
    assert fields == {
        "intent": {"before": "stop_it", "after": "start_it"},
        "params.module": {"before": "nginx", "after": "shop"},
        "params.replicas": {"after": 2},
        "needs": {"before": [], "after": ["s0"]},
        "when": {"before": None, "after": "steps.s0.result.up"},
        "on_error": {"before": "stop", "after": "undo"},
        "retries": {"before": 0, "after": 2},
        "timeout_s": {"before": 60.0, "after": 5},
        "effect": {"before": "destructive", "after": "write"},
        "targets": {"before": None, "after": ["shop"]},
    }
    [(_, _, fields)] = changes([after], [step("s1")])
    assert fields["params.replicas"] == {"before": 2}


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), (2**60, 2**60 + 1), ("1", 1), ([], {}), (None, 0)])
def test_what_the_digest_tells_apart_the_diff_does_too(one: Any, other: Any) -> None:
    """Python's own equality is not enough."""
    before, after = step("s1", params={"x": one}), step("s1", params={"x": other})
    assert [word for _, word, _ in changes([before], [after])] == ["changed"]


def test_steps_come_and_go_in_their_places() -> None:
    """What is gone stands where it was."""
    before = [step("a"), step("b"), step("c"), step("d")]
    after = [step("b"), step("new"), step("d")]
    told = [(name, word) for name, word, _ in changes(before, after)]
    assert told == [("a", "removed"), ("b", "same"), ("c", "removed"), ("new", "added"), ("d", "same")]
    assert all("before" not in sides for sides in changes([], [step("a")])[0][2].values())


@given(before=st.lists(st.sampled_from("abcdef"), unique=True), after=st.lists(st.sampled_from("abcdef"), unique=True))
def test_a_diff_names_every_step_once(before: list[str], after: list[str]) -> None:
    """In the new order."""
    told = changes([step(name) for name in before], [step(name) for name in after])
    names = [name for name, _, _ in told]
    assert sorted(names) == sorted({*before, *after})
    assert [name for name in names if name in after] == after
    words = {name: word for name, word, _ in told}
    assert {name for name, word in words.items() if word == "added"} == set(after) - set(before)
    assert {name for name, word in words.items() if word == "removed"} == set(before) - set(after)


# --- the seal -----------------------------------------------------------------------------------------------------


def whole() -> Plan:
    """A plan with a value in every field."""
    only = step(
        "s1",
        needs=("s0",),
        when="steps.s0.result.up",
        verdict=Verdict(
            decision=Decision.ASK, rules=("r",), reason="why", would_allow="how", approvals=1, roles=("admin",)
        ),
        preview=Preview(targets=("nginx",), before={"up": True}, after={"up": False}),
        undo=Undo(intent="start_it", params={"module": "nginx"}),
    )
    vote = Vote(by="bo", at="2026-01-01T00:00:00.000Z", comment="fine")
    plan = Plan(
        plan_id="pl_1",
        requester=Principal(name="anna"),
        conversation_id="cv_1",
        topic="/t",
        created_at="2026-01-01T00:00:00.000Z",
        origin=Origin(kind="chat", id="x"),
        steps=(replace(only, id="s0", when=None, needs=()), only),
        run_id="rn_1",
        title="stop it",
        request="stop it",
        undoes="rn_0",
        approval=Approval(needed=2, roles=("admin",), given=(vote,), expires_at="x", execute_by="y", rejected=vote),
        edited_from=Edit(digest="sha256:0", by="bo", at="z", diff=({"step_id": "s1", "change": "same", "fields": {}},)),
    )
    return seal(replace(plan, digest=digest(plan)), KEY)


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all values inside a document, containers too."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, found in inner:
        yield (*here, key)
        yield from places(found, (*here, key))


FORGED = {
    "status": ("approved", "done"),
    "effect": ("write", "read"),
    "decision": ("allow", "ask"),
    "on_error": ("continue", "stop"),
    "state": ("done", "pending"),
}
"""Fields whose other values have to be words of the contract."""


def forged(value: Any, name: Any) -> Any:
    """Another value of the same kind."""
    if name in FORGED:
        return next(other for other in FORGED[name] if other != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{value}x"
    if value is None:
        return "other"
    other: Any = ["x"] if isinstance(value, list) else {"x": 1}
    return type(value)() if value else other


def with_other(document: Any, place: tuple[Any, ...]) -> Any:
    """The document with another value at a place."""
    changed = json.loads(json.dumps(document))
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = forged(inner[place[-1]], place[-1])
    return changed


def test_no_field_can_be_changed() -> None:
    """Any value of the document makes the seal wrong, or what is left is no plan at all."""
    document = stored_plan_json(whole())
    assert genuine(plan_from_json(document), KEY)
    computed = {("effect",)}  # of the plan: worked out from the steps, never read
    flipped = [place for place in places(document) if place not in computed]
    assert len(flipped) > 90
    for place in flipped:
        try:
            plan = plan_from_json(with_other(document, place))
        except (KeyError, TypeError, ValueError):
            continue
        assert not genuine(plan, KEY), place


def test_seal_survives_the_store_and_nothing_else() -> None:
    """Also where a preview holds what JSON has no word for."""
    plan = whole()
    odd = {1: {2, 1}, "big": 2**70, "nan": float("nan"), "lone": "\ud800", "bytes": b"x", "tuple": (1, 2.5)}
    odd_step = replace(plan.steps[0], preview=Preview(targets=("nginx",), before=odd))
    for kept in (plan, seal(plan.with_step(odd_step), KEY)):
        assert genuine(kept, KEY)
        assert genuine(plan_from_json(loads(dumps(stored_plan_json(kept)))), KEY)
        assert not genuine(kept, b"another key")


def test_what_has_no_digest_has_no_seal() -> None:
    """And is not genuine; one that nobody is asked about gets an approval of nobody to hold it."""
    plan = replace(whole(), digest=None)
    assert seal(plan, KEY) is plan
    assert not genuine(plan, KEY)
    alone = seal(replace(whole(), approval=None), KEY)
    assert alone.approval
    assert alone.approval.needed == 0
    assert genuine(alone, KEY)
    assert not genuine(replace(alone, approval=None), KEY)
