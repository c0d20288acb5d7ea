"""`llmcore status`, `runs` and `alerts`.

Called by `main`.
"""

from argparse import Namespace
from typing import Any

from llmcore.cli.cards import run_table
from llmcore.cli.remote import call_and_show
from llmcore.cli.terminal import table


def runs(args: Namespace) -> int:
    """List runs, newest first."""
    return call_and_show(args, "run_list", {}, lambda answer: run_table(answer["runs"]))


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
