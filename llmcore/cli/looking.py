"""`llmcore status`, `runs`, `cancel`, `resolve` and `alerts`.

Called by `main`.
"""

from argparse import Namespace
from typing import Any

from llmcore.cli.cards import run_table
from llmcore.cli.remote import call_and_show
from llmcore.cli.terminal import one_line, sanitize, table


def runs(args: Namespace) -> int:
    """List runs, newest first, or tell one with its steps and what went wrong."""
    if args.run:
        return call_and_show(args, "run_get", {"run_id": args.run}, _run)
    return call_and_show(args, "run_list", {}, lambda answer: run_table(answer["runs"]))


def cancel(args: Namespace) -> int:
    """Stop a run."""
    return call_and_show(args, "run_cancel", {"run_id": args.run}, _run)


def resolve(args: Namespace) -> int:
    """Say what became of a step of which nobody can tell."""
    params = {"run_id": args.run, "step_id": args.step, "outcome": args.outcome}
    return call_and_show(args, "run_resolve", params, _run)


def alerts(args: Namespace) -> int:
    """List alert groups, newest first."""
    return call_and_show(args, "alert_list", {}, _alerts)


def status(args: Namespace) -> int:
    """Show how the server and its parts are."""
    return call_and_show(args, "status", {}, _status)


def _alerts(answer: Any) -> str:
    rows = []
    for alert in answer["alerts"]:
        name, summary = alert["labels"].get("alertname"), alert["annotations"].get("summary")
        rows.append([alert["last_at"], alert["state"], alert["severity"], alert["count"], name, summary])
    return table(["last", "state", "severity", "count", "name", "summary"], rows) if rows else "There are no alerts."


def _status(answer: Any) -> str:
    parts = answer["ready"]["components"]
    rows = [[name, part["status"], part["required"], part["reason"]] for name, part in parts.items()]
    facts = [[key, value] for key, value in answer.items() if key != "ready"]
    return "\n\n".join([table(["fact", "value"], facts), table(["part", "status", "required", "reason"], rows)])


def _run(answer: Any) -> str:
    run = answer["run"]
    rows = []
    for step in run["steps"]:
        error = step["error"]["message"] if step["error"] else ""
        rows.append([step["id"], step["intent"], step["state"], step["attempts"], step["finished_at"], error])
    steps = table(["step", "intent", "state", "attempts", "finished", "error"], rows)
    unknown = [step["id"] for step in run["steps"] if step["state"] == "unknown" and run["status"] == "waiting"]
    hints = [f"Look, then say: llmcore resolve {run['run_id']} {one_line(step)} done|retry|stop" for step in unknown]
    told = sanitize(run["text"] or "")
    return "\n".join(filter(None, [f"Run {run['run_id']} ({run['status']})", told, steps if rows else "", *hints]))
