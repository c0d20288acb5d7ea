"""llmcore.cli.client: RPC, events in order across reconnects, and what an unreachable server means; real sockets."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from llmcore import events
from llmcore.cli import client as wire
from llmcore.cli.client import Answered, Client, Feed, authorize, connect, refresh
from llmcore.cli.exits import Exit, Unreachable, exit_of
from llmcore.cli.turns import Ended, Silent, cancel, follow, new_topic
from llmcore.errors import RateLimited, TimedOut, Unauthorized
from tests.server_kit import Stand, serving

pytestmark = pytest.mark.asyncio
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnect at once, and only twice."""
    monkeypatch.setattr(wire, "DELAYS_S", (0.0, 0.0))


class Heard(Silent):
    """Keeps what it was shown."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.said = ""
        self.output: list[tuple[str, str]] = []

    def text(self, piece: str) -> None:
        """More of the reply."""
        self.said += piece

    def progress(self, intent: str, text: str) -> None:
        """Output of a step."""
        self.output.append((intent, text))


def drop(stand: Stand) -> None:
    """The server closes the connection it was called over last."""
    sink: Any = stand.door.callers[-1].sink
    sink.end(1013, "slow", by_us=True)


async def until(condition: Callable[[], bool]) -> None:
    """What another task brings about; nothing tells when, and the test's own time-out is the limit."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0)


# --- calls --------------------------------------------------------------------------------------------------------


async def test_calls_are_answered_each_by_its_own_answer() -> None:
    """Two at a time; an error answer keeps code, message and data."""
    async with serving() as stand, connect(stand.url, "ada") as client:
        one, two = await asyncio.gather(client.call("echo", {"n": 1}), client.call("intent_echo", {"n": 2}))
        assert (one, two) == ({"n": 1}, {"n": 2})
        with pytest.raises(Answered, match="no longer as you think") as caught:
            await client.call("conflict")
        assert caught.value.data() == {"error": "conflict", "status": "done"}


