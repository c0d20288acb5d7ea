"""The port to language models.

Implemented by `providers/`; called by planner and session. Knows no vendor.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a model conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """What a model is asked."""

    messages: Sequence[Message]
    """System text first; the stable part in front, so that a vendor's prompt cache hits."""
    schema: Mapping[str, Any] | None = None
    """JSON Schema that the whole reply has to fit, or None for prose."""
    model: str | None = None
    """Another model than the configured one."""
    temperature: float | None = None
    """Ignored by providers that do not offer it."""
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one or more calls."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Part of `input_tokens` that came from the vendor's prompt cache."""

    def __add__(self, other: "Usage") -> "Usage":
        """The sum of both."""
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text; all that one network read brought, never empty."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last item of a stream that ended as it should."""

    reason: str
    """`stop`, `length`, … as the vendor says."""
    model: str
    """The model that answered."""
    provider: str
    """Name of the provider that answered (after fallbacks)."""
    usage: Usage = field(default_factory=Usage)


ModelEvent = TextDelta | Finished


class Model(Protocol):
    """Something that writes text."""

    @property
    def name(self) -> str:
        """Name of the provider: `openai`, `anthropic`, `local`, `scripted`, `offline` and so on."""
        ...

    @property
    def available(self) -> bool:
        """False where no call would be tried (offline, no key, breaker open)."""
        ...

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Text as it comes, then exactly one `Finished`.

        Closing the iterator cancels the request upstream at once. Raises ProviderError (also when the stream ends
        without a finish reason: what was yielded by then is partial), TimedOut or Unavailable.
        """
        ...
