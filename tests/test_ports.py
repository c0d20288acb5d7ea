"""The values that travel through ports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.plan import Principal
from llmcore.ports import Call, Usage, from_rfc3339, rfc3339


@given(st.floats(min_value=0, max_value=4e9))
def test_times_survive_their_text(seconds: float) -> None:
    """To the millisecond, in UTC."""
    text = rfc3339(seconds)
    assert text.endswith("Z")
    assert from_rfc3339(text) == pytest.approx(seconds, abs=0.001)


def test_text_that_is_no_time_is_refused() -> None:
    """Instead of becoming some time."""
    with pytest.raises(ValueError, match="isoformat"):
        from_rfc3339("yesterday")


def test_tokens_add_up() -> None:
    """Over several calls."""
    both = Usage(input_tokens=1, output_tokens=2, cached_tokens=1) + Usage(input_tokens=3)
    assert both == Usage(input_tokens=4, output_tokens=2, cached_tokens=1)


def test_call_without_listener_may_still_tell_its_progress() -> None:
    """It goes nowhere."""
    call = Call(intent="x", params={}, principal=Principal(name="a"), idempotency_key="k")
    assert call.progress({"text": "half"}) is None  # type: ignore[func-returns-value]  # that is what is shown here
