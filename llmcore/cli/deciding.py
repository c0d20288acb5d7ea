"""`llmcore plans`, `approve` and `reject`.

Called by `main`; `whole_digest` also by the chat.
"""

import string
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from llmcore.cli.asking import show_end
from llmcore.cli.cards import SHORT, card, how_to_approve, plan_table, short_digest, undecided
from llmcore.cli.client import Client
from llmcore.cli.exits import Exit, Usage
from llmcore.cli.remote import call_and_show, run_with_server
from llmcore.cli.showing import view
from llmcore.cli.terminal import print_json
from llmcore.cli.turns import follow
from llmcore.errors import Conflict


def plans(args: Namespace) -> int:
    """List plans, newest first; the card of one that is named."""
    if args.plan:
        return call_and_show(args, "plan_get", {"plan_id": args.plan}, lambda answer: _whole(answer["plan"]))
    return call_and_show(args, "plan_list", {}, lambda answer: plan_table(answer["plans"]))


def _whole(plan: Mapping[str, Any]) -> str:
    """The card, and what can be done with it."""
    return f"{card(plan)}\n{how_to_approve(plan)}" if undecided(plan) and plan["digest"] else card(plan)


def approve(args: Namespace) -> int:
    """Approve the plan whose digest was seen, then show its run; with `--json` only the answer."""
    typed = checked_digits(args.digest)
    if args.break_glass and not args.comment:
        raise Usage("To break the glass, say why with --comment.")

    async def work(client: Client) -> int:
        plan = (await client.call("plan_get", {"plan_id": args.plan}))["plan"]
        feed = client.follow(plan["topic"])
        params = {"plan_id": plan["plan_id"], "digest": whole_digest(plan, typed), "comment": args.comment}
        if args.break_glass:
            params["break_glass"] = True
        answer = await client.call("plan_approve", {key: value for key, value in params.items() if value is not None})
        if args.json:
            print_json(answer)
            return Exit.DONE
        plan = answer["plan"]
        if plan["status"] in ("proposed", "waiting"):
            print(f"Approved; the plan still waits.\n{card(plan)}")
            return Exit.WAITS
        return show_end(await follow(feed, view(), plan["run_id"]))

    return run_with_server(args, work)


def reject(args: Namespace) -> int:
    """Reject a plan."""
    params = {"plan_id": args.plan, "reason": args.reason}
    return call_and_show(args, "plan_reject", params, lambda answer: f"Rejected {answer['plan']['plan_id']}.")


def undo(args: Namespace) -> int:
    """Propose to take a run back; where nobody has to be asked, show how that goes."""

    async def work(client: Client) -> int:
        run = (await client.call("run_get", {"run_id": args.run}))["run"]
        feed = client.follow(run["topic"])
        plan = (await client.call("run_undo", {"run_id": args.run}))["plan"]
        if plan["topic"] != run["topic"]:
            feed = client.follow(plan["topic"])
        waits = plan["status"] in ("proposed", "waiting")
        if args.json:
            print_json({"plan": plan})
        elif waits:
            print(f"{card(plan)}\n{how_to_approve(plan)}")
        else:
            return show_end(await follow(feed, view(), plan["run_id"]))
        return Exit.WAITS if waits else Exit.DONE

    return run_with_server(args, work)


def checked_digits(typed: str) -> str:
    """The hex digits that were typed; Usage for what cannot be a digest."""
    digits = typed.lower().removeprefix("sha256:")
    if len(digits) < SHORT or not set(digits) <= set(string.hexdigits):
        raise Usage(f"A digest is given by its first {SHORT} or more hex digits.")
    return digits


def whole_digest(plan: Mapping[str, Any], digits: str) -> str:
    """The plan's digest, if it begins with what was typed; Conflict where the plan is not the one that was seen."""
    digest = str(plan.get("digest") or "")
    if not digest.removeprefix("sha256:").startswith(digits):
        raise Conflict(
            f"The plan's digest is {short_digest(plan) or 'not made yet'}: it is not what you saw."
            " Look at it again before you approve.",
            plan_id=plan["plan_id"],
        )
    return digest
