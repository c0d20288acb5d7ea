"""The real SDKs against a server that speaks the vendors' wire: what is sent, what comes back, every fault."""

import asyncio
import logging
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from llmcore.errors import ProviderError
from llmcore.ports import Finished, Message, ModelEvent, ModelRequest, TextDelta, Usage
from llmcore.provider import HTTPProvider, Misconfigured, ProviderOptions, StreamDecoder
from llmcore.providers.anthropic import DEFAULT_MAX_TOKENS, AnthropicProvider, MessageDecoder
from llmcore.providers.openai import ChatDecoder, LocalProvider, OpenAIProvider, fits_strict
from tests.vendor_server import Answer, Request, VendorServer, stream_of

KEY = "sk-proj-0123456789abcdefghij"
TEXT = "Grüße 😀"
TALK = (
    Message("system", "You are terse."),
    Message("system", "Answer in German."),
    Message("user", "hello there"),
    Message("assistant", "hi"),
    Message("user", "again"),
)
REQUEST = ModelRequest(messages=TALK)
CLOSED = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"], "additionalProperties": False}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}
VENDORS: list[type[HTTPProvider]] = [OpenAIProvider, AnthropicProvider, LocalProvider]
both = pytest.mark.parametrize("vendor", VENDORS[:2])


def made(vendor: type[HTTPProvider], server: VendorServer, **options: Any) -> HTTPProvider:
    """A provider for the server."""
    url = server.url if vendor is AnthropicProvider else server.openai_url
    return vendor(ProviderOptions(**{"model": "m", "base_url": url, "api_key": SecretStr(KEY), **options}))


async def events_of(provider: HTTPProvider, request: ModelRequest = REQUEST) -> list[ModelEvent]:
    """All that a request brings; the provider is closed."""
    try:
        return [event async for event in provider.stream(request)]
    finally:
        await provider.aclose()


async def error_of(provider: HTTPProvider, request: ModelRequest = REQUEST) -> ProviderError:
    """The error that a request ends with."""
    with pytest.raises(ProviderError) as raised:
        await events_of(provider, request)
    return raised.value


