"""One suite over everything that implements the port `Model`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, cast

import pytest
from pydantic import SecretStr

from llmcore.errors import ProviderError
from llmcore.ports import Finished, Message, Model, ModelEvent, ModelRequest, TextDelta, Usage
from llmcore.provider import ProviderOptions
from llmcore.providers import LLMManager, LLMOptions, LLMProviderFactory, ProviderSettings, Retry
from llmcore.providers.anthropic import AnthropicProvider
from llmcore.providers.masking import MaskedModel, Masker
from llmcore.providers.openai import LocalProvider, OpenAIProvider
from llmcore.providers.scripted import Reply, ScriptedProvider
from tests.vendor_server import Answer, Request, VendorServer

INSTALLED = tuple(entry_points(group=LLMProviderFactory.GROUP))
REQUEST = ModelRequest(messages=(Message("system", "be terse"), Message("user", "hello")), temperature=0.0)
KEY = SecretStr("sk-0123456789")


@dataclass(frozen=True)
class Subject:
    """A model, and how often a request to it was left before its end."""

    model: Model
    left: Callable[[], int]


class StillClock:
    """Time stands still."""

    def now(self) -> float:
        """Epoch seconds."""
        return 0.0

    def monotonic(self) -> float:
        """Seconds."""
        return 0.0


def vendor_script(request: Request) -> Answer:
    """What the last message asks for."""
    return {
        "hello": Answer("Grüße an alle", chunks=4),
        "empty": Answer(""),
        "unfinished": Answer("half", finish=None),
        "refused": Answer(status=400),
        "hang": Answer("a b c", stall_after=4),
    }[request.body["messages"][-1]["content"]]


def script(request: ModelRequest) -> Reply | ProviderError:
    """The same for the scripted provider."""
    replies: dict[str, Reply | ProviderError] = {
        "hello": Reply(text="Grüße an alle", chunks=4),
        "empty": Reply(),
        "unfinished": Reply(text="half", unfinished=True),
        "refused": ProviderError("no", provider="scripted", partial=False),
        "hang": Reply(text="ab", chunks=2, delay_s=0.2),
    }
    return replies[request.messages[-1].content]


@asynccontextmanager
async def vendor(kind: type[Any]) -> AsyncIterator[Subject]:
    """A provider with its vendor."""
    async with VendorServer(script=vendor_script) as server:
        url = server.url if kind is AnthropicProvider else server.openai_url
        provider = kind(ProviderOptions(model="m", base_url=url, api_key=KEY))
        yield Subject(provider, lambda: server.closed_early)
        await provider.aclose()


@asynccontextmanager
async def scripted() -> AsyncIterator[Subject]:
    """The test double."""
    provider = ScriptedProvider(script=script)
    yield Subject(provider, lambda: provider.cancelled)


@asynccontextmanager
async def managed() -> AsyncIterator[Subject]:
    """The manager over a vendor."""
    async with VendorServer(script=vendor_script) as server:
        told = {"openai": ProviderSettings(api_key=KEY)}
        options = LLMOptions(
            provider="openai", model="m", base_url=server.openai_url, providers=told, retry=Retry(attempts=1)
        )
        manager = LLMManager(options, StillClock(), factory=LLMProviderFactory(INSTALLED))
        yield Subject(manager, lambda: server.closed_early)
        await manager.aclose()


@asynccontextmanager
async def masked() -> AsyncIterator[Subject]:
    """A model behind masking."""
    async with vendor(LocalProvider) as subject:
        yield Subject(MaskedModel(subject.model, Masker(b"k", ["nobody"])), subject.left)


SUBJECTS = {
    "openai": lambda: vendor(OpenAIProvider),
    "anthropic": lambda: vendor(AnthropicProvider),
    "local": lambda: vendor(LocalProvider),
    "scripted": scripted,
    "managed": managed,
    "masked": masked,
}
every = pytest.mark.parametrize("kind", SUBJECTS)


def asking(text: str) -> ModelRequest:
    """A request."""
    return ModelRequest(messages=(Message("user", text),))


@pytest.mark.asyncio
@every
async def test_text_then_the_end(kind: str) -> None:
    """No empty delta, one `Finished` with who answered and what it took; also for an empty reply, again and again."""
    async with SUBJECTS[kind]() as subject:
        assert subject.model.available
        assert subject.model.name
        for text in ("hello", "hello", "empty"):
            *deltas, end = [event async for event in subject.model.stream(asking(text))]
            assert all(isinstance(delta, TextDelta) and delta.text for delta in deltas)
            said = "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
            assert said == ("Grüße an alle" if text == "hello" else "")
            assert isinstance(end, Finished)
            assert end.reason
            assert end.model
            assert end.usage == Usage(input_tokens=1, output_tokens=len(said.split()))
        assert subject.left() == 0


@pytest.mark.asyncio
@every
async def test_requests_run_side_by_side(kind: str) -> None:
    """Without mixing their texts."""
    async with SUBJECTS[kind]() as subject:

        async def said() -> str:
            events = subject.model.stream(REQUEST)
            return "".join([event.text async for event in events if isinstance(event, TextDelta)])

        assert set(await asyncio.gather(*(said() for _ in range(8)))) == {"Grüße an alle"}


@pytest.mark.asyncio
@every
@pytest.mark.parametrize(("text", "partial"), [("unfinished", True), ("refused", False)])
async def test_failures(kind: str, text: str, partial: bool) -> None:
    """A ProviderError that says if text came before."""
    async with SUBJECTS[kind]() as subject:
        with pytest.raises(ProviderError) as raised:
            [event async for event in subject.model.stream(asking(text))]
    assert raised.value.details["partial"] is partial
    assert raised.value.__cause__ is None


async def exhausted(events: AsyncGenerator[ModelEvent, None]) -> None:
    """Read to the end."""
    async for _ in events:
        pass


@pytest.mark.asyncio
@every
@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_leaving_cancels_upstream(kind: str, how: str) -> None:
    """Closing the iterator between two deltas, or cancelling whoever waits for the next."""
    async with SUBJECTS[kind]() as subject, asyncio.timeout(30):
        events = cast(AsyncGenerator[ModelEvent, None], subject.model.stream(asking("hang")))
        await anext(events)
        if how == "cancel":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(exhausted(events), 0.05)
        await events.aclose()
        while not subject.left():  # noqa: ASYNC110 - the other side notices a little later
            await asyncio.sleep(0.001)
        assert subject.left() == 1
