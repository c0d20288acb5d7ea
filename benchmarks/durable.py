"""What a plan that survives costs: a step, an approval, a start with many plans that wait, and the waiting itself.

Called by the command; the floor is a bare driver that commits two rows a step. Needs a server of its own, because it is
killed.
"""

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson

from benchmarks.dialects import PASSWORD, Ours
from benchmarks.processes import Process, running
from benchmarks.report import OURS, Report, percentile
from benchmarks.wire import Socket

MOST = 100
"""Steps that a plan may have."""
APPROVALS = 50
IDLE_S = 10.0
PACK = '''
from llmcore.intent import Effect, Preview, intent

async def shown(number: int) -> Preview:
    return Preview(targets=(str(number),), before=None, after=None)

@intent(effect=Effect.WRITE, preview=shown, examples=[("do nothing 1", {"number": 1})])
async def do_nothing(number: int) -> dict:
    """Do nothing."""
    return {"number": number}
'''


class Person:
    """An administrator at a socket: asks, approves, waits for ends."""

    def __init__(self, ours: Ours, socket: Socket) -> None:
        """Listen to everything."""
        self._ours, self._socket = ours, socket
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._ends: dict[str, asyncio.Future[None]] = {}
        self._count = 0
        socket.on_text = self._read

    @classmethod
    async def at(cls, process: Process) -> "Person":
        """Logged in."""
        ours = Ours(process)
        return cls(ours, await ours.connect_as(ours.token))

    def _read(self, text: bytes) -> None:
        frames = orjson.loads(text)
        for frame in frames if isinstance(frames, list) else [frames]:
            if frame["type"] == "rpc_response":
                self._answers.pop(frame["requestid"]).set_result(frame)
            elif (frame["data"].get("event") or {}).get("type") in ("RUN_FINISHED", "RUN_ERROR"):
                self._end(frame["data"]["run_id"]).set_result(None)

    def _end(self, run_id: str) -> "asyncio.Future[None]":
        return self._ends.setdefault(run_id, asyncio.get_running_loop().create_future())

    async def ask(self, intent: str, params: Mapping[str, Any]) -> Any:
        """The data of an RPC; raises AssertionError if it is refused."""
        self._count += 1
        answer = self._answers[str(self._count)] = asyncio.get_running_loop().create_future()
        self._socket.send(self._ours.rpc(intent, dict(params), str(self._count)))
        told = await answer
        assert told["status"] == "success", told
        return told["data"]

    async def propose(self, steps: int) -> dict[str, str]:
        """A plan of steps in a row that waits."""
        chain = [
            {"id": f"s{number}", "intent": "do_nothing", "params": {"number": number}, "needs": [f"s{number - 1}"]}
            for number in range(1, steps + 1)
        ]
        chain[0]["needs"] = []
        told = await self.ask("chain", {"steps": chain})
        return {"plan_id": told["plan_id"], "digest": told["digest"]}

    async def approve(self, plan: Mapping[str, str]) -> None:
        """Approve, and wait for the end of the run."""
        run_id = (await self.ask("plan_approve", plan))["plan"]["run_id"]
        await self._end(run_id)


@contextmanager
def server(folder: Path, store: str | None) -> Iterator[Process]:
    """A server with the intent that does nothing."""
    (folder / "packs").mkdir(exist_ok=True)
    (folder / "packs" / "nothing.py").write_text(PACK, "utf-8")
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "LLMCORE_ADMIN_PASSWORD": PASSWORD,
        "LLMCORE_PACKS__PATH": orjson.dumps([str(folder / "packs")]).decode(),
        "LLMCORE_SERVER__RATE_LIMIT": "0",
        **({"LLMCORE_STORE__URL": store} if store else {}),
    }
    llmcore = str(Path(sys.executable).with_name("llmcore"))
    with running(llmcore, "serve", "--port", "0", "--data-dir", str(folder / "data"), environment=environment) as child:
        yield child


async def durable(report: Report, store: str | None, sizes: tuple[int, ...], waiting: int) -> None:
    """All of it on one store: None is SQLite in a folder of its own, else the URL of an empty database."""
    name = "PostgreSQL" if store else "SQLite"
    with tempfile.TemporaryDirectory(prefix="llmcore-bench-") as place:
        folder = Path(place)
        for size in sizes:
            _floor(report, folder, name, store, size)
        with server(folder, store) as process:
            await _steps(report, process, name, sizes)
            await _approvals(report, process, name)
            person = await Person.at(process)
            plans = [await person.propose(1) for _ in range(waiting)]
            os.kill(process.pid, 9)
        began = time.monotonic()
        with server(folder, store) as process:
            report.add(f"{name}, {waiting:,} plans wait: start to ready", OURS, time.monotonic() - began, "s")
            person = await Person.at(process)
            await person.ask("plan_approve", plans[0])
            report.add(f"{name}, {waiting:,} plans wait: start to approved", OURS, time.monotonic() - began, "s")
            line = f"{name}, {waiting:,} plans wait: CPU from start to approved"
            report.add(line, OURS, process.cpu_ns() / 1e9, "s")
            await _idle(report, process, f"{name}, {waiting:,} plans wait: CPU while idle")


async def _steps(report: Report, process: Process, name: str, sizes: tuple[int, ...]) -> None:
    person = await Person.at(process)
    for size in sizes:
        plans = [await person.propose(min(size, MOST)) for _ in range(max(1, size // MOST))]
        await person.approve(await person.propose(min(size, MOST)))  # the first one warms up
        before = process.cpu_ns()
        for plan in plans:
            await person.approve(plan)
        report.add(f"{name}, {size:,} steps: CPU a step", OURS, (process.cpu_ns() - before) / 1000 / size, "us")


async def _approvals(report: Report, process: Process, name: str) -> None:
    """From the click to the end of a run of one step."""
    person = await Person.at(process)
    times = []
    for plan in [await person.propose(1) for _ in range(APPROVALS)]:
        began = time.monotonic()
        await person.approve(plan)
        times.append((time.monotonic() - began) * 1000)
    for share in (50, 99):
        report.add(f"{name}: approval to end of run p{share}", OURS, percentile(times, share), "ms")


async def _idle(report: Report, process: Process, line: str) -> None:
    await asyncio.sleep(1.0)  # what the approved run still has to write
    before, began = process.cpu_ns(), time.monotonic()
    await asyncio.sleep(IDLE_S)
    report.add(line, OURS, (process.cpu_ns() - before) / 1e7 / (time.monotonic() - began), "%")


def _floor(report: Report, folder: Path, name: str, store: str | None, steps: int) -> None:
    """The same rows by a bare driver: a commit before each step and one after it."""
    begin, end = "INSERT INTO attempt VALUES ({0}, {0}, NULL)", "UPDATE attempt SET result = {0} WHERE step = {0}"
    if store is None:
        file = folder / f"floor-{steps}.db"
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            used = _commits(connection, begin.format("?"), end.format("?"), steps)
    else:
        import psycopg  # only where it is measured

        with psycopg.connect(store, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS attempt")
            used = _commits(connection, begin.format("%s"), end.format("%s"), steps)
            connection.execute("DROP TABLE attempt")
    report.add(f"{name}, {steps:,} steps: CPU a step", "driver", used / 1000 / steps, "us")


def _commits(connection: Any, begin: str, end: str, steps: int) -> int:
    connection.execute("CREATE TABLE attempt (run TEXT, step TEXT PRIMARY KEY, result TEXT)")
    before = time.thread_time_ns()
    for number in range(steps):
        connection.execute(begin, ("run", str(number)))
        connection.execute(end, ("done", str(number)))
    return time.thread_time_ns() - before
