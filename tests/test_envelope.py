"""Signed frames: what another language can make, and what is refused."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.envelope import ALERT, MAX_FRAME, fresh, read, sign
from llmcore.errors import BadRequest, LLMCoreError, Unauthorized

KEYS = {"prometheus": "sécret", "other": "x"}
NOW = 1_700_000_000.0


def by_hand(event: Any, name: str = "prometheus", key: str = "sécret") -> str:
    """As a shell script with openssl would make it."""
    rest = f"{name} {json.dumps(event)}"
    return hmac.new(key.encode(), rest.encode(), hashlib.sha256).hexdigest() + " " + rest


EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/prom",
    "type": ALERT,
    "time": "2023-11-14T22:13:20Z",
    "data": {"labels": {"alertname": "Down"}},
}


def test_frame_made_elsewhere_is_read() -> None:
    """Fields come out as they went in."""
    event = read(by_hand(EVENT), KEYS)
    assert (event.publisher, event.id, event.type, event.time) == ("prometheus", "1", ALERT, NOW)
    assert event.data == EVENT["data"]


def test_own_frame_is_read_back_and_fresh() -> None:
    """Signing and reading agree."""
    event = read(sign("other", "x", ALERT, "/me", {"a": "b c"}, NOW), KEYS)
    assert event.data == {"a": "b c"}
    assert fresh(event, NOW + 60)
    assert not fresh(event, NOW + 61)
    assert not fresh(event, NOW - 61)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "no signature at all",
        by_hand(EVENT, key="wrong"),
        by_hand(EVENT, name="stranger", key=""),
        by_hand(EVENT).replace("Down", "Up"),
        by_hand(EVENT).replace("prometheus ", "other "),
        by_hand(EVENT).upper(),
    ],
)
def test_wrong_signature_is_refused(frame: str) -> None:
    """Whatever else it says."""
    with pytest.raises(Unauthorized):
        read(frame, KEYS)


@pytest.mark.parametrize(
    "event", [3, [], {}, {**EVENT, "time": "yesterday"}, {**EVENT, "id": 3}, {k: EVENT[k] for k in ("id", "type")}]
)
def test_rightly_signed_nonsense_is_refused(event: Any) -> None:
    """A publisher can be trusted and wrong."""
    with pytest.raises(BadRequest):
        read(by_hand(event), KEYS)


def test_giant_frame_is_refused_unread() -> None:
    """Before anything is computed over it."""
    with pytest.raises(BadRequest, match="too large"):
        read("x" * (MAX_FRAME + 1), KEYS)


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    """It is refused as what it is."""
    with pytest.raises(LLMCoreError):
        read(text, KEYS)
