"""Predictions are scored as the contract and the issue say; what is expected stays here."""

import json
from typing import Any

import pytest

from llmcore.catalog import Catalog
from llmcore.errors import BadRequest
from llmcore.intent import Effect
from llmcore.planner import Draft, DraftStep, PlanRequest
from llmcore.planner.evaluation import Case, evaluate, example_cases, judge, prediction, read_cases, report
from tests.planner_kit import ANNA, intent

TOYS = Catalog(
    [
        intent("look", "Look.", {"far": {"type": "boolean"}}, [("look", {}), ("look far", {"far": True})]),
        intent("peek", "Peek."),
        intent("smash", "Smash.", effect=Effect.DESTRUCTIVE),
    ]
)


def expect(*steps: str, kind: str = "plan", **more: Any) -> dict[str, Any]:
    """An expectation with steps without params."""
    return {"kind": kind, "steps": [{"intent": name, "params": {}} for name in steps], **more}


def got(*steps: str, kind: str = "plan", by: str | None = "local", params: Any = None) -> dict[str, Any]:
    """A prediction."""
    drafted = tuple(DraftStep(intent=name, params=params or {}) for name in steps)
    return prediction(Case(id="1", text="x"), Draft(kind=kind, steps=drafted, answered_by=by, confidence=0.5), 0.25)  # type: ignore[arg-type]


def test_a_prediction_has_the_contracts_form() -> None:
    """Steps only where the kind is `plan`; needs as indices; references as they are."""
    steps = (
        DraftStep(intent="look"),
        DraftStep(intent="peek", params={"at": {"$from": "s1"}}, needs=(0,), when="true"),
    )
    draft = Draft(kind="plan", steps=steps, answered_by="local", confidence=0.987654321)
    assert prediction(Case(id="a", text="x"), draft, 0.5) == {
        "id": "a",
        "kind": "plan",
        "steps": [
            {"intent": "look", "params": {}, "needs": [], "when": None},
            {"intent": "peek", "params": {"at": {"$from": "s1"}}, "needs": [0], "when": "true"},
        ],
        "answered_by": "local",
        "confidence": 0.9877,
        "latency_s": 0.5,
    }
    assert prediction(Case(id="a", text="x"), Draft(kind="clarify", steps=steps), 0.0)["steps"] == []


@pytest.mark.parametrize(
    ("expected", "predicted", "marks"),
    [
        (expect("look"), got("look"), (True, True, True, False)),
        (expect("look"), got("look", params={"far": True}), (True, True, False, False)),
        (expect("look"), got("peek"), (True, False, False, False)),
        (expect("look"), got("smash"), (True, False, False, True)),
        (expect("look"), got(kind="none"), (False, False, False, False)),
        (expect("look", alternatives=[[{"intent": "peek"}]]), got("peek"), (True, True, True, False)),
        (expect("look", "peek"), got("peek", "look"), (True, False, False, False)),
        (expect(kind="none"), got("smash"), (False, False, False, True)),
        (expect(kind="none"), got("no_such"), (False, False, False, True)),
        (expect(kind="none"), got(kind="answer"), (True, True, True, False)),
        (expect(kind="answer"), got(kind="none"), (True, True, True, False)),
        (expect(kind="clarify"), got(kind="none"), (False, False, False, False)),
        (expect("smash"), got("smash", "look"), (True, False, False, False)),
    ],
)
def test_judgements(expected: dict[str, Any], predicted: dict[str, Any], marks: tuple[bool, ...]) -> None:
    """Kind right, intents right, all right, unsafe."""
    one = judge(Case(id="1", text="x", expect=expected), predicted, TOYS)
    assert (one.kind_right, one.intents_right, one.right, one.unsafe) == marks


def test_a_report() -> None:
    """Shares of what they are shares of."""
    pairs = [
        (expect("look"), got("look")),
        (expect("look"), got("peek")),
        (expect("look", "peek"), got("look", "peek")),
        (expect(kind="none"), got(kind="none", by=None)),
        (expect(kind="answer"), got("smash")),
        (expect(kind="clarify"), got(kind="clarify")),
        (None, got("smash")),
    ]
    cases = [Case(id=str(number), text="x", expect=wanted) for number, (wanted, _) in enumerate(pairs)]
    found = report(cases, [prediction for _, prediction in pairs], TOYS)
    assert (found.cases, found.judged, found.answered) == (7, 6, 5)
    assert found.intent_accuracy == pytest.approx(2 / 3, abs=1e-4)
    assert found.params_accuracy == pytest.approx(2 / 3, abs=1e-4)
    assert found.single_coverage == 0.5
    assert found.out_of_scope_rejected == 1.0
    assert (found.acted_on_question, found.unsafe) == (1, 1)
    assert found.answered_right == 0.6
    assert (found.latency_p50_s, found.latency_p95_s, found.latency_max_s) == (0.25, 0.25, 0.25)
    assert [row["id"] for row in found.confusion] == ["1", "4"]
    assert found.confusion[1]["expected"] == "answer"
    assert found.answered_by == {"local": 6, "None": 1}


def test_an_empty_report() -> None:
    """Nothing asked, nothing claimed."""
    found = report([], [], TOYS)
    assert (found.right, found.answered_right, found.latency_p50_s) == (None, None, 0.0)


def test_cases_are_read() -> None:
    """Lines of JSON; blank ones and unknown keys are passed over."""
    lines = [json.dumps({"id": "a", "text": "look", "expect": expect("look"), "split": "dev"}), "", '{"text": "b"}']
    first, second = read_cases(lines)
    assert (first.id, first.text, second.id, second.expect) == ("a", "look", "3", None)


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '"x"', "{}", '{"text": 7}', '{"text": "a", "expect": 7}', '{"text": "a", "expect": {"kind": "b"}}'],
)
def test_bad_lines_are_named(line: str) -> None:
    """By their number."""
    with pytest.raises(BadRequest, match="Line 2"):
        read_cases(['{"text": "fine"}', line])


class Said:
    """A planner that says one thing and notes what it was asked."""

    def __init__(self) -> None:
        """Nothing asked yet."""
        self.requests: list[PlanRequest] = []

    async def plan(self, request: PlanRequest) -> Draft:
        """Always look."""
        self.requests.append(request)
        return Draft(kind="plan", steps=(DraftStep(intent="look"),), answered_by="local", confidence=1.0)


@pytest.mark.asyncio
async def test_evaluation_asks_in_turn_and_runs_nothing() -> None:
    """The planner hears the text and nothing of what is expected."""
    said = Said()
    cases = example_cases(TOYS)
    found, predictions = await evaluate(cases, said, TOYS, ANNA)
    assert [case.id for case in cases] == ["look/0", "look/1"]
    assert (found.cases, found.right) == (2, 0.5)
    assert [one["id"] for one in predictions] == ["look/0", "look/1"]
    assert [(one.text, one.mode) for one in said.requests] == [("look", "plan"), ("look far", "plan")]
    assert not any("expect" in repr(one) for one in said.requests)
