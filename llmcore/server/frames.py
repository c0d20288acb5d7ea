"""The text frames of the socket: reads what a client sends, builds what it gets.

Called by the client object and its outbox. Knows the wire only: neither who is connected nor what an intent does.
"""

import asyncio
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from llmcore.errors import BadParams, BadRequest, LLMCoreError, NotFound
from llmcore.events import StreamEvent, encode

MAX_NAME = 200
"""Characters of a request id or of an intent's name."""
_TEXT = 0x81  # FIN and opcode 1 (RFC 6455, 5.2)


@dataclass(frozen=True, slots=True)
class Rpc:
    """A request that can be understood."""

    request_id: str
    intent: str
    """Without the prefix `intent_`."""
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """A frame that is answered with an error at once."""

    request_id: str | None
    error: LLMCoreError


@dataclass(frozen=True, slots=True)
class Reader:
    """Classifies what clients send."""

    service_id: str
    max_depth: int = 64

    def read(self, message: str | bytes) -> Rpc | Refused | None:
        """An RPC, a refusal, or None for responses and events: nobody here waits for those of a client."""
        if isinstance(message, bytes):
            return Refused(None, BadRequest("Only text frames are understood."))
        try:
            value = orjson.loads(message)
        except orjson.JSONDecodeError as error:
            return Refused(None, BadRequest(f"The frame is not valid JSON: {error.msg}."))
        if not isinstance(value, dict):
            return Refused(None, BadRequest("A frame has to be one JSON object."))
        request_id = value.get("requestid")
        if not isinstance(request_id, str) or len(request_id) > MAX_NAME:
            request_id = None
        if deeper_than(value, message, self.max_depth):
            return Refused(request_id, BadRequest(f"The JSON is nested deeper than {self.max_depth} levels."))
        if value.get("type") == "rpc":
            return self._rpc(value, request_id)
        if value.get("type") in ("rpc_response", "event"):
            return None
        return Refused(request_id, BadRequest("`type` has to be `rpc`."))

    def _rpc(self, value: Mapping[str, Any], request_id: str | None) -> Rpc | Refused:
        if request_id is None:
            return Refused(None, BadRequest(f"`requestid` has to be a string of at most {MAX_NAME} characters."))
        intent = value.get("intent")
        if not isinstance(intent, str) or not 0 < len(intent) <= MAX_NAME:
            return Refused(request_id, BadRequest("`intent` has to be the name of an intent."))
        service = value.get("serviceId")
        if service not in (None, "", self.service_id):
            return Refused(request_id, NotFound(f"This is {self.service_id!r}; requests are not passed on."))
        params = value.get("params", {})
        if not isinstance(params, dict):
            return Refused(
                request_id,
                BadParams("`params` has to be an object.", [{"pointer": "", "message": "must be an object"}]),
            )
        return Rpc(request_id, intent.removeprefix("intent_"), params)


def deeper_than(value: Any, text: str | bytes, limit: int) -> bool:
    """True if `value`, read from `text`, nests more than `limit` arrays and objects."""
    brackets = text.count("{") + text.count("[") if isinstance(text, str) else text.count(b"{") + text.count(b"[")
    if brackets <= limit:
        return False
    level = [value]
    for _ in range(limit + 1):
        level = [part for part in level if isinstance(part, dict | list)]
        if not level:
            return False
        level = [child for part in level for child in (part.values() if isinstance(part, dict) else part)]
    return True


def text_frame(payload: bytes) -> bytes:
    """The WebSocket frame of a text, as a server sends it: whole, not masked, not compressed."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", _TEXT, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", _TEXT, 126, size) + payload
    return struct.pack("!BBQ", _TEXT, 127, size) + payload


def array(payloads: Sequence[bytes]) -> bytes:
    """Several events as one value; a single one stays an object."""
    return payloads[0] if len(payloads) == 1 else b"[" + b",".join(payloads) + b"]"


@dataclass(slots=True)
class Encoder:
    """Encodes an event once for all the clients that get it one after the other."""

    _last: object = None
    _payload: bytes = b""
    _frame: bytes | None = None

    def payload(self, event: StreamEvent | Mapping[str, Any]) -> bytes:
        """The JSON text of an event or a ready envelope."""
        if event is not self._last:
            self._payload = encode(event.envelope() if isinstance(event, StreamEvent) else event)
            self._last, self._frame = event, None
            if not isinstance(event, StreamEvent):  # an envelope belongs to its sender, who may change it later
                asyncio.get_running_loop().call_soon(self._forget)
        return self._payload

    def frame(self, event: StreamEvent | Mapping[str, Any]) -> bytes:
        """The same as a WebSocket frame."""
        payload = self.payload(event)
        if self._frame is None:
            self._frame = text_frame(payload)
        return self._frame

    def _forget(self) -> None:
        self._last, self._frame = None, None
