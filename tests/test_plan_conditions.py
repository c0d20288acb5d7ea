"""Conditions of steps: what they may read, and what they say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import BadParams
from llmcore.plan import condition_sources, holds, renamed_sources


@pytest.mark.parametrize(
    ("condition", "sources"),
    [
        ("steps.s1.state == 'done'", {"s1"}),
        ("steps . s1 . result.ok && steps.s2.result.items.exists(x, x > 1)", {"s1", "s2"}),
        ("'steps.s9.state' == steps.s1.result", {"s1"}),
        ('r"\\" == "steps.s8.state" || steps.s1.state == "done"', {"s1"}),
        ("steps.s1.result.steps.s7.state == 1 // steps.s6.state", {"s1"}),
        ("size(steps.s1.result) > 1 && has(steps.s1.result.a) && steps.s1.result.b in [1, 2]", {"s1"}),
        ("steps.s1.result.map(steps, steps > 1) == []", {"s1"}),
        ("true", set()),
    ],
)
def test_what_a_condition_reads(condition: str, sources: set[str]) -> None:
    """Only steps, told from texts, comments and fields of the same name."""
    assert condition_sources(condition) == sources


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("steps.s1.state ==", "is not CEL"),
        ("", "is not CEL"),
        ("steps['s1'].state == 'done'", "step's field"),
        ("steps.s1 == 1", "step's field"),
        ("steps.s1.params == 1", "step's field"),
        ("size(steps) > 0", "step's field"),
        ("step.s1.state == 'done'", "'step'"),
        ("os.environ == 1", "'os'"),
        ("steps.s1.result.all(x, steps.s2.result.all(y, x == y))", "inside another"),
    ],
)
def test_what_is_no_condition_says_why(condition: str, why: str) -> None:
    """With the remedy."""
    with pytest.raises(BadParams, match=why):
        condition_sources(condition)


@pytest.mark.parametrize(
    ("condition", "wrong"),
    [
        ("steps.s1.result.missing == 1", "KeyError"),
        ("steps.s1.result.count", "neither true nor false"),
        ("steps.s1.result.count + 9223372036854775807 > 0", "OverflowError"),
        ("steps.s1.result.count == 1 && steps.s1.result.name > 1", "TypeError"),
        ("steps.s1.result.list[9] == 1", "cannot be answered"),
        ("1 / 0 == steps.s1.result.count", "cannot be answered"),
    ],
)
def test_a_condition_that_errs_is_no_answer(condition: str, wrong: str) -> None:
    """Neither is one that says something else than true or false."""
    facts = {"s1": {"result": {"count": 1, "name": "x", "list": []}, "state": "done"}}
    with pytest.raises(BadParams, match=wrong):
        holds(condition, facts)


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.booleans(), st.text(max_size=20))
def test_conditions_agree_with_python(one: int, two: int, flag: bool, text: str) -> None:
    """On whole numbers, flags and texts."""
    facts: dict[str, Any] = {
        "a": {"result": {"n": one, "flag": flag, "text": text}, "state": "done"},
        "b": {"result": {"n": two}, "state": "failed"},
    }
    said = holds("steps.a.result.n < steps.b.result.n && steps.a.result.flag || steps.b.state == 'done'", facts)
    assert said == (one < two and flag)
    assert holds("steps.a.result.text == '' || size(steps.a.result.text) > 0", facts)


@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    """Never anything else; what passes reads only what it names."""
    try:
        sources = condition_sources(text)
    except BadParams:
        return
    facts = {source: {"result": 1, "state": "done"} for source in sources}
    try:
        assert holds(text, facts) in (True, False)
    except BadParams:
        assert True not in (text == "true", text == "false")


NAMES = st.sampled_from(["s1", "s2", "a", "steps", "state", "result"])


@given(st.lists(NAMES, min_size=1, max_size=4, unique=True), st.sampled_from(["x_", "s1_"]))
def test_renaming_a_condition_renames_what_it_reads_and_nothing_else(names: list[str], prefix: str) -> None:
    """Texts, fields and comments of the same name stay."""
    parts = [f"steps.{name}.result.{name} == 'steps.{name}.state'" for name in names]
    condition = " && ".join(parts) + " // steps.s1.state"
    renamed = renamed_sources(condition, {name: prefix + name for name in names})
    assert condition_sources(renamed) == {prefix + name for name in names}
    for name in names:
        assert f".{name} == 'steps.{name}.state'" in renamed
