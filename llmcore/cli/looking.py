"""`llmcore status`, `runs` and `alerts`.

Called by `main`.
"""

from argparse import Namespace
from collections.abc import Callable
from typing import Any

from llmcore.cli.cards import run_table
from llmcore.cli.client import Client
from llmcore.cli.credentials import run_with_server
from llmcore.cli.exits import Exit
from llmcore.cli.terminal import print_json, table


def runs(args: Namespace) -> int:
    """List runs, newest first."""
    return _shown(args, "run_list", lambda answer: run_table(answer["runs"]))


def alerts(args: Namespace) -> int:
    """List alert groups, newest first."""
    return _shown(args, "alert_list", _alerts)


def status(args: Namespace) -> int:
    """Show how the server and its parts are."""
    return _shown(args, "status", _status)


def _shown(args: Namespace, intent: str, text_of: Callable[[Any], str]) -> int:
    async def work(client: Client) -> int:
        answer = await client.call(intent)
        if args.json:
            print_json(answer)
        else:
            print(text_of(answer))
        return Exit.DONE

    return run_with_server(args, work)


def _alerts(answer: Any) -> str:
    columns = ["fingerprint", "status", "severity", "name", "summary"]
    rows = []
    for alert in answer["alerts"]:
        labels, notes = alert.get("labels", {}), alert.get("annotations", {})
        name, severity = labels.get("alertname"), labels.get("severity")
        rows.append([alert.get("fingerprint"), alert.get("status"), severity, name, notes.get("summary")])
    return table(columns, rows) if rows else "There are no alerts."


def _status(answer: Any) -> str:
    parts = answer["ready"]["components"]
    rows = [[name, part["status"], part["required"], part["reason"]] for name, part in parts.items()]
    facts = [[key, value] for key, value in answer.items() if key != "ready"]
    return "\n\n".join([table(["fact", "value"], facts), table(["part", "status", "required", "reason"], rows)])
