"""A connection to a running server: RPC by request id, events by topic, reconnect without losing any.

Used by the commands. Speaks the same wire as the browser. Knows nothing of terminals or files.
"""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, websocket_connect

from llmcore.cli.exits import Unreachable
from llmcore.errors import LLMCoreError, RateLimited, TimedOut, Unauthorized

CONNECT_S = 5.0
ANSWER_S = 15.0
"""The server answers every RPC within ten seconds."""
PING_S = 20.0
GOODBYE_S = 1.0
FRAME_BYTES = 64 << 20
QUEUED = 10_000
DELAYS_S = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)
"""Waits between attempts to reconnect; then it is given up."""
_FAILURES = (OSError, HTTPClientError, WebSocketClosedError, asyncio.TimeoutError)

Broadcast = Callable[[Mapping[str, Any]], None]
Renew = Callable[[], Awaitable[str]]
"""Gives a new access token in place of one that has expired; raises Unauthorized."""


class Answered(LLMCoreError):
    """The server answered with an error; `data()` is what it sent."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        """Keep message and data of an answer with status `error`."""
        data = answer.get("data")
        super().__init__(
            str(answer.get("message") or "The server refused."), **(data if isinstance(data, dict) else {})
        )

    def data(self) -> dict[str, Any]:
        """The error's code and details."""
        return {"error": "internal", **self.details}


class Feed:
    """The events of one topic, each once, in order, across reconnects."""

    def __init__(self, topic: str) -> None:
        """Nothing seen yet."""
        self.topic = topic
        self.epoch = 0
        self.seq = 0
        self._queue: asyncio.Queue[Mapping[str, Any] | LLMCoreError] = asyncio.Queue(QUEUED)

    def position(self) -> dict[str, Any]:
        """Params of `stream_resume` for what comes after the last event seen."""
        where: dict[str, Any] = {"topic": self.topic, "after_seq": self.seq}
        return {**where, "epoch": self.epoch} if self.epoch else where

    async def offer(self, data: Mapping[str, Any]) -> None:
        """Take one event off the wire, unless it was seen already."""
        epoch, seq = data.get("epoch", 0), data.get("seq", 0)
        if epoch < self.epoch or (epoch == self.epoch and seq <= self.seq):
            return
        self.epoch, self.seq = epoch, seq
        await self._queue.put(data)

    async def fail(self, error: LLMCoreError) -> None:
        """The events end here."""
        await self._queue.put(error)

    async def next(self) -> Mapping[str, Any]:
        """The next event's data; raises Unreachable once the server is gone for good."""
        found = await self._queue.get()
        if isinstance(found, LLMCoreError):
            raise found
        return found


