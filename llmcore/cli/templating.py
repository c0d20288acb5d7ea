"""`llmcore templates`: list, show, save, run and delete.

Called by `main`.
"""

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from llmcore.cli.asking import show_end
from llmcore.cli.cards import card, how_to_approve
from llmcore.cli.client import Client
from llmcore.cli.exits import Exit, Usage
from llmcore.cli.remote import call_and_show, run_with_server
from llmcore.cli.showing import view
from llmcore.cli.terminal import one_line, params_text, print_json, table
from llmcore.cli.turns import Silent, follow, new_topic
from llmcore.plan import is_placeholder

_WAITING = ("proposed", "waiting")


def templates(args: Namespace) -> int:
    """List templates: saved ones, newest first, then bundled ones."""
    return call_and_show(args, "template_list", {}, lambda answer: _table(answer["templates"]))


def show(args: Namespace) -> int:
    """Show a template with all it has."""
    return call_and_show(args, "template_get", {"name": args.name}, lambda answer: _whole(answer["template"]))


def save(args: Namespace) -> int:
    """Save a plan as a template; each `--param name=value` names a value of the plan that becomes a param."""
    values = {name: {"value": value} for name, value in _values(args.param).items()}
    params = {"name": args.name, "plan_id": args.plan, "params": values}
    params |= {"title": args.title, "description": args.description, "examples": args.example or None}
    given = {key: value for key, value in params.items() if value is not None}
    return call_and_show(args, "template_save", given, lambda answer: f"Saved.\n{_whole(answer['template'])}")


def run(args: Namespace) -> int:
    """Run a template: exit 4 with the plan's card where somebody has to approve it."""

    async def work(client: Client) -> int:
        feed = client.follow(new_topic())
        values = await _typed(client, args.name, _values(args.values, typed=False))
        params = {"name": args.name, "params": values, "mode": "run", "topic": feed.topic}
        answer = await client.call("template_run", params)
        plan = answer["plan"]
        if answer.get("run_id") and plan["status"] not in _WAITING:
            ended = await follow(feed, Silent() if args.json else view(), answer["run_id"])
            if args.json:
                ended_plan = ended.plan or plan
                print_json({**answer, "status": ended_plan["status"], "plan": ended_plan})
                return ended.exit
            return show_end(ended)
        if args.json:
            print_json(answer)
        else:
            print(f"{card(plan)}\n{how_to_approve(plan)}")
        return Exit.WAITS

    return run_with_server(args, work)


def delete(args: Namespace) -> int:
    """Delete a saved template."""
    return call_and_show(
        args, "template_delete", {"name": args.name}, lambda answer: f"Deleted {answer['template']['name']}."
    )


async def _typed(client: Client, name: str, values: Mapping[str, str]) -> dict[str, Any]:
    """What was typed, in the types that the template's params have."""
    if not values:
        return {}
    schemas = (await client.call("template_get", {"name": name}))["template"]["params"]
    return {key: _in_type(text, schemas.get(key, {}).get("type", "string")) for key, text in values.items()}


def _in_type(text: str, kind: str) -> Any:
    return text if kind == "string" else _read(text)


def _values(pairs: Sequence[str], *, typed: bool = True) -> dict[str, Any]:
    """`name=value` pairs; with `typed` a number is one."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise Usage(f"{one_line(pair)} is not NAME=VALUE.")
        if name in found:
            raise Usage(f"{one_line(name)} is given twice.")
        found[name] = _read(text) if typed else text
    return found


def _read(text: str) -> Any:
    """A number or a truth value where it is one, else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text


def _table(found: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            one["name"],
            one["title"],
            one["effect"] or "lacks an intent",
            ", ".join(one["params"]),
            one["owner"] or "bundled",
        ]
        for one in found
    ]
    return table(["template", "title", "effect", "params", "owner"], rows) if rows else "There are no templates."


def _whole(template: Mapping[str, Any]) -> str:
    lines = [f"Template {template['name']}: {one_line(template['title'])}"]
    if template["description"]:
        lines.append(f"  {one_line(template['description'], 2_000)}")
    for name, schema in template["params"].items():
        about = {key: value for key, value in schema.items() if key != "description"}
        lines.append(f"  param {name} {params_text(about)} {one_line(schema.get('description', ''), 500)}".rstrip())
    lines += [f'  say "{one_line(text, 300)}"' for text in template["examples"]]
    for number, step in enumerate(template["steps"]):
        params = params_text({key: _readable(value) for key, value in step["params"].items()})
        lines.append(f"  {step.get('id', f's{number + 1}')} {step['intent']} {params}".rstrip())
    facts = [f"effect {template['effect']}", f"saved by {template['owner']}" if template["owner"] else "bundled"]
    if template["tainted"]:
        facts.append("made from untrusted text")
    return "\n".join([*lines, f"  {', '.join(facts)}"])


def _readable(value: Any) -> Any:
    """A value with its placeholders as `{name}`."""
    if is_placeholder(value):
        parts = value.get("$join", [value])
        return "".join(part if isinstance(part, str) else f"{{{part.get('$param')}}}" for part in parts)
    if isinstance(value, Mapping):
        return {key: _readable(inner) for key, inner in value.items()}
    return [_readable(inner) for inner in value] if isinstance(value, list) else value
