"""`llmcore ask`.

Called by `main`.
"""

import asyncio
import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from llmcore.cli.cards import card, how_to_approve
from llmcore.cli.client import Client
from llmcore.cli.exits import Exit, Usage
from llmcore.cli.remote import run_with_server
from llmcore.cli.showing import view
from llmcore.cli.terminal import print_json, sanitize
from llmcore.cli.turns import Ended, Silent, cancel, follow, new_topic


def ask(args: Namespace) -> int:
    """Ask once; shows the reply as it comes, and the card of a plan that waits."""
    text = request_text(args.text)

    async def work(client: Client) -> int:
        params = {"provider": args.provider} if args.provider else {}
        if args.json:
            return await _whole(client, text, params, args.conversation)
        return show_end(await converse(client, text, params, args.conversation))

    return run_with_server(args, work)


def request_text(words: list[str]) -> str:
    """The request; `-`, or nothing at all, stands for stdin."""
    if not words and sys.stdin.isatty():
        raise Usage("Say what you want, for example: llmcore ask which processes eat the memory")
    text = " ".join(sys.stdin.read() if word == "-" else word for word in words or ["-"]).strip()
    if not text:
        raise Usage("The request is empty.")
    return text


async def converse(client: Client, text: str, params: Mapping[str, Any], conversation: str | None) -> Ended:
    """One turn, streamed to the terminal; cancelled on the server too where we are."""
    feed = client.follow(new_topic())
    run_id = None
    try:
        accepted = await client.call("chat_llm", _request(text, {**params, "stream": True}, conversation, feed.topic))
        run_id = accepted["run_id"]
        return await follow(feed, view(), run_id)
    except asyncio.CancelledError:
        await cancel(client, run_id)
        raise


def show_end(ended: Ended) -> Exit:
    """What is left to say after the stream: the error, or the card of a waiting plan."""
    if ended.outcome == "error":
        print(f"llmcore: {sanitize(str(ended.result['message']))}", file=sys.stderr)
    elif ended.waits and ended.plan:
        print(f"\n{card(ended.plan)}")
        if ended.undecided:
            print(how_to_approve(ended.undecided))
    return ended.exit


async def _whole(client: Client, text: str, params: Mapping[str, Any], conversation: str | None) -> Exit:
    """The answer as one JSON object, whether the server had it at once or not."""
    feed = client.follow(new_topic())
    answer = await client.call("chat_llm", _request(text, {**params, "stream": False}, conversation, feed.topic))
    ended = await follow(feed, Silent(), answer["run_id"])
    if ended.outcome == "error":
        answer.setdefault("error", dict(ended.result))
    elif answer["status"] == "running":
        status = ended.plan["status"] if ended.plan else {"cancelled": "cancelled"}.get(ended.outcome, "done")
        answer |= {"status": status, "plan": ended.plan, **ended.result}
    print_json(answer)
    return ended.exit


def _request(text: str, params: Mapping[str, Any], conversation: str | None, topic: str) -> dict[str, Any]:
    request: dict[str, Any] = {"prompt": text, "params": dict(params), "topic": topic}
    return {**request, "conversation_id": conversation} if conversation else request
