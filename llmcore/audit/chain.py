"""The hash chain: how a record is linked to the one before, and how a chain is checked.

The store links with it; `llmcore audit verify` checks with it. Knows neither what is recorded nor where it is kept.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

GENESIS = "0" * 64
"""The hash before the first record."""


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
