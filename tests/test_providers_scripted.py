"""The scripted provider: replies in order, by function, by rules from a file."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from llmcore.errors import LLMCoreError, ProviderError, RateLimited, TimedOut, Unavailable
from llmcore.ports import Finished, Message, ModelEvent, ModelRequest, TextDelta, Usage
from llmcore.provider import Misconfigured, ProviderOptions, ProviderRejected
from llmcore.providers.scripted import Reply, Rule, ScriptedProvider, rules


def asking(text: str, *, schema: bool = False) -> ModelRequest:
    """A request with a conversation before it."""
    messages = (
        Message("user", "first disk"),
        Message("assistant", "yes"),
        Message("user", text),
        Message("assistant", "…"),
    )
    return ModelRequest(messages=messages, schema={} if schema else None)


async def events_of(provider: ScriptedProvider, request: ModelRequest) -> list[ModelEvent]:
    """All that a request brings."""
    return [event async for event in provider.stream(request)]


async def said(provider: ScriptedProvider, text: str, *, schema: bool = False) -> str:
    """The reply."""
    events = await events_of(provider, asking(text, schema=schema))
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.asyncio
async def test_replies_are_used_up() -> None:
    """Texts, replies and errors in order; then there is nothing to say."""
    provider = ScriptedProvider(script=["one", Reply(text="two", reason="length"), Unavailable("gone")])
    assert provider.model == "scripted"
    assert await events_of(provider, asking("a")) == [
        TextDelta("one"),
        Finished(reason="stop", model="scripted", provider="scripted", usage=Usage(input_tokens=5, output_tokens=1)),
    ]
    assert isinstance((await events_of(provider, ModelRequest(messages=(), model="m")))[-1], Finished)
    for kind in (Unavailable, ProviderRejected):
        with pytest.raises(kind):
            await said(provider, "x")
    assert [request.model for request in provider.requests] == [None, "m", None, None]


@pytest.mark.asyncio
async def test_a_function_answers() -> None:
    """With all that it may want to look at."""
    provider = ScriptedProvider(ProviderOptions(model="m"), lambda request: request.messages[-2].content.upper())
    assert await said(provider, "loud") == "LOUD"
    assert provider.model == "m"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("chunks", "pieces"), [(1, ["abcde"]), (2, ["abc", "de"]), (99, ["a", "b", "c", "d", "e"]), (0, ["abcde"])]
)
async def test_chunks(chunks: int, pieces: list[str]) -> None:
    """Of about the same length, never empty."""
    provider = ScriptedProvider(script=[Reply(text="abcde", chunks=chunks, usage=Usage(input_tokens=9))])
    *deltas, end = await events_of(provider, asking("x"))
    assert deltas == [TextDelta(piece) for piece in pieces]
    assert isinstance(end, Finished)
    assert end.usage == Usage(input_tokens=9)


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["", "half"])
@pytest.mark.parametrize(
    ("reply", "kind"), [({"unfinished": True}, ProviderError), ({"error": RateLimited("slow", 3)}, RateLimited)]
)
async def test_failures_say_if_text_came_before(reply: dict[str, Any], kind: type[LLMCoreError], text: str) -> None:
    """The same reply may fail again and again."""
    provider = ScriptedProvider(script=lambda _: Reply(text=text, **reply))
    for _ in range(2):
        with pytest.raises(kind) as raised:
            await said(provider, "x")
        assert raised.value.details["partial"] is bool(text)
    assert provider.cancelled == 0


@pytest.mark.asyncio
async def test_waiting_can_be_cancelled() -> None:
    """Before the text and before an error."""
    provider = ScriptedProvider(script=lambda _: Reply(text="a", delay_s=3600))
    events = provider.stream(asking("x"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await anext(events)
    assert provider.cancelled == 1
    assert len(provider.requests) == 1


RULES: Sequence[dict[str, Any]] = [
    {"match": "DISK", "schema": True, "reply": {"kind": "plan"}},
    {"match": "disk", "schema": False, "reply": "prose", "chunks": 2, "delay_s": 0.001, "reason": "length"},
    {"match": "limit", "error": 429},
    {"match": "late", "error": "timeout"},
    {"match": "cut", "reply": "half", "unfinished": True},
    {"match": "^hi$", "reply": "hello"},
]


@pytest.fixture
def provider(tmp_path: Path) -> ScriptedProvider:
    """One that reads its rules from a file."""
    file = tmp_path / "script.json"
    file.write_bytes(orjson.dumps(RULES))
    return ScriptedProvider(ProviderOptions(script=str(file)))


@pytest.mark.asyncio
async def test_rules(provider: ScriptedProvider) -> None:
    """The first that is found in the last words of the user answers, as often as it is asked."""
    assert await said(provider, "disk full?", schema=True) == '{"kind":"plan"}'
    assert await said(provider, "disk full?") == "prose"
    assert await said(provider, "hi") == "hello"
    assert await said(provider, "hi") == "hello"
    kinds: list[tuple[str, type[LLMCoreError]]] = [
        ("limit", ProviderError),
        ("late", TimedOut),
        ("cut", ProviderError),
        ("hi there", ProviderRejected),
    ]
    for text, kind in kinds:
        with pytest.raises(kind):
            await said(provider, text)
    with pytest.raises(ProviderRejected):
        await events_of(provider, ModelRequest(messages=()))


@pytest.mark.asyncio
async def test_rules_may_stand_among_replies() -> None:
    """Rules go first."""
    provider = ScriptedProvider(script=["one", *rules([{"match": "hi", "reply": "rule"}]), "two"])
    assert [await said(provider, text) for text in ("x", "hi", "y")] == ["one", "rule", "two"]
    assert isinstance(rules([{"match": ""}])[0], Rule)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "unexpected"),
        (b"{}", "a script is a list of rules"),
        (b"[3]", "rule 0 is no object"),
        (b'[{"match": 3}]', "rule 0 is no object"),
        (b'[{"match": "", "replay": ""}]', "rule 0 has the unknown key 'replay'"),
        (b'[{"match": ""}, {"match": "("}]', "rule 1: 'match' is no pattern"),
        (b'[{"match": "", "error": "bad"}]', "is an HTTP status or one of provider_error, timeout, unavailable"),
        (b'[{"match": "", "chunks": "x"}]', "invalid literal"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_script_is_refused(content: bytes | None, words: str, tmp_path: Path) -> None:
    """With the setting and the rule."""
    file = tmp_path / "script.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Misconfigured, match=f"^LLMCORE_LLM__SCRIPT: .*{words}"):
        ScriptedProvider(ProviderOptions(script=str(file)))


def test_a_script_is_needed() -> None:
    """The setting is named."""
    with pytest.raises(Misconfigured, match="LLMCORE_LLM__SCRIPT: the provider scripted needs"):
        ScriptedProvider()
