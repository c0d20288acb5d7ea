"""The part of the store for saved templates."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, select, update

from llmcore.adapters.sql import schema
from llmcore.adapters.sql.base import Base
from llmcore.adapters.sql.documents import dumps, loads


class Templates(Base):
    """Templates by name. They are written so rarely that nothing is compiled for them."""

    async def template_put(self, template: Mapping[str, Any], replaces: Mapping[str, Any] | None = None) -> bool:
        """Add a template, or replace the one that still is as `replaces` says; False if somebody was faster."""
        table, text = schema.template, dumps(template, canonical=True)
        number = select(func.coalesce(func.max(table.c.number), 0) + 1).scalar_subquery()
        if replaces is None:
            put = self._database.insert(table).values(name=template["name"], number=number, document=text)
            add = put.on_conflict_do_nothing().execution_options(preserve_rowcount=True)
            return await self._write(lambda connection: connection.execute(add).rowcount) == 1
        same = (table.c.name == template["name"]) & (table.c.document == dumps(replaces, canonical=True))
        swap = update(table).where(same).values(number=number, document=text)
        return await self._write(lambda connection: connection.execute(swap).rowcount) == 1

    async def template_list(self, limit: int = 1000) -> Sequence[Mapping[str, Any]]:
        """Templates, the one put last first."""
        query = select(schema.template.c.document).order_by(schema.template.c.number.desc()).limit(limit)
        return await self._read(lambda connection: [loads(text) for text in connection.execute(query).scalars()])

    async def template_delete(self, name: str) -> bool:
        """Forget one; False if there is none of that name."""
        gone = delete(schema.template).where(schema.template.c.name == name)
        return await self._write(lambda connection: connection.execute(gone).rowcount) == 1
