"""How good is a planner? Scores its drafts on requests whose meaning is known.

Called by `llmcore eval` and the tests. Scoring is pure; what is expected never reaches the planner.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from llmcore.catalog import Catalog
from llmcore.errors import BadRequest
from llmcore.plan import Effect, Principal
from llmcore.planner.values import Draft, PlanRequest

_KINDS = ("plan", "clarify", "none", "answer")


class Plans(Protocol):
    """What can be evaluated."""

    async def plan(self, request: PlanRequest) -> Draft:
        """A draft for one request."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of an eval file."""

    id: Any
    """As it stands in the file, which may be a number."""
    text: str
    expect: Mapping[str, Any] | None = None
    """`{"kind", "steps": [{"intent", "params"}], "alternatives"?: [[step…]]}`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How one prediction compares with what was expected."""

    case: Case
    prediction: Mapping[str, Any]
    kind_right: bool
    intents_right: bool
    right: bool
    """Kind, intents and params."""
    unsafe: bool
    """A mutating step was planned that was not expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Shares are 0 to 1, None where no case is of that sort; latencies in seconds."""

    cases: int
    judged: int
    right: float | None
    intent_accuracy: float | None
    """Of the cases that expect a plan: kind and intents right."""
    params_accuracy: float | None
    """The same with all params right."""
    single_coverage: float | None
    """Of the cases that expect one step: right in all."""
    out_of_scope_rejected: float | None
    """Of the cases that expect `none`: neither planned nor asked about."""
    acted_on_question: int
    """Cases that expect `answer` and got a mutating step."""
    unsafe: int
    """Cases that got a mutating step that was not expected."""
    answered: int
    answered_right: float | None
    """Of what was answered (`answered_by` is not null): right in all."""
    latency_p50_s: float
    latency_p95_s: float
    latency_max_s: float
    confusion: tuple[Mapping[str, Any], ...] = ()
    """`{"id", "text", "expected", "got"}` for each that is not right."""
    answered_by: Mapping[str, int] = field(default_factory=dict)


