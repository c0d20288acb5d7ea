"""`llmcore intents` and `llmcore new-pack`.

Called by `main`.
"""

import re
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llmcore.app.build import load_catalog
from llmcore.catalog import Catalog, CatalogError, load_folder, load_packs
from llmcore.cli.client import Client
from llmcore.cli.exits import Exit, Usage
from llmcore.cli.local import settings_for
from llmcore.cli.pack_template import files_of
from llmcore.cli.remote import run_with_server_or_alone
from llmcore.cli.terminal import print_json, sanitize, table
from llmcore.intent import Effect, Intent

ENOUGH_EXAMPLES = 8
"""Fewer, and the local matcher is seldom sure."""


def intents(args: Namespace) -> int:
    """List what can be done here, or check packs."""
    if args.action == "lint":
        return _lint(args)
    if args.paths:
        raise Usage("`intents list` takes no paths; `intents lint PATH` checks a pack.")

    async def work(client: Client) -> int:
        _show(await client.call("intents_list"), args)
        return Exit.DONE

    return run_with_server_or_alone(args, work, lambda: _show_local(args))


def new_pack(args: Namespace) -> int:
    """Write a working pack with its tests into a new folder."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", args.name):
        raise Usage(f"{args.name} is no name for a pack; take lower-case letters, digits and _.")
    folder = args.into / args.name
    if folder.exists():
        raise Usage(f"{folder} is there already; take another name or move it away.")
    written = []
    for name, text in files_of(args.name).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        written.append(str(file))
    if args.json:
        print_json({"files": written})
    else:
        print("\n".join(["Wrote", *(f"  {file}" for file in written)]))
        print(f"Check it:   llmcore intents lint {folder}\nTest it:    pytest {folder}")
        print(f"Use it:     LLMCORE_PACKS__PATH={folder.absolute()} llmcore serve")
    return Exit.DONE


def _show_local(args: Namespace) -> int:
    found = [
        {"name": intent.name, "description": intent.description, "schema": intent.schema, "effect": intent.effect.value}
        | {"pack": intent.pack, "examples": [{"text": one.text, "params": one.params} for one in intent.examples]}
        for intent in load_catalog(settings_for(args))
    ]
    _show({"intents": found}, args)
    return Exit.DONE


def _show(answer: Mapping[str, Any], args: Namespace) -> None:
    if args.json:
        print_json(answer)
        return
    rows = [
        [found["name"], found["effect"], _params(found["schema"]), found["description"]] for found in answer["intents"]
    ]
    print(table(["intent", "effect", "params", "description"], rows))


def _params(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    return " ".join(name if name in required else f"{name}?" for name in schema.get("properties", {}))


def _lint(args: Namespace) -> int:
    found, problems = [], []
    for source, pack in _packs(args):
        try:
            loaded = list(pack)
            Catalog(loaded)
        except CatalogError as error:
            problems.append({"level": "error", "source": source, "message": error.message})
            continue
        found += loaded
        problems += [{"level": "warning", "source": source, "message": line} for line in _weak(loaded)]
    try:
        Catalog(found)
    except CatalogError as error:
        problems.append({"level": "error", "source": "all packs", "message": error.message})
    ok = all(problem["level"] == "warning" for problem in problems)
    if args.json:
        print_json({"ok": ok, "intents": len(found), "problems": problems})
    else:
        for problem in problems:
            print(f"{problem['level']}: {sanitize(problem['message'])}")
        print(f"{len(found)} intents, {len(problems)} problems")
    return Exit.DONE if ok else Exit.FAILED


def _packs(args: Namespace) -> Iterable[tuple[str, Iterable[Intent]]]:
    """Each with a name; the generators are read by the caller, so that one broken pack does not hide the next."""
    paths: Iterable[Path] = args.paths
    if not args.paths:
        yield "installed packs", load_packs()
        paths = settings_for(args).packs.path
    for path in paths:
        yield str(path), load_folder(path)


def _weak(loaded: Iterable[Intent]) -> Iterable[str]:
    for intent in loaded:
        where = f"{intent.pack}: {intent.name}"
        if intent.offered and len(intent.examples) < ENOUGH_EXAMPLES:
            yield f"{where}: has {len(intent.examples)} examples; {ENOUGH_EXAMPLES} varied ones are found more often"
        if intent.handler and intent.effect is not Effect.READ and intent.preview is None:
            yield f"{where}: changes something but has no preview of what it touches"
