"""What every provider shares: errors fit to be shown, Retry-After, server-sent events, a vendor asked by its SDK."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from llmcore.errors import ProviderError
from llmcore.ports import Finished, Message, ModelEvent, ModelRequest, TextDelta
from llmcore.provider import (
    EVENT_LIMIT,
    LLMProvider,
    Misconfigured,
    ProviderOptions,
    ProviderRejected,
    SSEParser,
    clean,
    retry_after_s,
    status_error,
    vendor_words,
)
from llmcore.providers.anthropic import AnthropicProvider
from llmcore.providers.openai import LocalProvider, OpenAIProvider
from tests.vendor_server import Answer, VendorServer

REQUEST = ModelRequest(messages=(Message("user", "hello"),))
KEY = SecretStr("sk-proj-0123456789abcdefghij")


def local(url: str) -> LocalProvider:
    """A provider for a server of one's own."""
    return LocalProvider(ProviderOptions(base_url=url, model="m"))


async def said(provider: LLMProvider) -> str:
    """The whole reply."""
    return "".join([event.text async for event in provider.stream(REQUEST) if isinstance(event, TextDelta)])


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("short\n and\x1b[31m clear\u202e", "short and [31m clear"),
        ("Incorrect key: sk-abc123***xyz!", "Incorrect key: …"),
        ("Bearer abc is wrong", "… is wrong"),
        ("id 0123456789abcdef01234567 failed", "id … failed"),
        ("w" * 200, "w" * 159 + "…"),
        (None, "None"),
    ],
)
def test_clean(words: object, shown: str) -> None:
    """One short line, no control characters, nothing like a key."""
    assert clean(words) == shown


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 529])
def test_a_transient_status_can_be_tried_again(status: int) -> None:
    """And keeps how long to wait."""
    error = status_error("openai", status, retry_after_s=2.0)
    assert error.retryable
    assert error.details == {"provider": "openai", "status": status, "partial": False, "retry_after_s": 2.0}
    assert str(error) == f"openai cannot answer now ({status})."


@pytest.mark.parametrize(("status", "kind"), [(400, "context_length_exceeded"), (404, ""), (429, "insufficient_quota")])
def test_a_refusal_is_final(status: int, kind: str) -> None:
    """A wrong request, and a quota that is used up."""
    error = status_error("openai", status, kind=kind, words="Too long")
    assert isinstance(error, ProviderRejected)
    assert not error.retryable
    assert f"({status}, " in str(error)
    assert "Too long" in str(error)


def test_a_refused_login_names_the_setting_and_not_the_words() -> None:
    """The vendor's words may repeat the key."""
    error = status_error("openai", 401, words="wrong: hunter2", key_setting="OPENAI_API_KEY")
    assert str(error) == "openai refused the login (401); check OPENAI_API_KEY."
    assert str(status_error("own", 403)) == "own refused the login (403)."


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Fri, 21 Nov 2025 10:00:30 GMT", "date": "Fri, 21 Nov 2025 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Fri, 21 Nov 2025 09:00:00 GMT", "date": "Fri, 21 Nov 2025 10:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 21 Nov 2025 09:00:00 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Milliseconds, seconds, a date; nonsense is nothing."""
    assert retry_after_s(headers) == seconds


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"error": {"type": "t", "code": "c", "message": "m"}}, ("c", "m")),
        ({"type": "t", "message": "m"}, ("t", "m")),
        ({"error": "only words"}, ("", "only words")),
        ("html", ("", "")),
        (None, ("", "")),
    ],
)
def test_vendor_words(body: object, found: tuple[str, str]) -> None:
    """The error object, its inside, a text, or nothing usable."""
    assert vendor_words(body) == found


STREAM = ": hello\n\nevent: x\ndata: {1}\n\ndata:two\ndata: lines ü\n\nid: 7\n\n\ndata: last\n\ndata: never ended\n"
EVENTS = [b"{1}", "two\nlines ü".encode(), b"last"]


@given(st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(0, 200)))
def test_events_are_found_however_reads_cut_them(newline: str, cuts: list[int]) -> None:
    """All three line ends of the standard; comments, ids and what was never ended are left out."""
    data = STREAM.replace("\n", newline).encode()
    parser = SSEParser()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    found = [event for at, to in pairwise(places) for event in parser.feed(data[at:to])]
    assert found == EVENTS


def test_an_endless_event_is_refused() -> None:
    """Memory stays bounded."""
    with pytest.raises(ValueError, match="too big"):
        SSEParser().feed(b"data: " + b"x" * EVENT_LIMIT)


class Quiet(LLMProvider):
    """The least a provider can be."""

    name: ClassVar[str] = "quiet"

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Ends at once."""
        yield Finished(reason="stop", model=self.model, provider=self.name)