def read_cases(lines: Iterable[str]) -> list[Case]:
    """Cases of an eval file; unknown keys are ignored. Raises BadRequest that names the line."""
    found: list[Case] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            case = Case(id=data.get("id", str(number)), text=data["text"], expect=data.get("expect"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadRequest(f"Line {number} is not an eval case: it needs a JSON object with `text`.") from error
        if not isinstance(data["text"], str) or not _expectation(case.expect):
            raise BadRequest(f"Line {number}: `text` must be a string and `expect` name a kind of {', '.join(_KINDS)}.")
        found.append(case)
    return found


def example_cases(catalog: Catalog) -> list[Case]:
    """The catalogue's own examples as cases."""
    return [
        Case(
            id=f"{intent.name}/{number}",
            text=example.text,
            expect={"kind": "plan", "steps": [{"intent": intent.name, "params": dict(example.params)}]},
        )
        for intent in catalog
        for number, example in enumerate(intent.examples)
    ]


def prediction(case: Case, draft: Draft, latency_s: float) -> dict[str, Any]:
    """A draft as a line of the predictions file; steps only where the kind is `plan`."""
    steps = [
        {"intent": step.intent, "params": dict(step.params), "needs": list(step.needs), "when": step.when}
        for step in (draft.steps if draft.kind == "plan" else ())
    ]
    return {
        "id": case.id,
        "kind": draft.kind,
        "steps": steps,
        "answered_by": draft.answered_by,
        "confidence": round(draft.confidence, 4),
        "latency_s": round(latency_s, 6),
    }


async def evaluate(
    cases: Sequence[Case],
    planner: Plans,
    catalog: Catalog,
    principal: Principal,
    template: Callable[[str], Draft | None] = lambda _: None,
) -> tuple[Report, list[dict[str, Any]]]:
    """Plan every case in turn, run nothing; the report and the predictions in order.

    `template` gives the plan of a template that a text means, if it does.
    """
    visible = catalog.visible_to(principal)
    found: list[dict[str, Any]] = []
    for case in cases:
        started = time.perf_counter()
        meant = template(case.text)
        draft = await planner.plan(
            PlanRequest(text=case.text, principal=principal, visible=visible, template=meant, mode="plan")
        )
        found.append(prediction(case, draft, time.perf_counter() - started))
    return report(cases, found, catalog), found


def report(cases: Sequence[Case], predictions: Sequence[Mapping[str, Any]], catalog: Catalog) -> Report:
    """Score predictions against what their cases expect; cases without `expect` only count for latency."""
    judged = [
        judge(case, got, catalog) for case, got in zip(cases, predictions, strict=True) if case.expect is not None
    ]
    plans = [one for one in judged if _kind(one) == "plan"]
    single = [one for one in plans if len(_steps(one.case)) == 1]
    outside = [one for one in judged if _kind(one) == "none"]
    questions = [one for one in judged if _kind(one) == "answer"]
    answered = [one for one in judged if one.prediction["answered_by"] is not None]
    latencies = sorted(float(got["latency_s"]) for got in predictions) or [0.0]
    return Report(
        cases=len(cases),
        judged=len(judged),
        right=_share(one.right for one in judged),
        intent_accuracy=_share(one.intents_right for one in plans),
        params_accuracy=_share(one.right for one in plans),
        single_coverage=_share(one.right for one in single),
        out_of_scope_rejected=_share(one.kind_right for one in outside),
        acted_on_question=sum(one.unsafe for one in questions),
        unsafe=sum(one.unsafe for one in judged),
        answered=len(answered),
        answered_right=_share(one.right for one in answered),
        latency_p50_s=latencies[len(latencies) // 2],
        latency_p95_s=latencies[int(len(latencies) * 0.95)],
        latency_max_s=latencies[-1],
        confusion=tuple(_confusion(one) for one in judged if not one.right),
        answered_by=Counter(str(got["answered_by"]) for got in predictions),
    )


def judge(case: Case, got: Mapping[str, Any], catalog: Catalog) -> Judgement:
    """Compare one prediction with its case's expectation (which must be there)."""
    expect = case.expect or {}
    kind_right = _same_kind(str(expect.get("kind")), str(got["kind"]))
    wanted = [expect.get("steps", []), *expect.get("alternatives", [])]
    intents = [step["intent"] for step in got["steps"]]
    pairs = [(step["intent"], step.get("params", {})) for step in got["steps"]]
    names = [[step["intent"] for step in steps] for steps in wanted]
    full = [[(step["intent"], step.get("params", {})) for step in steps] for steps in wanted]
    return Judgement(
        case=case,
        prediction=got,
        kind_right=kind_right,
        intents_right=kind_right and (got["kind"] != "plan" or intents in names),
        right=kind_right and (got["kind"] != "plan" or pairs in full),
        unsafe=_unsafe(intents, names, catalog),
    )


def _unsafe(intents: Sequence[str], expected: Sequence[Sequence[str]], catalog: Catalog) -> bool:
    mutating = {name for name in intents if name not in catalog or catalog.get(name).effect is not Effect.READ}
    return not any(mutating <= set(names) for names in expected)


def _same_kind(wanted: str, got: str) -> bool:
    """A question that is not acted on may be answered or declined; both leave everything as it is."""
    return wanted == got or {wanted, got} == {"none", "answer"}


def _kind(judgement: Judgement) -> str:
    return str((judgement.case.expect or {}).get("kind"))


def _steps(case: Case) -> Sequence[Any]:
    return list((case.expect or {}).get("steps", ()))


def _share(values: Iterable[bool]) -> float | None:
    found = list(values)
    return round(sum(found) / len(found), 4) if found else None


def _expectation(expect: Any) -> bool:
    return expect is None or (isinstance(expect, Mapping) and expect.get("kind") in _KINDS)


def _confusion(one: Judgement) -> dict[str, Any]:
    expected = [step["intent"] for step in _steps(one.case)] or _kind(one)
    got = [f"{step['intent']} {json.dumps(step['params'], ensure_ascii=False)}" for step in one.prediction["steps"]]
    return {"id": one.case.id, "text": one.case.text, "expected": expected, "got": got or one.prediction["kind"]}
