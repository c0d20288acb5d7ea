"""The part of the store for standing rules of the policy."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, delete, select

from llmcore.adapters.sql import schema
from llmcore.adapters.sql.base import Base
from llmcore.adapters.sql.documents import dumps, loads

VERSION = "policy_rules_version"
"""Name of the mark in `control` that changes with every change of a rule."""


class Rules(Base):
    """Standing rules, and the mark by which other nodes notice a change. Written too rarely to compile anything."""

    async def rule_put(self, rule: Mapping[str, Any], now: float) -> None:
        """Add or replace a rule, which has a `rule_id` and `expires_at` (epoch s); forget those that ended before."""
        table = schema.policy_rule
        values = {"rule_id": rule["rule_id"], "expires_at": rule["expires_at"], "document": dumps(rule)}
        insert = self._database.insert(table)
        changed = {"document": insert.excluded.document, "expires_at": insert.excluded.expires_at}
        put = insert.values(**values).on_conflict_do_update(index_elements=["rule_id"], set_=changed)
        ended = delete(table).where(table.c.expires_at <= now)

        def work(connection: Connection) -> None:
            connection.execute(ended)
            connection.execute(put)
            self._mark(connection)

        await self._write(work)

    async def rule_delete(self, rule_id: str) -> bool:
        """Withdraw a rule; False if there is none of that id."""
        gone = delete(schema.policy_rule).where(schema.policy_rule.c.rule_id == rule_id)

        def work(connection: Connection) -> bool:
            found = connection.execute(gone).rowcount == 1
            if found:
                self._mark(connection)
            return found

        return await self._write(work)

    async def rule_list(self) -> Sequence[Mapping[str, Any]]:
        """All rules that were not withdrawn, those that end last first; some may have ended."""
        table = schema.policy_rule
        query = select(table.c.document).order_by(table.c.expires_at.desc(), table.c.rule_id)
        return await self._read(lambda connection: [loads(text) for text in connection.execute(query).scalars()])

    async def rules_version(self) -> str:
        """A text that is another one after every change of a rule."""
        query = select(schema.control.c.value).where(schema.control.c.name == VERSION)
        found = await self._read(lambda connection: connection.execute(query).scalar())
        return str(found or "")

    def _mark(self, connection: Connection) -> None:
        insert = self._database.insert(schema.control)
        put = insert.on_conflict_do_update(index_elements=["name"], set_={"value": insert.excluded.value})
        connection.execute(put, {"name": VERSION, "value": uuid4().hex})
