"""Write docs/reference/{rpc,intents,commands}.md from the product itself; `--check` only says which are out of date.

Called by a person after a change and, with `--check`, by the tests. Texts come from docstrings, schemas and help.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import llmcore.api  # every module of it declares its RPCs when it is loaded
from llmcore import __version__
from llmcore.catalog import load_packs
from llmcore.cli.arguments import parser

PAGES = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE = "Made by `scripts/reference.py` from the product; do not edit by hand.\n"


def type_of(schema: Mapping[str, Any]) -> str:
    """A JSON Schema in a word or two."""
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(type_of(option) for option in schema["anyOf"])
    kind = schema.get("type", "any")
    kinds = kind if isinstance(kind, list) else [kind]
    if kinds == ["array"] and schema.get("items"):
        return f"array of {type_of(schema['items'])}"
    return " or ".join(kinds)


def params_of(schema: Mapping[str, Any]) -> str:
    """The params in one cell, those that may be left out with a question mark."""
    required = schema.get("required", ())
    found = [
        f"`{name}{'' if name in required else '?'}`: {type_of(prop)}"
        for name, prop in schema.get("properties", {}).items()
    ]
    return "<br>".join(found).replace("|", "\\|")


def rpcs() -> Iterator[str]:
    """Every RPC with its params."""
    yield f"# RPCs\n\n{MADE}\n"
    yield 'Asked by `{"type":"rpc","requestid","intent","params"}` on `/ws`, and answered once by an\n'
    yield "`rpc_response` with the same `requestid`. The prefix `intent_` may be written or left out. Every\n"
    yield "[intent](intents.md) is an RPC too: one that policy asks about is answered by `approval_required` with the\n"
    yield "`plan_id` of the plan that waits. Long work is acknowledged; its end comes as an [event](events.md).\n\n"
    yield "| RPC | params (`?`: may be left out) | what it does |\n|---|---|---|\n"
    for name, rpc in sorted(llmcore.api.core.RPCS.items()):
        summary = " ".join((rpc.handler.__doc__ or "").split())
        yield f"| `{name}` | {params_of(rpc.schema)} | {summary} |\n"


def intents() -> Iterator[str]:
    """Every bundled intent with its params, effect and first examples."""
    yield f"# Intents\n\n{MADE}\n"
    yield "What a bundled installation can do. `read` runs at once, `write` and `destructive` wait for approval by\n"
    yield "the default policy. *undo* means that a finished call can be taken back.\n"
    offered = [intent for intent in load_packs() if intent.offered]
    found = sorted(offered, key=lambda intent: (intent.pack, intent.name))
    pack = ""
    for intent in found:
        if intent.pack != pack:
            pack = intent.pack
            yield f"\n## {pack}\n\n| intent | params | effect | what it does | for example |\n|---|---|---|---|---|\n"
        effect = f"{intent.effect.value}{', undo' if intent.undo else ''}"
        summary = " ".join(intent.description.partition("\n\n")[0].split())
        example = intent.examples[0].text
        yield f"| `{intent.name}` | {params_of(intent.schema)} | {effect} | {summary} | *{example}* |\n"


def commands() -> Iterator[str]:
    """Every command with its arguments."""
    top = parser(__version__)
    yield f"# Commands\n\n{MADE}\n"
    yield "All take `--json`, which prints the answer's data. `--url` names the server; without it `LLMCORE_URL` or\n"
    yield "the last `llmcore login` does. `--config` and `--data-dir` are those of `serve`.\n"
    yield f"\n```text\n{top.epilog}```\n"
    yield "\n| command | what it does | arguments |\n|---|---|---|\n"
    for names, command in sub_commands(top):
        cells = "<br>".join(filter(None, map(argument, command._actions)))
        yield f"| `llmcore {names}` | {command.description} | {cells} |\n".replace("|  |", "| |")


def argument(action: argparse.Action) -> str:
    """One argument and its help; nothing for those that all commands have."""
    if action.dest in ("help", "json", "url", "config", "data_dir"):
        return ""
    name = " ".join(filter(None, [*action.option_strings[:1], str(action.metavar or "")])) or action.dest
    return f"`{name}`: {action.help}"


def sub_commands(top: argparse.ArgumentParser, before: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """All commands, inner ones too, with the words that call them."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                inner = list(sub_commands(command, f"{before}{name} "))
                yield from inner or [(f"{before}{name}", command)]


def main() -> int:
    """Write the pages, or name those that differ; 1 if any does."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--check", action="store_true", help="write nothing")
    check = options.parse_args().check
    old = []
    for name, page in {"rpc": rpcs, "intents": intents, "commands": commands}.items():
        path, text = PAGES / f"{name}.md", "".join(page())
        if not path.is_file() or path.read_text("utf-8") != text:
            old.append(path.name)
            if not check:
                path.write_text(text, "utf-8")
    print(f"{', '.join(old) or 'nothing'} {'is out of date' if check else 'written'}")
    return int(check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
