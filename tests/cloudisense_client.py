"""What CloudiSENSE's own client (cdsclient-lib 0.0.12) does with a host, for tests: logs in, connects, sorts frames.

A port of its behaviour, its limits included: only some topics are handed on, an answer inside an array is lost, a frame
with an event without topic breaks. Whatever the real client would lose or complain about is kept in `complaints`, so a
test can say that a host gave it no reason.
"""

import asyncio
import hashlib
import itertools
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

Event = dict[str, Any]
Handler = Callable[[Any], None]

HANDED_ON = ("/ui/updates", "/script", "/logging", "/stats")
"""Prefixes of topics whose `data_generated` reaches handlers."""
PASSED_OVER = ("ping_generated", "text_data_notification", "error_generated")
"""Events that no test here looks at."""
RPC_S = 10.0
"""An answer that takes longer is one that the client means to give up."""


class RpcRejected(Exception):
    """The host answered an RPC with an error; only its message is left."""


class CloudisenseClient:
    """One client of one host."""

    def __init__(
        self, host: str, port: int, *, origin: str | None = None, reconnect_after_s: float | None = None
    ) -> None:
        """`origin`: the page it runs in; `reconnect_after_s`: try once more that long after the connection is lost."""
        self.address = f"{host}:{port}"
        self.states: list[str] = []
        self.complaints: list[str] = []
        self.notifications: list[Event] = []
        self.ui_events: list[Event] = []
        self._headers = {"Origin": origin} if origin else {}
        self._reconnect_after_s = reconnect_after_s
        self._auth: dict[str, Any] = {}
        self._socket: WebSocketClientConnection | None = None
        self._handlers: dict[str, list[Handler]] = {}
        self._requests: dict[str, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)
        self._reading: asyncio.Future[None] | None = None
        self._leaving = False
        self._state_changed = asyncio.Event()

    @property
    def token(self) -> str:
        """Its access token."""
        return str(self._auth["access"]["token"])

    async def reached(self, *states: str) -> None:
        """Wait until it has gone through these states."""
        while self.states != list(states):
            self._state_changed.clear()
            await self._state_changed.wait()

    def _state(self, state: str) -> None:
        self.states.append(state)
        self._state_changed.set()

    # --- login and connection ---

    async def authorize(self, username: str, password: str) -> dict[str, Any]:
        """Ask for tokens as its login page does; anything but 2xx raises HTTPClientError."""
        form = {"username": username, "password": hashlib.sha256(password.encode()).hexdigest()}
        answer = await AsyncHTTPClient().fetch(
            HTTPRequest(f"http://{self.address}/authorize", "POST", headers=self._headers, body=urlencode(form))
        )
        if self._headers and answer.headers.get("Access-Control-Allow-Origin") not in (*self._headers.values(), "*"):
            raise PermissionError("the browser keeps the answer from the page")
        body = json.loads(answer.body)
        assert (body["status"], body["code"]) == ("success", 200)
        return dict(body["data"])

    async def connect_with_auth_data(self, auth: dict[str, Any]) -> None:
        """Open the socket with the access token as it is: not encoded, no subprotocol."""
        self._auth = auth
        url = f"ws://{self.address}/ws?token={auth['access']['token']}"
        self._socket = await websocket_connect(HTTPRequest(url, headers=self._headers))
        self._state("CONNECTED")
        self._reading = asyncio.ensure_future(self._read(self._socket))

    async def disconnect(self) -> None:
        """Leave."""
        self._leaving = True
        if self._socket is not None:
            self._socket.close(1000)
        if self._reading is not None:
            await self._reading

    def drop(self) -> None:
        """Lose the connection as if the cable was pulled."""
        assert self._socket is not None
        assert self._socket.protocol is not None
        assert self._socket.protocol.stream is not None
        self._socket.protocol.stream.close()

    async def _read(self, socket: WebSocketClientConnection) -> None:
        while (frame := await socket.read_message()) is not None:
            try:
                self._frame(frame)
            except (ValueError, KeyError, TypeError) as error:
                self.complaints.append(f"frame broke the handler: {error!r}: {frame[:200]!r}")
        socket.close()
        self._state("CONNECTION_TERMINATED" if self._leaving else "CONNECTION_LOST")
        if self._reconnect_after_s is not None and not self._leaving:
            await asyncio.sleep(self._reconnect_after_s)
            await self.connect_with_auth_data(self._auth)

    # --- what it can be asked for ---

    def subscribe_topic(self, topic: str, handler: Handler) -> None:
        """Call `handler` for events of exactly this topic; says nothing to the host."""
        self._handlers.setdefault(topic, []).append(handler)

    async def subscribe_datachannel(self, topic: str) -> Any:
        """Have the host send a topic."""
        return await self.execute_arbitrary_action("subscribe_channel", {"topic": topic})

    async def unsubscribe_datachannel(self, topic: str) -> Any:
        """Have it send no more of it."""
        return await self.execute_arbitrary_action("unsubscribe_channel", {"topic": topic})

    async def query_smart_assist(self, query: str) -> Any:
        """Ask the assistant of its panel."""
        return await self.execute_arbitrary_action("query_assist", {"query": query})

    async def smart_assist_introduce(self) -> Any:
        """The assistant's greeting."""
        return await self.execute_arbitrary_action("assist_introduction", {})

    async def reset_smart_assist_session(self) -> Any:
        """Start over with it."""
        return await self.execute_arbitrary_action("clear_assist_session", {})

    async def execute_arbitrary_action(self, intent: str, params: dict[str, Any]) -> Any:
        """Send an RPC; its `data`, or RpcRejected with the message."""
        assert self._socket is not None
        request_id = f"V1StGXR8_Z5jdHi6B-{next(self._ids)}"
        future = self._requests[request_id] = asyncio.get_running_loop().create_future()
        frame = {"type": "rpc", "requestid": request_id, "intent": intent, "params": params}
        await self._socket.write_message(json.dumps(frame))
        async with asyncio.timeout(RPC_S):
            return await future

    # --- what comes ---

    def _frame(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            raise TypeError("a binary frame")
        value = json.loads(frame, parse_constant=_strict)
        if isinstance(value, list):
            for item in value:
                self._event(item)
        elif value.get("type") in ("rpc", "rpc_response"):
            self._response(value)
        else:
            self._event(value)

    def _response(self, response: dict[str, Any]) -> None:
        future = self._requests.pop(response["requestid"] or "", None)
        if future is None:
            self.complaints.append(f"an answer nobody waits for: {response}")
        elif response["status"] == "success":
            future.set_result(response["data"])
        else:
            assert isinstance(response["message"], str)
            future.set_exception(RpcRejected(response["message"]))

    def _event(self, event: Event) -> None:
        name, topic = event.get("name"), event["topic"]
        if event.get("type") != "event" or not isinstance(topic, str):
            raise TypeError("no event with a topic")
        match name:
            case "data_generated" if topic.startswith(HANDED_ON):
                for handler in self._handlers.get(topic, []):
                    handler(event["data"])
            case "data_generated":
                self.complaints.append(f"dropped without a word: {topic}")
            case "text_notification":
                self.notifications.append(event["data"])
            case "ui_update":
                self.ui_events.append(event)
            case _ if name not in PASSED_OVER:
                self.complaints.append(f"unrecognized event type {name!r}")


def _strict(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
