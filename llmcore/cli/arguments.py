"""The arguments of every command, and which function of which module does its work.

Called by `main`. Imports nothing but argparse, so that `--help` answers at once.
"""

from argparse import SUPPRESS, ArgumentParser, RawDescriptionHelpFormatter, _SubParsersAction
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

_EPILOG = """exit codes:
  0 done   1 failed   2 wrong usage   3 refused by policy   4 waits for approval
  5 could not understand   6 cannot reach the server

The server is the one named by --url, LLMCORE_URL or the last `llmcore login`.
"""
Define = Callable[[ArgumentParser], None]
Commands: TypeAlias = "_SubParsersAction[ArgumentParser]"


def parser(version: str) -> ArgumentParser:
    """The whole command line; parsed arguments have `handler`, "module:function" below `llmcore.cli`."""
    top = ArgumentParser(
        prog="llmcore",
        description="Operate your infrastructure in plain words: a model may propose, code decides and runs.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"llmcore {version}")
    commands = top.add_subparsers(metavar="COMMAND", required=True, title="commands")
    asking, looking = (_server, _asking, _plans, _templates), (_looking, _intents, _checking)
    for define in (*asking, *looking, _policy, _audit, _stopping, _upkeep, _users):
        define(commands)
    return top


def _add(commands: Commands, name: str, handler: str, help_text: str, *defines: Define) -> ArgumentParser:
    command = commands.add_parser(name, help=help_text, description=f"{help_text}.")
    command.set_defaults(handler=handler)
    command.add_argument("--json", action="store_true", help="print the answer's data as JSON")
    for define in defines:
        define(command)
    return command


def _group(commands: Commands, name: str, help_text: str) -> Commands:
    group = commands.add_parser(name, help=help_text, description=f"{help_text}.")
    return group.add_subparsers(metavar="COMMAND", required=True)


def _remote(command: ArgumentParser) -> None:
    command.add_argument("--url", metavar="URL", help="address of the server")


def _local(command: ArgumentParser) -> None:
    command.add_argument("--config", type=Path, metavar="FILE", help="settings file (JSON)")
    command.add_argument("--data-dir", metavar="DIR", help="folder of all that the server writes")


def _text(command: ArgumentParser) -> None:
    command.add_argument("text", nargs="*", metavar="TEXT", help="what you want, in plain words; `-` or nothing: stdin")


def _since(command: ArgumentParser) -> None:
    command.add_argument(
        "--since", metavar="WHEN", help="only records from then on: 24h, 7d, 2026-01-31, 2026-01-31T08:00:00Z"
    )


def _provider(command: ArgumentParser) -> None:
    command.add_argument("--provider", metavar="NAME", help="model provider to use")


def _plan_id(command: ArgumentParser) -> None:
    command.add_argument("plan", metavar="PLAN", help="id of the plan")


def _run_id(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the run, as `llmcore runs` lists it")


def _server(commands: Commands) -> None:
    serve = _add(commands, "serve", "serving:serve", "Run the server", _local)
    serve.add_argument("--host", metavar="HOST", help="address to listen on (127.0.0.1)")
    serve.add_argument("--port", type=int, metavar="PORT", help="port to listen on (8000; 0 takes a free one)")
    login = _add(commands, "login", "logging_in:login", "Log in to a server and keep the credentials", _remote)
    login.add_argument("--user", default="administrator", metavar="NAME", help="who you are (administrator)")
    _add(commands, "status", "looking:status", "Show how the server is", _remote)


def _asking(commands: Commands) -> None:
    _add(commands, "chat", "chatting:chat", "Talk to the server", _remote).add_argument(
        "--new", action="store_true", help="begin a new conversation"
    )
    ask = _add(commands, "ask", "asking:ask", "Ask once and show the reply", _remote, _text, _provider)
    ask.add_argument("--conversation", metavar="ID", help="go on with a conversation")
    _add(
        commands, "plan", "planning:plan", "Show what would be done, and do nothing", _remote, _local, _text, _provider
    )


def _plans(commands: Commands) -> None:
    chain = _add(commands, "chain", "chaining:chain", "Propose the steps of a file as one plan", _remote)
    chain.add_argument("file", type=Path, metavar="FILE", help="YAML or JSON; - is stdin")
    chain.add_argument("--title", metavar="TEXT", help="what it is for")
    chain.add_argument("--run", action="store_true", help="start at once what policy allows without asking")
    plans = _add(commands, "plans", "deciding:plans", "List plans, or show one", _remote)
    plans.add_argument("plan", nargs="?", metavar="PLAN", help="id of the plan to show whole")
    approve = _add(commands, "approve", "deciding:approve", "Approve a plan, which starts it", _remote, _plan_id)
    approve.add_argument(
        "--digest", required=True, metavar="D", help="digest of the plan you saw, whole or its first 8 or more digits"
    )
    approve.add_argument("--comment", metavar="TEXT", help="why")
    approve.add_argument(
        "--break-glass", action="store_true", help="as an admin, stand for everybody who is asked; needs a --comment"
    )
    reject = _add(commands, "reject", "deciding:reject", "Reject a plan", _remote, _plan_id)
    reject.add_argument("--reason", default="", metavar="TEXT", help="why")
    _add(commands, "undo", "deciding:undo", "Take back what a run has changed", _remote, _run_id)


def _templates(commands: Commands) -> None:
    top = _add(commands, "templates", "templating:templates", "List, show, save, run or delete templates", _remote)
    inner = top.add_subparsers(metavar="COMMAND")
    _inner(inner, "list", "templating:templates", "List templates")
    _inner(inner, "show", "templating:show", "Show a template", "NAME")
    save = _inner(inner, "save", "templating:save", "Save a plan as a template", "NAME")
    save.add_argument("--plan", required=True, metavar="PLAN", help="id of the plan")
    param = "a value of the plan that becomes a param; may be given again"
    save.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help=param)
    save.add_argument("--title", metavar="TEXT", help="what it does, in a few words")
    save.add_argument("--description", metavar="TEXT", help="what it does")
    words = "words that mean it in a chat, with {PARAM}s; may be given again"
    save.add_argument("--example", action="append", default=[], metavar="TEXT", help=words)
    run = _inner(inner, "run", "templating:run", "Run a template", "NAME")
    run.add_argument("values", nargs="*", metavar="NAME=VALUE", help="values of its params")
    _inner(inner, "delete", "templating:delete", "Delete a saved template", "NAME")


def _inner(commands: Commands, name: str, handler: str, help_text: str, named: str | None = None) -> ArgumentParser:
    """A command of a command that can also stand alone, whose options may stand before or behind it."""
    command = commands.add_parser(name, help=help_text, description=f"{help_text}.")
    command.set_defaults(handler=handler)
    command.add_argument("--json", action="store_true", default=SUPPRESS, help="print the answer's data as JSON")
    command.add_argument("--url", default=SUPPRESS, metavar="URL", help="address of the server")
    if named:
        command.add_argument("name", metavar=named, help="name of the template")
    return command


def _looking(commands: Commands) -> None:
    runs = _add(commands, "runs", "looking:runs", "List runs, or tell one with its steps", _remote)
    runs.add_argument("run", nargs="?", metavar="RUN", help="id of the run to tell")
    _add(commands, "cancel", "looking:cancel", "Stop a run", _remote, _run_id)
    resolve = _add(
        commands, "resolve", "looking:resolve", "Say what became of a step that nobody can tell", _remote, _run_id
    )
    resolve.add_argument("step", metavar="STEP", help="id of the step, as `llmcore runs RUN` shows it")
    outcome = "done: it took effect; retry: try it again; stop: end the run"
    resolve.add_argument("outcome", choices=("done", "retry", "stop"), help=outcome)
    _add(commands, "alerts", "looking:alerts", "List alerts", _remote)


def _intents(commands: Commands) -> None:
    intents = _add(commands, "intents", "catalogue:intents", "List what can be done, or check packs", _remote, _local)
    intents.add_argument("action", nargs="?", choices=("list", "lint"), default="list", help="list (usual) or lint")
    intents.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="packs to check; none: all installed ones")
    pack = _add(commands, "new-pack", "catalogue:new_pack", "Write a working pack to begin with")
    pack.add_argument("name", metavar="NAME", help="its name, in lower-case letters")
    pack.add_argument("--into", type=Path, default=Path(), metavar="DIR", help="where to put it (here)")


