"""Signed frames of the bus: an HMAC, the publisher's name, a CloudEvents 1.0 event as JSON.

Used by every room that sends or hears messages of other services; knows no bus. The HMAC-SHA256 covers everything
behind it, so any language can sign with a few lines. Keys are UTF-8.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from llmcore.errors import BadRequest, Unauthorized
from llmcore.ports import from_rfc3339, rfc3339

MAX_FRAME = 1 << 20
MAX_AGE_S = 60.0
ALERT = "io.cloudisense.llmcore.alert"
_REQUIRED = ("specversion", "id", "source", "type", "time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """An event whose signature is right."""

    publisher: str
    id: str
    type: str
    source: str
    time: float
    """Epoch seconds, as the publisher says."""
    data: Any


def sign(key_name: str, key: str, kind: str, source: str, data: Any, now: float, event_id: str | None = None) -> str:
    """A frame for the bus; `now` is epoch seconds."""
    event = {
        "specversion": "1.0",
        "id": event_id or uuid4().hex,
        "source": source,
        "type": kind,
        "time": rfc3339(now),
        "data": data,
    }
    rest = f"{key_name} {orjson.dumps(event).decode()}"
    return f"{_mac(key, rest)} {rest}"


def read(frame: str, keys: Mapping[str, str]) -> Signed:
    """The event of a frame; raises Unauthorized for a wrong signature or publisher, BadRequest for anything else."""
    if len(frame) > MAX_FRAME:
        raise BadRequest("The frame is too large.")
    mac, _, rest = frame.partition(" ")
    name, _, text = rest.partition(" ")
    key = keys.get(name)
    if not hmac.compare_digest(mac.encode(), _mac(key or "", rest).encode()) or key is None:
        raise Unauthorized("The frame is not signed by a known publisher.", publisher=name[:64])
    try:
        event = orjson.loads(text)
        if not isinstance(event, dict) or any(not isinstance(event.get(field), str) for field in _REQUIRED):
            raise BadRequest(f"The event needs the text fields {', '.join(_REQUIRED)}.")
        time = from_rfc3339(event["time"])
    except ValueError as error:
        raise BadRequest("The event is not JSON, or its time is not RFC 3339.") from error
    return Signed(
        publisher=name,
        id=event["id"],
        type=event["type"],
        source=event["source"],
        time=time,
        data=event.get("data"),
    )


def fresh(event: Signed, now: float) -> bool:
    """True if the event is at most 60 s old and not from the future by more."""
    return abs(now - event.time) <= MAX_AGE_S


def _mac(key: str, rest: str) -> str:
    return hmac.new(key.encode(), rest.encode(), hashlib.sha256).hexdigest()
