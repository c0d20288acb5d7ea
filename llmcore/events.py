"""The wire: RPC answers, CloudiSENSE's event envelope, and the AG-UI 1.0 events that travel inside it.

Used by everything that speaks to a client; knows neither Tornado nor Redis nor who listens. Shapes are CloudiSENSE's
(client library 0.0.12) and AG-UI 1.0 (camelCase keys); nothing here waits or does I/O.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from llmcore.errors import LLMCoreError

TOPIC_PREFIX = "/ui/updates/llm/"
"""Every chat and plan topic starts with this: the only prefix whose payload the client hands on unchanged."""

MAX_DEPTH = 100
"""What nests deeper is cut off, where `encode` cannot take a value as it is."""

Event = dict[str, Any]
"""One AG-UI event: a JSON object with a `type`."""


class Activity(StrEnum):
    """What an `ACTIVITY_*` event shows."""

    PLAN = "llmcore.plan"
    ALERT = "llmcore.alert"
    SUGGESTION = "llmcore.suggestion"
    DIAGNOSIS = "llmcore.diagnosis"


# --- AG-UI events -------------------------------------------------------------------------------------------------


def run_started(thread_id: str, run_id: str) -> Event:
    """A segment begins; `run_id` is `<run>.<segment>`."""
    return {"type": "RUN_STARTED", "threadId": thread_id, "runId": run_id}


def run_finished(thread_id: str, run_id: str, outcome: Mapping[str, Any], result: Mapping[str, Any]) -> Event:
    """A segment ended without failing; `outcome` is from `success()`, `interrupt()` or `cancelled()`."""
    return {
        "type": "RUN_FINISHED",
        "threadId": thread_id,
        "runId": run_id,
        "outcome": dict(outcome),
        "result": dict(result),
    }


def success() -> Event:
    """Outcome: the work is done."""
    return {"type": "success"}


def cancelled() -> Event:
    """Outcome: a person stopped it."""
    return {"type": "cancelled"}


def interrupt(plan_id: str, message: str, expires_at: str | None) -> Event:
    """Outcome: a plan waits for a person."""
    waiting: Event = {"id": plan_id, "reason": "approval", "message": message}
    if expires_at:
        waiting["expiresAt"] = expires_at
    return {"type": "interrupt", "interrupts": [waiting]}


def run_error(message: str, code: str) -> Event:
    """A segment failed."""
    return {"type": "RUN_ERROR", "message": message, "code": code}


def text_start(message_id: str) -> Event:
    """A message of the assistant begins."""
    return {"type": "TEXT_MESSAGE_START", "messageId": message_id, "role": "assistant"}


def text_content(message_id: str, delta: str) -> Event:
    """More text of a message; `delta` is never empty."""
    return {"type": "TEXT_MESSAGE_CONTENT", "messageId": message_id, "delta": delta}


def text_end(message_id: str) -> Event:
    """The message is complete."""
    return {"type": "TEXT_MESSAGE_END", "messageId": message_id}


def step_started(name: str) -> Event:
    """A step begins; `name` is the step id."""
    return {"type": "STEP_STARTED", "stepName": name}


def step_finished(name: str) -> Event:
    """A step ended, well or not; its state is in the plan snapshot."""
    return {"type": "STEP_FINISHED", "stepName": name}


def tool_call(call_id: str, intent: str, params: Mapping[str, Any]) -> Sequence[Event]:
    """The three events that announce an intent call with its literal params."""
    return (
        {"type": "TOOL_CALL_START", "toolCallId": call_id, "toolCallName": intent},
        {"type": "TOOL_CALL_ARGS", "toolCallId": call_id, "delta": orjson.dumps(params).decode()},
        {"type": "TOOL_CALL_END", "toolCallId": call_id},
    )


def tool_result(call_id: str, message_id: str, result: Any) -> Event:
    """What an intent returned, as JSON text."""
    text = orjson.dumps(result, default=str).decode()
    return {
        "type": "TOOL_CALL_RESULT",
        "messageId": message_id,
        "toolCallId": call_id,
        "content": text,
        "role": "tool",
    }


def activity(kind: Activity, message_id: str, content: Mapping[str, Any]) -> Event:
    """The whole of a card (plan, alert, suggestion, diagnosis) as it is now."""
    return {
        "type": "ACTIVITY_SNAPSHOT",
        "messageId": message_id,
        "activityType": kind.value,
        "content": dict(content),
        "replace": True,
    }


def activity_delta(kind: Activity, message_id: str, patch: Sequence[Mapping[str, Any]]) -> Event:
    """A JSON Patch (RFC 6902) on a card; used for the running output of a step."""
    return {
        "type": "ACTIVITY_DELTA",
        "messageId": message_id,
        "activityType": kind.value,
        "patch": [dict(operation) for operation in patch],
    }


# --- CloudiSENSE envelopes ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a topic, numbered; several merged text deltas cover `first_seq` to `seq`."""

    topic: str
    epoch: int
    first_seq: int
    seq: int
    run_id: str | None
    conversation_id: str | None
    event: Event
    timestamp_ms: int

    def envelope(self) -> dict[str, Any]:
        """The JSON object that goes on the wire."""
        data: dict[str, Any] = {"epoch": self.epoch, "seq": self.seq}
        if self.first_seq != self.seq:
            data["first_seq"] = self.first_seq
        data["run_id"] = self.run_id
        data["conversation_id"] = self.conversation_id
        data["event"] = self.event
        return data_event(self.topic, data, self.timestamp_ms)

    def merges_with(self, later: "StreamEvent") -> bool:
        """True if `later` is the next piece of the same message of the same topic."""
        return (
            self.event["type"] == "TEXT_MESSAGE_CONTENT"
            and later.event["type"] == "TEXT_MESSAGE_CONTENT"
            and self.topic == later.topic
            and self.epoch == later.epoch
            and self.seq + 1 == later.first_seq
            and self.event["messageId"] == later.event["messageId"]
        )

    def merged(self, later: "StreamEvent") -> "StreamEvent":
        """Both texts as one event that covers both numbers."""
        event = {**self.event, "delta": self.event["delta"] + later.event["delta"]}
        return StreamEvent(
            self.topic,
            self.epoch,
            self.first_seq,
            later.seq,
            self.run_id,
            self.conversation_id,
            event,
            later.timestamp_ms,
        )


