"""One connected client: a sink for events, a caller of RPCs.

Made by the WebSocket handler; called by topics and by the handler, never awaits on their behalf. Knows the api as a
`Door`; not what an RPC does.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from tornado.iostream import IOStream

from llmcore.api import Caller
from llmcore.errors import LLMCoreError, RateLimited, TimedOut, Unauthorized, Unavailable, UnknownIntent
from llmcore.events import StreamEvent, rpc_error, rpc_success
from llmcore.plan import Principal
from llmcore.server.frames import Encoder, Reader, Rpc
from llmcore.server.limits import RateLimit
from llmcore.server.metrics import Metrics
from llmcore.server.outbox import Outbox, Wire
from llmcore.server.ports import Rooms, ServerOptions
from llmcore.streams import Sink

logger = logging.getLogger(__name__)

STOPPING = frozenset({"run_cancel", "plan_reject"})
"""RPCs that only stop something: let through even while nobody can say whether the token is still good."""
URGENT = STOPPING | {"plan_approve"}
"""RPCs that no rate limit holds back."""
Member = TypeVar("Member")

GOING_AWAY, TOO_SLOW, LOGGED_OUT = 1001, 1013, 4401


STOPPED = Unavailable("The server is stopping.")


class Socket(Protocol):
    """The WebSocket, as far as a client needs it."""

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Begin the closing handshake."""
        ...

    def abort(self) -> None:
        """Drop the connection without one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who is behind a socket."""

    principal: Principal
    token: str = field(repr=False)
    expires: float
    """Epoch seconds."""

    def caller(self, sink: Sink | None = None, *, propose_only: bool = False) -> Caller:
        """The same, as the api wants it."""
        return Caller(self.principal, sink, self.expires, propose_only)


