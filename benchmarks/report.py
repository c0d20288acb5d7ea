"""What was measured: values by line and subject, over all rounds, as a table and as JSON."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

OURS = "llmcore"


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))]


@dataclass
class Line:
    """One thing that was measured."""

    unit: str
    more: bool
    """More is better."""
    must: float | None = None
    values: dict[str, list[float]] = field(default_factory=dict)
    """Subject to one value a round."""

    def best(self, subject: str) -> float:
        """The round that the neighbours disturbed least."""
        return (max if self.more else min)(self.values[subject])


# What has to be reached, in the unit of the line; see docs/benchmarks.md.
MUST = {
    "stream, saturated: tokens a CPU second": 30_000.0,
    "stream, 100 x 50/s: CPU a token": 90.0,
    "local matcher, 100 intents: CPU a request": 2.0,
    "policy, 100 rules: CPU a new decision": 300.0,
    "policy, 100 rules: CPU a repeated decision": 100.0,
    "idle socket: memory": 24.0,
    "reader that never reads: memory": 10.0,
    "at rest: memory": 150.0,
    "start: until ready": 2.0,
    "start: --help": 0.2,
    "event to 1000 sockets: CPU a delivery": 20.0,
    "SQLite, 100 steps: CPU a step": 600.0,
    "SQLite, 1,000 plans wait: start to approved": 3.0,
    "SQLite, 1,000 plans wait: CPU while idle": 2.0,
    "PostgreSQL, 1,000 plans wait: start to approved": 3.0,
    "PostgreSQL, 1,000 plans wait: CPU while idle": 2.0,
}
MUST_RATIO = {
    "RPC: CPU a call": ("echo", 6.0),
    "first token p50": ("sdk", 1.4),
    "first token p99": ("sdk", 2.3),
}
"""Line to the peer that decides, and how many times its value ours may be; wall times are judged by no other way."""


class Report:
    """Collects and prints."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.lines: dict[str, Line] = {}

    def add(self, line: str, subject: str, value: float, unit: str, *, more: bool = False) -> None:
        """One value of one round."""
        entry = self.lines.setdefault(line, Line(unit, more, MUST.get(line)))
        entry.values.setdefault(subject, []).append(value)

    def table(self) -> str:
        """Markdown: min / median / max of the rounds, ours against each peer by the best rounds, and the budget."""
        rows = ["| what | subject | min / median / max | llmcore is | must |", "|---|---|---|---|---|"]
        for name, line in self.lines.items():
            for subject, values in line.values.items():
                spread = " / ".join(_short(value) for value in (min(values), median(values), max(values)))
                must = self._judged(line) if subject == OURS else self._beside(name, line, subject)
                rows.append(f"| {name} | {subject} | {spread} {line.unit} | {self._ratio(line, subject)} | {must} |")
        return "\n".join(rows)

    @staticmethod
    def _ratio(line: Line, subject: str) -> str:
        if subject == OURS or OURS not in line.values:
            return ""
        return f"{line.best(OURS) / line.best(subject):.2f} x"

    @staticmethod
    def _beside(name: str, line: Line, subject: str) -> str:
        peer, most = MUST_RATIO.get(name, ("", 0.0))
        if subject != peer or OURS not in line.values:
            return ""
        return f"<= {most:g} x: {'kept' if line.best(OURS) <= most * line.best(peer) else 'MISSED'}"

    @staticmethod
    def _judged(line: Line) -> str:
        if line.must is None:
            return ""
        kept = line.best(OURS) >= line.must if line.more else line.best(OURS) <= line.must
        return f"{'>=' if line.more else '<='} {_short(line.must)}: {'kept' if kept else 'MISSED'}"

    def json(self) -> str:
        """All values, for other programs."""
        lines = {
            name: {"unit": line.unit, "values": line.values, "must": line.must} for name, line in self.lines.items()
        }
        return json.dumps(
            {"python": platform.python_version(), "machine": platform.machine(), "lines": lines}, indent=1
        )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
