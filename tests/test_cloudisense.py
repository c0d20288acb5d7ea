"""The module for CloudiSENSE, where a flow through a whole host does not reach: refusals, failures, slow clients."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cdscore.exceptions import ActionError
from cdscore.types import Modules

from llmcore.adapters.cloudisense import LLMCore, clients, module
from llmcore.adapters.cloudisense.caller import HostCaller
from llmcore.adapters.cloudisense.clients import Clients, HostSink
from llmcore.adapters.cloudisense.module import ASSIST, OFFERED, RULES, RpcAction
from llmcore.api import Caller
from llmcore.api.core import RPCS
from llmcore.catalog import Catalog, load_folder
from llmcore.errors import Conflict, LLMCoreError, OutcomeUnknown, Unavailable
from llmcore.events import StreamEvent, run_started, text_content
from llmcore.plan import Effect, Principal
from llmcore.ports import Call
from tests.cloudisense_host import UNRULY, Browser, Host

ANNA = Principal(name="anna", role="admin")
Answer = Callable[[str, Mapping[str, Any], Caller], Awaitable[Any]]


# --- the catalogue of the host ------------------------------------------------------------------------------------


def test_the_hosts_intents_are_described() -> None:
    """The file is a catalogue; what can do harm says so; requests that mean nothing but themselves are varied."""
    folder = Path(__file__).parent.parent / "config" / "cloudisense.yaml"
    catalog = Catalog(load_folder(folder))
    effects = {intent.name: intent.effect for intent in catalog}
    for name in ("get_configuration", "http_get", "remove_channel", "write_rule", "restart_target", "restart_self"):
        assert effects[name] is Effect.DESTRUCTIVE
    assert all(len({e.text for e in intent.examples}) == len(intent.examples) != 1 for intent in catalog)
    assert set(OFFERED) | set(ASSIST) <= RPCS.keys()
    assert not effects.keys() & RPCS.keys()


# --- a module in a host -------------------------------------------------------------------------------------------


class Topics:
    """Notes who is connected."""

    def __init__(self) -> None:
        """Nobody."""
        self.sinks: list[HostSink] = []

    def connect(self, sink: HostSink) -> None:
        """Note it."""
        self.sinks.append(sink)


class Inside:
    """What a builder gives, with an api that a test plays."""

    def __init__(self, answer: Answer) -> None:
        """`answer` plays `Api.call`."""
        self.topics = Topics()
        self.api = SimpleNamespace(call=answer, disconnected=lambda sink, by_us: self.left.append((sink, by_us)))
        self.left: list[tuple[HostSink, bool]] = []
        self.closed = False

    async def close(self) -> None:
        """Note it."""
        self.closed = True


async def _echo(name: str, params: Mapping[str, Any], caller: Caller) -> Any:
    return {"name": name, **params, "who": caller.principal.name, "role": caller.principal.role}


def play(monkeypatch: pytest.MonkeyPatch, answer: Answer = _echo) -> Inside:
    """Have the module find a builder that gives an api which a test plays."""
    inside = Inside(answer)

    async def build(*_: Any) -> Inside:
        return inside

    monkeypatch.setattr(module, "_builder", lambda: build)
    return inside


def hosted(**conf: Any) -> tuple[Host, LLMCore]:
    """A host with the module alone."""
    host, guest = Host(), LLMCore(conf)
    host.load(guest)
    return host, guest


async def end(host: Host, guest: LLMCore) -> None:
    """Close both."""
    await guest.close()
    await host.close()


def act(guest: LLMCore | None, rpc: str = "plan_list", **params: Any) -> Coroutine[Any, Any, Any]:
    """Execute an action as the dispatcher does."""
    modules = Modules()
    if guest is not None:
        modules.registerModule("llmcore", guest)
    result: Coroutine[Any, Any, Any] = RpcAction(rpc).execute(None, modules, params)
    return result


def test_the_assist_is_left_to_the_hosts_own() -> None:
    """Its intents are offered only where it is known that nobody else does."""
    guest = LLMCore()
    assert guest.supported_action_names() == [f"action_{name}" for name in OFFERED]
    application = SimpleNamespace(modules=Modules())
    guest.eventhandler = SimpleNamespace(__self__=application)
    assert guest.supported_intents()[-3:] == [f"intent_{name}" for name in ASSIST]
    application.modules.registerModule("smartassist", object())
    assert guest.supported_intents() == [f"intent_{name}" for name in OFFERED]


def test_the_role_in_the_configuration_has_to_be_one() -> None:
    """What policy does not know would be neither forbidden nor allowed."""
    assert LLMCore().valid_configuration({})
    assert LLMCore().valid_configuration({"role": "developer"})
    assert not LLMCore().valid_configuration({"role": "root"})


@pytest.mark.asyncio
async def test_without_a_start_there_are_words_only() -> None:
    """An action outside a host, and a module that nobody started, which can be closed all the same."""
    with pytest.raises(ActionError, match="not loaded"):
        await act(None)
    guest = LLMCore()
    with pytest.raises(ActionError, match="not started"):
        await act(guest)
    await guest.close()


@pytest.mark.asyncio
@pytest.mark.logs_errors(rf"{UNRULY}|rpc failed")
async def test_nothing_that_goes_wrong_ends_an_intent(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an interrupted, a refused and a broken request the host's worker still takes the next."""
    errors: list[BaseException] = [asyncio.CancelledError(), Conflict("It is otherwise."), RuntimeError("a secret")]

    async def answer(name: str, params: Mapping[str, Any], caller: Caller) -> Any:
        if errors:
            raise errors.pop(0)
        return {"at": Path("/tmp")}  # noqa: S108 - a value that is no JSON

    play(monkeypatch, answer)
    host, guest = hosted()
    browser = Browser(host)
    assert "interrupted" in await browser.refused("plan_list")
    assert await browser.refused("plan_list") == "It is otherwise."
    assert "secret" not in await browser.refused("plan_list")
    assert await browser.ask("plan_list") == {"at": "/tmp"}  # noqa: S108
    await end(host, guest)


