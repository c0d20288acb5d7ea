"""What the author of a model provider imports: the base class, its options, its errors and a reader of vendor streams.

Used by `providers/` and by packages that add a provider under the entry point group `llmcore.providers`. Must not know
any vendor's SDK, retries, fallbacks or who asks.
"""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies

from pydantic import SecretStr

from llmcore.errors import LLMCoreError, ProviderError
from llmcore.ports import Finished, ModelEvent, ModelRequest, TextDelta
from llmcore.provider.network import direct_transport

EVENT_LIMIT = 1 << 20
"""Bytes of one server-sent event; a vendor that sends more is broken."""
DRAIN_S = 0.1
"""How long the end of a finished response is waited for, so that its connection can be used again."""
_TRANSIENT = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_MUTE = frozenset({401, 403})
_KEY_LIKE = re.compile(r"(?i)(?:bearer\s+|\b(?:sk|key|pk|token)[-_])\S+|\b(?=\S*\d)[\w\-.*+/=]{24,}")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028-\u202e\u2066-\u2069]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a provider offers; the rest of a request is left out without a word."""

    temperature: bool = True
    json_schema: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderOptions:
    """All that a provider is told; each takes what it needs."""

    model: str | None = None
    base_url: str | None = None
    api_key: SecretStr | None = None
    connect_s: float = 5.0
    max_tokens: int | None = None
    """Longest reply where a request says nothing; None is the vendor's own limit."""
    script: str | None = None
    """File of the scripted provider."""


class Misconfigured(LLMCoreError):
    """A setting is missing or wrong; the message begins with its name and says how to put it right."""

    def __init__(self, setting: str, message: str) -> None:
        """Name the setting as a person sets it, such as `LLMCORE_LLM__MODEL`."""
        super().__init__(f"{setting}: {message}", setting=setting)
        self.setting = setting


class ProviderRejected(ProviderError):
    """The provider understood and said no: the same request would be refused again."""

    retryable = False


def clean(text: object, limit: int = 160) -> str:
    """A vendor's words made safe to show: one short line without control characters or anything like a key."""
    line = _KEY_LIKE.sub("…", _CONTROL.sub(" ", str(text))).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def status_error(
    provider: str, status: int, *, kind: str = "", words: str = "", key_setting: str | None = None, **details: Any
) -> ProviderError:
    """The error for an HTTP status; `kind` is the vendor's machine word and `words` its sentence.

    `details` may have `retry_after_s`. Words that come with 401 and 403 are dropped: they may repeat the key.
    """
    facts = {"provider": provider, "status": status, "partial": False, **details}
    if status in _MUTE:
        check = f"; check {key_setting}" if key_setting else ""
        return ProviderRejected(f"{provider} refused the login ({status}){check}.", **facts)
    told = ": ".join(part for part in (clean(kind, 60), clean(words)) if part)
    if status in _TRANSIENT and kind != "insufficient_quota":
        return ProviderError(f"{provider} cannot answer now ({status}{', ' + told if told else ''}).", **facts)
    return ProviderRejected(f"{provider} refused the request ({status}{', ' + told if told else ''}).", **facts)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response asks to wait, None where it says nothing that makes sense.

    Milliseconds, seconds (RFC 9110) or an HTTP date, which is taken relative to the response's own `Date`.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        with suppress(KeyError, ValueError):
            seconds = float(headers[name]) * unit
            if 0 <= seconds < float("inf"):
                return seconds
    with suppress(KeyError, ValueError):
        until = parsedate_to_datetime(headers["retry-after"]) - parsedate_to_datetime(headers["date"])
        return max(0.0, until.total_seconds())
    return None