class Group(Generic[Member]):
    """A set that can be waited for until it is empty."""

    def __init__(self) -> None:
        """Empty."""
        self._members: set[Member] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, member: Member) -> None:
        """Take one in."""
        self._members.add(member)
        self._empty.clear()

    def discard(self, member: Member) -> None:
        """Let one go, if it is there."""
        self._members.discard(member)
        if not self._members:
            self._empty.set()

    def __iter__(self) -> Iterator[Member]:
        """All of them as they are now; they may leave meanwhile."""
        return iter(tuple(self._members))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._members)

    async def emptied(self, timeout_s: float) -> None:
        """Return when nobody is left, or after `timeout_s`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), timeout_s)


class Hub:
    """What all clients of one server share, and who is connected."""

    def __init__(self, options: ServerOptions, rooms: Rooms, metrics: Metrics) -> None:
        """Nothing is connected yet."""
        self.options = options
        self.rooms = rooms
        self.metrics = metrics
        self.limit = RateLimit(options.rate_limit, rooms.clock)
        self.reader = Reader(options.service_id, options.max_json_depth)
        self.wire = Wire(options, metrics.traffic, Encoder())
        self.clients: Group[Client] = Group()
        self.sockets: Group[Socket] = Group()
        """Also those whose client is gone and whose closing handshake is not over."""
        self.running: Group[Call] = Group()
        self.stopping = False

    def joined(self, client: "Client") -> None:
        """A client is connected."""
        self.clients.add(client)
        self.metrics.traffic.connections += 1
        self.metrics.traffic.connections_total += 1

    def left(self, client: "Client", by_us: bool) -> None:
        """A client is gone."""
        self.clients.discard(client)
        self.metrics.traffic.connections -= 1
        self.rooms.door.disconnected(client, by_us)

    def logged_out(self, token: str) -> None:
        """A token was revoked here: its sockets end now."""
        for client in self.clients:
            if client.session.token == token:
                client.end(LOGGED_OUT, "the token was revoked", by_us=False)

    async def check_quiet_clients(self, quiet_s: float, at_most: int) -> None:
        """Verify the tokens of clients that have not called anything for a while."""
        before = self.rooms.clock.monotonic() - quiet_s
        quiet = (client for client in self.clients if client.checked_at < before)
        for client in islice(quiet, at_most):
            try:
                await client.verify()
            except Unauthorized:
                client.end(LOGGED_OUT, "the token is no longer valid", by_us=False)
            except Unavailable:
                return


class Call:
    """One RPC from its frame to its one answer."""

    __slots__ = ("_client", "_done", "_rpc", "_started", "_task", "_timer")

    def __init__(self, client: "Client", rpc: Rpc) -> None:
        """Begin to work on it in a task of its own."""
        hub = client.hub
        self._client = client
        self._rpc = rpc
        self._done = False
        self._started = hub.rooms.clock.monotonic()
        self._timer = asyncio.get_running_loop().call_later(hub.options.rpc_timeout_s, self._expire)
        self._task = hub.rooms.tasks.create_task(self._work(), name=f"rpc {rpc.intent[:60]}")
        hub.running.add(self)

    def interrupt(self) -> None:
        """Stop the work; the caller is told."""
        self._task.cancel()

    def _expire(self) -> None:
        self._answer(TimedOut("The request took too long."))
        self._task.cancel()

    async def _work(self) -> None:
        client, rpc = self._client, self._rpc
        try:
            await self._verify()
            door = client.hub.rooms.door
            self._answer(await door.call(rpc.intent, rpc.params, client.session.caller(client)))
        except asyncio.CancelledError:
            self._answer(Unavailable("The request was interrupted; please try again."))
            raise
        except LLMCoreError as error:
            self._answer(error)
        except Exception:  # the boundary of an RPC: whatever happened, its caller gets an answer
            logger.exception("rpc failed", extra={"action": "rpc", "intent": rpc.intent})
            self._answer(LLMCoreError("Something went wrong inside; the log has more."))
        finally:
            self._timer.cancel()
            client.hub.running.discard(self)
            client.finished()

    async def _verify(self) -> None:
        try:
            await self._client.verify()
        except Unavailable:
            if self._rpc.intent not in STOPPING:
                raise

    def _answer(self, outcome: Any) -> None:
        if self._done:
            return
        client, clock = self._client, self._client.hub.rooms.clock
        if isinstance(outcome, LLMCoreError):
            client.outbox.answer(rpc_error(self._rpc.request_id, outcome, clock.now()))
        else:
            client.outbox.answer(rpc_success(self._rpc.request_id, outcome, clock.now()))
        self._done = True
        status = outcome.code if isinstance(outcome, LLMCoreError) else "success"
        intent = "unknown" if isinstance(outcome, UnknownIntent) else self._rpc.intent
        client.hub.metrics.answered(intent, status, clock.monotonic() - self._started)
        if isinstance(outcome, Unauthorized):
            client.end(LOGGED_OUT, "the token is no longer valid", by_us=False)


class Client:
    """A browser, a terminal or another program on a WebSocket; implements `streams.Sink`."""

    __slots__ = ("_closing", "_expiry", "_running", "_socket", "checked_at", "hub", "outbox", "session")

    def __init__(self, hub: Hub, socket: Socket, stream: IOStream, session: Session) -> None:
        """Connected and authenticated just now."""
        self.hub = hub
        self.outbox = Outbox(stream, hub.wire, self._too_slow)
        self._socket = socket
        self.session = session
        self.checked_at = hub.rooms.clock.monotonic()
        self._running = 0
        self._closing = False
        left_s = session.expires - hub.rooms.clock.now()
        self._expiry = asyncio.get_running_loop().call_later(left_s, self._expired)
        hub.joined(self)

    @property
    def principal(self) -> Principal:
        """Who is behind it."""
        return self.session.principal

    # --- a sink ---

    def deliver(self, event: StreamEvent) -> None:
        """Take an event that must not be lost."""
        self.outbox.event(event)

    def broadcast(self, frame: Any) -> None:
        """Take a ready envelope that may be dropped while the client is slow."""
        self.outbox.broadcast(frame)

    # --- a caller ---

    def receive(self, message: str | bytes) -> None:
        """Take a frame from the client; never waits."""
        if self._closing:
            return
        hub = self.hub
        hub.metrics.traffic.bytes_in += len(message)
        read = hub.reader.read(message)
        if read is None:
            hub.metrics.traffic.ignored_frames += 1
        elif isinstance(read, Rpc):
            error = STOPPED if hub.stopping else self._over_limit(read.intent)
            if error is not None:
                self._refuse(read.request_id, error)
            else:
                self._running += 1
                Call(self, read)
        else:
            hub.metrics.traffic.refused_frames += 1
            self._refuse(read.request_id, self._over_limit("") or read.error)

    def _over_limit(self, intent: str) -> RateLimited | None:
        hub = self.hub
        wait_s = 0.0 if intent in URGENT else hub.limit.wait_s(self.principal.name)
        if wait_s == 0.0 and self._running < hub.options.max_running * (2 if intent in URGENT else 1):
            return None
        hub.metrics.traffic.rate_limited += 1
        if wait_s:
            return RateLimited("Too many requests a second.", wait_s)
        return RateLimited("Too many requests are running on this connection.", 1.0)

    def _refuse(self, request_id: str | None, error: LLMCoreError) -> None:
        self.outbox.answer(rpc_error(request_id, error, self.hub.rooms.clock.now()))

    def finished(self) -> None:
        """An RPC ended."""
        self._running -= 1

    async def verify(self) -> None:
        """Ask whether the token is still good and what its owner may do now; raises Unauthorized, Unavailable."""
        principal, _ = await self.hub.rooms.auth.authenticate(self.session.token)
        self.checked_at = self.hub.rooms.clock.monotonic()
        if principal != self.session.principal:
            self.session = replace(self.session, principal=principal)

    # --- its end ---

    def end(self, code: int, reason: str, *, by_us: bool) -> None:
        """Close it after what waits has left; `by_us`: it may come back for the rest."""
        if not self._closing:
            self._gone(by_us)
            self.outbox.close(lambda: self._socket.close(code, reason))

    def lost(self) -> None:
        """The socket was closed by its client or broke."""
        self.outbox.close()
        if not self._closing:
            self._gone(by_us=False)

    def _expired(self) -> None:
        self.end(LOGGED_OUT, "the token has expired", by_us=True)

    def _too_slow(self) -> None:
        self.hub.metrics.traffic.slow_closed += 1
        if not self._closing:
            self._gone(by_us=True)
        self._socket.close(TOO_SLOW, "too slow")

    def _gone(self, by_us: bool) -> None:
        self._closing = True
        self._expiry.cancel()
        self.hub.left(self, by_us)
