"""`kill -9` at random moments: what was accepted ends, goes on or waits, and nothing is done twice.

The machine's own scripts append a line to a file for each time they really ran; that file is the judge.
"""

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import WebSocketClosedError

from tests.kill_kit import Killable, data_of, killable, run_until
from tests.peer import LIMIT_S, Peer

pytestmark = pytest.mark.asyncio

APPEND = '#!/bin/sh\necho "begin $1" >> "{effects}"\nsleep "$2"\necho "end $1" >> "{effects}"\necho "$1"\n'
QUIET = ("proposed", "waiting", "done", "failed", "cancelled", "rejected", "expired", "undone", "needs_human")
"""Statuses in which nothing runs any more."""
WORDS = (
    "which processes eat the memory?",
    "show me the memory usage",
    "is there enough disk space?",
    "what time is it?",
)
MODEL: list[dict[str, Any]] = [
    {"match": "", "schema": True, "reply": {"kind": "none", "text": "I cannot do this here."}},
    {"match": "", "reply": "some words " * 20, "chunks": 20, "delay_s": 0.02},
]
LOST = (AssertionError, WebSocketClosedError, TimeoutError, OSError)
"""What a client sees of a server that is killed."""


@dataclass
class Load:
    """Clients that ask for everything at once, and what they were told."""

    server: Killable
    dice: random.Random
    effects: Path
    numbers: "count[int]" = field(default_factory=lambda: count(1))
    runs: list[str] = field(default_factory=list)
    """Accepted runs."""
    proposed: dict[str, str] = field(default_factory=dict)
    """Plans that were shown and not decided on: plan -> digest."""
    decided: set[str] = field(default_factory=set)
    """Plans that somebody began to approve."""

    def chain(self) -> list[dict[str, Any]]:
        """One to three scripts, in a row or side by side, each with a mark of its own."""
        steps: list[dict[str, Any]] = []
        for number in range(self.dice.randint(1, 3)):
            args = f"e{next(self.numbers)} {self.dice.choice((0, 0.05, 0.2))}"
            after = [f"s{number}"] if number and self.dice.random() < 0.6 else []
            params = {"name": "append.sh", "args": args}
            steps.append({"id": f"s{number + 1}", "intent": "start_script_execution", "params": params, "needs": after})
        return steps

    async def client(self, peer: Peer) -> None:
        """Ask until the connection breaks."""
        with suppress(*LOST):
            while True:
                await self.dice.choice((self._chat, self._chat, self._propose, self._propose, self._decide))(peer)

    async def _chat(self, peer: Peer) -> None:
        mode = self.dice.choice(("auto", "auto", "answer"))
        asked = {"prompt": self.dice.choice(WORDS), "params": {"mode": mode}}
        self.runs.append((await data_of(peer, "chat_llm", asked))["run_id"])
        await asyncio.sleep(self.dice.random() / 10)

    async def _propose(self, peer: Peer) -> None:
        if self.dice.random() < 0.5:
            told = await data_of(peer, "chain", {"steps": self.chain()})
            self.proposed[told["plan_id"]] = told["digest"]
            return
        words = f"run append.sh e{next(self.numbers)} 0.05"
        told = await data_of(peer, "chat_llm", {"prompt": words, "params": {"stream": False}})
        assert told["status"] == "proposed", told
        self.runs.append(told["run_id"])
        self.proposed[told["plan"]["plan_id"]] = told["plan"]["digest"]

    async def _decide(self, peer: Peer) -> None:
        if not self.proposed:
            return
        plan_id, digest = self.proposed.popitem()
        self.decided.add(plan_id)
        told = await data_of(peer, "plan_approve", {"plan_id": plan_id, "digest": digest})
        self.runs.append(told["plan"]["run_id"])

    async def life(self, seconds: float) -> None:
        """Clients work, then the server is killed."""
        peers = [await self.server.peer() for _ in range(4)]
        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(self.client(peer)) for peer in peers]
            await asyncio.sleep(seconds)
            await self.server.kill()
            for client in clients:
                client.cancel()

    async def judge(self) -> Counter[str]:
        """After a restart: everything that was accepted is somewhere, and nothing happened twice."""
        peer = await self.server.peer()
        ends: Counter[str] = Counter()
        for run_id in dict.fromkeys(self.runs):
            run = await run_until(peer, run_id, lambda run: run["status"] in QUIET)
            ends[run["status"]] += 1
            self._check_steps(run)
        for plan_id, digest in self.proposed.items():
            plan = (await data_of(peer, "plan_get", {"plan_id": plan_id}))["plan"]
            assert (plan["status"], plan["digest"]) == ("proposed", digest), plan
        for plan_id in self.decided:
            await self._check_decided(peer, plan_id)
        lines = Counter(self.lines)
        assert [line for line, times in lines.items() if times > 1] == []
        return ends

    async def _check_decided(self, peer: Peer, plan_id: str) -> None:
        plan: dict[str, Any] = {"status": "running"}
        async with asyncio.timeout(LIMIT_S):
            while plan["status"] not in QUIET:
                plan = (await data_of(peer, "plan_get", {"plan_id": plan_id}))["plan"]
        if plan["status"] != "proposed":
            run = await run_until(peer, plan["run_id"], lambda run: run["status"] == plan["status"])
            self._check_steps(run)

    def _check_steps(self, run: Mapping[str, Any]) -> None:
        """What a run says of its steps is what the effects say."""
        for step in run["steps"]:
            if step["state"] == "failed":
                assert "scripts are running already" in step["error"]["message"], json.dumps(run)
            if step["intent"] == "start_script_execution":
                assert step["attempts"] <= 1, run
                if step["state"] == "done":
                    assert f"end {step['result']['output'].strip()}" in self.lines
        states = {step["state"] for step in run["steps"]}
        assert states <= {"done", "pending", "skipped", "unknown", "failed"}, json.dumps(run)
        assert ("unknown" in states) == (run["status"] == "waiting"), json.dumps(run)

    @property
    def lines(self) -> list[str]:
        """What really happened."""
        return self.effects.read_text().splitlines() if self.effects.exists() else []


def verified(data: Path) -> dict[str, Any]:
    """`llmcore audit verify`, as an auditor runs it."""
    command = [sys.executable, "-m", "llmcore", "audit", "verify", "--data-dir", str(data), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def lives(folder: Path, seed: int, kills: int) -> Counter[str]:
    """A server that is killed again and again; how the accepted runs ended."""
    effects = folder / "effects"
    server = Killable(folder, model=MODEL, environment={"LLMCORE_SERVER__RATE_LIMIT": "0"})
    server.script("append.sh", APPEND.format(effects=effects))
    load = Load(server, random.Random(seed), effects)  # noqa: S311 - a schedule, no secret
    ends: Counter[str] = Counter()
    for _ in range(kills):
        await server.start()
        ends = await load.judge()
        await load.life(load.dice.uniform(0.1, 1.5))
    async with killable(folder, environment=server.environment, model=MODEL) as last:
        load.server = last
        ends = await load.judge()
        assert b"Traceback" not in server.said + last.said, (server.said + last.said).decode()
    assert verified(server.data)["ok"]
    return ends


@pytest.mark.slow
async def test_eight_kills(tmp_path: Path) -> None:
    """Eight power failures during chats, proposals, approvals and chains."""
    ends = await lives(tmp_path, seed=1, kills=8)
    assert ends["done"] > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(2, 12))
async def test_many_kills(tmp_path: Path, seed: int) -> None:
    """Ten more schedules."""
    ends = await lives(tmp_path, seed=seed, kills=12)
    assert ends["done"] > 0
