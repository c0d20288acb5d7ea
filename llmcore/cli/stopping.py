"""`llmcore stop-all`.

Called by `main`.
"""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from llmcore.cli.remote import call_and_show


def stop_all(args: Namespace) -> int:
    """Stop all runs of all nodes, or let things begin again."""
    if args.release:
        return call_and_show(args, "stop_all_release", {}, _released)
    return call_and_show(args, "stop_all", {"reason": args.reason, "hold": args.hold}, stopped_text)


def stopped_text(answer: Mapping[str, Any]) -> str:
    """What is said of an order, with the runs that it stops."""
    order = answer["stopped"]
    runs = order["runs"]
    what = f"{len(runs)} {'run ends' if len(runs) == 1 else 'runs end'} after the steps that are running"
    held = " Nothing new begins until `llmcore stop-all --release`." if order["hold"] else ""
    return "\n".join([f"{what if runs else 'Nothing was running'}.{held}", *(f"  {run}" for run in runs)])


def _released(answer: Mapping[str, Any]) -> str:
    return "Things may begin again." if answer["released"] else "Nothing was held."
