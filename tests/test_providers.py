"""The LLM manager: which provider answers, retries, time-outs, fallbacks, breaker, usage, health."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from llmcore.errors import BadParams, LLMCoreError, ProviderError, TimedOut, Unavailable
from llmcore.ports import Finished, Message, ModelEvent, ModelRequest, TextDelta, Usage
from llmcore.provider import LLMProvider, Misconfigured, ProviderOptions, ProviderRejected, status_error
from llmcore.providers import LLMManager, LLMOptions, LLMProviderFactory, ProviderSettings, Retry, Timeouts, UsageMeter
from llmcore.providers.offline import OfflineProvider
from llmcore.providers.scripted import Reply, Script, ScriptedProvider
from tests.vendor_server import Answer, VendorServer

INSTALLED = tuple(entry_points(group=LLMProviderFactory.GROUP))
REQUEST = ModelRequest(messages=(Message("user", "hello"),), model="special", temperature=0.3)
DOWN = Reply(error=status_error("first", 503))
CUT = Reply(text="half", unfinished=True)
NO = Reply(error=ProviderRejected("No.", provider="first"))


@dataclass
class World:
    """Providers by name with their scripts, a clock that tests turn, and what was slept."""

    scripts: dict[str, Script]
    at: float = 1000.0
    slept: list[float] = field(default_factory=list)
    made: dict[str, ScriptedProvider] = field(default_factory=dict)

    def now(self) -> float:
        """Epoch seconds."""
        return self.at

    def monotonic(self) -> float:
        """The same."""
        return self.at

    async def sleep(self, seconds: float) -> None:
        """Waiting is only noted."""
        self.slept.append(seconds)

    def manager(self, **options: Any) -> LLMManager:
        """A manager whose chain is the scripts in their order, unless `options` say otherwise."""
        factory = LLMProviderFactory(INSTALLED)
        for name, script in self.scripts.items():
            factory.register(name, self._builder(name, script))
        first, *rest = self.scripts
        chosen: dict[str, Any] = {"provider": first, "fallback": rest, "retry": Retry(jitter=lambda: 0.0), **options}
        return LLMManager(LLMOptions(**chosen), self, factory=factory, sleep=self.sleep)

    def _builder(self, name: str, script: Script) -> Callable[[ProviderOptions], LLMProvider]:
        def build(options: ProviderOptions) -> LLMProvider:
            named = type(name.title(), (ScriptedProvider,), {"name": name})
            provider: ScriptedProvider = named(options, script)
            self.made[name] = provider
            return provider

        return build

    def asked(self) -> dict[str, int]:
        """How often each provider was asked."""
        return {name: len(provider.requests) for name, provider in self.made.items()}


async def events_of(manager: LLMManager, request: ModelRequest = REQUEST) -> list[ModelEvent]:
    """All that a request brings."""
    return [event async for event in manager.stream(request)]


async def failing(manager: LLMManager, kind: type[LLMCoreError] = ProviderError) -> LLMCoreError:
    """The error that a request ends with."""
    with pytest.raises(kind) as raised:
        await events_of(manager)
    return raised.value


# --- the public calls -------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_generate_and_stream() -> None:
    """Text at once or as it comes; options reach the provider."""
    world = World({"first": [Reply(text="one two", chunks=2), "three"]})
    manager = world.manager(model="m", temperature=0.9)
    assert await manager.generate_response("hi", system="be terse", history=[Message("user", "x")]) == "one two"
    assert [text async for text in manager.stream_response("hi", model="n", max_tokens=5, schema={})] == ["three"]
    first, second = world.made["first"].requests
    assert [message.content for message in first.messages] == ["be terse", "x", "hi"]
    assert (first.temperature, first.model, first.max_tokens) == (0.9, None, None)
    assert (second.model, second.max_tokens, second.schema) == ("n", 5, {})
    assert manager.get_model_name() == "m"
    assert manager.names == ["first"]


@pytest.mark.asyncio
async def test_a_call_may_name_its_provider() -> None:
    """By alias too, and then nobody else is asked; one that is not switched on is refused."""
    world = World({"first": ["1"], "claude": ["2"], "anthropic": ["3", DOWN]})
    manager = world.manager(fallback=[], also=["Claude"], retry=Retry(attempts=1))
    assert await manager.generate_response("x", provider="claude") == "3"
    with pytest.raises(ProviderError, match="503"):
        await manager.generate_response("x", provider="anthropic")
    assert await manager.generate_response("x") == "1"
    with pytest.raises(BadParams) as raised:
        await manager.generate_response("x", provider="openai")
    assert raised.value.details["fields"][0]["pointer"] == "/provider"


@pytest.mark.asyncio
async def test_an_agent_has_its_own_defaults() -> None:
    """As a Model that others take; a request's own wishes win."""
    world = World({"first": ["1", "2"], "second": ["3"]})
    manager = world.manager()
    agent = manager.using(provider="second", model="big", temperature=0.1)
    assert (agent.name, agent.available) == ("second", True)
    assert await anext(agent.stream(ModelRequest(messages=()))) == TextDelta("3")
    assert world.made["second"].requests[0].model == "big"
    plain = manager.using(model="big")
    assert (plain.name, plain.available) == ("first", True)
    assert await anext(plain.stream(REQUEST)) == TextDelta("1")
    assert world.made["first"].requests[0].model == "special"
    with pytest.raises(BadParams):
        manager.using(provider="nobody")


