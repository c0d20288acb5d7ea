"""Whatever anyone writes: no crash, no intent outside the catalogue, no params that do not fit."""

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.catalog import Catalog
from llmcore.planner import Draft, Planner
from llmcore.planner.guard import blocking, signs
from llmcore.providers.scripted import ScriptedProvider
from tests.planner_kit import OLGA, bundled, local, offline, request

WORDS = st.sampled_from(
    sorted({word for intent in bundled() for example in intent.examples for word in example.text.split()})
)
TEXTS = st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=12).map(" ".join))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=10))
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
STEPS = st.lists(
    st.fixed_dictionaries(
        {"intent": st.sampled_from([intent.name for intent in bundled()]), "params": JSON},
        optional={"needs": JSON, "approved": JSON},
    )
    | JSON,
    max_size=4,
)


def sound(draft: Draft, catalog: Catalog) -> None:
    """A draft that others may build on."""
    assert draft.kind in ("plan", "clarify", "none", "answer")
    assert 0.0 <= draft.confidence <= 1.0
    assert (draft.kind == "plan") <= bool(draft.steps)
    assert bool(draft.steps) <= (draft.kind in ("plan", "clarify"))
    for step in draft.steps:
        assert step.intent in catalog
    if draft.kind == "plan":
        catalog.steps(
            [
                {
                    "id": f"s{number + 1}",
                    "intent": step.intent,
                    "params": dict(step.params),
                    "needs": [f"s{need + 1}" for need in step.needs],
                }
                for number, step in enumerate(draft.steps)
            ]
        )


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_any_text(text: str) -> None:
    """Locally."""
    draft = local().plan(request(text))
    sound(draft, bundled())
    assert all(step.intent in bundled() for step in draft.steps)
    local().explain(request(text))


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_observers_plan_reads_only(text: str) -> None:
    """Only what is visible is ever planned or named."""
    visible = {intent.name for intent in bundled().visible_to(OLGA)}
    draft = local().plan(request(text, principal=OLGA))
    assert {step.intent for step in draft.steps} | set(draft.nearest) <= visible


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.sampled_from(["copy a file", "restart the service", "send a telegram message"]))
def test_any_answer(text: str, asked: str) -> None:
    """To any question of ours."""
    pending = local().plan(request(asked))
    assert pending.kind == "clarify"
    sound(local().plan(request(text, pending=pending)), bundled())


@settings(max_examples=100, deadline=None)
@given(st.one_of(STEPS.map(lambda steps: {"kind": "plan", "steps": steps}), JSON, st.text()), TEXTS)
def test_any_reply_of_a_model(reply: Any, text: str) -> None:
    """Whatever it says, twice."""
    said = reply if isinstance(reply, str) else json.dumps(reply)
    planner = Planner.over(offline(), ScriptedProvider(script=[said, said]))
    sound(asyncio.run(planner.plan(request(text))), bundled())


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_the_guard_reads_anything(text: str) -> None:
    """Signs lie within the text."""
    for sign in signs(text):
        assert 0 <= sign.start <= sign.end
    assert blocking(text, mutates=True, quoted=[(0, len(text) + 10)]) in (None, *{sign.kind for sign in signs(text)})
