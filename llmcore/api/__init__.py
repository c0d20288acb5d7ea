"""The whole surface, once: every door (WebSocket, HTTP, terminal, bus, host module) calls `Api.call` and nothing else.

Knows neither Tornado nor which door was used. Identity comes from the `Caller` alone.
"""

from collections.abc import Mapping
from typing import Any

from llmcore.api import (
    accounts,
    auditing,
    chains,
    chat,
    control,
    conversations,
    intents,
    policies,
    suggestions,
    system,
    templates,
    upkeep,
)
from llmcore.api.core import RPCS, Caller, Core
from llmcore.api.intents import call_intent
from llmcore.errors import BadParams, Forbidden, UnknownIntent
from llmcore.streams import Sink

__all__ = ["Api", "Caller", "Core"]

_LOADED = (
    accounts,
    auditing,
    chains,
    chat,
    control,
    conversations,
    intents,
    policies,
    suggestions,
    system,
    templates,
    upkeep,
)
"""The modules whose RPCs are registered by being imported."""


_KEPT = frozenset({"chat_llm", "query_assist", "chain", "plan_edit", "template_run", "template_save"})
"""RPCs whose words are stored and may go to a model: without the secrets of this installation, whoever typed them."""


_TELLING = frozenset({"chain", "plan_approve", "plan_edit", "plan_reject"})
"""RPCs whose rooms put their refusals into the trail themselves."""

_DECIDING = {"plan_approve": "plan.approve", "plan_reject": "plan.reject"}
"""RPCs whose frames are put into the trail even where they cannot be read as a decision."""


class Api:
    """One function a request."""

    def __init__(self, core: Core) -> None:
        """Take the rooms; nothing runs yet."""
        self._core = core

    def knows(self, intent: str) -> bool:
        """True for a name that `call` would take."""
        name = intent.removeprefix("intent_")
        return name in RPCS or name in self._core.catalog

    async def call(self, intent: str, params: Mapping[str, Any], caller: Caller) -> Any:
        """Run an RPC or an intent of the catalogue and return its `data`; raises LLMCoreError.

        The prefix `intent_` may be there or not. Answers within ten seconds: longer work is acknowledged and tells its
        end by events. Cancelling it cancels reads, not runs.
        """
        name = intent.removeprefix("intent_")
        found = RPCS.get(name)
        if found is None:
            if name not in self._core.catalog:
                self._unknown(name)
            return await call_intent(self._core, name, params, caller)
        fields = found.validator.problems(params)
        if fields:
            first = fields[0]
            misfit = BadParams(f"{name}: {first['pointer'].lstrip('/') or 'params'} {first['message']}.", fields)
            if name in _DECIDING:
                await self._core.audit.record(
                    f"{_DECIDING[name]}.refused", caller.principal, error=misfit.code, why=str(misfit)
                )
            raise misfit
        try:
            return await found.handler(self._core, self._core.hide(params) if name in _KEPT else params, caller)
        except Forbidden as refused:
            if name not in _TELLING:
                about = {key: value for key, value in params.items() if key.endswith("_id") or key == "topic"}
                self._core.audit.note("refused", caller.principal, request=name, reason=refused.message, **about)
            raise

    def _unknown(self, name: str) -> None:
        try:
            self._core.catalog.get(name)
        except UnknownIntent as unknown:
            raise UnknownIntent(unknown.message, **unknown.details) from None

    async def ready(self) -> dict[str, Any]:
        """The body of `/readyz`: `{"status", "components"}`."""
        return await system.ready(self._core)

    def disconnected(self, sink: Sink, by_us: bool) -> None:
        """A client is gone: model calls that nobody reads any more end, unless we closed it for being slow."""
        left = self._core.topics.disconnect(sink)
        if not by_us:
            self._core.session.nobody_reads(left)
