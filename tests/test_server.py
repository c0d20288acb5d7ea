"""The WebSocket: who gets in, how every frame is answered, how connections end."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.httpclient import HTTPClientError

from llmcore.errors import Unauthorized
from llmcore.events import notification
from tests.peer import Peer
from tests.server_kit import Stand, serving, settle

pytestmark = pytest.mark.asyncio


async def refused(stand: Stand, query: str, **headers: str) -> tuple[int, Any]:
    """Status and body of a refused upgrade."""
    with pytest.raises(HTTPClientError) as error:
        await Peer.connect(f"ws://127.0.0.1:{stand.port}/ws{query}", **headers)
    assert error.value.response is not None
    return error.value.code, json.loads(error.value.response.body)


# --- who gets in ---


@pytest.mark.parametrize("query", ["", "?token=", "?token=eve", "?token=ada.revoked", "?other=ada"])
async def test_bad_token_refused_upgrade(query: str) -> None:
    """A bad token is refused before the upgrade."""
    async with serving() as stand:
        stand.auth.revoked.add("ada.revoked")
        code, body = await refused(stand, query)
        assert code == 401
        assert body["data"] == {"error": "unauthorized"}


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://ops.example.org.evil.example"])
async def test_page_foreign_origin_refused(origin: str) -> None:
    """A page of a foreign origin is refused."""
    async with serving(origins=("https://ops.example.org",)) as stand:
        code, _ = await refused(stand, "?token=ada", Origin=origin)
        assert code == 403


async def test_who_gets_in() -> None:
    """Our page allowed origins and programs get in."""
    async with serving(origins=("https://ops.example.org",)) as stand:
        for headers in ({}, {"Origin": stand.url}, {"Origin": "https://ops.example.org"}):
            peer = await stand.join(**headers)
            assert (await peer.call("whoami"))["data"] == {"name": "ada", "role": "admin"}


async def test_program_send_token_header() -> None:
    """A program may send its token as a header."""
    async with serving() as stand:
        peer = await Peer.connect(f"ws://127.0.0.1:{stand.port}/ws", Authorization="Bearer bob")
        assert (await peer.call("whoami"))["data"]["name"] == "bob"
        await peer.close()


async def test_accounts_away_nobody_gets_in() -> None:
    """While the accounts are away nobody gets in."""
    async with serving() as stand:
        stand.auth.down = True
        assert (await refused(stand, "?token=ada"))[0] == 503


async def test_stopping_server_takes_nobody_in() -> None:
    """A server that stops takes nobody in."""
    async with serving() as stand:
        stand.server.hub.stopping = True
        assert (await refused(stand, "?token=ada"))[0] == 503


async def test_no_compression() -> None:
    """Nothing is compressed even if offered."""
    async with serving() as stand:
        peer = await stand.join(**{"Sec-WebSocket-Extensions": "permessage-deflate"})
        assert "Sec-WebSocket-Extensions" not in (peer.socket.headers or {})


# --- how frames are answered ---


async def test_rpc_answered_request_id() -> None:
    """An RPC is answered with its request id."""
    async with serving() as stand:
        peer = await stand.join()
        answer = await peer.call("intent_echo", {"x": [1, None, "é"]})
        assert answer["requestid"] == "r1"
        assert (answer["type"], answer["status"], answer["code"]) == ("rpc_response", "success", 200)
        assert answer["data"] == {"x": [1, None, "é"]}
        assert abs(answer["timestamp"] - stand.clock.now()) < 60


async def test_params_absent_other_keys_ignored() -> None:
    """Params may be absent and other keys are ignored."""
    async with serving() as stand:
        peer = await stand.join()
        for more in ({}, {"serviceId": "llmcore"}, {"serviceId": None, "clientId": "c", "originId": "o"}):
            answer = await peer.raw({"type": "rpc", "requestid": "a", "intent": "echo", **more})
            assert answer["data"] == {}


@pytest.mark.parametrize(
    ("frame", "request_id", "error"),
    [
        ("", None, "bad_request"),
        ("{", None, "bad_request"),
        ("nonsense", None, "bad_request"),
        ('{"type":"rpc","requestid":"a","intent":"echo","params":{"x":NaN}}', None, "bad_request"),
        ('{"type":"rpc","requestid":"a","intent":"echo"} {}', None, "bad_request"),
        (b"\x00binary", None, "bad_request"),
        ("[]", None, "bad_request"),
        ([{"type": "rpc", "requestid": "a", "intent": "echo"}], None, "bad_request"),
        ("null", None, "bad_request"),
        ("17", None, "bad_request"),
        ({}, None, "bad_request"),
        ({"requestid": "a"}, "a", "bad_request"),
        ({"type": "call", "requestid": "a", "intent": "echo"}, "a", "bad_request"),
        ({"type": ["rpc"], "requestid": "a", "intent": "echo"}, "a", "bad_request"),
        ({"type": "rpc", "intent": "echo"}, None, "bad_request"),
        ({"type": "rpc", "requestid": 5, "intent": "echo"}, None, "bad_request"),
        ({"type": "rpc", "requestid": "a" * 201, "intent": "echo"}, None, "bad_request"),
        ({"type": "rpc", "requestid": "a"}, "a", "bad_request"),
        ({"type": "rpc", "requestid": "a", "intent": ""}, "a", "bad_request"),
        ({"type": "rpc", "requestid": "a", "intent": "e" * 201}, "a", "bad_request"),
        ({"type": "rpc", "requestid": "a", "intent": {"echo": 1}}, "a", "bad_request"),
        ({"type": "rpc", "requestid": "a", "intent": "echo", "params": None}, "a", "bad_params"),
        ({"type": "rpc", "requestid": "a", "intent": "echo", "params": ["x"]}, "a", "bad_params"),
        ({"type": "rpc", "requestid": "a", "intent": "nothing"}, "a", "unknown_intent"),
        ({"type": "rpc", "requestid": "a", "intent": "echo", "serviceId": "other"}, "a", "not_found"),
        ({"type": "rpc", "requestid": "a", "intent": "echo", "serviceId": "*"}, "a", "not_found"),
        ({"type": "rpc", "requestid": "a", "intent": "conflict"}, "a", "conflict"),
    ],
)
async def test_bad_frame_error_socket_stays(frame: Any, request_id: str | None, error: str) -> None:
    """Every bad frame gets one error and the socket stays open."""
    async with serving() as stand:
        peer = await stand.join()
        answer = await peer.raw(frame)
        assert answer["status"] == "error"
        assert answer["requestid"] == request_id
        assert answer["data"]["error"] == error
        assert answer["message"]
        assert (await peer.call("echo", {"alive": True}))["data"] == {"alive": True}
        assert len(peer.answers) == 2


@pytest.mark.parametrize("kind", ["event", "rpc_response"])
async def test_events_responses_clients_passed_over(kind: str) -> None:
    """Events and responses of clients are passed over."""
    async with serving() as stand:
        peer = await stand.join()
        await peer.send({"type": kind, "requestid": "a", "topic": "/stats"})
        await peer.call("echo")
        assert len(peer.answers) == 1
        assert stand.server.metrics.traffic.ignored_frames == 1


async def test_depth_limit() -> None:
    """JSON may nest 64 levels and no more."""

    def nested(levels: int) -> Any:
        value: Any = "x"
        for _ in range(levels):
            value = [value]
        return value

    async with serving() as stand:
        peer = await stand.join()
        assert (await peer.call("echo", {"deep": nested(62)}))["status"] == "success"
        answer = await peer.call("echo", {"deep": nested(63)})
        assert answer["data"] == {"error": "bad_request"}
        assert (await peer.call("echo", {"wide": [[] for _ in range(500)]}))["status"] == "success"
        assert (await peer.raw("[" * 100_000))["data"] == {"error": "bad_request"}


async def test_frame_over_limit_closes_1009() -> None:
    """A frame over the limit closes with 1009."""
    async with serving(max_frame_bytes=10_000) as stand:
        peer, other = await stand.join(), await stand.join()
        assert (await peer.call("echo", {"x": "a" * 9_000}))["status"] == "success"
        await peer.ask("echo", {"x": "a" * 10_000})
        assert await peer.wait_closed() == 1009
        assert (await other.call("echo"))["status"] == "success"


@pytest.mark.logs_errors("rpc failed.*canary")
async def test_unexpected_exception_is_not_told() -> None:
    """An unexpected exception is logged and not told."""

    async def broken(params: Any, caller: Any) -> Any:
        raise KeyError("canary")

    async with serving() as stand:
        stand.door.intents["broken"] = broken
        peer = await stand.join()
        answer = await peer.call("broken")
        assert (answer["code"], answer["data"]) == (500, {"error": "internal"})
        assert "canary" not in json.dumps(answer)


async def test_timeout() -> None:
    """Work that takes too long is answered and stopped."""
    ended = asyncio.Event()

    async def endless(params: Any, caller: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(rpc_timeout_s=0.05) as stand:
        stand.door.intents["endless"] = endless
        peer = await stand.join()
        answer = await peer.call("endless")
        assert (answer["code"], answer["data"]) == (504, {"error": "timeout"})
        await asyncio.wait_for(ended.wait(), 5)
        await peer.call("echo")
        assert len(peer.answers) == 2


async def test_cancelled_inside() -> None:
    """Work that was cancelled inside is answered too."""

    async def cancelled(params: Any, caller: Any) -> Any:
        raise asyncio.CancelledError

    async with serving() as stand:
        stand.door.intents["cancelled"] = cancelled
        peer = await stand.join()
        assert (await peer.call("cancelled"))["data"] == {"error": "unavailable"}


async def test_running_request_delays_no_other() -> None:
    """A running request delays no other."""
    async with serving() as stand:
        peer = await stand.join()
        waiting = await peer.ask("wait")
        assert (await peer.call("echo"))["status"] == "success"
        assert (await peer.call("run_cancel"))["data"] == "cancelled"
        assert (await peer.answer_to(waiting))["data"] == "released"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["rpc", "rpc_response", "event"]) | JSON,
        "requestid": st.text(max_size=5) | JSON,
        "intent": st.sampled_from(["echo", "intent_echo", "conflict"]) | JSON,
        "params": JSON,
        "serviceId": JSON,
    },
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(st.text(max_size=40) | st.binary(max_size=20) | NEARLY | JSON, max_size=12))
async def test_arbitrary_frames(frames: list[Any]) -> None:
    """Whatever comes every frame is answered at most once."""
    async with serving(rate_limit=0) as stand:
        peer = await stand.join()
        for frame in frames:
            await peer.send(frame)
        await peer.call("echo", {"last": True})
        traffic = stand.server.metrics.traffic
        assert len(peer.answers) == len(frames) + 1 - traffic.ignored_frames
        assert not peer.closed.is_set()


@settings(max_examples=15, deadline=None)
@given(plan=st.lists(st.sampled_from(["echo", "conflict", "nothing", "wait", "run_cancel"]), min_size=1, max_size=30))
async def test_requests_at_once(plan: list[str]) -> None:
    """Requests at once are each answered once by their own answer."""
    async with serving(rate_limit=0) as stand:
        peers = [await stand.join(), await stand.join("bob")]
        asked = [(peer, intent, await peer.ask(intent, {"n": n})) for n, intent in enumerate(plan) for peer in peers]
        for peer in peers:
            await peer.call("run_cancel")
        answers = [(intent, await peer.answer_to(request_id)) for peer, intent, request_id in asked]
        for n, (intent, answer) in enumerate(answers):
            if intent == "echo":
                assert answer["data"] == {"n": n // 2}
        for peer in peers:
            assert len(peer.answers) == len(plan) + 1
            assert len({answer["requestid"] for answer in peer.answers}) == len(plan) + 1


# --- limits ---


async def test_user_over_rate_told_when() -> None:
    """A user over the rate is told when to come back and others are not."""
    async with serving(rate_limit=5) as stand:
        peer, again, other = await stand.join(), await stand.join(), await stand.join("bob")
        answers = [await (peer if n % 2 else again).call("echo") for n in range(12)]
        refused = [answer for answer in answers if answer["status"] == "error"]
        assert refused
        assert {answer["code"] for answer in refused} == {429}
        assert 0 < refused[0]["data"]["retry_after_s"] <= 0.2
        assert (await other.call("echo"))["status"] == "success"
        assert (await peer.call("intent_run_cancel"))["status"] == "success"
        assert (await peer.call("plan_approve"))["status"] == "success"
        assert (await peer.raw("{"))["data"]["error"] == "rate_limited"
        stand.clock.ahead_s += 1
        assert (await peer.call("echo"))["status"] == "success"
        assert stand.server.metrics.traffic.rate_limited >= len(refused)


async def test_flood_client_leaves_others_working() -> None:
    """A flood of one client leaves the others working."""
    async with serving(rate_limit=50) as stand:
        flood, calm = await stand.join(), await stand.join("bob")
        for _ in range(2_000):
            await flood.ask("echo")
        for n in range(20):
            assert (await calm.call("echo", {"n": n}))["data"] == {"n": n}
        await flood.until(lambda: len(flood.answers) == 2_000)
        assert sum(answer["status"] == "success" for answer in flood.answers) < 1_000


async def test_running_requests_are_limited() -> None:
    """Only so many requests run at once on a socket."""
    async with serving(max_running=3) as stand:
        peer = await stand.join()
        waiting = [await peer.ask("wait") for _ in range(3)]
        full = await peer.call("wait")
        assert full["data"] == {"error": "rate_limited", "retry_after_s": 1.0}
        assert (await peer.call("run_cancel"))["status"] == "success"
        for request_id in waiting:
            assert (await peer.answer_to(request_id))["data"] == "released"


# --- how connections end ---


async def test_client_goes_reported_gone_itself() -> None:
    """A client that goes is reported as gone by itself."""
    async with serving() as stand:
        peer = await stand.join()
        await peer.call("echo")
        await peer.close()
        await asyncio.wait_for(stand.door.left.wait(), 5)
        assert [by_us for _, by_us in stand.door.gone] == [False]
        assert stand.server.metrics.traffic.connections == 0


async def test_broken_connection_reported() -> None:
    """A connection that breaks is reported as well."""
    async with serving() as stand:
        peer = await stand.join()
        waiting = await peer.ask("wait")
        await settle()
        peer.socket.protocol.stream.close()  # type: ignore[union-attr]
        await asyncio.wait_for(stand.door.left.wait(), 5)
        assert [by_us for _, by_us in stand.door.gone] == [False]
        stand.door.release.set()
        await settle()
        assert waiting not in [answer["requestid"] for answer in peer.answers]


async def test_half_open_client_found_pings() -> None:
    """A half open client is found by pings."""
    async with serving(ping_interval_s=0.05, ping_timeout_s=0.05) as stand:
        reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
        writer.write(
            b"GET /ws?token=ada HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b" 101 " in await reader.readline()
        live = await stand.join("bob")
        await asyncio.wait_for(stand.door.left.wait(), 20)
        assert [by_us for _, by_us in stand.door.gone] == [False]
        assert (await live.call("echo"))["status"] == "success"
        writer.close()


async def test_socket_ends_token() -> None:
    """A socket ends with its token."""
    async with serving() as stand:
        stand.auth.life_s = 0.1
        peer = await stand.join()
        assert await peer.wait_closed() == 4401
        assert [by_us for _, by_us in stand.door.gone] == [True]


async def test_revoked_token_refused_next_request() -> None:
    """A revoked token is refused at the next request."""
    async with serving() as stand:
        peer = await stand.join()
        await peer.call("echo")
        stand.auth.revoked.add("ada")
        answer = await peer.call("echo")
        assert (answer["code"], answer["data"]) == (401, {"error": "unauthorized"})
        assert await peer.wait_closed() == 4401
        assert [by_us for _, by_us in stand.door.gone] == [False]


async def test_role_changes_counts_next_check() -> None:
    """A role that changes counts from the next check."""
    async with serving() as stand:
        peer = await stand.join()
        stand.auth.roles["ada"] = "observer"
        assert (await peer.call("whoami"))["data"]["role"] == "observer"


async def test_revoking_ends_sockets_token() -> None:
    """Revoking here ends the sockets of that token at once."""
    async with serving() as stand:
        peer, other = await stand.join("ada.1"), await stand.join("ada.2")
        assert (await stand.fetch("/authorize/revoke", {"token": "ada.1"})).code == 200
        assert await peer.wait_closed() == 4401
        assert (await other.call("echo"))["status"] == "success"


async def test_accounts_away_only_stopping_works() -> None:
    """While the accounts are away only stopping works."""
    async with serving() as stand:
        peer = await stand.join()
        stand.auth.down = True
        assert (await peer.call("echo"))["data"] == {"error": "unavailable"}
        assert (await peer.call("plan_approve"))["data"] == {"error": "unavailable"}
        assert (await peer.call("run_cancel"))["status"] == "success"
        stand.auth.down = False
        assert (await peer.call("echo"))["status"] == "success"


async def test_token_client_listens_checked() -> None:
    """The token of a client that only listens is checked too."""
    async with serving() as stand:
        peer, other = await stand.join("ada"), await stand.join("bob")
        await peer.call("subscribe_channel", {"topic": "/stats"})
        stand.clock.ahead_s += 31
        stand.auth.down = True
        await stand.server.hub.check_quiet_clients(30, 10)
        stand.auth.down = False
        stand.auth.revoked.add("ada")
        await stand.server.hub.check_quiet_clients(30, 10)
        assert await peer.wait_closed() == 4401
        assert not other.closed.is_set()
        asked = stand.auth.asked
        await stand.server.hub.check_quiet_clients(30, 10)
        assert stand.auth.asked == asked


async def test_stopping() -> None:
    """Stopping answers what runs and closes with 1001."""
    async with serving() as stand:
        peer, silent = await stand.join(), await stand.join("bob")
        waiting = await peer.ask("wait")
        await silent.call("echo")
        stopping = asyncio.ensure_future(stand.server.stop(0.4))
        await settle()
        assert (await peer.call("echo"))["data"] == {"error": "unavailable"}
        with pytest.raises(OSError, match="refused"):
            await Peer.connect(f"ws://127.0.0.1:{stand.port}/ws?token=ada")
        assert (await peer.answer_to(waiting))["data"] == {"error": "unavailable"}
        assert await peer.wait_closed() == 1001
        assert await silent.wait_closed() == 1001
        await stopping
        assert {by_us for _, by_us in stand.door.gone} == {True}


async def test_stopping_what_never_started() -> None:
    """Stopping a server that never started does nothing."""
    async with serving() as stand:
        other = type(stand.server)(stand.server.options, stand.server.hub.rooms)
        await other.stop(1)
        assert not other.hub.clients


async def test_notifications_and_topics() -> None:
    """Everybody gets notifications and topics they ask for."""
    async with serving() as stand:
        peer, other = await stand.join(), await stand.join("bob")
        await peer.call("subscribe_channel", {"topic": "/stats"})
        await other.call("echo")
        frame = notification("hello", 1, 1_000)
        stand.topics.broadcast("/notification", frame)
        stand.topics.broadcast("/stats", {**frame, "topic": "/stats"})
        await peer.until(lambda: len(peer.events) == 2)
        await other.until(lambda: len(other.events) == 1)
        assert [event["topic"] for event in peer.events] == ["/notification", "/stats"]
        assert other.events == [frame]


async def test_error_door_end_session() -> None:
    """An error of the door may end the session."""

    async def ended(params: Any, caller: Any) -> Any:
        raise Unauthorized("The token has expired.")

    async with serving() as stand:
        stand.door.intents["ended"] = ended
        peer = await stand.join()
        await peer.ask("ended")
        assert await peer.wait_closed() == 4401
        assert [answer["data"] for answer in peer.answers] == [{"error": "unauthorized"}]


async def test_results_that_json_cannot_hold() -> None:
    """Whatever a result holds, the answer is strict JSON: names that are not UTF-8, huge numbers, NaN."""

    async def odd(params: Any, caller: Any) -> Any:
        deep: Any = []
        for _ in range(500):
            deep = [deep]
        return {"name": "caf\udce9", "huge": 1 << 80, "nan": float("nan"), ("a", 1): {1, 2}.__class__, "deep": deep}

    async with serving() as stand:
        stand.door.intents["odd"] = odd
        peer = await stand.join()
        answer = await peer.call("odd")
        assert answer["data"]["name"] == "caf?"
        assert answer["data"]["huge"] == hex(1 << 80)
        assert answer["data"]["nan"] is None
