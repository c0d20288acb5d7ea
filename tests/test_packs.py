"""Calling packs: results come back, errors of every kind become ones that are fit to be shown."""

import errno
from typing import Any

import pytest

from llmcore.adapters.packs import PackCaller
from llmcore.catalog import Catalog
from llmcore.errors import Conflict, Forbidden, LLMCoreError, NotFound, TimedOut, Unavailable, UnknownIntent
from llmcore.intent import Context, Effect, Intent, Preview, Undo, intent
from llmcore.plan import Principal
from llmcore.ports import Call

ANNA = Principal(name="anna", role="admin")


def pack(problem: BaseException | None = None) -> list[Intent]:
    """Intents that work, or raise `problem` wherever they can."""

    async def preview(word: str, *, ctx: Context) -> Preview:
        if problem:
            raise problem
        return Preview(targets=(word,), before={"was": ctx.services["store"]})

    async def undo(word: str, *, before: Any, result: Any, ctx: Context) -> Undo | None:
        return Undo(intent="say", params={"word": f"{before} {result}"})

    async def verify(word: str, *, ctx: Context) -> bool:
        return word == "yes"

    @intent(effect=Effect.WRITE, preview=preview, undo=undo, verify=verify)
    async def say(word: str, *, ctx: Context) -> dict[str, Any]:
        """Say a word."""
        if problem:
            raise problem
        ctx.progress({"said": word})
        return {"word": word, "key": ctx.idempotency_key, "who": ctx.principal.name, "from": ctx.services["store"]}

    @intent(effect=Effect.READ)
    async def lonely(*, ctx: Context) -> Any:
        """Need what is not there."""
        return [*ctx.services, len(ctx.services), ctx.services["missing"]]

    told = Intent(name="remote", description="Run elsewhere.", schema={"type": "object"}, effect=Effect.READ)
    return [say, lonely, told]


def caller(problem: BaseException | None = None) -> PackCaller:
    """Over a catalogue of these intents."""
    return PackCaller(Catalog(pack(problem)), {"store": "shelf"})


def call(name: str, **params: Any) -> Call:
    """A call of anna's."""
    return Call(intent=name, params=params, principal=ANNA, idempotency_key="k1")


@pytest.mark.asyncio
async def test_a_call_reaches_the_handler_with_its_context() -> None:
    """Params, services, who asks, the idempotency key and progress."""
    said: list[Any] = []
    whole = Call(intent="intent_say", params={"word": "hi"}, principal=ANNA, idempotency_key="k1", progress=said.append)
    assert await caller().call(whole) == {"word": "hi", "key": "k1", "who": "anna", "from": "shelf"}
    assert said == [{"said": "hi"}]


@pytest.mark.asyncio
async def test_hooks_are_called_with_what_they_need() -> None:
    """Preview, undo and verify."""
    packs = caller()
    assert await packs.preview("say", {"word": "hi"}, ANNA) == Preview(targets=("hi",), before={"was": "shelf"})
    assert await packs.undo_of("say", {"word": "hi"}, 1, 2, ANNA) == Undo(intent="say", params={"word": "1 2"})
    assert await packs.verify("say", {"word": "yes"}, ANNA) is True
    assert await packs.verify("say", {"word": "no"}, ANNA) is False


@pytest.mark.asyncio
async def test_an_intent_without_hooks_cannot_tell() -> None:
    """None of everything."""
    packs = caller()
    assert await packs.preview("lonely", {}, ANNA) is None
    assert await packs.undo_of("lonely", {}, None, None, ANNA) is None
    assert await packs.verify("lonely", {}, ANNA) is None


@pytest.mark.asyncio
async def test_what_nothing_runs_and_what_nobody_knows_is_said() -> None:
    """An intent of another host, an unknown one, a service that is absent."""
    packs = caller()
    for name in ("remote", "nonsense"):
        with pytest.raises(UnknownIntent):
            await packs.call(call(name))
    with pytest.raises(Unavailable, match="missing"):
        await packs.call(call("lonely"))


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, NotFound),
        (errno.EEXIST, Conflict),
        (errno.EACCES, Forbidden),
        (errno.ENOSPC, Unavailable),
        (errno.ESTALE, LLMCoreError),
    ],
)
@pytest.mark.asyncio
async def test_errors_of_the_operating_system_become_ours(number: int, kind: type[LLMCoreError]) -> None:
    """By their number, naming the file."""
    with pytest.raises(LLMCoreError) as caught:
        await caller(OSError(number, "x", "/srv/a")).call(call("say", word="hi"))
    assert type(caught.value) is kind
    assert caught.value.details["errno"] == errno.errorcode[number]
    assert kind is LLMCoreError or "/srv/a" in caught.value.message


@pytest.mark.asyncio
async def test_an_error_without_number_or_file_still_has_a_sentence() -> None:
    """It names the intent."""
    with pytest.raises(NotFound, match="what say needs"):
        await caller(OSError(errno.ENOENT, "x")).call(call("say", word="hi"))
    with pytest.raises(LLMCoreError, match="refused"):
        await caller(OSError("broken")).call(call("say", word="hi"))


@pytest.mark.asyncio
async def test_our_own_errors_and_time_outs_pass() -> None:
    """As they are, and as TimedOut."""
    with pytest.raises(Conflict, match="as is"):
        await caller(Conflict("as is")).call(call("say", word="hi"))
    with pytest.raises(TimedOut):
        await caller(TimeoutError()).call(call("say", word="hi"))


@pytest.mark.logs_errors("pack failed.*ValueError: s3cret")
@pytest.mark.asyncio
async def test_anything_else_is_logged_and_told_without_its_words() -> None:
    """A pack's bug leaks nothing to the person who asked."""
    with pytest.raises(LLMCoreError, match="say failed inside") as caught:
        await caller(ValueError("s3cret")).call(call("say", word="hi"))
    assert "s3cret" not in f"{caught.value.message} {caught.value.data()}"
    assert caught.value.code == "internal"


@pytest.mark.asyncio
async def test_a_preview_that_cannot_tell_now_does_not_refuse_the_call() -> None:
    """Unavailable and timed out are none; what could never work is said at once."""
    for passing in (Unavailable("later"), TimeoutError()):
        assert await caller(passing).preview("say", {"word": "hi"}, ANNA) is None
    for lasting, kind in ((Forbidden("no"), Forbidden), (FileNotFoundError(errno.ENOENT, "x", "/a"), NotFound)):
        with pytest.raises(kind):
            await caller(lasting).preview("say", {"word": "hi"}, ANNA)
