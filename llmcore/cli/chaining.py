"""`llmcore chain`: propose a chain that stands in a file.

Called by `main`.
"""

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import yaml

from llmcore.cli.asking import show_end
from llmcore.cli.cards import card, how_to_approve
from llmcore.cli.client import Client
from llmcore.cli.exits import Exit, Usage
from llmcore.cli.remote import run_with_server
from llmcore.cli.showing import view
from llmcore.cli.terminal import print_json
from llmcore.cli.turns import follow, new_topic

LARGEST = 1_000_000


def chain(args: Namespace) -> int:
    """Propose the steps of a file; with `--run` they start at once where policy asks nobody."""
    asked = read_chain(args.file)
    if args.title:
        asked["title"] = args.title

    async def work(client: Client) -> int:
        feed = client.follow(new_topic())
        mode = "run" if args.run else "propose"
        answer = await client.call("chain", {**asked, "mode": mode, "topic": feed.topic})
        waits = answer["status"] == "proposed"
        if args.json:
            print_json(answer)
        elif waits:
            print(f"{card(answer['plan'])}\n{how_to_approve(answer['plan'])}")
        else:
            return show_end(await follow(feed, view(), answer["run_id"]))
        return Exit.WAITS if waits else Exit.DONE

    return run_with_server(args, work)


def read_chain(file: Path) -> dict[str, Any]:
    """`title?` and `steps` of a YAML or JSON file, or the steps alone; `-` is stdin. Raises Usage."""
    try:
        text = sys.stdin.read(LARGEST + 1) if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as unreadable:
        reason = getattr(unreadable, "strerror", None) or "it is not text in UTF-8"
        raise Usage(f"{file} cannot be read ({reason}).") from unreadable
    if len(text) > LARGEST:
        raise Usage(f"{file} is larger than {LARGEST} characters.")
    try:
        document = yaml.safe_load(text)  # JSON is YAML
    except yaml.YAMLError as wrong:
        raise Usage(f"{file} is neither YAML nor JSON: {' '.join(str(wrong).split())}") from wrong
    if isinstance(document, list):
        return {"steps": document}
    if not isinstance(document, dict) or not isinstance(document.get("steps"), list):
        raise Usage(f"{file} must be a list of steps, or an object with `steps` and perhaps `title`.")
    if unknown := sorted(str(key) for key in document.keys() - {"steps", "title"}):
        raise Usage(f"{file} has the unknown key {unknown[0]!r}; `steps` and `title` are known.")
    return document
