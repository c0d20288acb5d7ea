"""The ports to time, to the host's intents, to other services and to a work queue.

Implemented by `adapters/`; called by the rooms above. Knows no implementation.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from llmcore.plan import Preview, Principal, Undo


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> float:
        """Epoch seconds, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; for time-outs and durations."""
        ...


Progress = Callable[[Mapping[str, Any]], None]
"""Takes a JSON object that tells how far a running intent is; returns at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One intent call on its way to the host."""

    intent: str
    params: Mapping[str, Any]
    principal: Principal
    idempotency_key: str
    """The same for every attempt of the same step."""
    run_id: str | None = None
    step_id: str | None = None
    before: Any = None
    """The `before` of the preview that was decided on; None without one."""
    progress: Progress = lambda _: None


class IntentCaller(Protocol):
    """Runs intents that have passed validation, policy and approval."""

    async def call(self, call: Call) -> Any:
        """The intent's result as a JSON value; raises LLMCoreError, OutcomeUnknown where nobody can say."""
        ...

    async def preview(self, intent: str, params: Mapping[str, Any], principal: Principal) -> Preview | None:
        """What a call would touch; changes nothing. None where the intent cannot tell."""
        ...

    async def undo_of(
        self, intent: str, params: Mapping[str, Any], before: Any, result: Any, principal: Principal
    ) -> Undo | None:
        """The call that takes a finished one back; None where there is none."""
        ...

    async def verify(self, intent: str, params: Mapping[str, Any], principal: Principal) -> bool | None:
        """Whether the effect is there; None where the intent cannot tell."""
        ...


class Bus(Protocol):
    """Messages to and from other services; may lose messages, never the truth."""

    @property
    def healthy(self) -> bool:
        """False while messages may be getting lost."""
        ...

    async def publish(self, channel: str, frame: str) -> None:
        """Send one frame; Unavailable if it cannot be sent within a second."""
        ...

    def subscribe(self, channel: str) -> AsyncIterator[str]:
        """Frames of a channel from now on; goes on by itself after the server was away."""
        ...

    async def close(self) -> None:
        """End all subscriptions."""
        ...


SegmentHandler = Callable[[str, int], Awaitable[None]]
"""Runs one segment of a run: `(run_id, segment)`."""


class Queue(Protocol):
    """Runs each segment at least once, again after a crash."""

    def start(self, handler: SegmentHandler) -> Awaitable[None]:
        """Begin to work; unfinished segments of an earlier life, that no other node works, are handed out first."""
        ...

    async def enqueue(self, run_id: str, segment: int) -> None:
        """Have a segment run; returns once it is certain to be."""
        ...

    async def cancel(self, run_id: str) -> bool:
        """Stop the running segment of a run; False if none runs here."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Take no more work, let running segments end for `grace_s`, then interrupt them."""
        ...

    @property
    def depth(self) -> int:
        """Segments that wait or run here."""
        ...

    @property
    def healthy(self) -> bool:
        """False while no work can be taken from others or handed to them."""
        ...