@pytest.mark.asyncio
@pytest.mark.logs_errors(UNRULY)
async def test_the_end_of_a_worker_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who cancels the action itself means it: a gateway with a task a request, or the end of the loop."""
    begun = asyncio.Event()

    async def answer(name: str, params: Mapping[str, Any], caller: Caller) -> Any:
        begun.set()
        await asyncio.Event().wait()

    play(monkeypatch, answer)
    host, guest = hosted()
    async with asyncio.TaskGroup() as tasks:
        worker = tasks.create_task(act(guest))
        await begun.wait()
        worker.cancel()
    assert worker.cancelled()
    await end(host, guest)


@pytest.mark.asyncio
@pytest.mark.logs_errors(UNRULY)
async def test_callers_are_who_the_host_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule has no client; roles that nobody knows may read; a `handler` made of JSON is no client."""
    inside = play(monkeypatch)
    host, guest = hosted(role="developer")
    rule = (await act(guest, handler=None, prompt="x", __event__={"name": "alarm"})).data
    assert rule == {"name": "plan_list", "prompt": "x", "who": RULES, "role": "developer"}
    assert (await act(guest, handler={"username": "anna", "role": "admin"})).data["who"] == RULES
    assert inside.topics.sinks == []
    told = [Browser(host, "bo", "root"), Browser(host, None, None), Browser(host, "anna", None)]
    answers = [await browser.ask("plan_list") for browser in told]
    assert [(answer["who"], answer["role"]) for answer in answers] == [
        ("bo", "observer"),
        ("client browser-1", "developer"),
        ("anna", "developer"),
    ]
    assert len(inside.topics.sinks) == 3
    await end(host, guest)
    assert inside.closed
    assert [by_us for _, by_us in inside.left] == [True, True, True]
    assert LLMCore({"role": "root"})._role == "observer"


@pytest.mark.asyncio
@pytest.mark.logs_errors(UNRULY)
async def test_a_chat_that_wants_all_at_once_is_acknowledged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold up the next chat of everybody."""
    play(monkeypatch)
    host, guest = hosted()
    answer = (await act(guest, "chat_llm", prompt="x", params={"stream": False, "mode": "answer"})).data
    assert (answer["params"], answer["status"]) == ({"stream": True, "mode": "answer"}, "running")
    assert "status" not in (await act(guest, "chat_llm", prompt="x", params={"stream": True})).data
    await end(host, guest)


@pytest.mark.asyncio
@pytest.mark.logs_errors(rf"{UNRULY}|llmcore cannot run: conf: .*provder")
async def test_wrong_settings_are_named_in_the_log_only(data_dir: Path) -> None:
    """Clients learn that it does not run; the host itself goes on."""
    host, guest = hosted(data_dir=str(data_dir), llm={"provder": "offline"})
    browser = Browser(host)
    assert await browser.refused("plan_list") == "llmcore does not run; the log of the host says why."
    assert await browser.ask("test") is None
    await end(host, guest)


@pytest.mark.asyncio
@pytest.mark.logs_errors(rf"{UNRULY}|llmcore cannot run|llmcore has failed")
@pytest.mark.parametrize("fault", ["no builder", "no router", "no modules", "broken"])
async def test_a_start_that_fails_is_over(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Nothing installed, a host that shows too little, a fault of ours."""
    host, guest = Host(), LLMCore()
    application: Any = host
    if fault == "no builder":
        monkeypatch.setattr(module, "entry_points", lambda **_: ())
    elif fault == "broken":
        monkeypatch.setattr(module, "_builder", lambda: None)
    else:
        application = SimpleNamespace(modules=host.modules) if fault == "no router" else None
    guest.eventhandler = SimpleNamespace(__self__=application)
    guest.initialize()
    with pytest.raises(Unavailable, match="does not run"):
        await guest.started()
    await end(host, guest)


