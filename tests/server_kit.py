"""The real server on rooms of toys, for its own tests: a door with a few intents, accounts in a dictionary."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from llmcore.api import Caller
from llmcore.errors import Conflict, NotFound, RateLimited, Unauthorized, Unavailable, UnknownIntent
from llmcore.events import Event
from llmcore.plan import Principal
from llmcore.ports import Store
from llmcore.server import Rooms, Server, ServerOptions
from llmcore.streams import Sink, Topics
from tests.peer import Peer

SECRET = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"
"""SHA-256 of the password of everybody here."""


class Clock:
    """Time that a test may move."""

    def __init__(self) -> None:
        """As late as it is."""
        self.ahead_s = 0.0
        self._start = 1_700_000_000.0 - time.monotonic()

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic() + self.ahead_s

    def now(self) -> float:
        """Epoch seconds."""
        return self._start + self.monotonic()


@dataclass(frozen=True)
class Token:
    """A token."""

    token: str
    issued: float
    expires: float


@dataclass(frozen=True)
class Pair:
    """Two of them."""

    access: Token
    refresh: Token


@dataclass
class Accounts:
    """Users by name; a token is `<name>` or `<name>.<anything>`."""

    clock: Clock
    roles: dict[str, str] = field(default_factory=lambda: {"ada": "admin", "bob": "observer"})
    revoked: set[str] = field(default_factory=set)
    life_s: float = 3600.0
    down: bool = False
    asked: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    passed: asyncio.Event = field(default_factory=asyncio.Event)

    def _pair(self, name: str) -> Pair:
        now = self.clock.now()
        return Pair(Token(name, now, now + self.life_s), Token(f"{name}.refresh", now, now + 2 * self.life_s))

    async def login(self, username: str, password_sha256: str, remote: str) -> Pair:
        """Log in; `slow` is slowed down, `broken` finds a bug."""
        if username == "slow":
            raise RateLimited("Too many failed logins.", 7.2)
        if username == "broken":
            raise KeyError("canary of the accounts")
        if username not in self.roles or password_sha256 != SECRET or not remote:
            raise Unauthorized("The name or the password is wrong.")
        return self._pair(username)

    async def refresh(self, refresh_token: str) -> Pair:
        """A new pair."""
        if not refresh_token.endswith(".refresh"):
            raise Unauthorized("This is no refresh token.")
        return self._pair(refresh_token.partition(".")[0])

    async def revoke(self, token: str) -> None:
        """Make it void."""
        self.revoked.add(token)

    async def authenticate(self, token: str) -> tuple[Principal, float]:
        """Who it is; `late` is told when the test says so."""
        self.asked += 1
        if token == "late":
            await self.gate.wait()
            self.passed.set()
        if self.down:
            raise Unavailable("The store is away.")
        name = token.partition(".")[0]
        if name not in self.roles or token in self.revoked:
            raise Unauthorized("The token is not valid.")
        return Principal(name=name, role=self.roles[name]), self.clock.now() + self.life_s


class Records:
    """The little that topics ask of a store."""

    def __init__(self) -> None:
        """Empty."""
        self.owners: dict[str, str] = {}

    async def topic_open(self, topic: str, conversation_id: str, owner: str) -> int:
        """The first epoch."""
        self.owners[topic] = owner
        return 1

    async def topic_owner(self, topic: str) -> str | None:
        """Who opened it."""
        return self.owners.get(topic)


Handler = Callable[[Mapping[str, Any], Caller], Awaitable[Any]]


class Door:
    """An api of a few intents; tests add their own to `intents`."""

    def __init__(self, topics: Topics, tasks: asyncio.TaskGroup) -> None:
        """Everything is fine."""
        self.topics = topics
        self.tasks = tasks
        self.body: dict[str, Any] = {"status": "ok", "components": {"store": {"status": "ok", "required": True}}}
        self.gone: list[tuple[Sink, bool]] = []
        self.left = asyncio.Event()
        self.release = asyncio.Event()
        self.callers: list[Caller] = []
        self.script: list[Event] = []
        """What `chat_llm` publishes."""
        self.asked: list[Mapping[str, Any]] = []
        """The params of all `chat_llm`."""
        self.intents: dict[str, Handler] = {
            "chat_llm": self._chat,
            "conflict": self._conflict,
            "conversation_get": self._conversation,
            "echo": self._echo,
            "plan_approve": self._echo,
            "run_cancel": self._cancel,
            "subscribe_channel": self._subscribe,
            "wait": self._wait,
            "whoami": self._whoami,
        }

    async def call(self, intent: str, params: Mapping[str, Any], caller: Caller) -> Any:
        """Run one."""
        if intent not in self.intents:
            raise UnknownIntent(f"There is no intent {intent!r}.")
        self.callers.append(caller)
        return await self.intents[intent](params, caller)

    async def ready(self) -> Mapping[str, Any]:
        """How the test says it is."""
        return self.body

    def disconnected(self, sink: Sink, by_us: bool) -> None:
        """Note it."""
        self.topics.disconnect(sink)
        self.gone.append((sink, by_us))
        self.left.set()

    async def _echo(self, params: Mapping[str, Any], caller: Caller) -> Any:
        return dict(params)

    async def _whoami(self, params: Mapping[str, Any], caller: Caller) -> Any:
        return {"name": caller.principal.name, "role": caller.principal.role}

    async def _wait(self, params: Mapping[str, Any], caller: Caller) -> Any:
        await self.release.wait()
        return "released"

    async def _cancel(self, params: Mapping[str, Any], caller: Caller) -> Any:
        self.release.set()
        return "cancelled"

    async def _conflict(self, params: Mapping[str, Any], caller: Caller) -> Any:
        raise Conflict("It is no longer as you think.", status="done")

    async def _subscribe(self, params: Mapping[str, Any], caller: Caller) -> Any:
        assert caller.sink is not None
        await self.topics.subscribe(params["topic"], caller.sink)

    async def _conversation(self, params: Mapping[str, Any], caller: Caller) -> Any:
        if params["conversation_id"] != "known":
            raise NotFound("There is no such conversation.")
        return {"conversation": {}}

    async def _chat(self, params: Mapping[str, Any], caller: Caller) -> Any:
        topic = str(params["topic"])
        self.asked.append(params)
        await self.topics.open(topic, "c1", caller.principal)

        async def publish() -> None:
            for event in self.script:
                self.topics.publish(topic, event, "r1")
                await asyncio.sleep(0)

        self.tasks.create_task(publish())
        return {"accepted": True, "conversation_id": "c1", "run_id": "r1", "topic": topic}


@dataclass
class Stand:
    """A running server and its toys."""

    server: Server
    door: Door
    auth: Accounts
    topics: Topics
    clock: Clock
    port: int
    closing: AsyncExitStack
    alerts: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    async def join(self, who: str = "ada", **headers: str) -> Peer:
        """A connected peer, closed at the end."""
        peer = await Peer.connect(f"ws://127.0.0.1:{self.port}/ws?token={who}", **headers)
        self.closing.push_async_callback(peer.close)
        return peer

    async def fetch(self, path: str, form: Mapping[str, str] | None = None, **options: Any) -> HTTPResponse:
        """One HTTP request; errors are answers too."""
        if form is not None:
            options |= {"method": "POST", "body": urlencode(form)}
        return await AsyncHTTPClient().fetch(self.url + path, raise_error=False, **options)


def rooms(tasks: asyncio.TaskGroup, **more: Any) -> tuple[Rooms, Topics, Door, Accounts, Clock]:
    """Toys for one server."""

    async def snapshots(topic: str) -> list[Event]:
        return []

    clock = Clock()
    topics = Topics(cast(Store, Records()), clock, snapshots)
    door, auth = Door(topics, tasks), Accounts(clock)
    return Rooms(door=door, auth=auth, topics=topics, clock=clock, tasks=tasks, **more), topics, door, auth, clock


@asynccontextmanager
async def serving(on_alert: bool = True, **options: Any) -> AsyncIterator[Stand]:
    """A server on a free port; what a test leaves running is cut off at the end."""
    alerts: list[Mapping[str, Any]] = []

    async def take(alert: Mapping[str, Any]) -> None:
        alerts.append(alert)

    async with asyncio.TaskGroup() as tasks, AsyncExitStack() as closing:
        given, topics, door, auth, clock = rooms(tasks, on_alert=take if on_alert else None)
        server = Server(ServerOptions(port=0, **options), given)
        port = await server.start()
        closing.push_async_callback(server.stop, 0.4)
        yield Stand(server, door, auth, topics, clock, port, closing, alerts)


async def settle(turns: int = 5) -> None:
    """Let what is ready to run, run."""
    for _ in range(turns):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
