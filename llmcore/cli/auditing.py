"""`llmcore audit verify` and `audit export`.

Called by `main`.
"""

import json
import sys
from argparse import Namespace
from contextlib import ExitStack
from typing import TextIO

from llmcore.adapters.sql import verify_file
from llmcore.cli.client import Client
from llmcore.cli.credentials import write_private
from llmcore.cli.exits import Exit
from llmcore.cli.local import settings_for
from llmcore.cli.remote import run_with_server
from llmcore.cli.terminal import print_json

PAGE = 1000


def verify_chain(args: Namespace) -> int:
    """Check the audit chain of a data folder, without a server: exit 1 where a record is not what was written."""
    settings = settings_for(args)
    found = verify_file(settings.data_dir, settings.store.url.get_secret_value())
    if args.json:
        print_json({"ok": found.ok, "rows": found.rows, "first_bad": found.first_bad})
    elif found.ok:
        print(f"All {found.rows} records are as they were written.")
    else:
        print(f"Record {found.first_bad} was changed, added or removed; {found.rows} records are there.")
    return Exit.DONE if found.ok else Exit.FAILED


def export(args: Namespace) -> int:
    """Write all records, oldest first, one JSON object a line."""
    with ExitStack() as stack:
        out = sys.stdout
        if args.out:
            write_private(args.out, b"")
            out = stack.enter_context(args.out.open("w", encoding="utf-8"))
        return run_with_server(args, lambda client: _pages(client, out))


async def _pages(client: Client, out: TextIO) -> int:
    after = 0
    while records := (await client.call("audit_query", {"after_seq": after, "limit": PAGE}))["records"]:
        after = max(record["seq"] for record in records)
        lines = [json.dumps(record) + "\n" for record in sorted(records, key=lambda record: int(record["seq"]))]
        out.writelines(lines)
    return Exit.DONE
