"""One call: through router, validation, policy and audit, against a Tornado handler that echoes JSON.

Called by the command.
"""

import asyncio
import json
from collections.abc import Callable

import orjson

from benchmarks.dialects import Ours
from benchmarks.processes import Process
from benchmarks.report import OURS, Report
from benchmarks.wire import Socket, connect

SOCKETS = 8


async def rpc(ours: Ours, peers: Process, report: Report, calls: int) -> None:
    """Eight clients, each waiting for its answer before the next call."""
    await _measure(report, OURS, ours.process, [await ours.connect() for _ in range(SOCKETS)], calls, _time)
    echo = [await connect(peers.port, "/echo") for _ in range(SOCKETS)]
    await _measure(report, "echo", peers, echo, calls, _time)


def _time(number: int) -> str:
    return json.dumps({"type": "rpc", "requestid": str(number), "intent": "get_system_time", "params": {}})


async def _measure(
    report: Report, subject: str, process: Process, sockets: list[Socket], calls: int, request: Callable[[int], str]
) -> None:
    await asyncio.gather(*(_ask(socket, 20, request) for socket in sockets))
    before = process.cpu_ns()
    await asyncio.gather(*(_ask(socket, calls // SOCKETS, request) for socket in sockets))
    report.add("RPC: CPU a call", subject, (process.cpu_ns() - before) / 1000 / (calls // SOCKETS * SOCKETS), "us")
    for socket in sockets:
        socket.close()


async def _ask(socket: Socket, calls: int, request: Callable[[int], str]) -> None:
    """One call after another; raises AssertionError on an answer that is an error or belongs to another call."""
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    socket.on_text = answers.put_nowait
    for number in range(calls):
        socket.send(request(number))
        answer = orjson.loads(await answers.get())
        assert answer["status"] == "success", answer
        assert answer["requestid"] == str(number), answer
