"""`llmcore login`.

Called by `main`.
"""

import asyncio
import sys
from argparse import Namespace
from getpass import getpass

from llmcore.cli.client import authorize
from llmcore.cli.credentials import credentials
from llmcore.cli.exits import Exit, Usage
from llmcore.cli.terminal import print_json
from llmcore.settings import load_client


def login(args: Namespace) -> int:
    """Ask for the password, log in and keep the tokens; Unauthorized, RateLimited or Unreachable."""
    kept = credentials()
    url = kept.url(args.url)
    password = read_password(f"Password of {args.user} at {url}: ", load_client().password)
    kept.keep(url, asyncio.run(authorize(url, args.user, password)))
    if args.json:
        print_json({"url": url, "user": args.user})
    else:
        print(f"Logged in to {url} as {args.user}.")
    return Exit.DONE


def read_password(prompt: str, given: str | None = None) -> str:
    """As given, typed unseen at a terminal, or the first line of stdin."""
    password = given or (getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n"))
    if not password:
        raise Usage("A password is needed: type it, or give it as the first line of stdin.")
    return password