# --- retries, fallbacks, time-outs ------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_passing_failure_is_tried_again() -> None:
    """With waits that grow, half of each by chance."""
    world = World({"first": [DOWN, DOWN, "fine"]})
    assert (await events_of(world.manager()))[0] == TextDelta("fine")
    assert world.slept == [0.25, 0.5]


@pytest.mark.asyncio
async def test_retry_after_is_waited_for() -> None:
    """In full; if it is too long the next provider is asked at once."""
    polite, late = (Reply(error=status_error("first", 429, retry_after_s=wait)) for wait in (7.0, 3600.0))
    world = World({"first": [polite, late], "second": ["fine"]})
    assert (await events_of(world.manager()))[0] == TextDelta("fine")
    assert world.slept == [7.0]


@pytest.mark.asyncio
async def test_a_refusal_is_not_repeated() -> None:
    """But the next provider may answer; it is not asked for the first one's model."""
    world = World({"first": [NO], "second": ["fine"]})
    manager = world.manager()
    events = await events_of(manager)
    end = events[-1]
    assert isinstance(end, Finished)
    assert (end.provider, end.model) == ("second", "scripted")
    assert world.asked() == {"first": 1, "second": 1}
    assert world.made["first"].requests[0].model == "special"
    assert manager.health()["status"] == "degraded"


@pytest.mark.asyncio
async def test_when_everybody_fails_all_are_told() -> None:
    """One failure alone is raised as it is."""
    world = World({"first": [NO], "second": [DOWN]})
    error = await failing(world.manager(retry=Retry(attempts=1)))
    assert error.message == "No. first cannot answer now (503)."
    assert error.details["tried"] == 2
    world = World({"first": [NO]})
    assert (await failing(world.manager(), ProviderRejected)).message == "No."


@pytest.mark.asyncio
async def test_what_was_begun_is_not_begun_again() -> None:
    """A stream that breaks off after its first text ends the request."""
    world = World({"first": [CUT, "again"], "second": ["other"]})
    error = await failing(world.manager())
    assert error.details["partial"] is True
    assert world.asked() == {"first": 1, "second": 0}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("timeouts", "reply", "words"),
    [
        ({"first_token_s": 0.01}, Reply(text="a", delay_s=60), "did not begin to answer"),
        ({"between_tokens_s": 0.01}, Reply(text="a b", chunks=2, delay_s=0.5), "stopped sending"),
        ({"total_s": 0.01}, Reply(text="a", delay_s=60), "did not begin to answer"),
    ],
)
async def test_time_outs(timeouts: dict[str, float], reply: Reply, words: str) -> None:
    """Before the first token, between two, and for all of it."""
    world = World({"first": [reply]})
    error = await failing(world.manager(timeouts=Timeouts(**timeouts), retry=Retry(attempts=1)), TimedOut)
    assert words in error.message
    assert error.details["partial"] is (words == "stopped sending")
    assert world.made["first"].cancelled == 1


@pytest.mark.asyncio
async def test_no_retry_begins_after_the_total_time() -> None:
    """The wait itself would be too long."""
    world = World({"first": [DOWN, "fine"]})
    manager = world.manager(timeouts=Timeouts(total_s=5), retry=Retry(base_s=20, jitter=lambda: 0.0))
    await failing(manager)
    assert world.slept == []


