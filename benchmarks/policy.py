"""Policy alone: CPU time of one decision, both questions, at a hundred rules, beside the bare engine.

Called by the command, in its own process. The rules speak of roles, targets, moments, hours and approvals; a new
question is one that was never asked: about another target that rules tell apart, at another moment.
"""

import json
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import cedarpy

from benchmarks.report import OURS, Report, percentile
from llmcore.catalog import load_packs
from llmcore.plan import Decision, Effect, Origin, Preview, Principal, Step
from llmcore.policy import Judge, load, schema_of

RULES = 100
CEDAR = "cedarpy, parsed once"
ANNA = Principal(name="anna", role="developer")
CHAT = Origin(kind="chat", id="bench")
NAMES = ("restart_target", "stop_target", "start_target", "scale_target", "delete_file", "write_file", "move_file")


class Clock:
    """Each look is a second later, so that no moment is asked about twice."""

    def __init__(self) -> None:
        """At some moment."""
        self.seconds = 1_700_000_000.0

    def now(self) -> float:
        """Epoch seconds."""
        self.seconds += 1
        return self.seconds


def rules() -> str:
    """The default policy and as many more as make a hundred."""
    default = Path(str(files("llmcore.config"))).joinpath("policy", "default.cedar").read_text("utf-8")
    made = []
    for number in range(RULES - default.count("@id(")):
        made.append(
            f'@id("r{number}") @approvers("2") @role("admin")\n'
            f'permit (principal in Role::"developer", action == Action::"{NAMES[number % len(NAMES)]}", resource)\n'
            f'when {{ resource.name == "t{number}" && context.hour >= 8 && context.hour < 18'
            f" && context.now < {2_000_000_000 + number} && context.approvals >= 2 }};"
        )
    return "\n".join([default, *made])


async def decisions(report: Report, count: int) -> None:
    """Decisions that ask, so that both questions are put; none repeated, then one again and again."""
    text, intents = rules(), list(load_packs())
    policy = load(text, intents)
    clock = Clock()
    judge = Judge(policy, lambda _: {}, clock)
    report.add("policy, 100 rules: CPU a new decision", OURS, _cost(lambda number: _ask(judge, number), count), "us")
    still = judge.at(clock.now())
    report.add("policy, 100 rules: CPU a repeated decision", OURS, _cost(lambda _: _ask(still, 0), count), "us")
    bare = cedarpy.PolicySet.from_str(policy.text), cedarpy.Schema.from_str(schema_of(intents))
    report.add("policy, 100 rules: CPU a new decision", CEDAR, _cost(lambda number: _bare(*bare, number), count), "us")


def _ask(judge: Judge, number: int) -> None:
    preview = Preview(targets=(f"target {number}",))
    step = Step(id="s1", intent="restart_target", effect=Effect.DESTRUCTIVE, preview=preview)
    assert judge.verdict(step, ANNA, CHAT).decision is Decision.ASK


def _bare(policies: cedarpy.PolicySet, schema: cedarpy.Schema, number: int) -> None:
    """The same two questions to the engine, with nothing around them."""
    target = f"target {number}"
    told = {"name": "anna", "role": "developer", "kind": "user", "autonomy": 0}
    entities = [
        {"uid": {"type": "User", "id": "anna"}, "attrs": told, "parents": [{"type": "Role", "id": "developer"}]},
        {
            "uid": {"type": "Target", "id": target},
            "attrs": {"name": target, "kind": "", "production": False, "owner": ""},
            "parents": [],
        },
    ]
    facts = {"tainted": False, "blast": 1, "origin": "chat", "confidence": 100, "now": number, "hour": 9, "weekday": 3}
    parsed = cedarpy.Entities.from_json_str(json.dumps(entities), schema)
    for approvals, allowed in ((0, False), (1_000, True)):
        request = {
            "principal": {"type": "User", "id": "anna"},
            "action": {"type": "Action", "id": "restart_target"},
            "resource": {"type": "Target", "id": target},
            "context": {**facts, "approvals": approvals, "params": {}},
        }
        assert cedarpy.is_authorized(request, policies, parsed, schema).allowed is allowed


def _cost(work: Callable[[int], None], count: int) -> float:
    """The median of CPU microseconds of many calls; the first ones warm up."""
    costs = []
    for number in range(count + 20):
        before = time.process_time_ns()
        work(number)
        costs.append((time.process_time_ns() - before) / 1000)
    return percentile(costs[20:], 50)
