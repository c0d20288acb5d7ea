"""One attempt at a provider: how long it is waited for, when to ask again or leave it alone, and what it used.

Used by the LLM manager. Must not know which providers there are, their order or what is asked.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import cast

from llmcore.errors import LLMCoreError, ProviderError, TimedOut, Unavailable
from llmcore.ports import Clock, Finished, ModelEvent, ModelRequest, Usage
from llmcore.provider import LLMProvider


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait, in seconds."""

    connect_s: float = 5.0
    first_token_s: float = 60.0
    """For the first event of a reply; includes the connection."""
    between_tokens_s: float = 30.0
    total_s: float = 600.0
    """For the whole request with retries and fallbacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Exponential back-off with jitter; a vendor's Retry-After is waited for in full."""

    attempts: int = 3
    """Tries of one provider, the first included."""
    base_s: float = 0.5
    max_s: float = 20.0
    longest_retry_after_s: float = 60.0
    """A vendor that asks for more is not asked again."""
    jitter: Callable[[], float] = field(default=random.random)
    """From 0 to 1."""

    def delay(self, tried: int, error: LLMCoreError) -> float | None:
        """Seconds to wait after `tried` failures, None to give up."""
        if tried >= self.attempts or not error.retryable:
            return None
        asked = float(error.details.get("retry_after_s") or 0.0)
        if asked > self.longest_retry_after_s:
            return None
        step = min(self.max_s, self.base_s * 2.0 ** (tried - 1))
        return float(max(asked, step / 2) + self.jitter() * step / 2)


class Breaker:
    """Leaves a provider alone after failures in a row; then lets one request through to see."""

    def __init__(self, clock: Clock, failures: int = 5, pause_s: float = 30.0) -> None:
        """Open after `failures` in a row, for `pause_s` seconds."""
        self._clock = clock
        self._limit = failures
        self._pause_s = pause_s
        self._failures = 0
        self._until = 0.0
        self._probing = False

    @property
    def state(self) -> str:
        """`closed` (as it should be), `open`, or `half-open` (the next request is a trial)."""
        if self._failures < self._limit:
            return "closed"
        return "open" if self.retry_in_s > 0 or self._probing else "half-open"

    @property
    def retry_in_s(self) -> float:
        """Seconds until a request is let through again; 0 if that is now."""
        return max(0.0, self._until - self._clock.monotonic()) if self._failures >= self._limit else 0.0

    def admit(self) -> bool:
        """True if a request may go now; it has to be followed by `success`, `failure` or `release`."""
        state = self.state
        self._probing = self._probing or state == "half-open"
        return state != "open"

    def success(self) -> None:
        """The provider works."""
        self._failures = 0
        self._probing = False

    def failure(self) -> None:
        """The provider failed."""
        self._failures += 1
        self._probing = False
        self._until = self._clock.monotonic() + self._pause_s

    def release(self) -> None:
        """The request ended without saying anything about the provider."""
        self._probing = False


@dataclass(slots=True, kw_only=True)
class Meter:
    """What one model of one provider has done so far."""

    provider: str
    model: str
    calls: int = 0
    """Attempts that were sent."""
    errors: int = 0
    cancelled: int = 0
    usage: Usage = field(default_factory=Usage)
    latency_s: float = 0.0
    """Sum over the calls that ended well."""
    first_token_s: float = 0.0
    """Sum over all calls that had a first token."""


class UsageMeter:
    """Meters by provider and model, for `/metrics`; callers can name models, so only so many are told apart."""

    LIMIT = 100

    def __init__(self) -> None:
        """Start at zero."""
        self._meters: dict[tuple[str, str], Meter] = {}

    def of(self, provider: str, model: str) -> Meter:
        """The meter to add to."""
        if len(self._meters) >= self.LIMIT and (provider, model) not in self._meters:
            model = "other"
        return self._meters.setdefault((provider, model), Meter(provider=provider, model=model))

    def rows(self) -> list[Meter]:
        """All meters in order of first use."""
        return list(self._meters.values())


@dataclass(slots=True, kw_only=True)
class Slot:
    """A provider with what is known about its health."""

    provider: LLMProvider
    breaker: Breaker
    last_error: LLMCoreError | None = None

    @property
    def ready(self) -> bool:
        """True if a request would be sent now."""
        return self.provider.available and self.breaker.state != "open"

    def admit(self) -> None:
        """Let a request through, or raise Unavailable."""
        name = self.provider.name
        if not self.provider.available:
            raise Unavailable(self.provider.idle or f"{name} is not available.", provider=name)
        if not self.breaker.admit():
            wait = round(self.breaker.retry_in_s, 1)
            raise Unavailable(f"{name} has failed too often and rests.", provider=name, retry_after_s=wait)

    def ended(self, error: LLMCoreError | None) -> None:
        """Note how a request ended; a refused one says nothing about the provider's health."""
        self.last_error = error
        if error is None:
            self.breaker.success()
        elif error.retryable:
            self.breaker.failure()
        else:
            self.breaker.release()

    def health(self) -> dict[str, str]:
        """`status` and `reason`."""
        if not self.provider.available:
            idle = self.provider.idle
            return {"status": "ok" if idle else "down", "reason": idle or "not available"}
        error, state = self.last_error, self.breaker.state
        if error is None:
            return {"status": "ok", "reason": self.provider.model or self.provider.name}
        return {"status": "down" if state == "open" or not error.retryable else "degraded", "reason": error.message}


class Call:
    """One attempt that is under way: the provider's stream with time-outs, breaker and meter."""

    def __init__(self, slot: Slot, request: ModelRequest, meter: Meter, timeouts: Timeouts, deadline: float) -> None:
        """Begin; `deadline` is a time of the running loop's clock."""
        self._events = cast(AsyncGenerator[ModelEvent, None], slot.provider.stream(request))
        self._slot = slot
        self._meter = meter
        self._timeouts = timeouts
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()
        self._text = False
        self._over = False
        meter.calls += 1

    async def next(self) -> ModelEvent:
        """The next event; raises LLMCoreError where the attempt failed."""
        try:
            event = await self._within()
        except LLMCoreError as error:
            error.details["partial"] = self._text
            self._meter.errors += 1
            self._end(error)
            raise
        if isinstance(event, Finished):
            self._meter.usage += event.usage
            self._meter.latency_s += self._loop.time() - self._begun
            self._end(None)
        elif not self._text:
            self._text = True
            self._meter.first_token_s += self._loop.time() - self._begun
        return event

    async def _within(self) -> ModelEvent:
        name = self._slot.provider.name
        wait = self._timeouts.between_tokens_s if self._text else self._timeouts.first_token_s
        limit = asyncio.timeout_at(min(self._loop.time() + wait, self._deadline))
        try:
            async with limit:
                return await anext(self._events)
        except StopAsyncIteration:
            pass
        except TimeoutError:
            if limit.expired():
                what = "stopped sending" if self._text else "did not begin to answer"
                raise TimedOut(f"{name} {what} in the time allowed.", provider=name) from None
        raise ProviderError(f"{name} stopped in the middle of its answer.", provider=name)

    def _end(self, error: LLMCoreError | None) -> None:
        self._over = True
        self._slot.ended(error)

    async def close(self) -> None:
        """Close the provider's stream; before its end this cancels the request."""
        if not self._over:
            self._meter.cancelled += 1
            self._over = True
            self._slot.breaker.release()
        await self._events.aclose()
