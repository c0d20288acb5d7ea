"""Runs a few intents of our own beside those of a host that we live in.

Put by `app` in front of the host's `IntentCaller`. Knows which names are ours and nothing else of them.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from llmcore.plan import Preview, Principal, Undo
from llmcore.ports import Call, IntentCaller


@dataclass(frozen=True, slots=True)
class DividedCaller:
    """`llmcore.ports.IntentCaller` over two others."""

    own: IntentCaller
    names: Container[str]
    """What `own` runs; everything else is the host's."""
    host: IntentCaller

    def _of(self, intent: str) -> IntentCaller:
        return self.own if intent in self.names else self.host

    async def call(self, call: Call) -> Any:
        """The intent's result, from whoever runs it."""
        return await self._of(call.intent).call(call)

    async def preview(self, intent: str, params: Mapping[str, Any], principal: Principal) -> Preview | None:
        """What a call would touch."""
        return await self._of(intent).preview(intent, params, principal)

    async def undo_of(
        self, intent: str, params: Mapping[str, Any], before: Any, result: Any, principal: Principal
    ) -> Undo | None:
        """The call that takes a finished one back."""
        return await self._of(intent).undo_of(intent, params, before, result, principal)

    async def verify(self, intent: str, params: Mapping[str, Any], principal: Principal) -> bool | None:
        """Whether the effect is there."""
        return await self._of(intent).verify(intent, params, principal)
