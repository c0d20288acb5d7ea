"""A chat turn over plain HTTP: starts it like any client would and hands its events on one by one.

Used by the OpenAI-compatible and the AG-UI routes. Knows the api; not how an answer is written.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

from tornado.iostream import StreamClosedError

from llmcore.errors import Unavailable
from llmcore.events import TOPIC_PREFIX, Event, StreamEvent, encode
from llmcore.plan import Principal
from llmcore.server.client import Hub, Session
from llmcore.server.ports import MIB
from llmcore.server.web import Handler

ENDS = ("RUN_FINISHED", "RUN_ERROR")
MAX_WAITING_BYTES = 4 * MIB
KEEP_ALIVE_S = 15.0
"""Silence after which a reader is told that we are still there."""


class Listener:
    """A sink for the events of one topic, read by one request."""

    def __init__(self, principal: Principal, topic: str) -> None:
        """Nothing has come yet."""
        self._principal = principal
        self._topic = topic
        self._waiting: deque[StreamEvent] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._closed = False
        self._overflowed = False

    @property
    def principal(self) -> Principal:
        """Who asked."""
        return self._principal

    def deliver(self, event: StreamEvent) -> None:
        """Keep an event for the request."""
        if self._closed or event.topic != self._topic:
            return
        self._waiting.append(event)
        self._size += _weight(event.event)
        if self._size > MAX_WAITING_BYTES:
            self._overflowed = True
            self.close()
        self._wake.set()

    def broadcast(self, frame: Mapping[str, Any]) -> None:
        """Of no interest here."""

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed = True
        self._waiting.clear()
        self._wake.set()

    def __aiter__(self) -> "Listener":
        """Events up to the end of the turn; None after a while of silence. Ends early if the reader is gone."""
        return self

    async def __anext__(self) -> Event | None:
        """The next event; raises Unavailable if the reader was too slow."""
        if not self._waiting and not self._closed:
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), KEEP_ALIVE_S)
            except TimeoutError:
                return None
        if self._overflowed:
            raise Unavailable("The events were not read fast enough.")
        if not self._waiting:
            raise StopAsyncIteration
        event = self._waiting.popleft().event
        self._size -= _weight(event)
        if event["type"] in ENDS:
            self.close()
        return event


def _weight(event: Event) -> int:
    return 300 + len(event.get("delta", ""))


@asynccontextmanager
async def turn(
    hub: Hub, session: Session, request: Mapping[str, Any], *, propose_only: bool = False
) -> AsyncIterator[Listener]:
    """Start `chat_llm` with `request`; while the block lasts, the listener gets its events.

    With `propose_only` no change runs in it, whatever policy allows.
    Leaving the block cancels the model call if nobody else is watching. Raises what the api raises.
    """
    topic = f"{TOPIC_PREFIX}{uuid4().hex}"
    listener = Listener(session.principal, topic)
    await hub.rooms.topics.subscribe(topic, listener)
    try:
        await hub.rooms.door.call(
            "chat_llm", {**request, "topic": topic}, session.caller(listener, propose_only=propose_only)
        )
        yield listener
    finally:
        listener.close()
        hub.rooms.door.disconnected(listener, False)


class TurnHandler(Handler):
    """Base of the routes that stream a turn as server-sent events."""

    listener: Listener | None = None

    def on_connection_close(self) -> None:
        """The reader is gone: so is the reason to go on."""
        if self.listener is not None:
            self.listener.close()

    def begin_events(self) -> None:
        """Say that server-sent events follow."""
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")

    async def send_event(self, value: Any) -> None:
        """Write one event (None: a sign of life) and wait until it has left; nothing if the reader is gone."""
        data = encode(value) if not isinstance(value, str) else value.encode()
        self.write(b": still here\n\n" if value is None else b"data: " + data + b"\n\n")
        with suppress(StreamClosedError):
            await self.flush()


def text_of(content: Any) -> str:
    """The text of a message: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = (part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text")
        return "\n".join(part for part in parts if isinstance(part, str))
    return ""
