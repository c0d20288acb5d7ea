"""The wire: our events fit AG-UI 1.0, envelopes fit CloudiSENSE's client."""

import json
import math
from typing import Any

import pytest
from ag_ui.core import (
    ActivityDeltaEvent,
    ActivitySnapshotEvent,
    RunErrorEvent,
    RunFinishedEvent,
    RunStartedEvent,
    StepFinishedEvent,
    StepStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)

from llmcore import events
from llmcore.errors import BadParams, RateLimited
from llmcore.events import Activity, StreamEvent

RESULT = {"text": "x", "usage": {"input_tokens": 1, "output_tokens": 2}, "plan_id": None}
CALL = events.tool_call("c", "list_logs", {"n": 1})
SHAPES: list[tuple[type[Any], events.Event]] = [
    (RunStartedEvent, events.run_started("cv", "rn.1")),
    (RunFinishedEvent, events.run_finished("cv", "rn.1", events.success(), RESULT)),
    (RunFinishedEvent, events.run_finished("cv", "rn.1", events.cancelled(), RESULT)),
    (RunFinishedEvent, events.run_finished("cv", "rn.1", events.interrupt("pl", "Approve?", "2026"), RESULT)),
    (RunErrorEvent, events.run_error("broken", "internal")),
    (TextMessageStartEvent, events.text_start("m")),
    (TextMessageContentEvent, events.text_content("m", "hello")),
    (TextMessageEndEvent, events.text_end("m")),
    (StepStartedEvent, events.step_started("s1")),
    (StepFinishedEvent, events.step_finished("s1")),
    (ToolCallStartEvent, CALL[0]),
    (ToolCallArgsEvent, CALL[1]),
    (ToolCallEndEvent, CALL[2]),
    (ToolCallResultEvent, events.tool_result("c", "m", {"a": [1]})),
    (ActivitySnapshotEvent, events.activity(Activity.PLAN, "pl", {"plan_id": "pl"})),
    (ActivityDeltaEvent, events.activity_delta(Activity.PLAN, "pl", [{"op": "add", "path": "/a", "value": 1}])),
]


@pytest.mark.parametrize(("model", "event"), SHAPES, ids=lambda value: str(value)[:40])
def test_event_is_what_ag_ui_says(model: type[Any], event: events.Event) -> None:
    """The protocol's own models take it, and nothing of it is lost on the way."""
    read = model.model_validate(event)
    assert json.loads(read.model_dump_json(by_alias=True, exclude_none=True)) == event


def numbered(seq: int, delta: str, **changes: Any) -> StreamEvent:
    """A text delta with that number."""
    values = {
        "topic": "/ui/updates/llm/a",
        "epoch": 1,
        "first_seq": seq,
        "seq": seq,
        "run_id": "rn",
        "conversation_id": "cv",
        "event": events.text_content("m", delta),
        "timestamp_ms": seq,
    }
    return StreamEvent(**{**values, **changes})


def test_envelope_has_what_the_client_needs() -> None:
    """A string topic, the name that is handed on, and the numbers for resuming."""
    frame = numbered(3, "hi").envelope()
    assert frame["name"] == "data_generated"
    assert frame["type"] == "event"
    assert frame["topic"] == "/ui/updates/llm/a"
    assert {key: frame["data"][key] for key in ("epoch", "seq", "run_id")} == {"epoch": 1, "seq": 3, "run_id": "rn"}
    assert "first_seq" not in frame["data"]


def test_adjacent_deltas_of_a_message_merge_and_cover_both_numbers() -> None:
    """Nothing is lost or doubled by merging."""
    first, second = numbered(3, "ab"), numbered(4, "cd")
    assert first.merges_with(second)
    merged = first.merged(second)
    assert merged.event["delta"] == "abcd"
    assert merged.envelope()["data"]["first_seq"] == 3
    assert merged.envelope()["data"]["seq"] == 4


@pytest.mark.parametrize(
    "later",
    [
        numbered(5, "x"),
        numbered(4, "x", topic="/ui/updates/llm/b"),
        numbered(4, "x", epoch=2),
        numbered(4, "x", event=events.text_content("other", "x")),
        numbered(4, "x", event=events.text_end("m")),
    ],
)
def test_other_events_do_not_merge(later: StreamEvent) -> None:
    """A gap, another topic, epoch or message, or an event that is no text."""
    assert not numbered(3, "ab").merges_with(later)


def test_answers_say_what_went_wrong() -> None:
    """Code, sentence and details of an error; data of a success."""
    error = events.rpc_error("r1", BadParams("bad", [{"pointer": "/x", "message": "is missing"}]), 1.5)
    assert (error["status"], error["code"], error["message"]) == ("error", 400, "bad")
    assert error["data"] == {"error": "bad_params", "fields": [{"pointer": "/x", "message": "is missing"}]}
    assert events.rpc_error(None, RateLimited("slow", 0.25), 1.0)["data"]["retry_after_s"] == 0.25
    assert events.rpc_success("r1", {"a": 1}, 2.0)["data"] == {"a": 1}


def test_json_on_the_wire_is_strict() -> None:
    """NaN and infinities would break a browser's parser."""
    assert json.loads(events.encode({"a": math.nan, "b": math.inf, 3: object})) is not None
    assert b"NaN" not in events.encode({"a": math.nan})


def test_what_json_cannot_hold_is_told_as_text() -> None:
    """Names that are not UTF-8, numbers over 64 bits and endless nesting become text instead of an exception."""
    endless: list[Any] = []
    endless.append(endless)
    told = json.loads(
        events.encode({"name": "caf\udce9", "n": [1 << 80, 7, 1.5, None, True], ("a",): object, "e": endless})
    )
    assert told["name"] == "caf?"
    assert told["n"] == [hex(1 << 80), 7, 1.5, None, True]
    assert told["('a',)"] == "<class 'object'>"
    depth, value = 0, told["e"]
    while isinstance(value, list):
        depth, value = depth + 1, value[0]
    assert (depth, value) == (events.MAX_DEPTH - 1, "…")


def test_notification_goes_to_everybody() -> None:
    """Its name decides where the client shows it."""
    told = events.notification("hello", 1, 5)
    assert (told["name"], told["topic"], told["data"]["message"]) == ("text_notification", "/notification", "hello")