def _checking(commands: Commands) -> None:
    doctor = _add(commands, "doctor", "doctoring:doctor", "Check settings, store, providers, permissions", _local)
    doctor.add_argument("--online", action="store_true", help="also ask the model providers, which may cost a little")
    inner = _group(commands, "providers", "Check model providers")
    _add(inner, "test", "doctoring:providers", "Ask each configured provider one short question", _local, _provider)
    evaluate = _add(
        commands, "eval", "evaluating:evaluate", "Measure how well requests are understood", _local, _provider
    )
    evaluate.add_argument("file", type=Path, metavar="FILE", help="JSON lines: id, text, expect")
    evaluate.add_argument("--out", type=Path, metavar="PREDICTIONS", help="write what was understood, as JSON lines")
    evaluate.add_argument("--min", type=float, metavar="X", help="fail if fewer are right (0 to 1)")


def _policy(commands: Commands) -> None:
    inner = _group(commands, "policy", "Check or explain the policy, or allow something from now on")
    check = _add(inner, "check", "ruling:check", "Check a policy file against the catalogue", _local)
    check.add_argument("file", nargs="?", type=Path, metavar="FILE", help="policy to check; none: the one in use")
    check.add_argument("--show", action="store_true", help="print the Cedar that decides")
    explain = _add(inner, "explain", "ruling:explain", "Say what policy decides for an intent, and why", _local)
    explain.add_argument("intent", metavar="INTENT", help="name of the intent")
    _supposed(explain)
    allow = _add(inner, "allow", "standing:allow", "Propose to allow a step of a plan from now on", _remote, _plan_id)
    allow.add_argument("--step", metavar="ID", help="which step; none: the only one that changes something")
    allow.add_argument("--days", type=int, metavar="N", help="for how long (30)")
    allow.add_argument("--role", choices=_ROLES[:2], help="for whom; none: the role of who asked for the plan")
    _add(inner, "rules", "standing:rules", "List what is allowed from now on", _remote)
    withdraw = _add(inner, "withdraw", "standing:withdraw", "Withdraw what is allowed from now on", _remote)
    withdraw.add_argument("rule", metavar="RULE", help="id of the rule")