def text_of(events: list[ModelEvent]) -> str:
    """The reply."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.asyncio
@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("shape", [{}, {"read_size": 1}, {"crlf": True}, {"chunks": 1}, {"headers": {"X-Any": "1"}}])
async def test_a_reply_is_streamed(vendor: type[HTTPProvider], shape: dict[str, Any]) -> None:
    """Whatever the network cuts, also in the middle of a character; usage and reason come with the end."""
    async with VendorServer(Answer(TEXT, cached_tokens=3, **shape), key=KEY) as server:
        events = await events_of(made(vendor, server))
    assert text_of(events) == TEXT
    reason = "end_turn" if vendor is AnthropicProvider else "stop"
    usage = Usage(input_tokens=10, output_tokens=2, cached_tokens=3)
    assert events[-1] == Finished(reason=reason, model="m", provider=vendor.name, usage=usage)
    assert all(event.text for event in events[:-1] if isinstance(event, TextDelta))


@pytest.mark.asyncio
@both
async def test_a_limit_is_told_as_the_reason(vendor: type[HTTPProvider]) -> None:
    """Not every end is a full stop."""
    async with VendorServer(Answer(finish="length", usage=False)) as server:
        end = (await events_of(made(vendor, server)))[-1]
    assert isinstance(end, Finished)
    assert end.reason == "length"


@pytest.mark.asyncio
async def test_what_openai_is_sent() -> None:
    """Strict schema where the vendor takes it."""
    async with VendorServer() as server:
        request = ModelRequest(messages=TALK, schema=CLOSED, temperature=0.0, max_tokens=9, model="other")
        await events_of(made(OpenAIProvider, server, max_tokens=5), request)
        await events_of(
            made(LocalProvider, server, max_tokens=5, api_key=None), ModelRequest(messages=TALK, schema=OPEN)
        )
    first, second = server.requests
    assert first.path == "/v1/chat/completions"
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert first.body == {
        "model": "other",
        "messages": [{"role": message.role, "content": message.content} for message in TALK],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.0,
        "max_completion_tokens": 9,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": CLOSED, "strict": True},
        },
    }
    assert second.headers["authorization"] == "Bearer none"
    assert second.body["max_tokens"] == 5
    assert second.body["response_format"]["json_schema"]["strict"] is False


@pytest.mark.asyncio
async def test_what_anthropic_is_sent() -> None:
    """System text apart and cacheable; no temperature."""
    async with VendorServer() as server:
        request = ModelRequest(messages=TALK, schema=OPEN, temperature=0.5)
        await events_of(made(AnthropicProvider, server), request)
        await events_of(made(AnthropicProvider, server, max_tokens=7), ModelRequest(messages=TALK[2:], schema={"a": 1}))
    first, second = server.requests
    assert first.path == "/v1/messages"
    assert first.headers["authorization"] == f"Bearer {KEY}"
    text = {"type": "text", "text": "You are terse.\n\nAnswer in German.", "cache_control": {"type": "ephemeral"}}
    assert first.body == {
        "model": "m",
        "max_tokens": DEFAULT_MAX_TOKENS,
        "system": [text],
        "messages": [{"role": message.role, "content": message.content} for message in TALK[2:]],
        "stream": True,
        "output_config": {"format": {"type": "json_schema", "schema": {**OPEN, "additionalProperties": False}}},
    }
    assert second.body["max_tokens"] == 7
    assert "system" not in second.body
    assert second.body["output_config"]["format"]["schema"] == {"a": 1}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        (OPEN, False),
        ({"anyOf": [CLOSED]}, False),
        ({**CLOSED, "properties": {"a": {"anyOf": [CLOSED, {"type": "null"}]}}}, True),
        ({**CLOSED, "properties": {"a": {"oneOf": [CLOSED]}}}, False),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": OPEN}}}, False),
        ({**CLOSED, "required": []}, False),
        (True, False),
    ],
)
def test_strict_schemas(schema: object, strict: bool) -> None:
    """Closed objects with all properties required, all the way down."""
    assert fits_strict(schema) is strict


@pytest.mark.asyncio
async def test_a_parameter_that_a_model_does_not_know_is_left_out() -> None:
    """The request goes again without it, and the next one starts without."""

    def script(request: Request) -> Answer:
        if "temperature" in request.body:
            return Answer(status=400, error={"message": "no", "param": "temperature", "code": "unsupported_value"})
        return Answer("fine")

    request = ModelRequest(messages=TALK, temperature=0.0)
    async with VendorServer(script=script) as server:
        provider = made(OpenAIProvider, server)
        assert text_of([event async for event in provider.stream(request)]) == "fine"
        assert text_of(await events_of(provider, request)) == "fine"
    assert ["temperature" in request.body for request in server.requests] == [True, False, False]


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [{"param": "messages"}, {"param": "max_completion_tokens"}, {"message": "no"}])
async def test_other_refusals_stand(error: dict[str, str]) -> None:
    """Only what can be left out is, and only if it was sent."""
    async with VendorServer(Answer(status=400, error=error)) as server:
        failure = await error_of(made(OpenAIProvider, server))
    assert not failure.retryable
    assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_local_asks_the_server_for_a_model() -> None:
    """Once, where none is configured."""
    async with VendorServer() as server:
        provider = made(LocalProvider, server, model=None)
        assert provider.model == ""
        await events_of(provider, ModelRequest(messages=TALK, model="named"))
        await events_of(provider)
        await events_of(provider)
        assert provider.model == "vendor-model"
        asked = [request.body.get("model", request.path) for request in server.requests]
        assert asked == ["named", "/v1/models", "vendor-model", "vendor-model"]
        server.models = ()
        failure = await error_of(made(LocalProvider, server, model=None))
    assert failure.message == f"local offers no model at {provider.address}."


@pytest.mark.parametrize(
    ("vendor", "options", "setting"),
    [
        (OpenAIProvider, {"model": "m"}, "OPENAI_API_KEY"),
        (OpenAIProvider, {"api_key": SecretStr(KEY)}, "LLMCORE_LLM__MODEL"),
        (AnthropicProvider, {"model": "m"}, "ANTHROPIC_API_KEY"),
        (AnthropicProvider, {"api_key": SecretStr(KEY)}, "LLMCORE_LLM__MODEL"),
        (LocalProvider, {}, "LLMCORE_LLM__BASE_URL"),
    ],
)
def test_missing_settings(vendor: type[HTTPProvider], options: dict[str, Any], setting: str) -> None:
    """Each is named."""
    with pytest.raises(Misconfigured) as raised:
        vendor(ProviderOptions(**options))
    assert raised.value.setting == setting


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
@both
@pytest.mark.parametrize(
    ("status", "retryable"), [(400, False), (401, False), (404, False), (429, True), (500, True), (529, True)]
)
async def test_statuses(vendor: type[HTTPProvider], status: int, retryable: bool) -> None:
    """One request each: the SDK does not try again by itself."""
    async with VendorServer(Answer(status=status, headers={"Retry-After": "3"})) as server:
        error = await error_of(made(vendor, server))
    assert error.retryable is retryable
    assert error.details["status"] == status
    assert error.details["partial"] is False
    assert len(server.requests) == 1
    if status == 401:
        assert f"{vendor.name.upper()}_API_KEY" in error.message
    else:
        assert error.details["retry_after_s"] == 3.0


@pytest.mark.asyncio
@both
@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [("overloaded_error", 529, 529), ("authentication_error", 401, 401), ("api_error", None, 500)],
)
async def test_an_error_in_the_stream(vendor: type[HTTPProvider], kind: str, code: int | None, status: int) -> None:
    """Vendors report overload with status 200 too."""
    number = f',"code":{code}' if code and vendor is OpenAIProvider else ""
    detail = f'{{"type":"{kind}","message":"m"{number}}}'
    extra = f'event: error\ndata: {{"type":"error","error":{detail}}}\n\n'.encode()
    async with VendorServer(Answer(extra=extra)) as server:
        error = await error_of(made(vendor, server))
    assert error.details["status"] == status
    assert error.details["partial"] is True


def recorded(vendor: type[HTTPProvider]) -> bytes:
    """A whole stream of a vendor."""
    path = "/v1/messages" if vendor is AnthropicProvider else "/v1/chat/completions"
    body = {"model": "m", "messages": [], "stream_options": {"include_usage": True}}
    return stream_of(Answer(TEXT, chunks=2), Request(method="POST", path=path, headers={}, body=body))


async def broken(provider: HTTPProvider) -> tuple[str, ProviderError]:
    """What came before a request failed, and how it failed."""
    text = ""
    try:
        async for event in provider.stream(REQUEST):
            text += event.text if isinstance(event, TextDelta) else "complete"
    except ProviderError as error:
        return text, error
    raise AssertionError("taken for complete")


@pytest.mark.asyncio
@both
async def test_cut_at_every_byte(vendor: type[HTTPProvider]) -> None:
    """The connection breaks at any place: always an error, never a complete answer, never another exception."""
    async with VendorServer(script=lambda _: Answer(TEXT, chunks=2, cut_after=place)) as server:
        provider = made(vendor, server)
        for place in range(len(recorded(vendor))):
            text, error = await broken(provider)
            assert TEXT.startswith(text)
            assert error.details["partial"] is bool(text)
            assert len(server.requests) == place + 1
        await provider.aclose()


@pytest.mark.parametrize("vendor", VENDORS[:2])
def test_every_beginning_is_incomplete(vendor: type[HTTPProvider]) -> None:
    """A stream that just ends, however far it came, has no end mark."""
    data = recorded(vendor)
    for end in range(len(data)):
        reader = vendor(ProviderOptions(model="m", api_key=SecretStr(KEY))).decoder()
        assert TEXT.startswith(reader.feed(data[:end]))
        assert not reader.done


DECODERS: list[tuple[type[HTTPProvider], Callable[[], StreamDecoder]]] = [
    (OpenAIProvider, lambda: ChatDecoder("openai")),
    (AnthropicProvider, lambda: MessageDecoder("anthropic")),
]


@given(st.sampled_from(DECODERS), st.lists(st.integers(1, 2000), max_size=12))
def test_any_cutting_gives_the_same_text(
    decoder: tuple[type[HTTPProvider], Callable[[], StreamDecoder]], cuts: list[int]
) -> None:
    """Network reads end anywhere, also inside a character."""
    data = recorded(decoder[0])
    reader = decoder[1]()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    text = "".join(reader.feed(data[at:to]) for at, to in pairwise(places))
    assert text == TEXT
    assert reader.done


@given(st.sampled_from(DECODERS), st.binary(max_size=80))
def test_no_bytes_crash_a_decoder(
    decoder: tuple[type[HTTPProvider], Callable[[], StreamDecoder]], garbage: bytes
) -> None:
    """Whatever comes is text or a ProviderError."""
    reader = decoder[1]()
    try:
        reader.feed(b"data: " + garbage + b"\n\n")
    except ProviderError:
        assert not reader.done


@pytest.mark.parametrize(
    "payload", [b"[]", b"3", b'{"choices": 1}', b'{"choices":[{"delta":3}]}', b'{"type":"content_block_delta"}']
)
@pytest.mark.parametrize("decoder", [decoder for _, decoder in DECODERS])
def test_json_of_another_shape(decoder: Callable[[], StreamDecoder], payload: bytes) -> None:
    """Is a broken stream."""
    with pytest.raises(ProviderError, match="broken stream"):
        decoder().feed(b"data: " + payload + b"\n\n")


def test_a_refusal_is_no_answer() -> None:
    """The vendor's safety text comes with its own reason."""
    decoder = ChatDecoder("openai")
    decoder.feed(b'data: {"choices":[{"delta":{"refusal":"I cannot"},"finish_reason":"stop"}]}\n\n')
    assert decoder.finished().reason == "refusal"


