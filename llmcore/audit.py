"""The audit chain: what was decided and done, each record linked to the one before, secrets removed.

Called by every room that decides or acts, through `Audit`; the store links records with `link`, the verifier checks
them with `verify`. Knows neither how to replay nor how anything is shown.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from llmcore.errors import LLMCoreError
from llmcore.plan import Principal
from llmcore.ports import Clock, Store, rfc3339

GENESIS = "0" * 64
"""The hash before the first record."""
NOTE_DELAY_S = 0.04
"""How long a note may wait for others to share a commit with."""
RETRY_DELAY_S = 1.0
NOTES_LIMIT = 10_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Head:
    """The newest link of a chain; `seq` 0 and `GENESIS` for an empty one."""

    seq: int = 0
    hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of checking a chain."""

    ok: bool
    rows: int
    """Rows that are in the table."""
    first_bad: int | None = None
    """The first `seq` whose row is missing or not what was written; None if all are right."""


def link(previous_hash: str, record: str) -> str:
    """Hash (lower-case hex SHA-256) that chains a record's text to the hash before it."""
    return hashlib.sha256(f"{previous_hash}\n{record}".encode("utf-8", "surrogatepass")).hexdigest()


def verify(rows: Iterable[tuple[Any, Any, Any]], head: Head | None) -> Verification:
    """Check `(seq, record, hash)` in order of `seq` against each other and the head that was kept apart.

    Rows may follow the head, because it is written after them. A head that is missing (None) is bad: nobody could tell
    whether the last rows are.
    """
    count, tail, first_bad, head_hash = 0, Head(), None, GENESIS
    for seq, record, hash_ in rows:
        count += 1
        if first_bad is not None:
            continue
        if seq != tail.seq + 1 or not isinstance(record, str) or hash_ != link(tail.hash, record):
            first_bad = min(seq, tail.seq + 1)
            continue
        tail = Head(seq, hash_)
        if head and seq == head.seq:
            head_hash = hash_
    if first_bad is None and (head is None or head.seq > tail.seq):
        first_bad = tail.seq + 1
    elif first_bad is None and head is not None and head.hash != head_hash:
        first_bad = head.seq
    return Verification(first_bad is None, count, first_bad)


class Audit:
    """Writes records to the chain; made once, in `app`."""

    def __init__(self, store: Store, clock: Clock, redact: Callable[[Any], Any]) -> None:
        """`redact` takes a JSON value and gives it back without secrets."""
        self._store = store
        self._clock = clock
        self._redact = redact
        self._notes: list[dict[str, Any]] = []
        self._writing: set[asyncio.Future[int]] = set()
        self._unwritten = 0
        self._timer: asyncio.TimerHandle | None = None
        self.lost = 0
        """Notes given up because the store was away for too long."""

    @property
    def pending(self) -> int:
        """Notes that are not on disk yet."""
        return self._unwritten

    async def record(self, action: str, actor: Principal, **facts: Any) -> int:
        """Append a record, after all notes taken before, and return its `seq` once it is on disk.

        Raises Unavailable; then the action must not happen. Cancelled before it is written, it is not written.
        """
        self._write_notes()
        return await self._store.audit_append(self._compose(action, actor, facts))

    def note(self, action: str, actor: Principal, **facts: Any) -> None:
        """Append a record soon, for reads: on disk within 50 ms, together with others. Never raises.

        While the store is away notes are kept and tried again, up to `NOTES_LIMIT`; more are counted in `lost`.
        """
        if self._unwritten >= NOTES_LIMIT:
            self._lose(1)
            return
        self._unwritten += 1
        self._notes.append(self._compose(action, actor, facts))
        self._write_notes_in(NOTE_DELAY_S)

    async def flush(self) -> None:
        """Write what was noted; raises Unavailable if that fails: the notes are then kept and tried again."""
        self._submit_notes()
        await asyncio.gather(*self._writing)

    async def close(self) -> None:
        """Write what was noted, or say how much of it is lost."""
        try:
            await self.flush()
        except LLMCoreError:
            self._lose(self._unwritten)
            self._notes, self._unwritten = [], 0
        if self._timer:
            self._timer.cancel()

    def _compose(self, action: str, actor: Principal, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "time": rfc3339(self._clock.now()),
            "actor": {"name": actor.name, "role": actor.role, "kind": actor.kind},
            "action": action,
            "facts": self._redact(facts),
        }

    def _write_notes_in(self, delay_s: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._write_notes)

    def _write_notes(self) -> None:
        try:
            self._submit_notes()
        except LLMCoreError:
            self._write_notes_in(RETRY_DELAY_S)

    def _submit_notes(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._notes:
            writing = self._store.audit_submit(self._notes)
            writing.add_done_callback(partial(self._written, self._notes))
            self._writing.add(writing)
            self._notes = []

    def _written(self, notes: list[dict[str, Any]], writing: asyncio.Future[int]) -> None:
        self._writing.discard(writing)
        if writing.cancelled() or writing.exception():
            self._notes = notes + self._notes
            self._write_notes_in(RETRY_DELAY_S)
            _log.warning("audit notes wait for the store", extra={"action": "audit_wait", "notes": len(self._notes)})
        else:
            self._unwritten -= len(notes)

    def _lose(self, notes: int) -> None:
        if not self.lost:
            _log.error("audit notes are lost: the store takes none", extra={"action": "audit_lost"})
        self.lost += notes
