"""The one writer of a client: order, batches, what a slow client costs and when it is given up."""

import asyncio
import gc
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.events import Event, StreamEvent, encode, notification, step_started, text_content
from llmcore.server.client import Client
from llmcore.server.frames import text_frame
from llmcore.server.websocket import SocketHandler
from tests.peer import Peer
from tests.server_kit import Stand, serving, settle

pytestmark = pytest.mark.asyncio

TOPIC = "/ui/updates/llm/c1"
MIB = 1 << 20


def numbered(seq: int, event: Event) -> StreamEvent:
    """An event of the topic."""
    return StreamEvent(TOPIC, 1, seq, seq, "r1", "c1", event, 1_000)


def told(peer: Peer) -> list[Event]:
    """What a peer was told, text of one message joined, and no number missing or twice."""
    found: list[Event] = []
    seq = 0
    for envelope in peer.events:
        data = envelope["data"]
        assert data.get("first_seq", data["seq"]) == seq + 1
        seq = data["seq"]
        event = data["event"]
        if found and "delta" in event and found[-1].get("messageId") == event["messageId"]:
            found[-1] = {**event, "delta": found[-1]["delta"] + event["delta"]}
        else:
            found.append(event)
    return found


@asynccontextmanager
async def joined(**options: Any) -> AsyncIterator[tuple[Stand, Peer, Client]]:
    """A server, a peer, and the client object behind it."""
    async with serving(**options) as stand:
        peer = await stand.join()
        await peer.call("echo")
        (client,) = stand.server.hub.clients
        yield stand, peer, client


async def deaf(stand: Stand) -> tuple[socket.socket, Client]:
    """A client that never reads."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    raw.setblocking(False)
    stand.closing.callback(raw.close)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", stand.port))
    raw.send(
        b"GET /ws?token=ada.deaf HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with asyncio.timeout(10):
        while not (found := [one for one in stand.server.hub.clients if one.session.token == "ada.deaf"]):
            await settle()
    return raw, found[0]


async def fill(client: Client) -> int:
    """Send it events until the kernel takes no more; returns the last number."""
    seq = 0
    while not client.outbox.stalled:
        seq += 1
        client.deliver(numbered(seq, step_started("x" * 50_000)))
        await settle()
    return seq


# --- order and batches ---


async def test_batches() -> None:
    """One event is an object and several of one tick follow in an array."""
    async with joined() as (_, peer, client):
        for seq in range(1, 5):
            client.deliver(numbered(seq, step_started(f"s{seq}")))
        await peer.until(lambda: len(peer.events) == 4)
        first, second = peer.frames[-2:]
        assert first["data"]["seq"] == 1
        assert [event["data"]["seq"] for event in second] == [2, 3, 4]


async def test_text_merges() -> None:
    """Text of one message grows together while it waits."""
    async with joined() as (_, peer, client):
        for seq, piece in enumerate(["a", "b", "ü", "d"], 1):
            client.deliver(numbered(seq, text_content("m1", piece)))
        client.deliver(numbered(5, text_content("m2", "e")))
        await peer.until(lambda: len(peer.events) == 3)
        assert [event["data"]["event"]["delta"] for event in peer.events] == ["a", "büd", "e"]
        assert peer.events[1]["data"]["first_seq"] == 2
        assert told(peer)[0]["delta"] == "abüd"


async def test_answers_keep_their_place() -> None:
    """Answers keep their place between events and stand alone."""
    async with joined() as (_, peer, client):
        client.deliver(numbered(1, step_started("s1")))
        client.deliver(numbered(2, step_started("s2")))
        client.deliver(numbered(3, step_started("s3")))
        client.outbox.answer({"type": "rpc_response", "requestid": "x"})
        client.deliver(numbered(4, step_started("s4")))
        await peer.until(lambda: len(peer.events) == 4)
        kinds = [
            [item["type"] for item in frame] if isinstance(frame, list) else frame["type"] for frame in peer.frames
        ]
        assert kinds == ["rpc_response", "event", ["event", "event"], "rpc_response", "event"]


@settings(max_examples=25, deadline=None)
@given(
    turns=st.lists(
        st.lists(st.sampled_from(["text", "long", "other", "step", "answer", "broadcast"]), max_size=8), max_size=8
    )
)
async def test_nothing_lost_doubled_reordered(turns: list[list[str]]) -> None:
    """Nothing is lost doubled or reordered."""
    async with joined() as (_, peer, client):
        seq, answers = 0, 0
        written: list[Event] = []
        for turn in turns:
            for kind in turn:
                if kind == "answer":
                    answers += 1
                    client.outbox.answer({"type": "rpc_response", "requestid": f"x{answers}", "after": seq})
                    continue
                if kind == "broadcast":
                    client.broadcast(notification("n", 1, 1))
                    continue
                seq += 1
                event = {
                    "text": text_content("m1", f"<{seq}>"),
                    "long": text_content("m1", "é" * 9_000),
                    "other": text_content("m2", "x"),
                    "step": step_started(f"s{seq}"),
                }[kind]
                written.append(event)
                client.deliver(numbered(seq, event))
            await asyncio.sleep(0)
        await peer.call("echo")
        notes = [event for event in peer.events if event["name"] == "text_notification"]
        peer.events = [event for event in peer.events if event["name"] == "data_generated"]
        joined_text: list[Event] = []
        for event in written:
            if joined_text and "delta" in event and joined_text[-1].get("messageId") == event["messageId"]:
                joined_text[-1] = {**event, "delta": joined_text[-1]["delta"] + event["delta"]}
            else:
                joined_text.append(event)
        assert told(peer) == joined_text
        assert len(notes) == sum(turn.count("broadcast") for turn in turns)
        assert [answer["requestid"] for answer in peer.answers[1:-1]] == [f"x{n + 1}" for n in range(answers)]
        assert _places(peer) == [answer["after"] for answer in peer.answers[1:-1]]


def _places(peer: Peer) -> list[int]:
    """After which number each answer came."""
    seq, places = 0, []
    for frame in peer.frames[1:-1]:
        for item in frame if isinstance(frame, list) else [frame]:
            if item["type"] == "rpc_response":
                places.append(seq)
            elif item["name"] == "data_generated":
                seq = item["data"]["seq"]
    return places


async def test_envelope_changed_by_sender() -> None:
    """An envelope may be changed by its sender afterwards."""
    async with joined() as (_, peer, client):
        frame = notification("one", 1, 1)
        client.broadcast(frame)
        await settle()
        frame["data"] = {"message": "two", "code": 1, "data": None}
        client.broadcast(frame)
        await peer.until(lambda: len(peer.events) == 2)
        assert [event["data"]["message"] for event in peer.events] == ["one", "two"]


async def test_event_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event is encoded once for all who get it."""
    encoded: list[object] = []

    def counted(value: Any) -> bytes:
        encoded.append(value)
        return encode(value)

    async with serving() as stand:
        peers = [await stand.join() for _ in range(5)]
        for peer in peers:
            await peer.call("echo")
        monkeypatch.setattr("llmcore.server.frames.encode", counted)
        event, frame = numbered(1, step_started("s1")), notification("n", 1, 1)
        for client in stand.server.hub.clients:
            client.deliver(event)
        await settle()
        for client in stand.server.hub.clients:
            client.broadcast(frame)
        for peer in peers:
            while len(peer.events) < 2:
                await settle()
        assert encoded == [event.envelope(), frame]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 200_000])
