"""Clients of a campaign: they propose chains, approve, undo and stop them until the server is killed.

What they sent and what they were told is kept for the judge.
"""

import asyncio
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tornado.websocket import WebSocketClosedError

from tests.kill_kit import Killable
from tests.peer import Peer

CLIENTS = 3
REFUSED = (400, 403, 409, 410, 503, 504)
"""What a client may be told while others decide and the server stops."""
LOST = (WebSocketClosedError, TimeoutError, OSError)
"""What a client sees of a server that is killed."""
Step = dict[str, Any]


class Lost(Exception):
    """The connection broke before the answer."""


@dataclass
class Sent:
    """One chain that a client has sent."""

    steps: list[Step]
    plan_id: str | None = None
    """None until the server has answered."""
    digest: str | None = None
    approved: bool = False
    """Somebody began to approve it."""
    settled: bool = False
    """A decision was answered, so it must not be lost."""


@dataclass
class Load:
    """Everything that was sent to one server over all its lives."""

    server: Killable
    dice: random.Random
    numbers: "count[int]" = field(default_factory=lambda: count(1))
    sent: list[Sent] = field(default_factory=list)
    undoing: dict[str, str] = field(default_factory=dict)
    """Run -> plan that takes it back."""
    undo_asked: set[str] = field(default_factory=set)
    """Plans whose runs somebody wanted back."""

    async def life(self, seconds: float) -> None:
        """Clients work, then the server is killed."""
        peers = [await self.server.peer() for _ in range(CLIENTS)]
        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(self._client(peer)) for peer in peers]
            await asyncio.sleep(seconds)
            await self.server.kill()
            for client in clients:
                client.cancel()

    async def _client(self, peer: Peer) -> None:
        actions = (self._propose, self._propose, self._decide, self._decide, self._decide, self._undo, self._stop)
        with suppress(*LOST, Lost):
            while True:
                await self.dice.choice(actions)(peer)
                await asyncio.sleep(self.dice.random() / 50)

    async def ask(self, peer: Peer, intent: str, params: Mapping[str, Any]) -> Any:
        """The data of an RPC, None if it was refused; raises Lost."""
        answer = await call(peer, intent, params)
        if answer["status"] == "success":
            return answer["data"]
        assert answer["code"] in REFUSED, answer
        return None

    async def _propose(self, peer: Peer) -> None:
        sent = Sent(self.chain())
        self.sent.append(sent)
        told = await self.ask(peer, "chain", {"steps": sent.steps})
        assert told, sent.steps
        sent.plan_id, sent.digest = told["plan_id"], told["digest"]

    async def _decide(self, peer: Peer) -> None:
        open_ones = [sent for sent in self.sent if sent.digest and not sent.approved]
        if not open_ones:
            return
        sent = self.dice.choice(open_ones)
        if self.dice.random() < 0.1:
            await self.ask(peer, "plan_reject", {"plan_id": sent.plan_id})
            return
        sent.approved = True
        sent.settled = (
            await self.ask(peer, "plan_approve", {"plan_id": sent.plan_id, "digest": sent.digest}) is not None
        )

    async def _undo(self, peer: Peer) -> None:
        done = [sent for sent in self.sent if sent.settled and sent.plan_id not in self.undo_asked]
        if not done:
            return
        sent = self.dice.choice(done)
        plan = (await self.ask(peer, "plan_get", {"plan_id": sent.plan_id}))["plan"]
        if plan["status"] not in ("done", "failed"):
            return
        self.undo_asked.add(plan["plan_id"])
        told = await self.ask(peer, "run_undo", {"run_id": plan["run_id"]})
        if told:
            self.undoing[plan["run_id"]] = told["plan"]["plan_id"]
            await self.ask(peer, "plan_approve", {"plan_id": told["plan"]["plan_id"], "digest": told["plan"]["digest"]})

    async def _stop(self, peer: Peer) -> None:
        running = [sent for sent in self.sent if sent.settled]
        if not running or self.dice.random() < 0.8:
            return
        plan = (await self.ask(peer, "plan_get", {"plan_id": self.dice.choice(running).plan_id}))["plan"]
        if plan["run_id"]:
            await self.ask(peer, "run_cancel", {"run_id": plan["run_id"]})

    def chain(self) -> list[Step]:
        """Two to six steps, side by side and in a row, with conditions, references and failures."""
        steps: list[Step] = []
        for number in range(1, self.dice.randint(2, 6) + 1):
            earlier = [step["id"] for step in steps]
            needs = self.dice.sample(earlier, min(len(earlier), self.dice.choice((0, 0, 1, 1, 2))))
            kinds = ("mark_once", "mark_once", "mark_once", "mark_again", "mark_again", "look_at", "break_it")
            params: dict[str, Any] = {"mark": f"m{next(self.numbers)}", "seconds": self.dice.choice((0, 0.02, 0.1))}
            step = {"id": f"s{number}", "intent": self.dice.choice(kinds), "params": params, "needs": needs}
            if needs and self.dice.random() < 0.3:
                step["when"] = f"steps.{needs[0]}.state == '{self.dice.choice(('done', 'done', 'failed'))}'"
            elif needs and self.dice.random() < 0.3:
                params["note"] = {"$from": needs[0], "path": "mark"}
            step["on_error"] = self.dice.choice(("stop", "continue", "undo"))
            steps.append(step)
        return steps


async def call(peer: Peer, intent: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to an RPC; raises Lost if the connection breaks first."""
    request = await peer.ask(intent, params)
    found: list[dict[str, Any]] = []

    def came() -> bool:
        found[:] = [answer for answer in peer.answers if answer["requestid"] == request]
        return bool(found) or peer.closed.is_set()

    await peer.until(came)
    if not found:
        raise Lost
    return found[0]
