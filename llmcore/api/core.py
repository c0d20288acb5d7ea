"""What every RPC gets: the rooms below, who calls, and how an RPC is declared.

Used by the RPC modules of this package only.
"""

from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmcore.accounts import Accounts
from llmcore.audit import Audit
from llmcore.catalog import Catalog
from llmcore.catalog.checks import ParamsValidator
from llmcore.conversation import Conversations
from llmcore.plan import Principal
from llmcore.policy import Judge
from llmcore.ports import Clock, IntentCaller, Store
from llmcore.session import Replayer, Session
from llmcore.standing import StandingRules
from llmcore.streams import Sink, Topics
from llmcore.templates import Templates


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls through a door; made only from an authenticated connection."""

    principal: Principal
    sink: Sink | None = None
    """The connected client, if the door has one."""
    token_expires: float | None = None
    """Epoch seconds."""
    propose_only: bool = False
    """True for doors where nothing may change without a person's decision, whatever policy allows."""


class Suggestions(Protocol):
    """The room of alerts and suggestions, as far as RPCs need it."""

    async def alerts(self) -> list[dict[str, Any]]:
        """Alert groups, newest first."""
        ...

    async def suggestions(self, principal: Principal) -> list[dict[str, Any]]:
        """Suggestion cards, newest first."""
        ...

    async def accept(self, suggestion_id: str, principal: Principal) -> dict[str, Any]:
        """Propose the plan of a card; raises NotFound, Conflict, Forbidden."""
        ...

    async def dismiss(self, suggestion_id: str, principal: Principal, reason: str) -> dict[str, Any]:
        """Put a card away; raises NotFound, Conflict, Forbidden."""
        ...


class Purged(Protocol):
    """What emptying the trash did."""

    @property
    def items(self) -> int:
        """How many went."""
        ...

    @property
    def size_bytes(self) -> int:
        """What they held."""
        ...

    @property
    def needed(self) -> Sequence[str]:
        """Items that would have gone but were to be kept."""
        ...


class TrashCan(Protocol):
    """Where the host keeps what was deleted or overwritten."""

    async def purge(self, older_than_s: float | None, keep: Container[str]) -> Purged:
        """Drop what is older (None: than its own limit), but nothing of `keep`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """The rooms that RPCs use."""

    session: Session
    replayer: Replayer
    topics: Topics
    store: Store
    catalog: Catalog
    accounts: Accounts
    conversations: Conversations
    templates: Templates
    judge: Judge
    host: IntentCaller
    audit: Audit
    clock: Clock
    suggestions: Suggestions | None
    status: Callable[[], Mapping[str, Any]]
    """Facts for `status`: version, provider, how to switch a model on."""
    probes: Mapping[str, Callable[[], Awaitable[Mapping[str, Any]]]]
    """Component -> its `{"status", "required", "reason"}`."""
    standing: StandingRules | None = None
    trash: TrashCan | None = None
    hide: Callable[[Any], Any] = lambda value: value
    """A JSON value without the secrets of this installation."""


Handler = Callable[[Core, Mapping[str, Any], Caller], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC: checked params in, `data` out."""

    name: str
    validator: ParamsValidator
    schema: Mapping[str, Any]
    handler: Handler


RPCS: dict[str, Rpc] = {}
"""All RPCs that are not intents, by name; filled when the modules of this package are loaded."""


def rpc(name: str, required: Mapping[str, Any] | None = None, /, **optional: Any) -> Callable[[Handler], Handler]:
    """Declare an RPC by the JSON Schemas of its required and optional params."""
    properties = {**(required or {}), **optional}
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required or {}),
        "additionalProperties": False,
    }

    def declare(handler: Handler) -> Handler:
        RPCS[name] = Rpc(name, ParamsValidator(schema), schema, handler)
        return handler

    return declare


ID = {"type": "string", "minLength": 1, "maxLength": 200}
TEXT = {"type": "string", "maxLength": 2_000}
