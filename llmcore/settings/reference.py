"""The settings as a Markdown table, made from the schema.

Called by `scripts/settings-reference`, which writes `docs/reference/settings.md`.
"""

import json

from llmcore.settings.layers import variable
from llmcore.settings.schema import Node, leaves, load_schema, types

_HEAD = """# Settings

Made from `config/settings.schema.json` by `scripts/settings-reference`; do not edit by hand.

A JSON file given with `--config` is read first, then the environment, then the options of the command. Lists and
objects are written as JSON in a variable. A secret may stand in a file of its own: `<setting>_file`, or the variable
with `_FILE` at its end, names it. `OPENAI_API_KEY` and `ANTHROPIC_API_KEY` set the two keys as well. A flat file with
`llm_provider`, `openai_api_key` and `anthropic_api_key` is accepted as it stands. An empty variable counts as not set.
Relative paths in the file count from its folder.

| Setting | Variable | Type | Default | Meaning |
|---|---|---|---|---|
"""


def reference() -> str:
    """The whole page."""
    return _HEAD + "".join(_row(path, node) for path, node in leaves(load_schema()))


def _row(path: tuple[str, ...], node: Node) -> str:
    kind = " or ".join(name for name in types(node) if name != "null") + (" (secret)" if node.get("writeOnly") else "")
    default = "" if node["default"] is None else f"`{json.dumps(node['default'])}`"
    meaning = node["description"].replace("|", "\\|")
    return f"| `{'.'.join(path)}` | `{variable(path)}` | {kind} | {default} | {meaning} |\n"


def defaults() -> dict[str, object]:
    """A settings file that says what holds without one; secrets and what is off by default are left out."""
    document: dict[str, object] = {}
    for path, node in leaves(load_schema()):
        if node["default"] is None or node.get("writeOnly") or "<name>" in path:
            continue
        place: dict[str, object] = document
        for key in path[:-1]:
            place = place.setdefault(key, {})  # type: ignore[assignment] # every inner value made here is a dict
        place[path[-1]] = node["default"]
    return document