_ROLES = ("admin", "developer", "observer")


def _supposed(explain: ArgumentParser) -> None:
    """The facts that a decision is explained for."""
    explain.add_argument("--params", metavar="JSON", help="its params, checked as for a call; none: unknown")
    explain.add_argument("--target", action="append", metavar="NAME", help="what it touches; may be repeated")
    explain.add_argument("--owner", metavar="NAME", help="whose the target is, where no setting says it")
    explain.add_argument("--blast", type=int, metavar="N", help="number of targets touched, if not those named")
    explain.add_argument("--user", metavar="NAME", help="name of who asks")
    explain.add_argument("--role", choices=_ROLES, default="admin", help="role of who asks (admin)")
    kinds = ("user", "agent", "service", "node")
    explain.add_argument("--kind", choices=kinds, default="user", help="kind of who asks (user)")
    explain.add_argument("--autonomy", type=int, default=0, metavar="N", help="level of an agent, 0 to 5 (0)")
    explain.add_argument("--origin", default="chat", metavar="KIND", help="where the plan comes from (chat)")
    explain.add_argument("--approvals", type=int, default=0, metavar="N", help="people who have approved (0)")
    explain.add_argument("--confidence", type=int, default=100, metavar="N", help="of the planner, in per cent (100)")
    explain.add_argument("--time", metavar="TIME", help="when, such as 2026-01-31T08:30 in the policy's zone (now)")
    explain.add_argument("--tainted", action="store_true", help="as if made from untrusted text")


