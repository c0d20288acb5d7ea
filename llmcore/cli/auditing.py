"""`llmcore audit`: verify, export, query, show.

Called by `main`.
"""

import json
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from llmcore.adapters.local import SystemClock
from llmcore.adapters.sql import export_file, verify_file
from llmcore.audit import Verification, export_lines, verify_lines
from llmcore.cli.client import Client
from llmcore.cli.credentials import write_private
from llmcore.cli.exits import Exit, Usage
from llmcore.cli.local import settings_for
from llmcore.cli.remote import run_with_server, run_with_server_or_alone
from llmcore.cli.terminal import one_line, print_json, sanitize, table
from llmcore.errors import NotFound
from llmcore.ports import rfc3339

PAGE = 500
MOST = 5000
_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_IDS = ("plan_id", "run_id", "conversation_id", "suggestion_id", "fingerprint")
_WHY = ("reason", "comment", "why", "prompt", "title", "outcome", "status", "state")
"""Facts that say why or what came of it, the most telling first."""

Write = Callable[[Iterator[str]], None]


# --- verify and export --------------------------------------------------------------------------------------------


def verify_chain(args: Namespace) -> int:
    """Check the audit trail of a data folder, or an export of it, without a server.

    Exit 1 where a record is not what was written.
    """
    found, what = _verified_file(args.file) if args.file else _verified_store(args)
    if args.json:
        print_json({"ok": found.ok, "rows": found.rows, "first_bad": found.first_bad})
    elif found.ok:
        print(f"All {found.rows} records are as they were written.")
    else:
        print(f"Record {found.first_bad} was changed, added or removed; {found.rows} records are there.\n{what}")
    return Exit.DONE if found.ok else Exit.FAILED


def _verified_store(args: Namespace) -> tuple[Verification, str]:
    settings = settings_for(args)
    found = verify_file(settings.data_dir, settings.store.url.get_secret_value())
    return found, (
        f"Looked at the store of {settings.data_dir} and its audit.head; if that is not the folder you mean, name it"
        " with --data-dir. Compare with an export or a backup to see what was there."
    )


def _verified_file(file: Path) -> tuple[Verification, str]:
    with file.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        return verify_lines(lines), "Export the records again with `llmcore audit export` and compare."


def export(args: Namespace) -> int:
    """Write the records, oldest first, one JSON object a line, so that the file can be checked by itself."""
    since = moment(args.since) if args.since else ""
    with _written(args.out) as write:
        return run_with_server_or_alone(
            args, lambda client: _pages(client, since, write), lambda: _export_here(args, since, write)
        )


@contextmanager
def _written(file: Path | None) -> Iterator[Write]:
    """Writes lines to a file of mode 600, or to stdout."""
    with ExitStack() as stack:
        out = sys.stdout
        if file:
            write_private(file, b"")
            out = stack.enter_context(file.open("w", encoding="utf-8", newline="\n"))
        yield out.writelines


def _export_here(args: Namespace, since: str, write: Write) -> int:
    settings = settings_for(args)
    write(export_file(settings.data_dir, settings.store.url.get_secret_value(), since))
    return Exit.DONE


async def _pages(client: Client, since: str, write: Write) -> int:
    params: dict[str, Any] = {"limit": PAGE} | ({"since": since} if since else {})
    page = await client.call("audit_export", params)
    previous, last = page["previous"], page["last_seq"]
    begins = True
    while rows := [row for row in page["rows"] if row["seq"] <= last]:
        found = ((row["seq"], row["record"], row["hash"]) for row in rows)
        write(export_lines(found, previous, last, begins=begins))
        previous, begins = rows[-1]["hash"], False
        page = await client.call("audit_export", {"limit": PAGE, "after_seq": rows[-1]["seq"]})
    return Exit.DONE


# --- query and show -----------------------------------------------------------------------------------------------


def query(args: Namespace) -> int:
    """Show records that fit, newest first."""
    given = {"actor": args.actor, "action": args.action, "plan_id": args.plan, "run_id": args.run, "text": args.text}
    times = {name: moment(text) for name, text in (("since", args.since), ("until", args.until)) if text}
    wanted = {name: value for name, value in given.items() if value} | times
    if not 1 <= args.limit <= MOST:
        raise Usage(f"--limit is a number from 1 to {MOST}.")

    async def work(client: Client) -> int:
        records = await _found(client, wanted, args.limit)
        if args.json:
            print_json({"records": records})
        else:
            print(records_table(records) if records else "No record fits.")
        return Exit.DONE

    return run_with_server(args, work)


def show(args: Namespace) -> int:
    """Show everything about a plan or a run in the order in which it happened, or one record in full."""

    async def work(client: Client) -> int:
        records = await _about(client, args.id)
        if not records:
            raise NotFound(f"No record is about {one_line(args.id)}: name a plan, a run or the number of a record.")
        if args.json:
            print_json({"records": records})
        elif args.id.isdecimal():
            print(sanitize(json.dumps(records[0], indent=2, ensure_ascii=False)))
        else:
            print(records_table(records))
        return Exit.DONE

    return run_with_server(args, work)


async def _found(client: Client, wanted: Mapping[str, Any], limit: int) -> list[Mapping[str, Any]]:
    """Records that fit, newest first; asked for again where one request does not look at all of the trail."""
    records: list[Mapping[str, Any]] = []
    more: dict[str, Any] = {}
    while len(records) < limit:
        answer = await client.call("audit_query", {**wanted, **more, "limit": limit - len(records)})
        records += answer["records"]
        if answer["before_seq"] is None:
            break
        more = {"before_seq": answer["before_seq"]}
    return records


async def _about(client: Client, name: str) -> list[Mapping[str, Any]]:
    if name.isdecimal():
        found = (await client.call("audit_query", {"before_seq": int(name) + 1, "limit": 1}))["records"]
        return [record for record in found if record["seq"] == int(name)]
    for key in ("plan_id", "run_id"):
        if found := await _found(client, {key: name}, MOST):
            return list(reversed(found))
    return []


def records_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Records for people: when, who, what, about what, why."""
    return table(["record", "when", "who", "what", "about", "why"], [_row(record) for record in records])


def _row(record: Mapping[str, Any]) -> Sequence[Any]:
    facts = record["facts"]
    subject = next((facts[key] for key in _IDS if facts.get(key)), None)
    about = " ".join(str(one) for one in (facts.get("intent"), facts.get("user"), subject) if one)
    error = facts.get("error")
    said = [error.get("message") or error.get("error")] if isinstance(error, Mapping) else []
    why = next((text for text in [*said, *(facts.get(key) for key in _WHY)] if text), None)
    return [record["seq"], record["time"], (record["actor"] or {}).get("name"), record["action"], about or None, why]


def moment(text: str) -> str:
    """A moment as records write it: RFC 3339, a date (UTC), or a span before now such as `90m`, `24h`, `7d`, `2w`."""
    span = _SPAN.fullmatch(text)
    if span:
        ago = timedelta(**{_UNITS[span[2]]: int(span[1])})
        return rfc3339(max(0.0, SystemClock().now() - ago.total_seconds()))
    try:
        when = datetime.fromisoformat(text)
        return rfc3339((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise Usage(f"{one_line(text)} is no moment: write 24h, 7d, 2026-01-31 or 2026-01-31T08:00:00Z.") from None