class Odd(LLMProvider):
    """Breaks the rules of a provider."""

    name = "odd"
    error: ClassVar[Exception | None] = None

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Ends without `Finished`, or raises what it may not."""
        yield TextDelta("a")
        if self.error:
            raise self.error


class Worse(Odd):
    """A time-out that is not ours."""

    error = TimeoutError("socket")


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [Odd, Worse])
async def test_a_provider_that_breaks_the_rules(kind: type[Odd]) -> None:
    """It has failed, and its text is partial."""
    factory = LLMProviderFactory(INSTALLED)
    factory.register("odd", kind)
    manager = LLMManager(LLMOptions(provider="odd"), World({}), factory=factory)
    failure = await failing(manager)
    assert failure.message == "odd stopped in the middle of its answer."
    assert failure.details["partial"] is True


# --- breaker, meter, health -------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_provider_that_keeps_failing_is_left_alone() -> None:
    """Until a pause is over; then one request tries, and its outcome counts."""
    world = World({"first": [DOWN] * 3 + ["fine"]})
    manager = world.manager(retry=Retry(attempts=1), breaker_failures=2, breaker_pause_s=30)
    await failing(manager)
    assert (manager.available, manager.health()["status"]) == (True, "degraded")
    await failing(manager)
    assert (manager.available, manager.health()["status"]) == (False, "down")
    world.at += 20
    error = await failing(manager, Unavailable)
    assert error.details["retry_after_s"] == 10.0
    assert world.asked() == {"first": 2}
    world.at += 10
    assert (manager.available, manager.health()["status"]) == (True, "degraded")
    await failing(manager)
    assert (manager.available, manager.health()["status"]) == (False, "down")
    world.at += 30
    assert (await events_of(manager))[0] == TextDelta("fine")
    assert manager.health() == {
        "status": "ok",
        "reason": "scripted",
        "providers": {"first": {"status": "ok", "reason": "scripted"}},
    }


@pytest.mark.asyncio
async def test_only_one_request_tries_an_open_provider() -> None:
    """And one that is cancelled gives the turn back."""
    world = World({"first": [DOWN, Reply(text="a b", chunks=2), "fine"]})
    manager = world.manager(retry=Retry(attempts=1), breaker_failures=1, breaker_pause_s=30)
    await failing(manager)
    world.at += 31
    trial = manager.stream(REQUEST)
    await anext(trial)
    await failing(manager, Unavailable)
    await trial.aclose()
    assert (await events_of(manager))[0] == TextDelta("fine")


@pytest.mark.asyncio
async def test_usage_is_counted() -> None:
    """By provider and model: calls, errors, tokens, time."""
    usage = Usage(input_tokens=10, output_tokens=5, cached_tokens=2)
    world = World({"first": [DOWN, Reply(text="a", usage=usage), Reply(text="b", usage=usage), CUT, "left"]})
    manager = world.manager()
    await events_of(manager)
    await manager.generate_response("x")
    await failing(manager)
    left = manager.stream(REQUEST)
    await anext(left)
    await left.aclose()
    special, usual = manager.meter.rows()
    assert (special.provider, special.model) == ("first", "special")
    assert (special.calls, special.errors, special.cancelled, special.usage) == (4, 2, 1, usage)
    assert (usual.model, usual.calls, usual.usage) == ("scripted", 1, usage)
    assert special.first_token_s > 0


def test_callers_cannot_fill_the_meters() -> None:
    """Names of models come from outside."""
    meter = UsageMeter()
    for number in range(meter.LIMIT + 50):
        meter.of("first", f"m{number}").calls += 1
    assert len(meter.rows()) == meter.LIMIT + 1
    assert (meter.rows()[-1].model, meter.rows()[-1].calls) == ("other", 50)
    assert meter.of("first", "m0").calls == 1


class Sleeping(LLMProvider):
    """Not available, without a good reason."""

    name = "sleeping"
    available = False

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Nothing."""
        nothing: tuple[ModelEvent, ...] = ()
        for event in nothing:
            yield event


@pytest.mark.asyncio
async def test_nobody_is_switched_on(caplog: pytest.LogCaptureFixture) -> None:
    """Which is as it should be, with the way to change it; a provider that is not available is not."""
    world = World({"first": ["unused"]})
    manager = LLMManager(LLMOptions(), world, factory=LLMProviderFactory(INSTALLED))
    assert (manager.name, manager.available, manager.get_model_name()) == ("offline", False, "offline")
    error = await failing(manager, Unavailable)
    assert "LLMCORE_LLM__PROVIDER" in error.message
    assert manager.health()["status"] == "ok"
    assert manager.health()["reason"] == OfflineProvider.idle
    with pytest.raises(Unavailable, match="LLMCORE_LLM__PROVIDER"):
        await anext(manager.slot(None).provider.stream(REQUEST))
    factory = LLMProviderFactory(INSTALLED)
    factory.register("sleeping", Sleeping)
    manager = LLMManager(LLMOptions(provider="sleeping"), world, factory=factory)
    assert manager.health()["status"] == "down"
    assert (await failing(manager, Unavailable)).message == "sleeping is not available."
    assert not caplog.records


