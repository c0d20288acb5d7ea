"""What the server is given and what it needs from the rooms below, as plain options and Protocols.

Filled by `app`, read by every module of this package. Must not know settings or any implementation.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr

from llmcore.api import Caller
from llmcore.plan import Principal
from llmcore.ports import Clock
from llmcore.streams import Sink

KIB, MIB = 1 << 10, 1 << 20

AlertHandler = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Takes one alert in Alertmanager's shape; returns once it cannot be lost, raises Unavailable otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How the server listens and where its limits are."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0: any free port."""
    origins: tuple[str, ...] = ()
    """Origins besides our own whose pages may talk to us, such as `https://ops.example.org`."""
    tls_cert: Path | None = None
    """PEM file of the certificate chain; None: no TLS."""
    tls_key: Path | None = None
    """PEM file of its key; None: it is in the certificate's file."""
    webhook_token: SecretStr | None = None
    """Bearer token of `/hooks/alertmanager`; None: there is no such route."""
    static_root: Path | None = None
    """Folder of the dashboard."""
    frame_ancestors: tuple[str, ...] = ("'none'",)
    """Sources of the Content-Security-Policy that may show the dashboard in a frame."""
    service_id: str = "llmcore"
    """Our name in RPCs that name their addressee."""
    max_sockets: int = 10_000
    """WebSockets that may be open at once; one more is answered 503."""
    rate_limit: float = 200.0
    """RPCs a second and user; 0: no limit."""
    max_running: int = 64
    """RPCs that may run at once on one socket."""
    rpc_timeout_s: float = 9.5
    """An RPC that takes longer is answered `timeout`."""
    max_frame_bytes: int = MIB
    max_json_depth: int = 64
    max_body_bytes: int = 4 * MIB
    """Of an HTTP request."""
    ping_interval_s: float = 30.0
    ping_timeout_s: float = 20.0
    queue_bytes: int = 4 * MIB
    """What may wait for one client before it is closed as too slow."""
    stall_s: float = 10.0
    """How long one write may wait for a client that does not read."""


class Token(Protocol):
    """A signed token; times are epoch seconds."""

    @property
    def token(self) -> str:
        """The text, URL-safe."""
        ...

    @property
    def issued(self) -> float:
        """When it was made."""
        ...

    @property
    def expires(self) -> float:
        """When it ends."""
        ...


class TokenPair(Protocol):
    """What a login gives."""

    @property
    def access(self) -> Token:
        """For requests."""
        ...

    @property
    def refresh(self) -> Token:
        """For a new pair."""
        ...


class Auth(Protocol):
    """Accounts, as far as a door needs them."""

    async def login(self, username: str, password_sha256: str, remote: str) -> TokenPair:
        """Tokens for a user; raises Unauthorized, RateLimited."""
        ...

    async def refresh(self, refresh_token: str) -> TokenPair:
        """A new pair; raises Unauthorized."""
        ...

    async def revoke(self, token: str) -> None:
        """Make a token void."""
        ...

    async def authenticate(self, token: str) -> tuple[Principal, float]:
        """Who is behind an access token and when it expires (epoch seconds); raises Unauthorized.

        Asked before every RPC, so it has to be cheap.
        """
        ...


class Door(Protocol):
    """The api, as far as the server needs it."""

    async def call(self, intent: str, params: Mapping[str, Any], caller: Caller) -> Any:
        """Run an RPC and return its `data`; raises LLMCoreError."""
        ...

    async def ready(self) -> Mapping[str, Any]:
        """The body of `/readyz`."""
        ...

    def disconnected(self, sink: Sink, by_us: bool) -> None:
        """A client is gone; `by_us` if we closed it and it may come back for the rest."""
        ...


class Subscriptions(Protocol):
    """Topics, as far as the server needs them."""

    def connect(self, sink: Sink) -> None:
        """A client is there."""
        ...

    async def subscribe(self, topic: str, sink: Sink) -> None:
        """Have a client get a topic's events."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rooms:
    """What `app` hands in."""

    door: Door
    auth: Auth
    topics: Subscriptions
    clock: Clock
    tasks: asyncio.TaskGroup
    """Where RPCs run."""
    on_alert: AlertHandler | None = None
