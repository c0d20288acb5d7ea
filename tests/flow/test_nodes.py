"""Nodes that share one PostgreSQL: what one begins any other can see, decide on, stop and, if need be, go on with.

The machine's own scripts append a line to a file for each time they really ran; that file is the judge.
"""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.kill_kit import Killable, data_of, run_until
from tests.peer import LIMIT_S, Peer
from tests.servers import Postgres

pytestmark = pytest.mark.asyncio

LEASE_S = 2.0
SCRIPT = """#!/bin/sh
echo "begin $1" >> {effects}
echo begun
i=0
while [ ! -e {gates}/$2 ] && [ $i -lt 600 ]; do sleep 0.05; i=$((i+1)); done
echo "end $1" >> {effects}
"""
"""Goes on until the file named by its second argument is there."""
MODEL = [{"match": "", "reply": "some words " * 30, "chunks": 30, "delay_s": 0.05}]


@dataclass
class Nodes:
    """Some nodes of one installation."""

    servers: Sequence[Killable]
    folder: Path

    async def peers(self) -> list[Peer]:
        """A client at each node."""
        return [await server.peer() for server in self.servers]

    def open(self, gate: str) -> None:
        """Let the scripts at a gate end."""
        (self.folder / "gates" / gate).touch()

    @property
    def effects(self) -> list[str]:
        """What really happened."""
        file = self.folder / "effects"
        return file.read_text().split("\n")[:-1] if file.exists() else []

    async def begun(self, mark: str) -> None:
        """Wait until a script with that mark has begun."""
        async with asyncio.timeout(LIMIT_S):
            while f"begin {mark}" not in self.effects:  # noqa: ASYNC110 - a script writes it, which knows no event
                await asyncio.sleep(0.02)

    def check(self) -> None:
        """Nothing was done twice."""
        assert [line for line, times in Counter(self.effects).items() if times > 1] == []


@asynccontextmanager
async def nodes(folder: Path, url: str, count: int) -> AsyncIterator[Nodes]:
    """Started nodes with folders of their own, and the same scripts."""
    (folder / "gates").mkdir()
    servers = []
    for number in range(count):
        own = folder / f"node{number}"
        own.mkdir()
        environment = {
            "LLMCORE_STORE__URL": url,
            "LLMCORE_NODE__LEASE_S": str(LEASE_S),
            "LLMCORE_SERVER__RATE_LIMIT": "0",
        }
        server = Killable(own, environment=environment, model=MODEL)
        server.script("once.sh", SCRIPT.format(effects=folder / "effects", gates=folder / "gates"))
        servers.append(server)
    try:
        await servers[0].start()
        await asyncio.gather(*(server.start() for server in servers[1:]))
        for server in servers:
            server.tokens = servers[0].tokens  # one installation: a token is good at each node
        yield Nodes(servers, folder)
    finally:
        await asyncio.gather(*(server.stop() for server in servers if server.running))
    for server in servers:
        assert b"Traceback" not in server.said, server.said.decode()


def step(number: int, mark: str, gate: str = "open") -> dict[str, Any]:
    """One step of a chain that runs one after the other."""
    needs = [f"s{number - 1}"] if number > 1 else []
    params = {"name": "once.sh", "args": f"{mark} {gate}"}
    return {"id": f"s{number}", "intent": "start_script_execution", "params": params, "needs": needs}


async def chain(peer: Peer, *steps: Mapping[str, Any]) -> tuple[str, str]:
    """Propose a chain; its plan and digest."""
    told = await data_of(peer, "chain", {"steps": list(steps)})
    return told["plan_id"], told["digest"]


async def approved(peer: Peer, plan: tuple[str, str]) -> str:
    """Approve a plan; its run."""
    answer = await data_of(peer, "plan_approve", {"plan_id": plan[0], "digest": plan[1]})
    return str(answer["plan"]["run_id"])


def states(run: Mapping[str, Any]) -> list[str]:
    """Of its steps."""
    return [one["state"] for one in run["steps"]]


def told_of(peer: Peer, words: str) -> bool:
    """True if a client got these words in an event."""
    return any(words in str(event["data"]) for event in peer.events)