# --- settings ---------------------------------------------------------------------------------------------------------


def test_an_unknown_provider_is_named_with_the_known() -> None:
    """And the setting that is wrong."""
    world = World({"first": []})
    with pytest.raises(Misconfigured) as raised:
        LLMManager(LLMOptions(provider="opnai"), world)
    known = "anthropic, local, offline, openai, scripted, chatgpt, claude"
    assert raised.value.message == f"LLMCORE_LLM__PROVIDER: there is no provider 'opnai'; known are {known}."
    with pytest.raises(Misconfigured, match="LLMCORE_LLM__FALLBACK: there is no"):
        LLMManager(LLMOptions(fallback=["gpt"]), world)
    with pytest.raises(Misconfigured, match="LLMCORE_LLM__ALSO: there is no"):
        LLMManager(LLMOptions(also=["gpt"]), world)


@pytest.mark.parametrize(
    ("options", "urls"),
    [
        ({"provider": "openai"}, {"openai": "http://a/v1"}),
        (
            {"provider": "openai", "fallback": ["local"]},
            {"openai": "https://api.openai.com/v1", "local": "http://a/v1"},
        ),
        (
            {
                "provider": "openai",
                "fallback": ["local"],
                "providers": {"local": ProviderSettings(base_url="http://b")},
            },
            {"openai": "http://a/v1", "local": "http://b"},
        ),
    ],
)
def test_an_address_never_goes_to_the_wrong_provider(options: dict[str, Any], urls: dict[str, str]) -> None:
    """A vendor's key must not be sent to a server of one's own by mistake."""
    told = {"chatgpt": ProviderSettings(api_key=SecretStr("k"), model="m"), **options.get("providers", {})}
    manager = LLMManager(LLMOptions(**{**options, "base_url": "http://a/v1", "providers": told}), World({"x": []}))
    assert {name: getattr(manager.slot(name).provider, "base_url", None) for name in manager.names} == urls


@pytest.mark.parametrize(
    ("value", "words"), [("no.such.module:X", "cannot be loaded"), ("json:nothing", "cannot"), ("json:dumps", "is no")]
)
def test_a_broken_package(value: str, words: str) -> None:
    """An entry point that leads nowhere stops the start with its name; it cannot take the place of one of ours."""
    points = [EntryPoint(name, value, LLMProviderFactory.GROUP) for name in ("mine", "offline")]
    points.append(EntryPoint("offline", "llmcore.providers.offline:OfflineProvider", LLMProviderFactory.GROUP))

    factory = LLMProviderFactory(points)
    assert factory.names == ["mine", "offline"]
    assert isinstance(factory.create("offline", ProviderOptions()), OfflineProvider)
    with pytest.raises(Misconfigured, match=words):
        factory.create("mine", ProviderOptions())


# --- a real server ----------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_vendor_is_asked_again_and_then_left() -> None:
    """The whole way: 429 with Retry-After, an overload, an answer; closing the text stream closes the socket."""
    world = World({"unused": []})
    polite = Answer(status=429, headers={"Retry-After": "2"})
    async with VendorServer(polite, Answer(status=529), Answer("a b c", stall_after=2)) as server:
        options = LLMOptions(provider="local", base_url=server.openai_url, retry=Retry(jitter=lambda: 0.0))
        manager = LLMManager(options, world, factory=LLMProviderFactory(INSTALLED), sleep=world.sleep)
        await manager.warm()
        texts = manager.stream_response("x")
        assert await anext(texts) == "a "
        assert manager.get_model_name() == "vendor-model"
        await texts.aclose()
        await server.left.wait()
        await manager.aclose()
    assert world.slept == [2.0, 0.5]


@pytest.mark.asyncio
async def test_cancelling_leaves_the_vendor() -> None:
    """At any moment, also before the first token."""
    async with VendorServer(Answer(first_delay_s=3600)) as server, asyncio.TaskGroup() as group:
        options = LLMOptions(provider="local", model="m", base_url=server.openai_url)
        manager = LLMManager(options, World({}), factory=LLMProviderFactory(INSTALLED))
        task = group.create_task(manager.generate_response("x"))
        await server.asked.wait()
        task.cancel()
        await server.left.wait()
    assert manager.meter.rows()[0].cancelled == 1
    await manager.aclose()
