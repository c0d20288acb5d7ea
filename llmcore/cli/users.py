"""`llmcore user …`.

Called by `main`. Passwords are typed unseen or come from stdin, never from the command line, where others see them.
"""

import sys
from argparse import Namespace
from collections.abc import Mapping
from getpass import getpass
from typing import Any

from llmcore.cli.exits import Usage
from llmcore.cli.logging_in import read_password
from llmcore.cli.remote import call_and_show
from llmcore.cli.terminal import table


def add(args: Namespace) -> int:
    """Add a user."""
    params = {"name": args.name, "role": args.role, "password": new_password(args.name)}
    return call_and_show(
        args, "user_add", params, lambda answer: f"Added {answer['user']['name']} as {answer['user']['role']}."
    )


def show(args: Namespace) -> int:
    """List users."""
    return call_and_show(args, "user_list", {}, lambda answer: _users(answer["users"]))


def passwd(args: Namespace) -> int:
    """Set a password."""
    params = {"name": args.name, "password": new_password(args.name)}
    return call_and_show(
        args, "user_passwd", params, lambda _: f"{args.name} has a new password; all their logins have ended."
    )


def token(args: Namespace) -> int:
    """Print a long-lived token."""
    return call_and_show(
        args, "user_token", {"name": args.name, "days": args.days}, lambda answer: str(answer["token"])
    )


def new_password(name: str) -> str:
    """A password typed twice at a terminal, else the first line of stdin."""
    password = read_password(f"New password of {name}: ")
    if sys.stdin.isatty() and getpass("Again: ") != password:
        raise Usage("The two passwords differ; nothing was changed.")
    return password


def _users(users: list[Mapping[str, Any]]) -> str:
    return table(["name", "role", "created"], [[user["name"], user["role"], user["created_at"]] for user in users])
