"""Takes our own secrets out of what a host's intents give back.

Wrapped by `app` around any `IntentCaller`: a file or a log that holds one of the keys of this installation is shown,
stored and told to models without it. Knows neither the intents nor the secrets.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llmcore.errors import LLMCoreError
from llmcore.plan import Preview, Principal, Undo
from llmcore.ports import Call, IntentCaller


@dataclass(frozen=True, slots=True)
class DiscreetCaller:
    """`llmcore.ports.IntentCaller` in front of another one."""

    caller: IntentCaller
    hide: Callable[[Any], Any]
    """A JSON value without the secrets."""

    async def call(self, call: Call) -> Any:
        """The result, what is told on the way, and errors, without secrets; raises as the other one does."""

        def progress(data: Mapping[str, Any]) -> None:
            call.progress(self.hide(data))

        try:
            return self.hide(await self.caller.call(replace(call, progress=progress)))
        except LLMCoreError as error:
            error.message, error.details, error.result = self.hide([error.message, error.details, error.result])
            error.args = (error.message,)
            raise

    async def preview(self, intent: str, params: Mapping[str, Any], principal: Principal) -> Preview | None:
        """What a call would touch: facts, no contents."""
        return await self.caller.preview(intent, params, principal)

    async def undo_of(
        self, intent: str, params: Mapping[str, Any], before: Any, result: Any, principal: Principal
    ) -> Undo | None:
        """The call that takes a finished one back."""
        return await self.caller.undo_of(intent, params, before, result, principal)

    async def verify(self, intent: str, params: Mapping[str, Any], principal: Principal) -> bool | None:
        """Whether the effect is there."""
        return await self.caller.verify(intent, params, principal)
