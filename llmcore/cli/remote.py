"""What the commands that talk to a server share: connect, do some work, show the answer.

Used by those commands.
"""

import asyncio
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from llmcore.cli.client import Broadcast, Client, connect, refresh
from llmcore.cli.credentials import Login, credentials
from llmcore.cli.exits import Exit, Unreachable
from llmcore.cli.terminal import print_json
from llmcore.errors import Unauthorized


@asynccontextmanager
async def connected(login: Login, on_broadcast: Broadcast = lambda _: None) -> AsyncIterator[Client]:
    """A connection for the length of a block; an expired token is renewed and kept."""
    held = login.access

    async def renew() -> str:
        nonlocal held
        kept = await asyncio.to_thread(credentials().login, login.url)
        if kept.refresh is None:
            raise Unauthorized("LLMCORE_TOKEN is not valid any more; make another with `llmcore user token`.")
        if kept.access == held:  # else another command has renewed it meanwhile
            data = await refresh(login.url, kept.refresh)
            kept = await asyncio.to_thread(credentials().keep, login.url, data)
        held = kept.access
        return held

    async with connect(login.url, login.access, renew, on_broadcast) as client:
        yield client


def run_with_server(args: Namespace, work: Callable[[Client], Awaitable[int]]) -> int:
    """Do some work over a connection and return its exit code."""
    login = credentials().login(args.url)

    async def main() -> int:
        async with connected(login) as client:
            return await work(client)

    return asyncio.run(main())


def call_and_show(args: Namespace, intent: str, params: Mapping[str, Any], text_of: Callable[[Any], str]) -> int:
    """One RPC: its data as JSON if that is asked for, else the text made of it."""

    async def work(client: Client) -> int:
        answer = await client.call(intent, params)
        if args.json:
            print_json(answer)
        else:
            print(text_of(answer))
        return Exit.DONE

    return run_with_server(args, work)


def run_with_server_or_alone(
    args: Namespace, work: Callable[[Client], Awaitable[int]], alone: Callable[[], int]
) -> int:
    """Work with the server where one is named or the last one answers, else without.

    `--config` and `--data-dir` speak of this machine, so they mean without, unless a server is named too.
    """
    named = credentials().named(args.url)
    if not named and (args.config or args.data_dir):
        return alone()
    try:
        return run_with_server(args, work)
    except (Unauthorized, Unreachable) as error:
        if named:
            raise
        print(f"llmcore: {error.message} Going on without a server.", file=sys.stderr)
        return alone()