@pytest.mark.asyncio
async def test_a_provider_needs_only_a_stream() -> None:
    """Everything else has a default."""
    quiet = Quiet(ProviderOptions())
    await quiet.warm()
    assert quiet.available
    assert [event async for event in quiet.stream(REQUEST)] == [Finished(reason="stop", model="", provider="quiet")]
    await quiet.aclose()


def test_a_missing_setting_is_named() -> None:
    """The message can stand alone on the line that stops the start."""
    with pytest.raises(Misconfigured, match=r"^OPENAI_API_KEY: ") as raised:
        OpenAIProvider(ProviderOptions(model="m"))
    assert raised.value.setting == "OPENAI_API_KEY"


def test_the_address_shows_no_credentials() -> None:
    """Errors name host and port only; this machine is asked without a proxy."""
    provider = local("http://user:hunter2@127.0.0.1:1/v1")
    assert provider.address == "127.0.0.1:1"
    assert provider.loopback
    assert not AnthropicProvider(ProviderOptions(model="m", api_key=KEY)).loopback


@pytest.mark.asyncio
async def test_nobody_there() -> None:
    """The address is told."""
    async with VendorServer() as server:
        url = server.openai_url
    provider = local(url)
    with pytest.raises(ProviderError, match=r"local cannot be reached at 127\.0\.0\.1:\d+\.") as raised:
        await said(provider)
    assert raised.value.retryable
    assert raised.value.details["partial"] is False
    await provider.aclose()


@pytest.mark.asyncio
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "7"}])
async def test_a_status_becomes_an_error(headers: dict[str, str]) -> None:
    """With how long to wait, if the vendor says so."""
    async with VendorServer(Answer(status=503, headers=headers)) as server:
        provider = local(server.openai_url)
        with pytest.raises(
            ProviderError, match=r"cannot answer now \(503, api_error: The vendor says 503\.\)"
        ) as raised:
            await said(provider)
        assert raised.value.details.get("retry_after_s") == (7.0 if headers else None)
        await provider.aclose()


@pytest.mark.asyncio
async def test_the_sdk_is_imported_once_and_connections_are_used_again() -> None:
    """Also when the first two requests come together; a closed provider opens again."""
    async with VendorServer(Answer("hi")) as server:
        provider = local(server.openai_url)
        await provider.warm()
        assert list(await asyncio.gather(said(provider), said(provider))) == ["hi", "hi"]
        assert await said(provider) == "hi"
        assert server.connections == 2
        await provider.aclose()
        await provider.aclose()
        assert await said(provider) == "hi"
        await provider.aclose()


@pytest.mark.asyncio
async def test_a_response_that_is_not_ended_is_not_waited_for() -> None:
    """The answer is complete with the vendor's own mark."""
    async with VendorServer(Answer("hi", linger=True)) as server:
        provider = local(server.openai_url)
        assert await said(provider) == "hi"
        await server.left.wait()
        await provider.aclose()


@pytest.mark.asyncio
async def test_a_cut_says_that_text_is_partial() -> None:
    """No exception of the SDK hangs on to the error."""
    async with VendorServer(Answer("hello", cut_after=700)) as server:
        provider = local(server.openai_url)
        with pytest.raises(ProviderError, match="the connection broke") as raised:
            await said(provider)
        assert raised.value.details["partial"] is True
        assert raised.value.__context__ is None
        await provider.aclose()


BROKEN = [
    Answer(malformed_after=2),
    Answer(finish=None),
    Answer(extra=b"data: [1]\n\n"),
    Answer(extra=b"data: [DONE]\n\n"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", BROKEN)
async def test_a_stream_that_makes_no_sense_is_an_error(answer: Answer) -> None:
    """Never a short answer that looks complete."""
    async with VendorServer(answer) as server:
        provider = local(server.openai_url)
        with pytest.raises(ProviderError, match=r"sent a broken stream|stopped in the middle") as raised:
            await said(provider)
        assert raised.value.details["partial"] is True
        await provider.aclose()


@pytest.mark.asyncio
async def test_closing_the_iterator_closes_the_socket() -> None:
    """In the middle of an answer that has not ended."""
    async with VendorServer(Answer("one two three", stall_after=2)) as server:
        provider = local(server.openai_url)
        events = provider.stream(REQUEST)
        assert isinstance(events, AsyncIterator)
        async with aclosing(events):  # type: ignore[type-var] # a generator, as all our providers'
            await anext(events)
        await server.left.wait()
        assert server.closed_early == 1
        await provider.aclose()
