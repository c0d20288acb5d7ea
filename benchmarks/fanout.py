"""One event to a thousand browsers, against a hub that writes JSON to each.

Called by the command. The events are those of one chat that all sockets watch, ten a second.
"""

import asyncio
import json
from collections.abc import Callable
from functools import partial

from benchmarks.dialects import Ours
from benchmarks.processes import Process
from benchmarks.report import OURS, Report
from benchmarks.wire import Socket, connect

TOPIC = "/ui/updates/llm/broadcast"
EVENTS, RATE = 30, 10


async def broadcast(ours: Ours, peers: Process, report: Report, number: int) -> None:
    """Both in turn, with frames of the same size."""
    frame = await _ours(ours, report, number)
    await _hub(peers, report, number, frame)


async def _ours(ours: Ours, report: Report, number: int) -> bytes:
    sockets = [await ours.connect_as(ours.token) for _ in range(number)]
    frames: list[bytes] = []
    speaker = sockets[0]
    params = {"prompt": "go", "topic": TOPIC, "params": {"model": "mock-n1-r0", "mode": "answer"}}
    await _until(speaker, b"RUN_FINISHED", lambda: speaker.send(ours.rpc("chat_llm", params)), frames)
    conversation = next(json.loads(frame)["data"]["conversation_id"] for frame in frames if b"rpc_response" in frame)
    listen = ours.rpc("subscribe_channel", {"topic": TOPIC})
    for socket in sockets:
        await _until(socket, b"success", partial(socket.send, listen), [])
    params |= {"conversation_id": conversation, "params": {"model": f"mock-n{EVENTS}-r{RATE}", "mode": "answer"}}
    frames.clear()
    got = [0]
    for socket in sockets[1:]:
        socket.on_text = lambda text: got.__setitem__(0, got[0] + (b"TEXT_MESSAGE_CONTENT" in text))
    before = ours.process.cpu_ns()
    await _until(speaker, b"RUN_FINISHED", lambda: speaker.send(ours.rpc("chat_llm", params)), frames)
    await asyncio.sleep(0.5)
    deliveries = len(frames) * number
    assert got[0] == EVENTS * (number - 1), f"{got[0]} of {EVENTS * (number - 1)} tokens came"
    report.add(
        f"event to {number} sockets: CPU a delivery", OURS, _microseconds(ours.process, before, deliveries), "us"
    )
    for socket in sockets:
        socket.close()
    return next(frame for frame in frames if b"TEXT_MESSAGE_CONTENT" in frame)


async def _hub(peers: Process, report: Report, number: int, frame: bytes) -> None:
    sockets = [await connect(peers.port, "/hub") for _ in range(number)]
    before = peers.cpu_ns()
    for _ in range(EVENTS):
        await _until(sockets[-1], b"", lambda: sockets[0].send(frame.decode()), [])
        await asyncio.sleep(1 / RATE)
    report.add(f"event to {number} sockets: CPU a delivery", "hub", _microseconds(peers, before, EVENTS * number), "us")
    for socket in sockets:
        socket.close()


def _microseconds(process: Process, before: int, deliveries: int) -> float:
    return (process.cpu_ns() - before) / 1000 / deliveries


async def _until(socket: Socket, word: bytes, act: Callable[[], None], frames: list[bytes]) -> None:
    """Act, collect the frames that come, and return with the one that holds the word."""
    found = asyncio.get_running_loop().create_future()

    def take(text: bytes) -> None:
        frames.append(text)
        if word in text and not found.done():
            found.set_result(None)

    socket.on_text = take
    act()
    async with asyncio.timeout(30):
        await found
