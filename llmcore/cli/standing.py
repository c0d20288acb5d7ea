"""`llmcore policy allow`, `policy rules` and `policy withdraw`: what may run without asking from now on.

Called by `main`; asks the server.
"""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from llmcore.cli.cards import card, how_to_approve
from llmcore.cli.client import Client
from llmcore.cli.exits import Exit
from llmcore.cli.remote import call_and_show, run_with_server
from llmcore.cli.terminal import print_json, table


def allow(args: Namespace) -> int:
    """Propose to allow a plan's step from now on: exit 4, an admin has to approve it."""
    given = {"plan_id": args.plan, "step_id": args.step, "days": args.days, "role": args.role}
    return _proposed(args, "policy_allow", {key: value for key, value in given.items() if value is not None})


def rules(args: Namespace) -> int:
    """List the standing rules that count now."""
    return call_and_show(args, "policy_rules", {}, lambda answer: _table(answer["rules"]))


def withdraw(args: Namespace) -> int:
    """Withdraw a standing rule, or propose it where one is no admin: then exit 4."""
    return _proposed(args, "policy_withdraw", {"rule_id": args.rule})


def _proposed(args: Namespace, intent: str, params: Mapping[str, Any]) -> int:
    async def work(client: Client) -> int:
        answer = await client.call(intent, params)
        plan = answer.get("plan")
        if args.json:
            print_json(answer)
        elif plan is None:
            print("Withdrawn.")
        else:
            print(card(plan))
            print(how_to_approve(plan))
        return Exit.WAITS if plan else Exit.DONE

    return run_with_server(args, work)


def _table(found: list[dict[str, Any]]) -> str:
    if not found:
        return "Nothing is allowed besides the policy."
    columns = ("rule_id", "intent", "target", "role", "kind", "by", "expires_at")
    return table(columns, [[rule[column] for column in columns] for rule in found])