async def test_a_call_without_an_answer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server promises an answer within ten seconds; nobody waits for ever."""
    monkeypatch.setattr(wire, "ANSWER_S", 0.05)
    async with serving() as stand, connect(stand.url, "ada") as client:
        with pytest.raises(TimedOut):
            await client.call("wait")


@pytest.mark.usefixtures("hasty")
async def test_a_call_on_a_lost_connection_fails_and_the_next_one_works() -> None:
    """Nobody knows whether the server has acted, so it is not sent again."""
    async with serving() as stand, connect(stand.url, "ada") as client:
        waiting = asyncio.ensure_future(client.call("wait"))
        await until(lambda: bool(stand.door.callers))
        drop(stand)
        with pytest.raises(Unreachable):
            await waiting
        await until(lambda: client.connected)
        assert await client.call("whoami") == {"name": "ada", "role": "admin"}


async def test_telling_does_not_wait() -> None:
    """Something is asked for while another call waits, and its answer is dropped."""
    async with serving() as stand, connect(stand.url, "ada") as client:
        waiting = asyncio.ensure_future(client.call("wait"))
        client.tell("run_cancel", {"run_id": "r1"})
        assert await waiting == "released"
    client.tell("run_cancel", {})
    with pytest.raises(Unreachable):
        await client.call("echo")


# --- who gets in --------------------------------------------------------------------------------------------------


async def test_a_wrong_token_is_renewed_once() -> None:
    """A refresh token gives another access token; without one the error says to log in."""
    async with serving() as stand:
        stand.auth.revoked.add("ada.old")

        async def renew() -> str:
            return str((await refresh(stand.url, "ada.refresh"))["access"]["token"])

        async with connect(stand.url, "ada.old", renew) as client:
            assert (await client.call("whoami"))["name"] == "ada"
        with pytest.raises(Unauthorized, match="llmcore login"):
            async with connect(stand.url, "ada.old"):
                pass


async def test_login_sends_the_hash_and_gets_tokens() -> None:
    """The password itself never leaves; wrong ones and too many of them are told apart."""
    async with serving() as stand:
        assert (await authorize(stand.url, "ada", "password"))["refresh"]["token"] == "ada.refresh"
        with pytest.raises(Unauthorized):
            await authorize(stand.url, "ada", "wrong")
        with pytest.raises(RateLimited) as slowed:
            await authorize(stand.url, "slow", "password")
        assert slowed.value.retry_after_s >= 7


async def test_nobody_there_is_unreachable() -> None:
    """By WebSocket and by HTTP; exit code 6."""
    with pytest.raises(Unreachable, match="llmcore serve"):
        async with connect(NOWHERE, "ada"):
            pass
    with pytest.raises(Unreachable):
        await authorize(NOWHERE, "ada", "password")
    assert exit_of(Unreachable.code) is Exit.UNREACHABLE


class Stranger(RequestHandler):
    """A server that is something else."""

    def post(self, _: str) -> None:
        """Answer with a page."""
        self.write("<html>hello</html>")

    def get(self, _: str) -> None:
        """The same, with a status of its own."""
        self.set_status(404)


async def test_a_server_that_is_something_else_is_unreachable() -> None:
    """Neither its page nor its status is taken for ours."""
    listening, port = bind_unused_port()
    server = HTTPServer(Application([("/(.*)", Stranger)]))
    server.add_socket(listening)
    url = f"http://127.0.0.1:{port}"
    with pytest.raises(Unreachable):
        await authorize(url, "ada", "password")
    with pytest.raises(Unreachable):
        async with connect(url, "ada"):
            pass
    server.stop()


# --- events -------------------------------------------------------------------------------------------------------

TALK = [
    events.run_started("c1", "r1.1"),
    events.text_start("m1"),
    events.text_content("m1", "Hello "),
    events.text_content("m1", "world"),
    events.text_end("m1"),
    events.run_finished("c1", "r1.1", events.success(), {"text": "Hello world", "kind": "answer"}),
]


async def asked(client: Client, view: Silent) -> Ended:
    """One turn on a topic of its own."""
    feed = client.follow(new_topic())
    accepted = await client.call("chat_llm", {"prompt": "x", "topic": feed.topic})
    return await follow(feed, view, accepted["run_id"])


async def test_a_turn_is_followed_to_its_end() -> None:
    """Text as it comes; the outcome, the result and the exit code at the end."""
    async with serving() as stand, connect(stand.url, "ada") as client:
        stand.door.script = TALK
        heard = Heard()
        ended = await asked(client, heard)
        assert (heard.said, ended.outcome, ended.exit) == ("Hello world", "success", Exit.DONE)


@pytest.mark.usefixtures("hasty")
async def test_events_go_on_after_the_connection_was_lost() -> None:
    """Missed ones come again, seen ones do not: the text is whole and single."""
    async with serving() as stand, connect(stand.url, "ada") as client:

        async def resume(params: Mapping[str, Any], caller: Any) -> Any:
            resumed.append(dict(params))
            return await stand.topics.resume(params["topic"], caller.sink, params["after_seq"], params.get("epoch"))

        resumed: list[dict[str, Any]] = []
        stand.door.intents["stream_resume"] = resume
        stand.door.script = TALK[:3]
        feed = client.follow(new_topic())
        heard = Heard()
        await client.call("chat_llm", {"prompt": "x", "topic": feed.topic})
        following = asyncio.ensure_future(follow(feed, heard, "r1"))
        await until(lambda: heard.said == "Hello ")
        drop(stand)
        for event in TALK[3:]:
            stand.topics.publish(feed.topic, event, "r1")
        ended = await following
        assert (heard.said, ended.outcome) == ("Hello world", "success")
        assert resumed == [{"topic": feed.topic, "after_seq": 3, "epoch": 1}]


@pytest.mark.usefixtures("hasty")
async def test_a_server_that_is_gone_for_good_ends_the_events() -> None:
    """Whoever waits is told."""
    async with serving() as stand, connect(stand.url, "ada") as client:
        feed = client.follow(new_topic())
        await client.call("whoami")
        await stand.server.stop(0.1)
        with pytest.raises(Unreachable):
            await follow(feed, Silent(), None)


@pytest.mark.usefixtures("hasty")
async def test_a_token_that_is_void_ends_the_events_too() -> None:
    """Trying again would not help."""
    async with serving() as stand, connect(stand.url, "ada.x") as client:
        feed = client.follow(new_topic())
        await client.call("whoami")
        stand.auth.revoked.add("ada.x")
        drop(stand)
        with pytest.raises(Unreachable):
            await feed.next()


async def test_other_events_go_to_whoever_listens_to_all() -> None:
    """Notifications are of no topic that is followed; arrays hold several."""
    heard: list[Mapping[str, Any]] = []
    async with serving() as stand, connect(stand.url, "ada", None, heard.append) as client:
        await client.call("subscribe_channel", {"topic": "/notification"})
        stand.topics.broadcast("/notification", events.notification("watch out", 3, 1))
        stand.topics.broadcast("/notification", events.notification("again", 3, 2))
        await until(lambda: len(heard) == 2)
    assert [event["data"]["message"] for event in heard] == ["watch out", "again"]


async def test_a_feed_takes_each_event_once_and_a_new_epoch_anew() -> None:
    """Numbers decide, not the order of arrival."""
    feed = Feed("/t")
    for epoch, seq in ((1, 1), (1, 1), (1, 3), (1, 2), (2, 1), (1, 9)):
        await feed.offer({"epoch": epoch, "seq": seq})
    seen = [await feed.next() for _ in range(3)]
    assert seen == [{"epoch": 1, "seq": 1}, {"epoch": 1, "seq": 3}, {"epoch": 2, "seq": 1}]
    assert feed.position() == {"topic": "/t", "after_seq": 1, "epoch": 2}
    assert Feed("/t").position() == {"topic": "/t", "after_seq": 0}


# --- turns --------------------------------------------------------------------------------------------------------


async def played(*script: Mapping[str, Any], run_id: str | None = "r1") -> tuple[Ended, Heard]:
    """A segment that was on the wire already."""
    feed, heard = Feed("/t"), Heard()
    for number, event in enumerate(script):
        await feed.offer({"epoch": 1, "seq": number + 1, "run_id": event.get("of", "r1"), "event": event})
    return await follow(feed, heard, run_id), heard


def plan(status: str) -> Mapping[str, Any]:
    """A snapshot of a plan."""
    content = {"plan_id": "p", "status": status, "steps": [{"intent": "start_script_execution"}]}
    return events.activity(events.Activity.PLAN, "p", content)


@pytest.mark.parametrize(
    ("last", "exit_code"),
    [
        ([plan("done"), events.run_finished("c", "r1.1", events.success(), {"text": ""})], Exit.DONE),
        ([plan("failed"), events.run_finished("c", "r1.1", events.success(), {"text": ""})], Exit.FAILED),
        ([plan("proposed"), events.run_finished("c", "r1.1", events.interrupt("p", "?", None), {})], Exit.WAITS),
        ([events.run_finished("c", "r1.1", events.cancelled(), {})], Exit.FAILED),
        ([events.run_finished("c", "r1.1", events.success(), {"kind": "none"})], Exit.NOT_UNDERSTOOD),
        ([events.run_finished("c", "r1.1", events.success(), {"kind": "clarify"})], Exit.NOT_UNDERSTOOD),
        ([events.run_error("no", "forbidden")], Exit.REFUSED),
        ([events.run_error("no", "provider_error")], Exit.FAILED),
    ],
)
async def test_the_end_decides_the_exit_code(last: list[Mapping[str, Any]], exit_code: Exit) -> None:
    """As the contract names them."""
    ended, _ = await played(*last)
    assert ended.exit is exit_code


async def test_events_of_other_runs_are_left_alone() -> None:
    """A topic may carry several; without a run id every end counts."""
    foreign = {**events.run_error("not ours", "internal"), "of": "r2"}
    ended, _ = await played(foreign, *TALK)
    assert ended.outcome == "success"
    ended, _ = await played(foreign, *TALK, run_id=None)
    assert ended.outcome == "error"


async def test_text_that_was_missed_is_made_up_for() -> None:
    """The end repeats the whole reply."""
    end = events.run_finished("c", "r1.1", events.success(), {"text": "Hello world"})
    _, heard = await played(events.text_content("m", "Hello "), end)
    assert heard.said == "Hello world"
    _, heard = await played(events.text_content("m", "world"), end)
    assert heard.said == "world\n\nHello world"


async def test_output_of_a_step_is_told_with_its_intent() -> None:
    """Only of steps of a known plan, only text."""
    written = {"op": "add", "path": "/steps/0/progress/-", "value": {"stream": "stdout", "text": "half way"}}
    other = {"op": "replace", "path": "/title", "value": "x"}
    delta = events.activity_delta(events.Activity.PLAN, "p", [written, other])
    _, heard = await played(delta, plan("running"), delta, *TALK)
    assert heard.output == [("start_script_execution", "half way")]


async def test_cancel_asks_once_and_minds_no_error() -> None:
    """Nothing to cancel, an unknown run, a server that is gone: all the same."""
    async with serving() as stand, connect(stand.url, "ada") as client:
        await cancel(client, None)
        assert not stand.door.callers
        await cancel(client, "r1")
        assert stand.door.release.is_set()
        await client.call("whoami")
        drop(stand)
        await cancel(client, "r1")