def _audit(commands: Commands) -> None:
    inner = _group(commands, "audit", "Read, check or write out the audit trail")
    verify = _add(
        inner, "verify", "auditing:verify_chain", "Check that no record was changed, added or removed", _local
    )
    verify.add_argument("--file", type=Path, metavar="EXPORT", help="an export to check; none: the store")
    export = _add(inner, "export", "auditing:export", "Write the records as JSON lines", _local, _remote, _since)
    export.add_argument("--out", type=Path, metavar="FILE", help="where to; none: stdout")
    query = _add(inner, "query", "auditing:query", "Look for records, newest first", _remote, _since)
    query.add_argument("--until", metavar="WHEN", help="only records before then")
    query.add_argument("--actor", metavar="NAME", help="who acted")
    query.add_argument("--action", metavar="ACTION", help="what was done: plan.approve, or plan.* for all of plans")
    query.add_argument("--plan", metavar="PLAN", help="id of a plan")
    query.add_argument("--run", metavar="RUN", help="id of a run")
    query.add_argument("--text", metavar="WORDS", help="words that the record holds")
    query.add_argument("--limit", type=int, default=50, metavar="N", help="how many records (50)")
    show = _add(inner, "show", "auditing:show", "Show all that happened to a plan or a run, or one record", _remote)
    show.add_argument("id", metavar="ID", help="id of a plan or a run, or the number of a record")
    replay = _add(commands, "replay", "replaying:replay", "Plan a run again from its recording, run nothing", _remote)
    replay.add_argument("run", metavar="RUN", help="id of the run")
    replay.add_argument("--case", type=Path, metavar="FILE", help="add the request to a file for `llmcore eval`")


def _stopping(commands: Commands) -> None:
    help_text = "Stop all running runs of all nodes between their steps"
    stop = _add(commands, "stop-all", "stopping:stop_all", help_text, _remote)
    stop.add_argument("--reason", default="", metavar="WORDS", help="why, for everybody who is told")
    choice = stop.add_mutually_exclusive_group()
    choice.add_argument("--hold", action="store_true", help="also let nothing new begin")
    choice.add_argument("--release", action="store_true", help="let things begin again")


def _upkeep(commands: Commands) -> None:
    inner = _group(commands, "trash", "Keep the trash of deleted files small")
    purge = _add(inner, "purge", "upkeeping:purge", "Empty the trash for good", _remote)
    purge.add_argument("--older-than-days", type=float, default=0, metavar="N", help="only what is older (0: all)")
    purge.add_argument("--force", action="store_true", help="also what an open plan would put back")


def _users(commands: Commands) -> None:
    inner = _group(commands, "user", "Manage who may log in")
    add = _add(inner, "add", "users:add", "Add a user", _remote)
    add.add_argument("name", metavar="NAME", help="name to log in with")
    add.add_argument("--role", default="observer", metavar="ROLE", help="admin, developer or observer (observer)")
    _add(inner, "list", "users:show", "List users", _remote)
    passwd = _add(inner, "passwd", "users:passwd", "Set a user's password, which ends their logins", _remote)
    passwd.add_argument("name", metavar="NAME", help="whose")
    token = _add(inner, "token", "users:token", "Make a long-lived token for programs", _remote)
    token.add_argument("name", metavar="NAME", help="in whose name")
    token.add_argument("--days", type=float, default=90, metavar="N", help="how long it is good for (90)")
