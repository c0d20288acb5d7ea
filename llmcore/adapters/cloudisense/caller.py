"""Calls the host's own intents through its message router, as a browser would.

Built by the module, called by executor and api as the port `IntentCaller`. Knows neither plans nor the host's modules.
The line into the host carries the name and role of the person for whom a step runs, so that whatever the host's
gateway allows that person counts here too.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

import orjson
from cdscore.abstracts import IMessagingClient

from llmcore.errors import LLMCoreError, OutcomeUnknown
from llmcore.events import encode
from llmcore.plan import Preview, Principal, Undo
from llmcore.ports import Call

log = logging.getLogger(__name__)

MAX_WORDS = 500
"""Characters of the host's words about an error that are repeated."""
Send = Callable[[dict[str, Any], Any], Awaitable[Any]]
"""The host's `handle_socket_message` or `handle_messages`: a message and the client that it comes from."""


def plain(value: Any) -> Any:
    """A value as it is after a journey as JSON: nothing in it is shared with whoever it comes from."""
    return orjson.loads(encode(value))


class Line(IMessagingClient):  # type: ignore[misc]  # cdscore has no types
    """The client of one call: no browser, but the host does not see the difference."""

    def __init__(self, principal: Principal) -> None:
        """Nothing was answered yet."""
        super().__init__()
        self._id = f"llmcore-{uuid4().hex}"
        self.username = principal.name
        self.role = principal.role
        self.answer = asyncio.get_running_loop().create_future()

    @property
    def id(self) -> str:
        """Of this client, and of its one request."""
        return self._id

    def is_closed(self) -> bool:
        """True once nobody waits any more."""
        return self.answer.done()

    async def message_to_client(self, message: Any) -> None:
        """Take the answer; events are of no interest."""
        if isinstance(message, str):
            message = json.loads(message)
        wanted = isinstance(message, Mapping) and message.get("requestid") == self._id
        if wanted and not self.answer.done():
            self.answer.set_result(message)


class HostCaller:
    """`llmcore.ports.IntentCaller` over the host's message router."""

    def __init__(self, send: Send) -> None:
        """Take the way into the router."""
        self._send = send

    async def call(self, call: Call) -> Any:
        """The data of the host's answer; raises what it refused, OutcomeUnknown if it breaks.

        A host that never answers is waited for until the caller is cancelled or loses patience.
        """
        line = Line(call.principal)
        request = {"type": "rpc", "requestid": line.id, "intent": call.intent, "params": plain(call.params)}
        try:
            await self._send(request, line)
        except Exception as broke:
            log.exception("the host's router failed", extra={"action": "host_call", "intent": call.intent})
            raise OutcomeUnknown(f"The host broke while it handled {call.intent}.") from broke
        try:
            answer: Mapping[str, Any] = await line.answer
        finally:
            line.answer.cancel()
        if answer.get("status") != "success":
            words = str(answer.get("message", ""))[:MAX_WORDS]
            raise LLMCoreError(f"The host refused {call.intent}: {words}", intent=call.intent)
        return plain(answer.get("data"))

    async def preview(self, intent: str, params: Mapping[str, Any], principal: Principal) -> Preview | None:
        """The host cannot tell beforehand."""
        return None

    async def undo_of(
        self, intent: str, params: Mapping[str, Any], before: Any, result: Any, principal: Principal
    ) -> Undo | None:
        """The host takes nothing back."""
        return None

    async def verify(self, intent: str, params: Mapping[str, Any], principal: Principal) -> bool | None:
        """The host cannot tell."""
        return None
