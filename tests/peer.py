"""A plain WebSocket peer for tests: sends frames, sorts what comes into answers and events."""

import asyncio
import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

Frame = dict[str, Any]
LIMIT_S = 20.0
"""How long a test waits for what has to come."""


class Peer:
    """One connected client."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        """Use `Peer.connect`."""
        self.socket = socket
        self.frames: list[Any] = []
        """Every frame as it came, parsed."""
        self.events: list[Frame] = []
        self.answers: list[Frame] = []
        self.closed = asyncio.Event()
        self._changed = asyncio.Condition()
        self._ids = itertools.count(1)
        self._reader = asyncio.ensure_future(self._read())

    @classmethod
    async def connect(cls, url: str, **headers: str) -> "Peer":
        """Open a socket; raises tornado's HTTPClientError if it is refused."""
        return cls(await websocket_connect(HTTPRequest(url, headers=headers)))

    @property
    def close_code(self) -> int | None:
        """With what the server closed."""
        return self.socket.close_code

    async def _read(self) -> None:
        while (message := await self.socket.read_message()) is not None:
            value = json.loads(message, parse_constant=_not_json)
            self.frames.append(value)
            for item in value if isinstance(value, list) else [value]:
                (self.answers if item["type"] == "rpc_response" else self.events).append(item)
            async with self._changed:
                self._changed.notify_all()
        self.socket.close()
        self.closed.set()
        async with self._changed:
            self._changed.notify_all()

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until what came makes `done` true."""
        async with asyncio.timeout(LIMIT_S), self._changed:
            await self._changed.wait_for(done)

    async def send(self, frame: Any) -> None:
        """Send a frame: text or bytes as they are, anything else as JSON."""
        if isinstance(frame, bytes):
            await self.socket.write_message(frame, binary=True)
        else:
            await self.socket.write_message(frame if isinstance(frame, str) else json.dumps(frame))

    async def ask(self, intent: str, params: Any = None, **more: Any) -> str:
        """Send an RPC; returns its request id."""
        request_id = f"r{next(self._ids)}"
        frame = {"type": "rpc", "requestid": request_id, "intent": intent, "params": params or {}, **more}
        await self.send(frame)
        return request_id

    async def answer_to(self, request_id: str | None) -> Frame:
        """The answer to a request."""
        await self.until(lambda: any(answer["requestid"] == request_id for answer in self.answers))
        return next(answer for answer in self.answers if answer["requestid"] == request_id)

    async def call(self, intent: str, params: Any = None, **more: Any) -> Frame:
        """Send an RPC and wait for its answer."""
        return await self.answer_to(await self.ask(intent, params, **more))

    async def raw(self, frame: Any) -> Frame:
        """Send any frame and wait for one more answer."""
        before = len(self.answers)
        await self.send(frame)
        await self.until(lambda: len(self.answers) > before)
        return self.answers[before]

    async def wait_closed(self) -> int | None:
        """Wait until the server closes; returns the code."""
        async with asyncio.timeout(LIMIT_S):
            await self.closed.wait()
        return self.close_code

    async def close(self) -> None:
        """Close it and wait until it is."""
        self.socket.close(1000)
        with suppress(TimeoutError):
            await self.wait_closed()
        await self._reader


def _not_json(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
