"""The part of the store that looks for records of the audit trail.

Records are canonical JSON texts, so what is asked for stands there in foreseeable characters: the database compares
text and parses nothing, which also holds for a record that somebody has spoilt. It may find too much, never too little;
what it finds is looked at exactly. No index: one would cost every step that is written for the few times that somebody
asks, and a million records are searched in about a second.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from llmcore.adapters.sql import schema
from llmcore.adapters.sql.base import Base
from llmcore.audit import GENESIS
from llmcore.ports import AuditFilter

WINDOW = 250_000
"""Records looked at in one read."""
_TIME_CHARS = 24
_TIME_FROM_END = _TIME_CHARS + 1
"""`time` is the last key: its 24 characters stand before `"}`."""

Row = tuple[int, str, str]
Ends = tuple[int, str, int]


class Trail(Base):
    """Questions to the audit trail."""

    async def audit_search(
        self, wanted: AuditFilter, before_seq: int | None = None, limit: int = 1000
    ) -> tuple[Sequence[Row], int]:
        """`(seq, record, hash)` of records that fit, newest first, of the next `WINDOW` below `before_seq`.

        Also the `seq` to go on below, 0 if nothing is left. `before_seq` None begins at the newest.
        """

        def work(connection: Connection) -> tuple[list[Any], int]:
            column = schema.audit.c.seq
            top = before_seq
            if top is None:
                top = (connection.execute(select(func.max(column))).scalar() or 0) + 1
            floor = max(0, top - 1 - WINDOW)
            query = select(schema.audit).where(column < top, column > floor, *_conditions(wanted))
            found = list(connection.execute(query.order_by(column.desc()).limit(limit)).all())
            if len(found) == limit:
                return found, found[-1].seq
            return found, floor + 1 if floor else 0

        rows, rest = await self._read(work)
        return [(row.seq, row.record, row.hash) for row in rows if fits(row.record, wanted)], rest

    async def audit_ends(self, since: str = "") -> Ends:
        """Where an export of the records since a moment (`rfc3339`; empty: of all) begins and ends."""
        return await self._read(lambda connection: ends(connection, since))


def ends(connection: Connection, since: str) -> Ends:
    """The `seq` before the first record since then, the hash there, and the last `seq`."""
    table = schema.audit
    last = connection.execute(select(func.max(table.c.seq))).scalar() or 0
    if not since:
        return 0, GENESIS, last
    first = connection.execute(select(func.min(table.c.seq)).where(_time() >= since)).scalar() or last + 1
    before = select(table.c.seq, table.c.hash).where(table.c.seq < first).order_by(table.c.seq.desc()).limit(1)
    row = connection.execute(before).first()
    return (row.seq, row.hash, last) if row else (0, GENESIS, last)


def _time() -> ColumnElement[str]:
    record = schema.audit.c.record
    return func.substr(record, func.length(record) - _TIME_FROM_END, _TIME_CHARS)


def _conditions(wanted: AuditFilter) -> Iterator[ColumnElement[bool]]:
    """What the database can tell from the text alone."""
    record = schema.audit.c.record
    if wanted.action:
        name, _, more = wanted.action.partition("*")
        rest = "" if wanted.action.endswith("*") and not more else '",'
        yield record.startswith(f'{{"action":{_quoted(name)[:-1]}{rest}', autoescape=True)
    if wanted.actor:
        yield record.contains(f'"name":{_quoted(wanted.actor)},"role":', autoescape=True)
    for key in ("plan_id", "run_id"):
        if value := getattr(wanted, key):
            yield record.contains(f'"{key}":{_quoted(value)}', autoescape=True)
    if wanted.text:
        yield record.icontains(_quoted(wanted.text)[1:-1], autoescape=True)
    if wanted.since or wanted.until:
        yield _time() >= wanted.since
        if wanted.until:
            yield _time() < wanted.until


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def fits(text: str, wanted: AuditFilter) -> bool:
    """True if a record's text fulfils all; one that is no record any more fits where nothing is asked."""
    try:
        record = json.loads(text)
        actor, facts, action = record["actor"], record["facts"], record["action"]
        name, kind = actor["name"], actor["kind"]
    except (ValueError, KeyError, TypeError):
        return wanted == AuditFilter()
    asked = (
        (wanted.actor, name),
        (wanted.actor_kind, kind),
        *((getattr(wanted, key), _of(facts, key)) for key in ("plan_id", "run_id")),
    )
    return _acts(wanted.action, str(action)) and all(not value or value == found for value, found in asked)


def _of(facts: Any, key: str) -> Any:
    return facts.get(key) if isinstance(facts, Mapping) else None


def _acts(wanted: str, action: str) -> bool:
    return action.startswith(wanted[:-1]) if wanted.endswith("*") else wanted in ("", action)
