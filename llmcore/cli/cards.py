"""Plans as text: the card a person decides on, and lists of plans and runs.

Used by the commands that show plans. Params are complete and never cut: what is not seen cannot be approved.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from llmcore.cli.terminal import one_line, params_text, sanitize, table

SHORT = 8
"""Hex digits of a short digest."""
MARKS = {
    "pending": "·",
    "running": "…",
    "done": "✓",
    "failed": "✗",
    "skipped": "-",
    "unknown": "?",
    "undone": "↶",
}


def short_digest(plan: Mapping[str, Any]) -> str:
    """The first hex digits of a plan's digest; empty while it has none."""
    return str(plan.get("digest") or "").removeprefix("sha256:")[:SHORT]


def card(plan: Mapping[str, Any]) -> str:
    """Everything that decides: steps, params, effects, verdicts, what is touched, who has to agree."""
    lines = [f"Plan {plan['plan_id']} ({plan['status']}): {one_line(plan.get('title') or 'without a title')}"]
    for step in plan["steps"]:
        lines += _step(step)
    facts = [f"effect {plan['effect']}"]
    if plan.get("origin", {}).get("tainted"):
        facts.append("made from untrusted text")
    if plan.get("answered_by"):
        facts.append(f"planned by {one_line(str(plan['answered_by']))}")
    if short_digest(plan):
        facts.append(f"digest {short_digest(plan)}")
    return "\n".join([*lines, f"  {', '.join(facts)}", *_approval(plan)])


def how_to_approve(plan: Mapping[str, Any]) -> str:
    """The commands that decide a waiting plan."""
    return (
        f"Approve: llmcore approve {plan['plan_id']} --digest {short_digest(plan)}\n"
        f"Reject:  llmcore reject {plan['plan_id']}"
    )


def _step(step: Mapping[str, Any]) -> Iterable[str]:
    mark = MARKS.get(step.get("state", "pending"), "·")
    yield f"  {mark} {step['id']} {step['intent']} [{step['effect']}] {params_text(step['params'])}".rstrip()
    if needs := step.get("needs"):
        yield f"      after {', '.join(needs)}"
    if preview := step.get("preview"):
        targets = ", ".join(one_line(str(target), 500) for target in preview["targets"])
        yield f"      touches {preview['blast']}: {targets}"
    verdict = step.get("verdict") or {}
    if verdict.get("decision") in ("ask", "deny"):
        words = {"ask": "asks first", "deny": "refused"}[verdict["decision"]]
        hint = f" {one_line(verdict['would_allow'])}" if verdict.get("would_allow") else ""
        yield f"      {words}: {one_line(verdict.get('reason') or '')}{hint}"
    if undo := step.get("undo"):
        yield f"      undo: {undo['intent']} {params_text(undo['params'])}"


def _approval(plan: Mapping[str, Any]) -> list[str]:
    approval = plan.get("approval")
    if not approval or plan["status"] not in ("proposed", "waiting"):
        return []
    roles = " or ".join(approval.get("roles") or ("admin", "developer"))
    given = [one_line(str(vote["by"])) for vote in approval.get("given", ())]
    line = f"  needs {approval['needed']} approval{'s' if approval['needed'] != 1 else ''} by {roles}"
    if given:
        line += f", given by {', '.join(given)}"
    if approval.get("excludes_requester"):
        line += ", not by the requester"
    if approval.get("expires_at"):
        line += f", until {approval['expires_at']}"
    return [line]


def plan_table(plans: Iterable[Mapping[str, Any]]) -> str:
    """Plans, one a line."""
    rows = [
        [plan["plan_id"], plan["status"], plan["effect"], short_digest(plan), plan["created_at"], plan.get("title")]
        for plan in plans
    ]
    return table(["plan", "status", "effect", "digest", "created", "title"], rows)


def run_table(runs: Iterable[Mapping[str, Any]]) -> str:
    """Runs, one a line."""
    rows = [
        [run["run_id"], run["status"], run.get("plan_id"), " ".join(_state(step) for step in run.get("steps", ()))]
        for run in runs
    ]
    return table(["run", "status", "plan", "steps"], rows)


def _state(step: Mapping[str, Any]) -> str:
    return sanitize(f"{MARKS.get(step['state'], '·')}{step['intent']}")