async def test_frame_sizes(size: int) -> None:
    """Frames of any size are read as they were written."""
    async with joined() as (_, peer, client):
        client.deliver(numbered(1, text_content("m1", "x" * size)))
        client.outbox.answer({"type": "rpc_response", "requestid": "x", "data": "y" * size})
        await peer.answer_to("x")
        assert peer.events[0]["data"]["event"]["delta"] == "x" * size
    assert text_frame(b"a" * 125)[:2] == b"\x81\x7d"


# --- slow clients ---


async def test_client_never_reads_costs_little() -> None:
    """A client that never reads costs little and is closed while others go on."""
    piece = "twenty characters...".rjust(400, ".")
    async with serving(rate_limit=0) as stand:
        raw, client = await deaf(stand)
        peer = await stand.join("bob")
        process = psutil.Process()
        gc.collect()
        start = peak = process.memory_info().rss
        for seq in range(1, 500_000):  # 200 MB
            client.deliver(numbered(seq, text_content("m1", piece)))
            if seq % 5_000 == 0:
                peak = max(peak, process.memory_info().rss)
                assert (await peer.call("echo", {"seq": seq}))["data"] == {"seq": seq}
            if stand.door.gone and seq % 100 == 0:
                break
        assert stand.door.gone == [(client, True)]
        assert peak - start < 10 * MIB
        assert stand.server.metrics.traffic.slow_closed == 1
        assert await _rest_of(raw) == 1013


async def _rest_of(raw: socket.socket) -> int | None:
    """Read all that is left; the code of the closing frame."""
    loop, last = asyncio.get_running_loop(), b""
    async with asyncio.timeout(20):
        while data := await loop.sock_recv(raw, 1 << 20):
            last = (last + data)[-64:]
    place = last.rfind(b"\x88")
    return int.from_bytes(last[place + 2 : place + 4], "big") if place >= 0 else None


async def test_many_small_events_different_messages() -> None:
    """Many small events of different messages count with all they cost."""
    async with serving() as stand:
        _, client = await deaf(stand)
        process = psutil.Process()
        gc.collect()
        start = process.memory_info().rss
        seq = 0
        while not stand.door.gone:
            seq += 1
            client.deliver(numbered(seq, text_content(f"m{seq % 2}", "x")))
            if seq % 1_000 == 0:
                await asyncio.sleep(0)
        assert process.memory_info().rss - start < 20 * MIB


