"""The audit chain as a file that can be checked by itself.

Written by `llmcore audit export`, checked by `llmcore audit verify --file`. One JSON object a line:
`{"seq", "previous", "hash", "record"}`, at the last line also `"last": true`, so that a file that was cut is known.
`record` stands there in the very characters that were hashed.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from llmcore.audit.chain import GENESIS, Verification, link

_RECORD = ',"record":'


def export_lines(rows: Iterable[tuple[Any, Any, Any]], previous: str, last_seq: int) -> Iterator[str]:
    """Lines for `(seq, record, hash)` in order of `seq`.

    `previous` is the hash of the row before the first; the row of `last_seq` ends the export.
    """
    for seq, record, hash_ in rows:
        yield _line((seq, record, hash_), previous, last=seq == last_seq)
        previous = str(hash_)


def _line(row: tuple[Any, Any, Any], previous: str, *, last: bool) -> str:
    seq, record, hash_ = row
    marks = {"seq": seq, "previous": previous, "hash": hash_} | ({"last": True} if last else {})
    head = json.dumps(marks, default=str, separators=(",", ":"))[:-1]
    return f"{head}{_RECORD}{record if _is_object(record) else json.dumps(record, default=str)}}}\n"


def _is_object(record: Any) -> bool:
    """True for a record as it is written: a JSON object on one line; somebody may have put anything there."""
    try:
        return "\n" not in record and isinstance(json.loads(record), dict)
    except (TypeError, ValueError, RecursionError):
        return False


def verify_lines(lines: Iterable[str]) -> Verification:
    """Check an export alone: every line against its hash and the line before, the first and the last by their marks.

    An export that begins later than the chain does is right too. One without records is not: nobody could tell it from
    one that was emptied.
    """
    count, first_bad = 0, None
    before: tuple[int, str] | None = None
    ended = False
    for line in lines:
        count += 1
        if first_bad is not None:
            continue
        expected = before[0] + 1 if before else None
        read = _read(line)
        if read is None or ended or not _follows(read, before):
            found = read[0] if read else None
            first_bad = min(number for number in (found, expected, None if before else count) if number is not None)
            continue
        before, ended = (read[0], read[2]), read[3]
    if first_bad is None and not ended:
        first_bad = before[0] + 1 if before else 1
    return Verification(first_bad is None, count, first_bad)


def _follows(read: tuple[int, str, str, bool], before: tuple[int, str] | None) -> bool:
    seq, previous, _, _ = read
    if before is None:
        return seq > 1 or (seq == 1 and previous == GENESIS)
    return (seq - 1, previous) == before


def _read(line: str) -> tuple[int, str, str, bool] | None:
    """`(seq, previous, hash, last)` of a line whose record has that hash; None for any other."""
    head, _, rest = line.rstrip("\n").partition(_RECORD)
    try:
        said = json.loads(head + "}")
        seq, previous, hash_, last = said["seq"], said["previous"], said["hash"], said.get("last", False)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    right = type(seq) is int and isinstance(previous, str) and link(previous, rest[:-1]) == hash_
    return (seq, previous, hash_, last is True) if right and rest.endswith("}") else None
