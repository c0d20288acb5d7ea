"""The part of the store for the audit chain, events already seen, alerts and suggestions."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select

from llmcore.adapters.sql import schema
from llmcore.adapters.sql.base import Base, StoreOptions
from llmcore.adapters.sql.chain import Chain
from llmcore.adapters.sql.database import Database
from llmcore.adapters.sql.documents import dumps, loads
from llmcore.adapters.sql.statements import Statements
from llmcore.adapters.sql.writer import Writer


class Ledger(Base):
    """Audit, events, alerts, suggestions."""

    def __init__(
        self, options: StoreOptions, database: Database, statements: Statements, writer: Writer, chain: Chain
    ) -> None:
        """Take over what `open_store` has made."""
        super().__init__(options, database, statements, writer)
        self._chain = chain

    async def audit_append(self, record: Mapping[str, Any]) -> int:
        """Append a record to the hash chain; returns its `seq` once it is on disk."""
        text = dumps(record, canonical=True)
        return await self._write(lambda connection: self._chain.append(connection, [text]), chained=True)

    def audit_submit(self, records: Sequence[Mapping[str, Any]]) -> asyncio.Future[int]:
        """Hand records over to be appended together, in order, without waiting; ends with the last `seq`."""
        texts = [dumps(record, canonical=True) for record in records]
        return self._writer.submit(lambda connection: self._chain.append(connection, texts), chained=True)

    async def audit_rows(
        self, after_seq: int = 0, limit: int = 1000, *, newest: bool = False
    ) -> Sequence[tuple[int, str, str]]:
        """`(seq, record, hash)` in order; the first `limit` after `after_seq`, or the `newest`."""
        seq = schema.audit.c.seq
        query = select(schema.audit).where(seq > after_seq).order_by(seq.desc() if newest else seq).limit(limit)
        rows = await self._read(lambda connection: connection.execute(query).all())
        return [(row.seq, row.record, row.hash) for row in (reversed(rows) if newest else rows)]

    async def event_first_seen(self, event_id: str, at: float) -> bool:
        """True the first time an event id is told, for all nodes; later False."""
        values = {"event_id": event_id, "at": at}
        return await self._execute(self._sql.event_add, values) == 1

    async def events_forget(self, before: float) -> int:
        """Forget the event ids that were told before (epoch seconds); returns how many."""
        seen = schema.event_seen
        return await self._write(lambda connection: connection.execute(delete(seen).where(seen.c.at < before)).rowcount)

    async def alert_put(self, fingerprint: str, alert: Mapping[str, Any]) -> None:
        """Add or replace an alert group, by fingerprint."""
        values = {"fingerprint": fingerprint, "document": dumps(alert)}
        await self._execute(self._sql.alert_put, values)

    async def alert_list(self, limit: int = 200) -> Sequence[Mapping[str, Any]]:
        """Alert groups, the one put last first."""
        query = select(schema.alert.c.document).order_by(schema.alert.c.number.desc()).limit(limit)
        return await self._read(lambda connection: [loads(text) for text in connection.execute(query).scalars()])

    async def suggestion_put(self, suggestion: Mapping[str, Any]) -> None:
        """Add or replace a card: a JSON object with `id`, `status` and `created_at`."""
        values = {
            "suggestion_id": suggestion["id"],
            "status": suggestion["status"],
            "created_at": suggestion["created_at"],
            "document": dumps(suggestion),
        }
        await self._execute(self._sql.suggestion_put, values)

    async def suggestion_get(self, suggestion_id: str) -> Mapping[str, Any] | None:
        """One card."""
        query = select(schema.suggestion.c.document).where(schema.suggestion.c.suggestion_id == suggestion_id)
        document = await self._read(lambda connection: connection.execute(query).scalar())
        return None if document is None else loads(document)

    async def suggestion_list(self, statuses: Sequence[str] = (), limit: int = 200) -> Sequence[Mapping[str, Any]]:
        """Cards, newest first; no statuses: of any."""
        table = schema.suggestion
        query = select(table.c.document).order_by(table.c.number.desc()).limit(limit)
        if statuses:
            query = query.where(table.c.status.in_(statuses))
        return await self._read(lambda connection: [loads(text) for text in connection.execute(query).scalars()])

    async def suggestion_swap(self, suggestion: Mapping[str, Any], expected_status: str) -> bool:
        """Replace a card if the one in the store still has that status."""
        values = {
            "of_suggestion": suggestion["id"],
            "expected_status": expected_status,
            "status": suggestion["status"],
            "document": dumps(suggestion),
        }
        return await self._execute(self._sql.suggestion_swap, values) == 1