class LLMProvider(ABC):
    """One vendor or kind of server; implements the port `Model`."""

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities] = Capabilities()
    key_setting: ClassVar[str | None] = None
    """The setting that holds its key."""
    idle: ClassVar[str] = ""
    """Why it never answers, where that is as it should be."""

    def __init__(self, options: ProviderOptions) -> None:
        """Keep the options; raises Misconfigured. Does no I/O."""
        self.options = options

    @property
    def available(self) -> bool:
        """False where no call would be tried."""
        return True

    @property
    def model(self) -> str:
        """The model that answers where a request names none; empty while that is unknown."""
        return self.options.model or ""

    @abstractmethod
    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """As the port `Model` says. Errors after the first text have `details["partial"]` true."""

    async def warm(self) -> None:  # noqa: B027 - most have nothing to prepare
        """Load what the first request would have to wait for."""

    async def aclose(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of connections."""


class SSEParser:
    """Cuts server-sent events out of the bytes of network reads, whatever the reads cut."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The `data` of each event that is complete now, in order; ValueError if one is too big."""
        text = self._rest + data
        held = b""
        if b"\r" in text:
            if text.endswith(b"\r"):
                text, held = text[:-1], b"\r"
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *events, rest = text.split(b"\n\n")
        self._rest = rest + held
        if len(self._rest) > EVENT_LIMIT:
            raise ValueError("an event is too big")
        return [payload for event in events if (payload := self._payload(event))]

    @staticmethod
    def _payload(event: bytes) -> bytes:
        if event.startswith(b"data: ") and b"\n" not in event:
            return event[6:]
        lines = [line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]
        return b"\n".join(line[1:] if line.startswith(b" ") else line for line in lines)


class StreamDecoder(ABC):
    """Turns the events of one vendor's stream into text; knows when the stream is complete. Does no I/O."""

    def __init__(self, provider: str, key_setting: str | None = None) -> None:
        """`provider` is who is named in errors."""
        self.provider = provider
        self.key_setting = key_setting
        self.model = ""
        self.done = False
        """The vendor's own end mark has come."""
        self.reason: str | None = None
        """Why the reply ended, as the vendor says."""
        self._sse = SSEParser()

    def feed(self, data: bytes) -> str:
        """All text that one network read brought; ProviderError where it makes no sense."""
        try:
            return "".join([self.take(payload) for payload in self._sse.feed(data)])
        except (ValueError, LookupError, TypeError, AttributeError):
            pass
        raise ProviderError(f"{self.provider} sent a broken stream.", provider=self.provider, partial=False)

    @abstractmethod
    def take(self, payload: bytes) -> str:
        """The text of one event; any ValueError, LookupError, TypeError or AttributeError means it is malformed."""

    @abstractmethod
    def finished(self) -> Finished:
        """The last item of the stream; called once it is complete."""


class RawResponse(Protocol):
    """A response of an SDK whose body is read as bytes."""

    @property
    def http_response(self) -> Any:
        """The response of the HTTP client."""
        ...

    def iter_bytes(self) -> AsyncIterator[bytes]:
        """What each network read brought."""
        ...


@dataclass(slots=True)
class Sdk:
    """A vendor's SDK once it is imported: its client and what it may raise."""

    client: Any
    status_error: type[Exception]
    """Has `status_code`, `body` and `response.headers`."""
    failures: tuple[type[Exception], ...]
    """Everything else that a broken connection may raise."""
    unreachable: tuple[type[Exception], ...]
    """Those of its causes that mean nobody answers there."""


class HTTPProvider(LLMProvider):
    """A vendor that streams server-sent events, asked by its official SDK and read raw.

    The SDK is imported and its client is built in a thread at the first request: both take about a second.
    """

    default_url: ClassVar[str] = ""

    def __init__(self, options: ProviderOptions) -> None:
        """Raises Misconfigured."""
        super().__init__(options)
        self._sdk: Sdk | None = None
        self._lock = asyncio.Lock()

    @property
    def base_url(self) -> str:
        """Where requests go."""
        return self.options.base_url or self.default_url

    @property
    def address(self) -> str:
        """Host and port of `base_url`, without the credentials that an address may have."""
        return urlsplit(self.base_url).netloc.rpartition("@")[2]

    @property
    def loopback(self) -> bool:
        """True if `base_url` is on this machine, where no proxy may be asked."""
        return urlsplit(self.base_url).hostname in {"localhost", "127.0.0.1", "::1"}

    def http_options(self) -> dict[str, Any]:
        """Options for the HTTP client of an SDK: the direct way, unless a proxy has to be asked."""
        if not self.loopback and getproxies():
            return {}
        return {"transport": direct_transport()}

    @abstractmethod
    def connect(self) -> Sdk:
        """Import the SDK and build its client; called once, in a thread."""

    @abstractmethod
    def open(self, sdk: Sdk, request: ModelRequest) -> AbstractAsyncContextManager[RawResponse]:
        """The request, sent when the context is entered; leaving it closes the connection unless all was read."""

    @abstractmethod
    def decoder(self) -> StreamDecoder:
        """A decoder for one response."""

    async def warm(self) -> None:
        """Import the SDK."""
        await self.sdk()

    async def aclose(self) -> None:
        """Close the client's connections."""
        async with self._lock:
            sdk, self._sdk = self._sdk, None
        if sdk is not None:
            await sdk.client.close()

    async def sdk(self) -> Sdk:
        """The SDK, imported at the first call."""
        async with self._lock:
            if (sdk := self._sdk) is None:
                self._sdk = sdk = await asyncio.to_thread(self.connect)
            return sdk

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """As the port says; all text of one network read is one TextDelta."""
        sdk = await self.sdk()
        decoder = self.decoder()
        partial = False
        failure: ProviderError | None = None
        try:
            async with self.open(sdk, request) as response:
                chunks = body_of(response)
                async for data in chunks:
                    if text := decoder.feed(data):
                        partial = True
                        yield TextDelta(text)
                    if decoder.done:
                        await _drain(chunks, sdk)
                        break
        except ProviderError as error:
            failure = error
        except (sdk.status_error, *sdk.failures) as error:
            failure = self._translated(sdk, error)
        if failure is None and not (decoder.done and decoder.reason):
            failure = ProviderError(f"{self.name} stopped in the middle of its answer.", provider=self.name)
        if failure is not None:  # raised here, not above: no vendor exception with its texts may hang on to it
            failure.details["partial"] = partial
            raise self._without_key(failure)
        yield decoder.finished()

    def _without_key(self, failure: ProviderError) -> ProviderError:
        """The error, should the vendor's words repeat the key that they were sent."""
        key = self.options.api_key.get_secret_value() if self.options.api_key else ""
        if key and key in failure.message:
            failure.message = failure.message.replace(key, "[redacted]")
            failure.args = (failure.message,)
        return failure

    def _translated(self, sdk: Sdk, error: Exception) -> ProviderError:
        if isinstance(error, sdk.status_error):
            refusal: Any = error
            kind, words = vendor_words(refusal.body)
            wait = retry_after_s(refusal.response.headers)
            details = {} if wait is None else {"retry_after_s": wait}
            return status_error(
                self.name, refusal.status_code, kind=kind, words=words, key_setting=self.key_setting, **details
            )
        if isinstance(error.__cause__ or error, sdk.unreachable):
            return ProviderError(f"{self.name} cannot be reached at {self.address}.", provider=self.name)
        return ProviderError(f"{self.name}: the connection broke.", provider=self.name)


def vendor_words(body: object) -> tuple[str, str]:
    """The machine word and the sentence of a vendor's error, `{"error": {...}}` or its inside; empty if not there."""
    inner = body.get("error", body) if isinstance(body, dict) else None
    if not isinstance(inner, dict):
        return "", inner if isinstance(inner, str) else ""
    return str(inner.get("code") or inner.get("type") or ""), str(inner.get("message") or "")


def body_of(response: RawResponse) -> AsyncIterator[bytes]:
    """What each network read brings of a body, as short a way as there is."""
    inner = response.http_response
    if "content-encoding" in inner.headers:
        return response.iter_bytes()
    body: AsyncIterator[bytes] = aiter(inner.stream)
    return body


async def _drain(chunks: AsyncIterator[bytes], sdk: Sdk) -> None:
    """Read a finished response to its end, if that comes at once."""
    with suppress(TimeoutError, *sdk.failures):
        async with asyncio.timeout(DRAIN_S):
            async for _ in chunks:
                pass
