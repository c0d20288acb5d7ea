"""Plans as text: the card a person decides on, and lists of plans and runs.

Used by the commands that show plans. A card is complete and never cut: what is not seen cannot be approved.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmcore.cli.terminal import json_text, params_text, sanitize, table, visible

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
_FAILURE = {"stop": "stops the plan", "continue": "lets the others go on", "undo": "takes back what was done"}


def short_digest(plan: Mapping[str, Any]) -> str:
    """The first hex digits of a plan's digest; empty while it has none."""
    return str(plan.get("digest") or "").removeprefix("sha256:")[:SHORT]


def undecided(plan: Mapping[str, Any]) -> bool:
    """True for a plan that people can approve now; one with an unknown step waits for something else."""
    unsure = any(step.get("state") == "unknown" for step in plan["steps"])
    return plan["status"] in ("proposed", "waiting") and not unsure


def card(plan: Mapping[str, Any]) -> str:
    """Everything that decides: steps, params, effects, verdicts, what is touched, who has to agree."""
    lines = [f"Plan {plan['plan_id']} ({plan['status']}): {visible(plan.get('title') or 'without a title')}"]
    for step in plan["steps"]:
        lines += _step(step)
    facts = [f"effect {plan['effect']}"]
    if plan.get("origin", {}).get("tainted"):
        facts.append("made from untrusted text")
    if plan.get("answered_by"):
        facts.append(f"planned by {visible(str(plan['answered_by']))}")
    if short_digest(plan):
        facts.append(f"digest {short_digest(plan)}")
    return "\n".join([*lines, f"  {', '.join(facts)}", *_edit(plan), *_drift(plan), *_approval(plan)])


def how_to_approve(plan: Mapping[str, Any]) -> str:
    """The commands that decide a waiting plan."""
    return (
        f"Approve: llmcore approve {plan['plan_id']} --digest {short_digest(plan)}\n"
        f"Reject:  llmcore reject {plan['plan_id']}"
    )


def _step(step: Mapping[str, Any]) -> Iterator[str]:
    mark = MARKS.get(step.get("state", "pending"), "·")
    yield f"  {mark} {visible(step['id'])} {step['intent']} [{step['effect']}] {params_text(step['params'])}".rstrip()
    yield from (f"      {line}" for line in [*_order(step), *_preview(step), *_verdict(step), *_undo(step)])


def _order(step: Mapping[str, Any]) -> Iterator[str]:
    """When it runs, for how long, and what its failure does; the usual is not said of reads."""
    if needs := step.get("needs"):
        yield f"after {', '.join(map(visible, needs))}"
    if step.get("when") is not None:
        yield f"only if {visible(step['when'])}"
    if "on_error" in step and (step["effect"] != "read" or (step["on_error"], step["retries"]) != ("stop", 0)):
        tries = {0: "no retries", 1: "1 retry"}.get(step["retries"], f"{step['retries']} retries")
        yield f"a failure {_FAILURE.get(step['on_error'], step['on_error'])}; {tries}; at most {step['timeout_s']:g} s"


def _preview(step: Mapping[str, Any]) -> Iterator[str]:
    preview = step.get("preview")
    if preview is None:
        if step["effect"] != "read":
            yield "touches: not known before it runs"
        return
    yield f"touches {preview['blast']}: {', '.join(visible(str(target)) for target in preview['targets'])}"
    for side in ("before", "after"):
        if preview.get(side) not in (None, {}):
            yield f"{side}: {json_text(preview[side])}"


def _verdict(step: Mapping[str, Any]) -> Iterator[str]:
    verdict = step.get("verdict") or {}
    if verdict.get("decision") not in ("ask", "deny"):
        return
    words = {"ask": "asks first", "deny": "refused"}[verdict["decision"]]
    rules = f" (rules: {', '.join(map(visible, verdict['rules']))})" if verdict.get("rules") else ""
    hint = f" {visible(verdict['would_allow'])}" if verdict.get("would_allow") else ""
    yield f"{words}: {visible(verdict.get('reason') or '')}{rules}{hint}"


def _undo(step: Mapping[str, Any]) -> Iterator[str]:
    before = (step.get("preview") or {}).get("before")
    kept = isinstance(before, Mapping) and before.get("restorable") is True
    if undo := step.get("undo"):
        yield f"undo: {undo['intent']} {params_text(undo['params'])}"
    elif step["effect"] != "read":
        yield "undo: from the trash, once it has run" if kept else "undo: none"


def _edit(plan: Mapping[str, Any]) -> Iterator[str]:
    """What an edit made of the plan that others may have seen."""
    edit = plan.get("edited_from")
    if not edit:
        return
    yield f"  edited by {visible(edit['by'])} at {edit['at']}, before it was {short_digest(edit)}:"
    yield from diff_lines(edit["diff"])


def _drift(plan: Mapping[str, Any]) -> Iterator[str]:
    """What has changed since the plan was approved, where it has to be approved again."""
    if plan.get("drift") and plan["status"] == "waiting":
        yield f"  not as it was approved: {visible(plan['drift']['reason'])}"
        yield from diff_lines([change for change in plan["drift"]["diff"] if change["change"] != "same"])


def diff_lines(diff: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The changes of an edit, step by step and field by field."""
    for change in diff:
        yield f"      {visible(change['step_id'])} {change['change']}"
        for name, sides in change["fields"].items():
            shown = [json_text(sides[side]) if side in sides else "nothing" for side in ("before", "after")]
            yield f"        {visible(name)}: {' -> '.join(shown)}"


def _approval(plan: Mapping[str, Any]) -> Iterator[str]:
    approval = plan.get("approval")
    if not approval:
        return
    status, until = plan["status"], approval.get("expires_at")
    if (said := approval.get("rejected")) and status == "rejected":
        yield f"  rejected {_vote(said)}"
    if status in ("proposed", "waiting"):
        line = f"  {_needed(approval)}"
        yield line + (f", until {until}" if until else "")
    if status == "approved" and approval.get("execute_by"):
        yield f"  has to begin by {approval['execute_by']}"
    yield from (f"  approved {_vote(vote)}" for vote in approval.get("given", ()))


def _needed(approval: Mapping[str, Any]) -> str:
    needed, given = approval["needed"], len(approval.get("given", ()))
    if not needed:
        return "needs nobody's approval, and runs when it is started"
    roles = " or ".join(approval.get("roles") or ("admin", "developer"))
    line = f"needs {needed} approval{'s' if needed != 1 else ''} by {roles}, {given} of {needed} given"
    return f"{line}, not by the requester" if approval.get("excludes_requester") else line


def _vote(vote: Mapping[str, Any]) -> str:
    glass = ", who broke the glass" if vote.get("break_glass") else ""
    at = f" at {vote['at']}" if vote.get("at") else ""
    comment = f": {visible(vote['comment'])}" if vote.get("comment") else ""
    return f"by {visible(str(vote['by']))}{glass}{at}{comment}"


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