async def llmcore(server: Killable, *args: str) -> dict[str, Any]:
    """A command against a node; its data."""
    environment = {**server.settings(), "LLMCORE_TOKEN": await server.token()}
    command = (sys.executable, "-m", "llmcore", *args, "--json", "--url", server.url)
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    told: dict[str, Any] = json.loads(output)
    return told


async def test_any_node_looks_decides_and_cancels(tmp_path: Path, postgres_url: str) -> None:
    """Proposed at one, approved at another, which works it; looked at and cancelled at the first."""
    async with nodes(tmp_path, postgres_url, 2) as found:
        one, two = await found.peers()
        plan = await chain(one, step(1, "a", "never"), step(2, "b"))
        assert (await data_of(two, "plan_get", {"plan_id": plan[0]}))["plan"]["digest"] == plan[1]
        run_id = await approved(two, plan)
        await found.begun("a")
        assert (await data_of(one, "run_get", {"run_id": run_id}))["run"]["status"] == "running"
        cancelled = (await data_of(one, "run_cancel", {"run_id": run_id}))["run"]
        assert (cancelled["status"], states(cancelled)) == ("cancelled", ["unknown", "pending"])
        ready = json.loads((await found.servers[0].fetch("/readyz")).body)
        assert ready["components"]["queue"]["status"] == "ok"
        assert found.effects == ["begin a"]


@pytest.mark.slow
async def test_everything_stops_on_all_nodes(tmp_path: Path, postgres_url: str) -> None:
    """Between steps, said to everybody; while it is held nothing begins, released it does."""
    async with nodes(tmp_path, postgres_url, 2) as found:
        peers = one, two = await found.peers()
        runs = [await approved(peer, await chain(peer, step(1, mark, "go"), step(2, f"{mark}2"))) for peer, mark in
                ((one, "a"), (two, "b"))]  # fmt: skip
        for mark in ("a", "b"):
            await found.begun(mark)
        words = (await data_of(two, "chat_llm", {"prompt": "hello", "params": {"mode": "answer"}}))["run_id"]
        told = await llmcore(found.servers[0], "stop-all", "--hold", "--reason", "fire")
        assert set(runs) <= set(told["stopped"]["runs"])
        for peer in peers:
            await peer.until(partial(told_of, peer, "fire"))
        assert (await run_until(one, words, lambda run: run["status"] != "running"))["status"] == "cancelled"
        found.open("go")
        for run_id in runs:
            run = await run_until(one, run_id, lambda run: run["status"] != "running")
            assert (run["status"], states(run)) == ("cancelled", ["done", "pending"])
        plan = await chain(two, step(1, "c"))
        found.open("open")
        refused = await two.call("plan_approve", {"plan_id": plan[0], "digest": plan[1]})
        assert refused["data"]["error"] == "conflict"
        assert "fire" in refused["message"]
        assert (await llmcore(found.servers[1], "stop-all", "--release"))["released"]
        run_id = await approved(two, plan)
        assert (await run_until(one, run_id, lambda run: run["status"] == "done"))["plan_id"] == plan[0]
        assert sorted(found.effects) == ["begin a", "begin b", "begin c", "end a", "end b", "end c"]


