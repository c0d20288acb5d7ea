"""The one bounded writer of a client: puts answers and events on its socket in order, without a task of its own.

Called by the client object on the event loop. Knows the stream and the wire; not who the client is or what an RPC does.

A write is either taken by the kernel at once, or the stream holds the rest and nothing more is written until that is
gone. What comes meanwhile waits here: text of one message grows together, events leave in arrays, broadcasts give way
when many wait. A client for which too much waits, or that reads nothing for too long, is given up.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tornado.iostream import IOStream

from llmcore.events import StreamEvent, encode
from llmcore.server.frames import Encoder, array, text_frame
from llmcore.server.metrics import Traffic
from llmcore.server.ports import KIB, ServerOptions

WRITE_BYTES = 64 * KIB
"""About what one write of waiting items carries."""
GROW_BYTES = 16 * KIB
"""A waiting piece of text grows up to this, so that growing never copies much."""
ITEM_BYTES = 300
"""What a waiting item costs besides its text."""
MAX_BROADCASTS = 32
"""More waiting broadcasts than these push the oldest out."""


class _Kind(Enum):
    ANSWER = 1
    EVENT = 2
    BROADCAST = 3


@dataclass(slots=True, eq=False)
class _Item:
    kind: _Kind
    size: int
    payload: bytes | None
    text: StreamEvent | None = None
    """A piece of text that may still grow; it is encoded when it leaves."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What the outboxes of one server share."""

    options: ServerOptions
    traffic: Traffic
    encoder: Encoder


class Outbox:
    """What is on its way to one client. No method blocks or raises."""

    __slots__ = (
        "_broadcasts",
        "_bytes",
        "_closed",
        "_give_up",
        "_last",
        "_queue",
        "_stall",
        "_stream",
        "_wire",
        "_writing",
    )

    def __init__(self, stream: IOStream, wire: Wire, give_up: Callable[[], None]) -> None:
        """`give_up` is called once, when the client is too slow."""
        self._stream = stream
        self._wire = wire
        self._give_up = give_up
        self._queue: deque[_Item] | None = None
        self._bytes = 0
        self._broadcasts = 0
        self._writing = False
        self._closed = False
        self._stall: asyncio.TimerHandle | None = None
        self._last: Callable[[], None] | None = None

    @property
    def stalled(self) -> bool:
        """True while the kernel takes no more."""
        return self._stall is not None

    def answer(self, response: Mapping[str, Any]) -> None:
        """Send the answer to an RPC; it is never part of an array."""
        if self._closed:
            return
        payload = encode(response)
        if self._writing:
            self._push(_Item(_Kind.ANSWER, len(payload) + ITEM_BYTES, payload))
        else:
            self._write(text_frame(payload))

    def event(self, event: StreamEvent) -> None:
        """Send an event that must not be lost."""
        if self._closed:
            return
        self._wire.traffic.events += 1
        if not self._writing:
            self._write(self._wire.encoder.frame(event))
        elif event.event["type"] != "TEXT_MESSAGE_CONTENT":
            payload = self._wire.encoder.payload(event)
            self._push(_Item(_Kind.EVENT, len(payload) + ITEM_BYTES, payload))
        else:
            self._push_text(event)

    def broadcast(self, frame: Mapping[str, Any]) -> None:
        """Send a ready envelope, or leave the oldest out if many wait."""
        if self._closed:
            return
        self._wire.traffic.events += 1
        if not self._writing:
            self._write(self._wire.encoder.frame(frame))
            return
        if self._queue and self._broadcasts >= MAX_BROADCASTS:
            self._drop_broadcast(self._queue)
        self._broadcasts += 1
        payload = self._wire.encoder.payload(frame)
        self._push(_Item(_Kind.BROADCAST, len(payload) + ITEM_BYTES, payload))

    def close(self, last: Callable[[], None] | None = None) -> None:
        """Take nothing more. With `last`, what waits still leaves and then `last` is called; else it is dropped."""
        self._closed = True
        if last is None or self._stream.closed():
            self._drop()
        elif self._writing:
            self._last = last
            return
        if last is not None:
            last()

    def abort(self) -> None:
        """Close the connection at once; who owns it is told by Tornado."""
        self._stream.close()

    # --- waiting ---

    def _push(self, item: _Item) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.append(item)
        self._count(item.size)

    def _push_text(self, event: StreamEvent) -> None:
        size = _memory(event.event["delta"])
        waiting = self._queue[-1] if self._queue else None
        if waiting is None or waiting.text is None or waiting.size > GROW_BYTES or not waiting.text.merges_with(event):
            self._push(_Item(_Kind.EVENT, size + ITEM_BYTES, None, event))
            return
        waiting.text = waiting.text.merged(event)
        waiting.size += size
        self._count(size)

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._wire.options.queue_bytes:
            self._too_slow()

    def _drop_broadcast(self, queue: deque[_Item]) -> None:
        oldest = next(item for item in queue if item.kind is _Kind.BROADCAST)
        queue.remove(oldest)
        self._bytes -= oldest.size
        self._broadcasts -= 1
        self._wire.traffic.broadcasts_dropped += 1

    def _too_slow(self) -> None:
        self._closed = True
        self._drop()
        self._give_up()

    def _drop(self) -> None:
        self._queue, self._bytes, self._broadcasts, self._last = None, 0, 0, None
        self._relax()

    def _relax(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    # --- writing ---

    def _write(self, data: bytes) -> None:
        """Hand `data` to the kernel; what it does not take stays in the stream until it does."""
        stream, sent = self._stream, 0
        if stream.closed():
            self.close()
            return
        self._writing = True
        self._wire.traffic.bytes_out += len(data)
        loop = asyncio.get_running_loop()
        try:
            if not stream.writing():
                sent = stream.write_to_fd(memoryview(data))
        except OSError:  # the kernel's buffer is full, or the connection is gone: the stream finds out which
            sent = 0
        if sent == len(data):
            loop.call_soon(self._written)
            return
        rest = stream.write(memoryview(data)[sent:])
        self._stall = loop.call_later(self._wire.options.stall_s, self._too_slow)
        rest.add_done_callback(self._rest_written)

    def _rest_written(self, rest: "asyncio.Future[None]") -> None:
        self._relax()
        if rest.cancelled() or rest.exception() is not None:
            self.close()
        else:
            self._written()

    def _written(self) -> None:
        """The kernel has everything: write what came meanwhile, or rest."""
        if self._queue:
            self._write(self._next(self._queue))
            return
        self._queue = None
        self._writing = False
        if self._last is not None:
            last, self._last = self._last, None
            last()

    def _next(self, queue: deque[_Item]) -> bytes:
        """The next waiting items as frames: events side by side in one array, each answer in a frame of its own."""
        frames: list[bytes] = []
        events: list[bytes] = []
        size = 0
        while queue and size < WRITE_BYTES:
            item = queue.popleft()
            payload = item.payload if item.payload is not None else encode(item.text.envelope() if item.text else None)
            size += len(payload)
            self._bytes -= item.size
            self._broadcasts -= item.kind is _Kind.BROADCAST
            if item.kind is not _Kind.ANSWER:
                events.append(payload)
                continue
            if events:
                frames.append(text_frame(array(events)))
                events = []
            frames.append(text_frame(payload))
        if events:
            frames.append(text_frame(array(events)))
        return b"".join(frames)


def _memory(text: str) -> int:
    """An upper bound of what a string takes in memory."""
    return len(text) if text.isascii() else 4 * len(text)
