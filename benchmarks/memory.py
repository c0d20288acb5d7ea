"""Memory: at rest, of idle sockets, of a client that never reads; and the time to start.

Called by the command.
"""

import asyncio
import os
import resource
import time
from pathlib import Path

from benchmarks.dialects import Ours
from benchmarks.processes import Process
from benchmarks.report import OURS, Report
from benchmarks.wire import connect

ANSWERS = 20
SILENT = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)


def allow_sockets(number: int) -> int:
    """Raise the limit of open files of this process and its children; how many sockets it allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(number, hard - 200)


async def idle(ours: Ours, report: Report, number: int) -> None:
    """What a logged-in socket costs that listens to notifications and says nothing."""
    before = ours.process.memory_kib()
    sockets = []
    for _ in range(number):
        socket = await ours.connect()
        socket.send(ours.rpc("subscribe_channel", {"topic": "/notification"}))
        sockets.append(socket)
    await settled(ours.process)
    report.add("idle socket: memory", OURS, (ours.process.memory_kib() - before) / number, "KiB")
    for socket in sockets:
        socket.close()
    await settled(ours.process)


async def never_reads(ours: Ours, report: Report) -> None:
    """A client that asks for twenty long answers and reads nothing, beside one that asks the same and reads all."""
    await _most_memory(ours, reads=True)  # the heap has its size, the model's connections are open
    reading = await _most_memory(ours, reads=True)
    deaf = await _most_memory(ours, reads=False)
    report.add("20 long answers: memory, read", OURS, reading / 1024, "MB")
    report.add("20 long answers: memory, never read", OURS, deaf / 1024, "MB")
    report.add("reader that never reads: memory", OURS, (deaf - reading) / 1024, "MB")


async def _most_memory(ours: Ours, *, reads: bool) -> int:
    """How far the memory rose while 20 answers of 400 kB came, in KiB."""
    await settled(ours.process)
    before = highest = ours.process.memory_kib()
    socket = await connect(ours.process.port, f"/ws?token={ours.token}", receive_buffer=4096)
    ended = [0]
    socket.on_text = lambda text: ended.__setitem__(0, ended[0] + text.count(b"RUN_FINISHED"))
    if not reads:
        socket.transport.pause_reading()
    for _ in range(ANSWERS):
        socket.send(ours.request("mock-n20000-r0"))
    end = time.monotonic() + 10
    while time.monotonic() < end and ended[0] < ANSWERS:
        await asyncio.sleep(0.05)
        highest = max(highest, ours.process.memory_kib())
    socket.close()
    return highest - before


async def settled(process: Process) -> None:
    """Wait until the process has little left to do: under 2 ms of CPU in 0.2 s."""
    for _ in range(100):
        before = process.cpu_ns()
        await asyncio.sleep(0.2)
        if process.cpu_ns() - before < 2_000_000:
            return


def start(program: Path, process: Process, report: Report) -> None:
    """A server that nobody has asked anything, and commands that answer at once."""
    report.add("at rest: memory", OURS, process.memory_kib() / 1024, "MB")
    for option in ("--version", "--help"):
        begin = time.monotonic()
        child = os.posix_spawn(program, [str(program), option], {}, file_actions=[SILENT])
        _, status, usage = os.wait4(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, option
        report.add(f"start: {option}", OURS, time.monotonic() - begin, "s")
        report.add(f"start: {option}: CPU", OURS, usage.ru_utime + usage.ru_stime, "s")