class Client:
    """One connection; made by `connect`."""

    def __init__(self, url: str, token: str, renew: Renew | None, on_broadcast: Broadcast) -> None:
        """Keep where to connect to; `on_broadcast` gets events of topics that nobody follows."""
        self._url = url
        self._token = token
        self._renew = renew
        self._on_broadcast = on_broadcast
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Mapping[str, Any]]] = {}
        self._feeds: dict[str, Feed] = {}
        self._socket: WebSocketClientConnection | None = None
        self._leaving = False

    @property
    def connected(self) -> bool:
        """False while the connection is lost."""
        return self._socket is not None

    async def call(self, intent: str, params: Mapping[str, Any] | None = None) -> Any:
        """The `data` of the answer.

        Raises Answered for an error answer, Unreachable if the connection is lost meanwhile (then nobody knows whether
        the server has acted), TimedOut.
        """
        if self._socket is None:
            raise Unreachable(f"The connection to {self._url} is lost.")
        waiting: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        number = self._number()
        self._waiting[number] = waiting
        try:
            await self._write(self._socket, intent, params or {}, number)
            async with asyncio.timeout(ANSWER_S):
                answer = await waiting
        except TimeoutError:
            raise TimedOut(f"The server has not answered {intent} for {ANSWER_S:.0f} seconds.") from None
        except WebSocketClosedError:
            raise Unreachable(f"The connection to {self._url} is lost.") from None
        finally:
            self._waiting.pop(number, None)
        if answer.get("status") != "success":
            raise Answered(answer)
        return answer.get("data")

    def tell(self, intent: str, params: Mapping[str, Any]) -> None:
        """Ask for something without waiting for the answer; nothing happens without a connection."""
        if self._socket is not None:
            with suppress(WebSocketClosedError):
                self._write(self._socket, intent, params)

    def follow(self, topic: str) -> Feed:
        """Collect the events of a topic from now on; name it to the server by a call, and `unfollow` it in the end."""
        return self._feeds.setdefault(topic, Feed(topic))

    def unfollow(self, topic: str) -> None:
        """Collect them no more: a feed that nobody reads would hold up everything else."""
        self._feeds.pop(topic, None)

    async def open(self) -> None:
        """Connect, with a new token if this one has expired; raises Unauthorized or Unreachable."""
        try:
            self._socket = await self._connected()
        except Unauthorized:
            if self._renew is None:
                raise
            self._token = await self._renew()
            self._socket = await self._connected()

    async def _connected(self) -> WebSocketClientConnection:
        address = f"ws{self._url.removeprefix('http')}/ws?token={quote(self._token, safe='')}"
        request = HTTPRequest(address, connect_timeout=CONNECT_S, request_timeout=CONNECT_S)
        try:
            return await websocket_connect(request, ping_interval=PING_S, max_message_size=FRAME_BYTES)
        except HTTPClientError as error:
            raise _refusal(error, self._url) from None
        except _FAILURES:
            raise _away(self._url) from None

    async def read(self) -> None:
        """Hand on what comes, for ever; reconnect when the connection is lost."""
        while True:
            socket = self._socket
            frame = await socket.read_message() if socket else None
            if frame is not None:
                await self._take(frame)
            elif self._leaving:
                return
            elif not await self._again():
                error = _away(self._url)
                for feed in self._feeds.values():
                    await feed.fail(error)
                return

    async def leave(self, reader: asyncio.Task[None]) -> None:
        """Say goodbye and wait a moment for the answer, which `reader` reads."""
        self._leaving = True
        self._drop()
        await asyncio.wait([reader], timeout=GOODBYE_S)
        reader.cancel()

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close(1000)

    async def _take(self, frame: str | bytes) -> None:
        message = orjson.loads(frame)
        for entry in message if isinstance(message, list) else [message]:
            if entry.get("type") == "rpc_response":
                waiting = self._waiting.get(entry.get("requestid"))
                if waiting is not None and not waiting.done():
                    waiting.set_result(entry)
            elif (feed := self._feeds.get(entry.get("topic"))) is not None:
                await feed.offer(entry["data"])
            else:
                self._on_broadcast(entry)

    async def _again(self) -> bool:
        """Connect anew and ask for what was missed; False if that does not work."""
        self._drop()
        self._socket = None
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Unreachable(f"The connection to {self._url} is lost."))
        for delay in DELAYS_S:
            await asyncio.sleep(delay)
            if self._leaving:
                return False
            try:
                await self.open()
            except Unreachable:
                continue
            except LLMCoreError:
                return False
            return await self._resume_all()
        return False

    async def _resume_all(self) -> bool:
        """Without waiting for the answers: the reader, which would bring them, is what calls this."""
        socket = self._socket
        if socket is None or self._leaving:
            self._drop()
            return False
        for feed in self._feeds.values():
            await self._write(socket, "stream_resume", feed.position())
        return True

    def _number(self) -> str:
        return f"cli-{next(self._numbers)}"

    def _write(
        self, socket: WebSocketClientConnection, intent: str, params: Mapping[str, Any], number: str | None = None
    ) -> Awaitable[None]:
        message = {"type": "rpc", "requestid": number or self._number(), "intent": intent, "params": dict(params)}
        return socket.write_message(orjson.dumps(message).decode())


@asynccontextmanager
async def connect(
    url: str, token: str, renew: Renew | None = None, on_broadcast: Broadcast = lambda _: None
) -> AsyncIterator[Client]:
    """An open connection for the length of a block; raises Unauthorized or Unreachable."""
    client = Client(url, token, renew, on_broadcast)
    await client.open()
    failure: LLMCoreError | OSError | None = None
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(client.read())
        try:
            yield client
        except (LLMCoreError, OSError) as error:  # raised below, else the group would wrap it
            failure = error
        finally:
            await client.leave(reader)
    if failure is not None:
        raise failure


async def authorize(url: str, username: str, password: str) -> Mapping[str, Any]:
    """Tokens for a name and a password; Unauthorized, RateLimited or Unreachable."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    return await _post(url, "/authorize", {"username": username, "password": digest})


async def refresh(url: str, token: str) -> Mapping[str, Any]:
    """New tokens for a refresh token; Unauthorized or Unreachable."""
    return await _post(url, "/authorize/refresh", {"token": token})


async def _post(url: str, path: str, form: Mapping[str, str]) -> Mapping[str, Any]:
    request = HTTPRequest(
        url + path, "POST", body=urlencode(form), connect_timeout=CONNECT_S, request_timeout=2 * ANSWER_S
    )
    try:
        response = await AsyncHTTPClient().fetch(request)
        data: Mapping[str, Any] = orjson.loads(response.body)["data"]
    except HTTPClientError as error:
        raise _refusal(error, url) from None
    except (*_FAILURES, ValueError, KeyError, TypeError):
        raise _away(url) from None
    return data


def _refusal(error: HTTPClientError, url: str) -> LLMCoreError:
    if error.code in (401, 403):
        return Unauthorized("The login was refused: wrong name, password or an expired token; run `llmcore login`.")
    if error.code == 429 and error.response is not None:
        return RateLimited("Too many attempts; wait a little.", float(error.response.headers.get("Retry-After", "1")))
    return _away(url)


def _away(url: str) -> Unreachable:
    return Unreachable(f"No llmcore answers at {url}; start one with `llmcore serve`, or name it by --url.")
