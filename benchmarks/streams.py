"""Streaming: CPU time a token, lag under a steady pace, time to the first token.

Called by the command. Every token is counted and its order checked by the client (`dialects`).
"""

import asyncio
import time

from benchmarks.dialects import Dialect
from benchmarks.report import Report, percentile
from benchmarks.wire import Socket


async def saturated(dialect: Dialect, report: Report, tokens: int) -> None:
    """Four streams as fast as they come."""
    before, start = dialect.process.cpu_ns(), time.monotonic()
    await _chats(dialect, await _sockets(dialect, 4), tokens, 0)
    cpu, wall = dialect.process.cpu_ns() - before, time.monotonic() - start
    report.add("stream, saturated: CPU a token", dialect.name, cpu / 1000 / (4 * tokens), "us")
    report.add("stream, saturated: tokens a CPU second", dialect.name, 4 * tokens / (cpu / 1e9), "/s", more=True)
    report.add("stream, saturated: tokens a second", dialect.name, 4 * tokens / wall, "/s", more=True)


async def paced(dialect: Dialect, report: Report, streams: int, tokens: int) -> None:
    """Many streams of 50 tokens a second each, as people read them."""
    sockets = await _sockets(dialect, streams)
    before = dialect.process.cpu_ns()
    lags = await _chats(dialect, sockets, tokens, 50)
    cpu = dialect.process.cpu_ns() - before
    what = f"stream, {streams} x 50/s"
    report.add(f"{what}: CPU a token", dialect.name, cpu / 1000 / (streams * tokens), "us")
    report.add(f"{what}: lag p50", dialect.name, percentile(lags, 50) / 1e6, "ms")
    report.add(f"{what}: lag p99", dialect.name, percentile(lags, 99) / 1e6, "ms")


async def first_token(dialect: Dialect, report: Report, requests: int) -> None:
    """One answer after another: from the question to its first token, the vendor's own share included (some 0.1 ms)."""
    (socket,) = await _sockets(dialect, 1)
    waits = []
    before = dialect.process.cpu_ns()
    for _ in range(requests):
        asked = time.monotonic_ns()
        answer = await dialect.chat(socket, 1, 0)
        waits.append(answer.first_ns - asked)
    cpu = dialect.process.cpu_ns() - before
    socket.close()
    report.add("first token p50", dialect.name, percentile(waits, 50) / 1e6, "ms")
    report.add("first token p99", dialect.name, percentile(waits, 99) / 1e6, "ms")
    report.add("a whole turn: CPU", dialect.name, cpu / 1e6 / requests, "ms")


async def _sockets(dialect: Dialect, number: int) -> list[Socket]:
    """Open sockets, each warmed by a short answer."""
    sockets = [await dialect.connect() for _ in range(number)]
    for socket in sockets:
        await dialect.chat(socket, 1, 0)
    return sockets


async def _chats(dialect: Dialect, sockets: list[Socket], tokens: int, rate: int) -> list[int]:
    """All sockets stream at once, staggered so that paced tokens do not come in step; the lag of every token."""

    async def one(socket: Socket, place: int) -> list[int]:
        if rate:
            await asyncio.sleep(place / len(sockets) / rate * 7)
        return (await dialect.chat(socket, tokens, rate)).lags_ns

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(socket, place)) for place, socket in enumerate(sockets)]
    for socket in sockets:
        socket.close()
    return [lag for task in tasks for lag in task.result()]
