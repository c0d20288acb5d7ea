"""Clients of the host as sinks of our streams: events go straight to the client object, past the host's hub.

Used by the module. Knows neither who a client is nor what is streamed. The hub would delay every event by a tenth of a
second and more, and one client that stops reading would hold up all others; here each has a queue and a writer of its
own, and one that is too slow is given up (its stream can be resumed).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from llmcore.events import StreamEvent, encode
from llmcore.plan import Principal

log = logging.getLogger(__name__)

QUEUE_BYTES = 4 << 20
"""What may wait for one client."""
FRAME_BYTES = 64 << 10
"""About what one frame carries."""
GROW_CHARS = 16 << 10
"""A waiting piece of text grows up to this, so that growing never copies much."""
ITEM_BYTES = 300
"""What a waiting item costs besides its text."""
WRITE_S = 10.0
"""How long the host may take to write one frame."""
SWEEP_S = 0.15
"""How often closed clients are looked for: the host tells nobody."""


class HostSink:
    """`llmcore.streams.Sink` for one client object of the host."""

    def __init__(
        self, client: Any, principal: Principal, tasks: asyncio.TaskGroup, left: Callable[["HostSink", bool], None]
    ) -> None:
        """Begin to write in `tasks`; `left` is told once that the client is gone, and whether we gave it up."""
        self.principal = principal
        self.client = client
        self._left = left
        self._waiting: deque[StreamEvent | bytes] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._open = True
        self._writer = tasks.create_task(self._write(), name="host client")

    def deliver(self, event: StreamEvent) -> None:
        """Have an event written; a client for which too much waits is given up."""
        if not self._open:
            return
        if event.event["type"] != "TEXT_MESSAGE_CONTENT":
            payload = encode(event.envelope())
            self._waiting.append(payload)
            self._size += len(payload) + ITEM_BYTES
        else:
            self._append_text(event)
        self._news.set()
        if self._size > QUEUE_BYTES:
            self.leave(by_us=True)

    def broadcast(self, frame: Mapping[str, Any]) -> None:
        """What everybody gets is the business of the host's own hub."""

    def _append_text(self, event: StreamEvent) -> None:
        last = self._waiting[-1] if self._waiting else None
        if isinstance(last, StreamEvent) and last.merges_with(event) and len(last.event["delta"]) < GROW_CHARS:
            self._waiting[-1] = last.merged(event)
        else:
            self._waiting.append(event)
            self._size += ITEM_BYTES
        self._size += 4 * len(event.event["delta"])

    def leave(self, by_us: bool) -> None:
        """Write nothing more; `by_us`: the client may come back for the rest."""
        if not self._open:
            return
        self._open = False
        self._waiting.clear()
        if asyncio.current_task() is not self._writer:
            self._writer.cancel()
        self._left(self, by_us)

    @property
    def gone(self) -> bool:
        """True if the host says so, or cannot say."""
        try:
            return bool(self.client.is_closed())
        except Exception:
            log.exception("a client of the host cannot tell whether it is closed", extra={"action": "host_client"})
            return True

    async def _write(self) -> None:
        by_us = False
        try:
            while not self.gone:
                await self._news.wait()
                async with asyncio.timeout(WRITE_S):
                    await self.client.message_to_client(self._frame())
        except TimeoutError:
            by_us = True
        except Exception as broke:  # noqa: BLE001 - what the host's client raises may not end the group we write in
            log.info("a client of the host cannot be written to: %r", broke, extra={"action": "host_client"})
        finally:
            self.leave(by_us)

    def _frame(self) -> str:
        """What waits, as one array; the client hands its elements on one by one."""
        parts: list[bytes] = []
        size = 0
        while self._waiting and size < FRAME_BYTES:
            item = self._waiting.popleft()
            if isinstance(item, StreamEvent):
                self._size -= 4 * len(item.event["delta"]) + ITEM_BYTES
                item = encode(item.envelope())
            else:
                self._size -= len(item) + ITEM_BYTES
            parts.append(item)
            size += len(item)
        if not self._waiting:
            self._news.clear()
        return (b"[" + b",".join(parts) + b"]").decode()


class Clients:
    """The clients that have called us and are still there."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        joined: Callable[[HostSink], None],
        left: Callable[[HostSink, bool], None],
    ) -> None:
        """Begin to look for closed ones; `joined` and `left` are told of each."""
        self._tasks = tasks
        self._joined = joined
        self._tell_left = left
        self._sinks: dict[int, HostSink] = {}
        self._sweeper = tasks.create_task(self._sweep(), name="host clients")

    def sink_of(self, client: Any, principal: Principal) -> HostSink:
        """The sink of a client object; another one if somebody else is behind it now."""
        found = self._sinks.get(id(client))
        if found is not None and found.principal == principal:
            return found
        if found is not None:
            found.leave(by_us=True)
        sink = self._sinks[id(client)] = HostSink(client, principal, self._tasks, self._left)
        self._joined(sink)
        return sink

    def __len__(self) -> int:
        """How many there are."""
        return len(self._sinks)

    def close(self) -> None:
        """Write to none of them any more."""
        self._sweeper.cancel()
        for sink in tuple(self._sinks.values()):
            sink.leave(by_us=True)

    def _left(self, sink: HostSink, by_us: bool) -> None:
        del self._sinks[id(sink.client)]
        self._tell_left(sink, by_us)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            for sink in tuple(self._sinks.values()):
                if sink.gone:
                    sink.leave(by_us=False)
