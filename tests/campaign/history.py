"""The judge of a campaign: everything that was accepted is somewhere, and what happened is what was reported.

Lost 0, done twice 0, every `unknown` told to a person, no step before those it needs, nothing without its approval.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.campaign.load import Load, Sent, call
from tests.peer import Peer

SETTLED = ("proposed", "done", "failed", "undone", "rejected", "expired", "cancelled", "needs_human")
PATIENCE_S = 60.0
Found = dict[str, Any]


@dataclass
class Tally:
    """What a campaign came to."""

    ends: Counter[str] = field(default_factory=Counter)
    """Plans by their status."""
    steps: int = 0
    """Steps that had an effect."""
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    unreported: list[str] = field(default_factory=list)
    """Steps that were interrupted, and nobody was asked."""
    disorder: list[str] = field(default_factory=list)
    unapproved: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    """Steps (`run:step`) that a person was asked about."""
    repeated: int = 0
    """Idempotent steps that ran again, with the same key."""

    @property
    def faults(self) -> list[str]:
        """Everything that must not be."""
        return [*self.lost, *self.twice, *self.unreported, *self.disorder, *self.unapproved]

    def add(self, other: "Tally") -> None:
        """Count another campaign too."""
        self.ends += other.ends
        self.steps += other.steps
        self.repeated += other.repeated
        self.unknown |= other.unknown
        for name in ("lost", "twice", "unreported", "disorder", "unapproved"):
            getattr(self, name).extend(getattr(other, name))


class History:
    """What the effects file says, and what the server says."""

    def __init__(self, load: Load, effects: Path, dice: random.Random) -> None:
        """Nothing has been looked at."""
        self._load = load
        self._effects = effects
        self._dice = dice
        self.tally = Tally()

    def lines(self) -> list[Found]:
        """What really happened, in order."""
        if not self._effects.exists():
            return []
        return [json.loads(line) for line in self._effects.read_text("utf-8").splitlines()]

    # --- a person who answers what is asked ---

    async def answer(self, peer: Peer, *, patient: bool) -> None:
        """Say what became of every `unknown` step, as one who looked; with patience until nothing is left."""
        open_ones: list[Found] = []
        try:
            async with asyncio.timeout(PATIENCE_S):
                while open_ones := [plan for plan in await self._plans(peer) if plan["status"] not in SETTLED]:
                    for plan in open_ones:
                        if plan["status"] == "waiting":
                            await self._resolve(peer, plan)
                    if not patient:
                        return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            self.tally.lost += [f"{_shown(plan)} does not end" for plan in open_ones]

    async def _plans(self, peer: Peer) -> list[Found]:
        answer = await call(peer, "plan_list", {"limit": 500})
        assert answer["status"] == "success", answer
        return list(answer["data"]["plans"])

    async def _resolve(self, peer: Peer, plan: Found) -> None:
        for step in plan["steps"]:
            if step["state"] != "unknown":
                continue
            key = f"{plan['run_id']}:{step['id']}"
            self.tally.unknown.add(key)
            ended = any(line["key"] == key and line["what"] == "end" for line in self.lines())
            outcome = "done" if ended else self._dice.choice(("retry", "retry", "stop"))
            asked = {"run_id": plan["run_id"], "step_id": step["id"], "outcome": outcome}
            answer = await call(peer, "run_resolve", asked)
            assert answer["status"] == "success" or answer["code"] == 409, answer

    # --- the judgement ---

    async def judge(self, peer: Peer) -> Tally:
        """Wait until nothing runs any more, then compare everything."""
        await self.answer(peer, patient=True)
        plans = {plan["plan_id"]: plan for plan in await self._plans(peer)}
        lines = self.lines()
        for sent in self._load.sent:
            plan = plans.get(sent.plan_id or "")
            if sent.plan_id and plan is None:
                self.tally.lost.append(f"plan {sent.plan_id} is gone")
            self._judge_approval(sent, plan, lines)
        for plan in plans.values():
            self.tally.ends[plan["status"]] += 1
            if plan["run_id"]:
                self._judge_run(plan, lines)
                self._judge_order(plan, lines)
        self._judge_repeats(lines)
        return self.tally

    def _judge_approval(self, sent: Sent, plan: Found | None, lines: list[Found]) -> None:
        marks = {step["params"]["mark"] for step in sent.steps if step["intent"] != "look_at"}
        began = [line["mark"] for line in lines if line["mark"] in marks]
        if began and not sent.approved:
            self.tally.unapproved.append(f"{began} without an approval")
        if plan is None:
            return
        if sent.digest and plan["digest"] != sent.digest:
            self.tally.unapproved.append(f"{sent.plan_id} is another plan than was approved")
        if sent.settled and not plan["approval"]["given"]:
            self.tally.lost.append(f"the approval of {sent.plan_id}")

    def _judge_run(self, plan: Found, lines: list[Found]) -> None:
        """What the plan says of its steps is what the effects say."""
        for step in plan["steps"]:
            key = f"{plan['run_id']}:{step['id']}"
            begun, ended = _times(lines, key)
            if step["state"] == "done" and step["intent"] != "break_it" and not ended:
                self.tally.lost.append(f"{key} is done, and nothing happened")
            changes = step["intent"] in ("mark_once", "mark_again", "take_back")
            idle = step["state"] in ("pending", "skipped") and plan["status"] not in ("proposed", "waiting")
            if changes and idle and begun and key not in self.tally.unknown:
                self.tally.unreported.append(f"{key} is {step['state']} in a plan that is {plan['status']}, and began")
            mutates = step["intent"] in ("mark_once", "take_back")
            if mutates and begun > ended and key not in self.tally.unknown and step["state"] != "unknown":
                self.tally.unreported.append(f"{key} was interrupted; it is {step['state']}")
            self.tally.steps += bool(ended)
        for key in _undo_keys(plan, lines):
            begun, ended = _times(lines, key)
            if begun > ended and plan["status"] not in ("needs_human", "waiting") and key not in self.tally.unknown:
                self.tally.unreported.append(f"{key} was interrupted; the plan is {plan['status']}")

    def _judge_order(self, plan: Found, lines: list[Found]) -> None:
        """No step began before those that it needs had ended."""
        for step in plan["steps"]:
            first = _places(lines, f"{plan['run_id']}:{step['id']}", "begin")[:1]
            for source in step["needs"]:
                last = _places(lines, f"{plan['run_id']}:{source}", "end")[-1:]
                if first and last and first[0] < last[0]:
                    self.tally.disorder.append(f"{plan['run_id']}: {step['id']} began before the end of {source}")
        undone = [_places(lines, key, "begin")[0] for key in _undo_keys(plan, lines)]
        done = [place for step in plan["steps"] for place in _places(lines, f"{plan['run_id']}:{step['id']}", "end")]
        if undone and done and min(undone) < max(done):
            self.tally.disorder.append(f"{plan['run_id']}: taken back before all had ended")

    def _judge_repeats(self, lines: list[Found]) -> None:
        ends = Counter((line["intent"], line["mark"], line["key"]) for line in lines if line["what"] == "end")
        keys: dict[tuple[str, str], set[str]] = {}
        for (intent, mark, key), times in ends.items():
            keys.setdefault((intent, mark), set()).add(key)
            if times > 1 and intent in ("mark_again", "look_at"):
                self.tally.repeated += 1
            elif times > 1:
                self.tally.twice.append(f"{intent} {mark} {times} times")
        for (intent, mark), used in keys.items():
            if len(used) > 1:
                self.tally.twice.append(f"{intent} {mark} with the keys {sorted(used)}")


def _times(lines: list[Found], key: str) -> tuple[int, int]:
    """How often it began, and how often it ended."""
    return len(_places(lines, key, "begin")), len(_places(lines, key, "end"))


def _places(lines: list[Found], key: str, what: str) -> list[int]:
    return [place for place, line in enumerate(lines) if line["key"] == key and line["what"] == what]


def _undo_keys(plan: Mapping[str, Any], lines: list[Found]) -> Iterator[str]:
    prefix = f"{plan['run_id']}:undo:"
    return iter(dict.fromkeys(line["key"] for line in lines if line["key"].startswith(prefix)))


def _shown(plan: Found) -> str:
    steps = ", ".join(f"{step['id']} {step['intent']} {step['on_error']} {step['state']}" for step in plan["steps"])
    return f"{plan['plan_id']} of {plan['run_id']} ({plan['status']}: {steps})"
