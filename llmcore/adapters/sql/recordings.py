"""The part of the store for recordings of how requests were understood."""

import asyncio
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, select

from llmcore.adapters.sql import schema
from llmcore.adapters.sql.base import Base
from llmcore.adapters.sql.documents import dumps, loads


class Recordings(Base):
    """Recordings by run."""

    def recording_submit(self, run_id: str, at: float, document: Mapping[str, Any]) -> asyncio.Future[None]:
        """Hand a recording over to be added or replaced, without waiting; the future ends once it is on disk."""
        table = schema.recording
        values = {"run_id": run_id, "recorded_at": at, "document": dumps(document)}
        put = self._database.insert(table).values(**values)
        put = put.on_conflict_do_update(index_elements=["run_id"], set_={"document": put.excluded.document})

        def work(connection: Connection) -> None:
            connection.execute(put)

        return self._writer.submit(work)

    async def recording_get(self, run_id: str) -> Mapping[str, Any] | None:
        """The recording of a run."""
        query = select(schema.recording.c.document).where(schema.recording.c.run_id == run_id)
        document = await self._read(lambda connection: connection.execute(query).scalar())
        return None if document is None else loads(document)

    async def recordings_forget(self, before: float) -> int:
        """Remove the recordings made before (epoch seconds); returns how many."""
        old = delete(schema.recording).where(schema.recording.c.recorded_at < before)
        return await self._write(lambda connection: connection.execute(old).rowcount)
