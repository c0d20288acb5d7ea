"""`llmcore trash purge`.

Called by `main`.
"""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from llmcore.cli.remote import call_and_show


def purge(args: Namespace) -> int:
    """Empty the server's trash, and say what could not or can no longer be put back."""
    params = {"older_than_days": args.older_than_days, "force": args.force}
    return call_and_show(args, "trash_purge", params, lambda answer: _told(answer, force=args.force))


def _told(answer: Mapping[str, Any], *, force: bool) -> str:
    text = f"{answer['items']} items are gone for good, {answer['bytes'] / (1 << 20):.1f} MiB."
    plans = ", ".join(answer["plans"])
    if plans and force:
        return f"{text} Open plans that would have put some of them back: {plans}."
    return f"{text} {answer['kept']} stay, because open plans put them back: {plans}." if plans else text