@pytest.mark.asyncio
@pytest.mark.logs_errors(UNRULY)
async def test_requests_do_not_wait_for_ever_for_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that takes long is told; one that was stopped meanwhile ends in order."""
    inside, go = play(monkeypatch), asyncio.Event()

    async def build(*_: Any) -> Inside:
        await go.wait()
        return inside

    monkeypatch.setattr(module, "_builder", lambda: build)
    monkeypatch.setattr(module, "START_S", 0.01)
    host, guest = hosted()
    with pytest.raises(Unavailable, match="still starting"):
        await guest.started()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(guest.close())
        await asyncio.sleep(0)
        go.set()
    assert inside.closed
    await host.close()


# --- the way to the host's intents --------------------------------------------------------------------------------


def call(**params: Any) -> Call:
    """A call for Anna."""
    return Call(intent="look", params=params, principal=ANNA, idempotency_key="k")


@pytest.mark.asyncio
async def test_a_call_looks_like_a_browsers() -> None:
    """Only the answer to its own request counts, as text or object; events and other answers are passed over."""
    seen: list[Any] = []

    async def send(message: dict[str, Any], client: Any) -> None:
        seen.append((message["intent"], message["params"], client.username, client.role, client.is_closed()))
        await client.message_to_client("[]")
        await client.message_to_client({"type": "rpc_response", "requestid": "other", "status": "success"})
        answer = {"type": "rpc_response", "requestid": message["requestid"], "status": "success", "data": [1]}
        await client.message_to_client(json.dumps(answer))
        await client.message_to_client({**answer, "data": "twice"})
        seen.append(client.is_closed())

    caller = HostCaller(send)
    assert await caller.call(call(module="nginx")) == [1]
    assert seen == [("look", {"module": "nginx"}, "anna", "admin", False), True]
    assert await caller.preview("look", {}, ANNA) is None
    assert await caller.undo_of("look", {}, None, None, ANNA) is None
    assert await caller.verify("look", {}, ANNA) is None


@pytest.mark.asyncio
@pytest.mark.logs_errors("the host's router failed")
async def test_a_call_that_is_refused_breaks_or_is_left() -> None:
    """A refusal is told in the host's words, cut; a broken router leaves the outcome open; leaving closes the line."""
    lines: list[Any] = []

    async def refuse(message: dict[str, Any], client: Any) -> None:
        await client.message_to_client({"requestid": message["requestid"], "status": "error", "message": "no " * 1000})

    async def broken(message: dict[str, Any], client: Any) -> None:
        raise KeyError("gateway")

    async def mute(message: dict[str, Any], client: Any) -> None:
        lines.append(client)

    with pytest.raises(LLMCoreError, match="The host refused look: no no") as refused:
        await HostCaller(refuse).call(call())
    assert len(refused.value.message) < 600
    with pytest.raises(OutcomeUnknown):
        await HostCaller(broken).call(call())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await HostCaller(mute).call(call())
    assert lines[0].is_closed()


# --- clients ------------------------------------------------------------------------------------------------------


class Slow:
    """A client object whose writes a test holds up or breaks."""

    def __init__(self, error: Exception | None = None) -> None:
        """With an `error`, nothing can be written."""
        self.frames: list[list[Any]] = []
        self.closed: bool | None = False
        self.go = asyncio.Event()
        self.go.set()
        self.error = error
        self._news = asyncio.Event()

    def is_closed(self) -> bool:
        """As the test says; None: it does not know."""
        if self.closed is None:
            raise RuntimeError("no socket")
        return self.closed

    async def message_to_client(self, message: str) -> None:
        """Keep a frame."""
        await self.go.wait()
        if self.error is not None:
            raise self.error
        self.frames.append(json.loads(message))
        self._news.set()

    async def until(self, count: int) -> None:
        """Wait for so many events."""
        async with asyncio.timeout(10):
            while sum(map(len, self.frames)) < count:
                self._news.clear()
                await self._news.wait()