@pytest.mark.slow
async def test_a_node_that_is_told_to_stop_leaves_its_runs_to_the_others(tmp_path: Path, postgres_url: str) -> None:
    """The step that runs ends, the next one begins elsewhere; the exit code is 0."""
    async with nodes(tmp_path, postgres_url, 2) as found:
        one, two = await found.peers()
        run_id = await approved(one, await chain(one, step(1, "a", "go"), step(2, "b"), step(3, "c")))
        await found.begun("a")
        found.open("open")
        stopping = asyncio.ensure_future(found.servers[0].stop())
        await one.closed.wait()
        found.open("go")
        assert await stopping == 0
        run = await run_until(two, run_id, lambda run: run["status"] == "done")
        assert states(run) == ["done", "done", "done"]
        assert found.effects == [f"{word} {mark}" for mark in "abc" for word in ("begin", "end")]


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_one_of_three_nodes_is_killed(tmp_path: Path, postgres_url: str) -> None:
    """The others go on with what it worked: words anew, steps where they were, and ask about the one that ran."""
    async with nodes(tmp_path, postgres_url, 3) as found:
        one, two, three = await found.peers()
        found.open("open")
        runs = [
            await approved(one, await chain(one, step(1, f"{n}a"), step(2, f"{n}b", "never"), step(3, f"{n}c")))
            for n in range(4)
        ]
        chats = [
            (await data_of(one, "chat_llm", {"prompt": "hello", "params": {"mode": "answer"}}))["run_id"]
            for _ in range(4)
        ]
        for n in range(4):
            await found.begun(f"{n}b")
        await found.servers[0].kill()
        for run_id in chats:
            assert (await run_until(two, run_id, lambda run: run["status"] == "done"))["run_id"] == run_id
        for run_id in runs:
            run = await run_until(three, run_id, lambda run: run["status"] == "waiting")
            assert states(run) == ["done", "unknown", "pending"]
            await data_of(two, "run_resolve", {"run_id": run_id, "step_id": "s2", "outcome": "done"})
        for run_id in runs:
            assert states(await run_until(three, run_id, lambda run: run["status"] == "done")) == ["done"] * 3
        found.check()
        assert sorted(line for line in found.effects if line.endswith("c")) == sorted(
            f"{word} {n}c" for word in ("begin", "end") for n in range(4)
        )


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_node_that_was_paused_is_fenced(tmp_path: Path, postgres_url: str) -> None:
    """It wakes up in the middle of a step whose run another node has taken: nothing happens twice."""
    async with nodes(tmp_path, postgres_url, 3) as found:
        one, two, three = await found.peers()
        paused = found.servers[0]
        runs = [await approved(one, await chain(one, step(1, f"{n}a", "go"), step(2, f"{n}b"))) for n in range(4)]
        for n in range(4):
            await found.begun(f"{n}a")
        os.kill(paused.pid, signal.SIGSTOP)
        try:
            for run_id in runs:
                run = await run_until(two, run_id, lambda run: run["status"] == "waiting")
                assert states(run) == ["unknown", "pending"]
            found.open("go")
            found.open("open")
        finally:
            os.kill(paused.pid, signal.SIGCONT)
        async with asyncio.timeout(LIMIT_S):
            while paused.said.count(b"left to another node") < len(runs):  # noqa: ASYNC110 - another process says it
                await asyncio.sleep(0.05)
        for run_id in runs:
            run = (await data_of(three, "run_get", {"run_id": run_id}))["run"]
            assert (run["status"], states(run)) == ("waiting", ["unknown", "pending"])
            await data_of(three, "run_resolve", {"run_id": run_id, "step_id": "s1", "outcome": "done"})
        for run_id in runs:
            assert states(await run_until(two, run_id, lambda run: run["status"] == "done")) == ["done", "done"]
        found.check()
        assert sum(line.startswith("begin") for line in found.effects) == 2 * len(runs)
        again = await approved(one, await chain(one, step(1, "after")))
        await run_until(one, again, lambda run: run["status"] == "done")


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_postgres_stops_in_the_middle_of_a_chain(tmp_path: Path, own_postgres: Postgres) -> None:
    """Nobody hangs: what is asked meanwhile is refused, what runs goes on when it is back."""
    async with nodes(tmp_path, own_postgres.url, 2) as found:
        one, two = await found.peers()
        found.open("open")
        run_id = await approved(one, await chain(one, step(1, "a"), step(2, "b", "go"), step(3, "c")))
        await found.begun("b")
        await asyncio.to_thread(own_postgres.stop)
        try:
            refused = await two.call("chat_llm", {"prompt": "hello"})
            assert refused["data"]["error"] == "unavailable"
            assert (await found.servers[1].fetch("/readyz")).code == 503
            found.open("go")
        finally:
            await asyncio.to_thread(own_postgres.start)
        run = await run_until(two, run_id, lambda run: run["status"] == "done")
        assert states(run) == ["done", "done", "done"]
        found.check()
        again = await approved(two, await chain(two, step(1, "after")))
        await run_until(one, again, lambda run: run["status"] == "done")
