"""The audit chain as the store keeps it: rows in the table `audit`, the newest link also in `audit.head` beside it.

Used by the writer's thread only. Knows nothing of what is recorded. The head file is what shows that the last rows have
vanished; it is written after the commit and never names a row that a crash of the machine could still take back.
"""

import json
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

from llmcore.adapters.sql.database import Database
from llmcore.adapters.sql.statements import Statements
from llmcore.audit import Head, link
from llmcore.errors import Unavailable

HEAD_NAME = "audit.head"
HEAD_INTERVAL_S = 0.1
"""While records come in quickly the head file is written at most this often."""
HEAD_RETRY_S = 5.0
AUDIT_LOCK = 0x6C6C6D01

_log = logging.getLogger(__name__)


def read_head(folder: Path) -> Head | None:
    """The head kept in a folder, None if there is none; an unreadable one counts as none."""
    try:
        data = json.loads((folder / HEAD_NAME).read_text("utf-8"))
        return Head(int(data["seq"]), str(data["hash"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write_head(folder: Path, head: Head) -> None:
    """Replace the head kept in a folder, whole or not at all."""
    descriptor, name = tempfile.mkstemp(prefix=f"{HEAD_NAME}.", dir=folder)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps({"seq": head.seq, "hash": head.hash}) + "\n")
        os.replace(name, folder / HEAD_NAME)
    except OSError:
        os.unlink(name)
        raise


class Chain:
    """Appends records in the writer's transaction and keeps the head file."""

    def __init__(self, database: Database, statements: Statements, folder: Path) -> None:
        """Keep the head in `folder`; Unavailable if that cannot be written."""
        self._database = database
        self._statements = statements
        self._folder = folder
        self._kept = self._first_head()
        self._known = self._kept
        self._tail: Head | None = None
        self._next_at = 0.0

    def begin(self, connection: Connection, appends: bool) -> None:
        """A transaction begins: nothing is known of the table's end; if it `appends`, other nodes have to wait."""
        self._tail = None
        if appends:
            self._database.lock(connection, AUDIT_LOCK)

    def append(self, connection: Connection, records: Sequence[str]) -> int:
        """Link and insert records; returns the last `seq`.

        Numbers that the head has seen are never given again: if rows have vanished, a gap stays for the verifier.
        """
        tail = self._tail or self._end(connection)
        for record in records:
            tail = Head(tail.seq + 1, link(tail.hash, record))
            self._statements.audit_insert(connection, {"seq": tail.seq, "record": record, "hash": tail.hash})
        self._tail = tail
        return tail.seq

    def committed(self) -> None:
        """The transaction is in the database."""
        if self._tail:
            self._known = self._tail
            if self.due_s() == 0:
                self.keep()

    def due_s(self) -> float | None:
        """Seconds until the head file has to be written; None if it is right."""
        if self._known == self._kept:
            return None
        return max(0.0, self._next_at - time.monotonic())

    def keep(self) -> None:
        """Write the head file if it is behind; if that fails the rows count all the same and it is tried again."""
        if self._known == self._kept:
            return
        pause_s = HEAD_INTERVAL_S
        try:
            self._database.settle()
            write_head(self._folder, self._known)
            self._kept = self._known
        except OSError as error:
            pause_s = HEAD_RETRY_S
            _log.warning("audit.head cannot be written: %s", error.strerror, extra={"action": "audit_head"})
        self._next_at = time.monotonic() + pause_s

    def _end(self, connection: Connection) -> Head:
        row = self._statements.audit_tail(connection, {}).first()
        tail = Head(row.seq, row.hash) if row else Head()
        return max(tail, self._known, key=lambda head: head.seq)

    def _first_head(self) -> Head:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            head = read_head(self._folder)
            if head is None:
                head = Head()
                write_head(self._folder, head)
        except OSError as error:
            raise Unavailable(f"{self._folder / HEAD_NAME} cannot be written: check its folder.") from error
        return head