def text(seq: int, delta: str) -> StreamEvent:
    """A piece of a message."""
    return StreamEvent("/t", 1, seq, seq, "r", "c", text_content("m", delta), 0)


def start(seq: int, run: str = "r.1") -> StreamEvent:
    """Another event."""
    return StreamEvent("/t", 1, seq, seq, "r", "c", run_started("c", run), 0)


class Room:
    """A task group with one client in it."""

    def __init__(self, tasks: asyncio.TaskGroup, client: Slow) -> None:
        """Connect it."""
        self.left: list[bool] = []
        self.gone = asyncio.Event()
        self.joined: list[HostSink] = []
        self.clients = Clients(tasks, self.joined.append, self._left)
        self.sink = self.clients.sink_of(client, ANNA)

    def _left(self, sink: HostSink, by_us: bool) -> None:
        self.left.append(by_us)
        self.gone.set()


@pytest.mark.asyncio
async def test_what_waits_grows_together_up_to_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text of one message becomes one event that covers all numbers; long text and many events take more frames."""
    monkeypatch.setattr(clients, "GROW_CHARS", 10)
    monkeypatch.setattr(clients, "FRAME_BYTES", 400)
    client = Slow()
    async with asyncio.TaskGroup() as tasks:
        room = Room(tasks, client)
        sink = room.sink
        sink.broadcast({})
        for seq, event in enumerate([start(1), text(2, "ab"), text(3, "cdefghijkl"), text(4, "mn"), text(5, "o")], 1):
            assert event.seq == seq
            sink.deliver(event)
        await client.until(3)
        assert room.clients.sink_of(client, ANNA) is sink
        room.clients.close()
        sink.deliver(start(6))
    events = [data["data"] for frame in client.frames for data in frame]
    assert len(client.frames) == 2
    assert [(data.get("first_seq", data["seq"]), data["seq"]) for data in events] == [(1, 1), (2, 3), (4, 5)]
    assert events[1]["event"]["delta"] == "abcdefghijkl"
    assert len(room.clients) == 0
    assert room.left == [True]


@pytest.mark.asyncio
async def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """For too much that waits at once, and for one write that takes too long; both may come back."""
    monkeypatch.setattr(clients, "QUEUE_BYTES", 2_000)
    monkeypatch.setattr(clients, "WRITE_S", 0.01)
    client = Slow()
    client.go.clear()
    async with asyncio.TaskGroup() as tasks:
        full = Room(tasks, client)
        for seq in range(1, 10):
            full.sink.deliver(start(seq))
        assert full.left == [True]
        full.clients.close()
        late = Room(tasks, client)
        late.sink.deliver(text(1, "a"))
        await late.gone.wait()
        assert late.left == [True]
        late.clients.close()
    assert client.frames == []


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["closed", "broken", "cancelled"])
async def test_a_client_that_is_gone_is_let_go(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Closed while nothing is written, or found out by a write that fails in whatever way."""
    monkeypatch.setattr(clients, "SWEEP_S", 0.001)
    client = Slow(RuntimeError("closed") if way == "broken" else None)
    async with asyncio.TaskGroup() as tasks:
        room = Room(tasks, client)
        await asyncio.sleep(0)
        if way == "broken":
            room.sink.deliver(start(1))
        elif way == "cancelled":
            room.sink._writer.cancel()
        else:
            client.closed = True
        await room.gone.wait()
        room.clients.close()
    assert room.left == [False]


@pytest.mark.asyncio
@pytest.mark.logs_errors("cannot tell whether it is closed")
async def test_a_client_that_cannot_tell_is_gone() -> None:
    """Its error ends nothing else."""
    client = Slow()
    client.closed = None
    async with asyncio.TaskGroup() as tasks:
        room = Room(tasks, client)
        await room.gone.wait()
        room.clients.close()
    assert room.left == [False]


@pytest.mark.asyncio
async def test_another_person_behind_a_client_gets_a_sink_of_their_own() -> None:
    """Nothing of the one before is written to them."""
    client = Slow()
    async with asyncio.TaskGroup() as tasks:
        room = Room(tasks, client)
        room.sink.deliver(text(1, "for anna"))
        other = room.clients.sink_of(client, Principal(name="bo", role="observer"))
        assert other is not room.sink
        other.deliver(start(1))
        await client.until(1)
        room.clients.close()
    assert [[data["data"]["seq"] for data in frame] for frame in client.frames] == [[1]]
    assert client.frames[0][0]["data"]["event"]["type"] == "RUN_STARTED"
