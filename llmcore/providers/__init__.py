"""Language models: which provider answers, how long it is waited for, and who is asked when it fails.

Built in `app`, called by planner and session as the port `Model`, and by anybody who writes
`await LLMManager(options, clock).generate_response("…")`. Must not know prompts, plans, settings files or any vendor:
providers are found by name through the entry point group `llmcore.providers`, ours among them.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict, Unpack

from pydantic import SecretStr

from llmcore.errors import BadParams, LLMCoreError, ProviderError, TimedOut, Unavailable
from llmcore.ports import Clock, Finished, Message, Model, ModelEvent, ModelRequest, TextDelta
from llmcore.provider import Capabilities, LLMProvider, Misconfigured, ProviderOptions
from llmcore.providers.factory import LLMProviderFactory
from llmcore.providers.resilience import Breaker, Call, Meter, Retry, Slot, Timeouts, UsageMeter

__all__ = [
    "CallOptions",
    "Capabilities",
    "LLMManager",
    "LLMOptions",
    "LLMProvider",
    "LLMProviderFactory",
    "Meter",
    "Misconfigured",
    "ProviderOptions",
    "ProviderSettings",
    "Retry",
    "Timeouts",
    "UsageMeter",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """What one provider is told where it differs from the rest."""

    model: str | None = None
    base_url: str | None = None
    api_key: SecretStr | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMOptions:
    """Settings of the room."""

    provider: str = "offline"
    model: str | None = None
    """Model of `provider`."""
    base_url: str | None = None
    """Address of `local` where it takes part and has none of its own, else of `provider`."""
    fallback: Sequence[str] = ()
    """Providers asked in this order when the one before failed."""
    also: Sequence[str] = ()
    """Providers that answer only calls that name them, such as those of an agent."""
    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)
    """Settings by name, of those that take part; others are left alone."""
    temperature: float | None = None
    max_tokens: int | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: Retry = field(default_factory=Retry)
    breaker_failures: int = 5
    breaker_pause_s: float = 30.0
    script: str | None = None
    """File of the scripted provider."""


class CallOptions(TypedDict, total=False):
    """What one call may say."""

    provider: str
    model: str
    temperature: float
    max_tokens: int
    system: str
    """Text in front of the conversation."""
    history: Sequence[Message]
    schema: Mapping[str, Any]
    """JSON Schema that the reply has to fit."""


class LLMManager:
    """The models that are switched on, as one `Model`.

    Tries the chosen provider (again, where that may help and nothing was said yet), then the fallbacks. What was begun
    by one provider is never continued by another.
    """

    def __init__(
        self,
        options: LLMOptions,
        clock: Clock,
        *,
        factory: LLMProviderFactory | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Build all providers that are named; raises Misconfigured. Imports no SDK and opens no connection.

        Reads a few files (which providers are installed, a script), so not inside a busy event loop.
        """
        self.options = options
        self.meter = UsageMeter()
        self._factory = factory or LLMProviderFactory()
        self._sleep = sleep
        find = self._factory.resolve
        first = find(options.provider, "LLMCORE_LLM__PROVIDER")
        others = [find(name, "LLMCORE_LLM__FALLBACK") for name in options.fallback]
        also = [find(name, "LLMCORE_LLM__ALSO") for name in options.also]
        self._chain = tuple(dict.fromkeys([first, *others]))
        self._slots = {
            name: Slot(
                provider=self._factory.create(name, told),
                breaker=Breaker(clock, options.breaker_failures, options.breaker_pause_s),
            )
            for name, told in self._told(dict.fromkeys([*self._chain, *also])).items()
        }

    def _told(self, names: Iterable[str]) -> dict[str, ProviderOptions]:
        common = self.options
        given = {self._factory.aliases.get(name, name): settings for name, settings in common.providers.items()}
        own = {name: given.get(name, ProviderSettings()) for name in names}
        addressee = "local" if "local" in own and not own["local"].base_url else self.name
        return {
            name: ProviderOptions(
                model=mine.model or (common.model if name == self.name else None),
                base_url=mine.base_url or (common.base_url if name == addressee else None),
                api_key=mine.api_key,
                connect_s=common.timeouts.connect_s,
                max_tokens=common.max_tokens,
                script=common.script,
            )
            for name, mine in own.items()
        }

    @property
    def name(self) -> str:
        """Name of the chosen provider."""
        return self._chain[0]

    @property
    def available(self) -> bool:
        """True if at least one provider of the chain would be asked now."""
        return any(self._slots[name].ready for name in self._chain)

    @property
    def names(self) -> list[str]:
        """Providers that a call may name."""
        return list(self._slots)

    def get_model_name(self) -> str:
        """The model that answers by default; the provider's name while that is unknown."""
        return self._slots[self.name].provider.model or self.name

    def using(self, **options: Unpack[CallOptions]) -> Model:
        """The same models with other defaults, for an agent or a single chat; BadParams for an unknown provider.

        A provider that is named is asked alone: who pins a provider does not want the words to go elsewhere.
        """
        return _Using(self, options)

    async def generate_response(self, prompt: str, **options: Unpack[CallOptions]) -> str:
        """The whole reply to a prompt. Raises as `Model.stream`; can be cancelled."""
        return "".join([text async for text in self.stream_response(prompt, **options)])

    async def stream_response(self, prompt: str, **options: Unpack[CallOptions]) -> AsyncGenerator[str, None]:
        """The reply as it comes. Closing the iterator cancels the request; raises as `Model.stream`."""
        system = [Message("system", options["system"])] if options.get("system") else []
        messages = (*system, *options.get("history", ()), Message("user", prompt))
        async with aclosing(self.call(ModelRequest(messages=messages), options)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    yield event.text

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """As the port `Model` says, by the chosen provider or its fallbacks."""
        return self.call(request, {})

    def call(self, request: ModelRequest, options: CallOptions) -> AsyncGenerator[ModelEvent, None]:
        """A request with options that count where it says nothing itself."""
        request = replace(
            request,
            model=request.model or options.get("model"),
            temperature=_first(request.temperature, options.get("temperature"), self.options.temperature),
            max_tokens=_first(request.max_tokens, options.get("max_tokens")),
            schema=_first(request.schema, options.get("schema")),
        )
        return self._stream(request, self._order(options.get("provider")))

    def slot(self, provider: str | None) -> Slot:
        """A provider by name or alias, the chosen one for None; BadParams if it is not switched on."""
        name = self.name if provider is None else self._factory.aliases.get(provider.lower(), provider.lower())
        if name not in self._slots:
            raise BadParams(
                f"The provider {provider!r} is not switched on.",
                [{"pointer": "/provider", "message": f"is none of {', '.join(self._slots)}"}],
            )
        return self._slots[name]

    def _order(self, provider: str | None) -> list[Slot]:
        return [self._slots[name] for name in self._chain] if provider is None else [self.slot(provider)]

    async def _stream(self, request: ModelRequest, slots: Sequence[Slot]) -> AsyncGenerator[ModelEvent, None]:
        call, event = await self._begin(request, slots)
        try:
            yield event
            while not isinstance(event, Finished):
                event = await call.next()
                yield event
        finally:
            await call.close()

    async def _begin(self, request: ModelRequest, slots: Sequence[Slot]) -> tuple[Call, ModelEvent]:
        """The first provider that begins to answer, with its first event."""
        deadline = asyncio.get_running_loop().time() + self.options.timeouts.total_s
        failures: list[LLMCoreError] = []
        for slot in slots:
            try:
                return await self._attempt(slot, request, deadline)
            except (ProviderError, TimedOut, Unavailable) as error:
                if slot.provider.available:
                    _log.warning("model provider %s failed: %s", slot.provider.name, error.message)
                failures.append(error)
            request = replace(request, model=None)  # a model of the chosen provider means nothing to the next
        if len(failures) == 1:
            raise failures[0]
        raise ProviderError(" ".join(error.message for error in failures), tried=len(failures), partial=False)

    async def _attempt(self, slot: Slot, request: ModelRequest, deadline: float) -> tuple[Call, ModelEvent]:
        loop, retry = asyncio.get_running_loop(), self.options.retry
        tried = 0
        while True:
            tried += 1
            try:
                return await self._once(slot, request, deadline)
            except (ProviderError, TimedOut) as error:
                delay = retry.delay(tried, error)
                if delay is None or loop.time() + delay >= deadline:
                    raise
            await self._sleep(delay)

    async def _once(self, slot: Slot, request: ModelRequest, deadline: float) -> tuple[Call, ModelEvent]:
        slot.admit()
        meter = self.meter.of(slot.provider.name, request.model or slot.provider.model)
        call = Call(slot, request, meter, self.options.timeouts, deadline)
        begun = False
        try:
            event = await call.next()
            begun = True
        finally:
            if not begun:
                await call.close()
        return call, event

    def health(self) -> dict[str, Any]:
        """`status` (`ok`, `degraded`: a fallback answers, `down`), `reason`, and the same of each provider.

        It is known from the calls so far; nobody is asked for it.
        """
        each = {name: slot.health() for name, slot in self._slots.items()}
        chosen, rest = each[self.name], [each[name] for name in self._chain[1:]]
        status = chosen["status"]
        if status == "down" and any(one["status"] == "ok" for one in rest):
            status = "degraded"
        return {"status": status, "reason": chosen["reason"], "providers": each}

    async def warm(self) -> None:
        """Load what the chosen provider needs, so that the first chat does not wait for it."""
        await self._slots[self.name].provider.warm()

    async def aclose(self) -> None:
        """Close all connections."""
        for slot in self._slots.values():
            await slot.provider.aclose()


class _Using:
    """A manager with other defaults."""

    def __init__(self, manager: LLMManager, options: CallOptions) -> None:
        self._manager = manager
        self._options = options
        self._slot = manager.slot(options.get("provider"))

    @property
    def name(self) -> str:
        """Name of the provider that is asked first."""
        return self._slot.provider.name

    @property
    def available(self) -> bool:
        """As the manager's, of the pinned provider if one is."""
        return self._slot.ready if self._options.get("provider") else self._manager.available

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """As the port says."""
        return self._manager.call(request, self._options)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
