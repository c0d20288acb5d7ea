"""Schemas that people write: their patterns are matched, and none can be made to run for ever."""

import pytest

from llmcore.catalog.linear import LinearValidator
from llmcore.errors import BadParams


def validator(pattern: str) -> LinearValidator:
    """For one param `x`."""
    return LinearValidator({"type": "object", "properties": {"x": {"type": "string", "pattern": pattern}, "y": {}}})


def test_patterns_are_searched_for() -> None:
    """As JSON Schema says: anywhere, unless anchored; only in texts."""
    assert validator("b+").problems({"x": "abc", "y": 1}) == []
    assert validator("^b").problems({"x": "abc"}) == [{"pointer": "/x", "message": "must match ^b"}]
    assert [problem["message"] for problem in validator("b").problems({"x": 7})] == ["must be string"]


def test_an_evil_text_takes_no_time() -> None:
    """A pattern that backtracks for longer than the universe will last."""
    assert validator(r"^(\w+\s?)*$").problems({"x": "a" * 50_000 + "!"})


@pytest.mark.parametrize("pattern", ["(?=x)x", "(?<!x)y", r"(a)\1", "(", "[", "*", r"\p{L}"])
def test_others_are_refused(pattern: str) -> None:
    """With the place of the pattern."""
    with pytest.raises(BadParams) as refused:
        validator(pattern)
    assert refused.value.details["fields"][0]["pointer"] == "/params/x/pattern"