@pytest.mark.asyncio
@both
async def test_cancelling_closes_the_connection(vendor: type[HTTPProvider]) -> None:
    """Also before the first token, while the vendor thinks."""
    async with VendorServer(Answer(first_delay_s=3600)) as server, asyncio.TaskGroup() as group:
        provider = made(vendor, server)
        await provider.warm()
        task = group.create_task(events_of(provider))
        await server.asked.wait()
        task.cancel()
        await server.left.wait()


@pytest.mark.asyncio
@both
@pytest.mark.parametrize("key", [KEY, "a key of a gateway's own making"])
@pytest.mark.parametrize("status", [401, 400, 500, 200])
async def test_a_key_is_nowhere(
    vendor: type[HTTPProvider], status: int, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in errors, logs (the SDK's debug lines too) or the text of any object."""
    caplog.set_level(logging.DEBUG)
    told = {"type": "invalid_request_error", "message": f"Incorrect API key provided: {key}"}
    async with VendorServer(Answer(status=status, error=told, cut_after=20 if status == 200 else None)) as server:
        provider = made(vendor, server, api_key=SecretStr(key))
        error = await error_of(provider)
    chain = [error, error.__cause__, error.__context__]
    seen = [
        *map(repr, chain),
        *map(str, chain),
        repr(error.data()),
        repr(provider),
        repr(provider.options),
        caplog.text,
    ]
    assert not [text for text in seen if key in text or key[3:] in text]
