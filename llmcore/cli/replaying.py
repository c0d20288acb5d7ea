"""`llmcore replay`.

Called by `main`.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmcore.cli.client import Client
from llmcore.cli.exits import Exit
from llmcore.cli.remote import run_with_server
from llmcore.cli.terminal import print_json, sanitize

_NAMES = {"catalog": "the catalogue", "policy": "the policy", "planner": "the planner"}


def replay(args: Namespace) -> int:
    """Plan a run again from its recording: exit 0 if plan and decisions are the same, 1 if not."""

    async def work(client: Client) -> int:
        answer = await client.call("run_replay", {"run_id": args.run})
        if args.case:
            _append(args.case, answer)
        if args.json:
            print_json(answer)
        else:
            print("\n".join(sanitize(line) for line in _lines(answer)))
        return Exit.DONE if answer["same"] else Exit.FAILED

    return run_with_server(args, work)


def _append(file: Path, answer: Mapping[str, Any]) -> None:
    """Add the request to a file for `llmcore eval`."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(answer["case"], ensure_ascii=False) + "\n")
    if not answer["stands_alone"]:
        print("llmcore: the words may lean on what was said before them, which a case does not have.", file=sys.stderr)


def _lines(answer: Mapping[str, Any]) -> Iterator[str]:
    yield "The same: plan and decisions are what they were." if answer["same"] else "Not the same as it was:"
    for one in answer["differences"]:
        where = f"{one['step']} {one['what']}" if one["step"] else one["what"]
        yield f"  {where}: {_told(one['recorded'])} -> {_told(one['now'])}"
    for name, version in answer["changed"].items():
        yield f"Since then {_NAMES.get(name, name)} has changed ({version['recorded']} -> {version['now']})."
    if answer["same_prompts"] is False:
        yield "A model would be asked in other words now; its recorded replies were used."
    if answer["redacted"]:
        yield "Secrets were taken out of the recording, so it is not quite what was planned from."
    if answer["cut"]:
        yield "The recording was too large and is cut, so it is not quite what was planned from."


def _told(value: Any) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