async def test_stalled_client_closed() -> None:
    """A client that reads nothing for too long is closed even if little waits."""
    async with serving(stall_s=0.05) as stand:
        _, client = await deaf(stand)
        seq = await fill(client)
        await asyncio.wait_for(stand.door.left.wait(), 10)
        assert stand.door.gone == [(client, True)]
        client.deliver(numbered(seq + 1, step_started("late")))
        client.broadcast(notification("late", 1, 1))
        client.outbox.answer({"requestid": "late"})


async def test_late_reader_gets_everything() -> None:
    """A client that reads late gets everything but old broadcasts."""
    async with serving() as stand:
        raw, client = await deaf(stand)
        seq = await fill(client)
        for number in range(50):
            client.broadcast(notification(f"note {number}", 1, 1))
            seq += 1
            client.deliver(numbered(seq, step_started("s")))
        assert stand.server.metrics.traffic.broadcasts_dropped == 50 - 32
        client.end(1001, "enough", by_us=True)
        events = await _events_of(raw)
        numbers = [event["data"]["seq"] for event in events if event["name"] == "data_generated"]
        assert numbers == list(range(1, seq + 1))
        notes = [event["data"]["message"] for event in events if event["name"] == "text_notification"]
        assert notes == [f"note {number}" for number in range(18, 50)]


async def _events_of(raw: socket.socket) -> list[Any]:
    """All events up to the closing frame, which is answered by hanging up."""
    loop, data = asyncio.get_running_loop(), b""
    while b"\x88\x08\x03\xe9enough" not in data:
        data += await loop.sock_recv(raw, 1 << 20)
    raw.close()
    data = data.partition(b"\r\n\r\n")[2]
    events: list[Any] = []
    while data[0] == 0x81:
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        value = json.loads(data[start : start + size])
        events += value if isinstance(value, list) else [value]
        data = data[start + size :]
    return events


async def test_hanging_up_while_much_waits() -> None:
    """A client that hangs up while much waits is just gone."""
    async with serving() as stand:
        raw, client = await deaf(stand)
        await fill(client)
        raw.close()
        await asyncio.wait_for(stand.door.left.wait(), 10)
        assert stand.door.gone == [(client, False)]
        client.deliver(numbered(2, step_started("late")))


async def test_end_does_not_wait_for_slow_client() -> None:
    """The end waits no longer for a slow client than for any write."""
    async with serving(stall_s=0.1) as stand:
        _, client = await deaf(stand)
        await fill(client)
        client.end(1001, "the server is stopping", by_us=True)
        client.end(1001, "again", by_us=True)
        await asyncio.wait_for(stand.server.hub.sockets.emptied(20), 20)
        assert stand.door.gone == [(client, True)]


async def test_writes_of_tornado_stay_whole() -> None:
    """What Tornado itself has begun to write is not broken into."""
    async with serving() as stand:
        raw, client = await deaf(stand)
        (handler,) = stand.server.hub.sockets
        assert isinstance(handler, SocketHandler)
        handler.write_message(encode(numbered(1, step_started("x" * 8 * MIB)).envelope()))
        client.deliver(numbered(2, step_started("s")))
        client.end(1001, "enough", by_us=True)
        assert [event["data"]["seq"] for event in await _events_of(raw)] == [1, 2]


async def test_unanswered_closing() -> None:
    """A client that does not answer the closing is cut off."""
    async with serving() as stand:
        raw, _ = await deaf(stand)
        await stand.server.stop(0.2)
        assert not stand.server.hub.sockets
        assert await _rest_of(raw) == 1001


async def test_frames_after_end_not_read() -> None:
    """Frames after the end are not read."""
    async with joined() as (_, peer, client):
        client.end(1001, "enough", by_us=True)
        client.receive('{"type":"rpc","requestid":"late","intent":"echo"}')
        await peer.wait_closed()
        assert len(peer.answers) == 1


async def test_closed_but_not_yet_gone() -> None:
    """Events for a connection that is closed but not yet gone are dropped."""
    async with joined() as (stand, _, client):
        (handler,) = stand.server.hub.sockets
        handler.abort()
        client.deliver(numbered(1, step_started("s")))
        client.end(1001, "enough", by_us=True)
        await asyncio.wait_for(stand.server.hub.sockets.emptied(10), 10)


async def test_write_on_broken_connection() -> None:
    """A write on a connection that just broke is harmless."""
    async with joined() as (stand, peer, client):
        peer.socket.protocol.stream.socket.close()  # type: ignore[union-attr]
        for seq in range(1, 200):
            client.deliver(numbered(seq, step_started("x" * 10_000)))
            await asyncio.sleep(0)
        await asyncio.wait_for(stand.door.left.wait(), 10)