def data_event(topic: str, data: Any, timestamp_ms: int) -> dict[str, Any]:
    """CloudiSENSE's `data_generated` event; `timestamp_ms` is epoch milliseconds."""
    return {
        "name": "data_generated",
        "type": "event",
        "status": "data",
        "topic": topic,
        "data": data,
        "meta": None,
        "timestamp": timestamp_ms,
    }


def notification(message: str, code: int, timestamp_ms: int, data: Any = None) -> dict[str, Any]:
    """A short message for everybody; `code` is 1 info, 2 success, 3 warning, 4 error."""
    return {
        "name": "text_notification",
        "type": "event",
        "status": "data",
        "topic": "/notification",
        "data": {"message": message, "code": code, "data": data},
        "meta": None,
        "timestamp": timestamp_ms,
    }


def rpc_success(request_id: str | None, data: Any, timestamp_s: float) -> dict[str, Any]:
    """The answer to an RPC that worked; `timestamp_s` is epoch seconds."""
    return {
        "requestid": request_id,
        "type": "rpc_response",
        "status": "success",
        "code": 200,
        "data": data,
        "timestamp": timestamp_s,
    }


def rpc_error(request_id: str | None, error: LLMCoreError, timestamp_s: float) -> dict[str, Any]:
    """The answer to an RPC that did not work."""
    return {
        "requestid": request_id,
        "type": "rpc_response",
        "status": "error",
        "code": error.status,
        "message": error.message,
        "data": error.data(),
        "timestamp": timestamp_s,
    }


def encode(value: Any) -> bytes:
    """Strict JSON in UTF-8; whatever JSON cannot hold becomes its text, NaN and infinities null."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return orjson.dumps(_encodable(value, MAX_DEPTH))


def _encodable(value: Any, depth: int) -> Any:
    """The same without what orjson refuses: names that are not UTF-8, whole numbers over 64 bits, endless nesting."""
    match value:
        case None | bool() | float():
            return value
        case int():
            return value if -(1 << 63) <= value < 1 << 64 else hex(value)
        case Mapping() if depth:
            return {_text(key): _encodable(item, depth - 1) for key, item in value.items()}
        case list() | tuple() if depth:
            return [_encodable(item, depth - 1) for item in value]
    return _text(value) if depth else "…"


def _text(value: Any) -> str:
    return str(value).encode("utf-8", "replace").decode()
