"""The part of the store for conversations, their messages, and who owns a topic."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, select
from sqlalchemy.exc import IntegrityError

from llmcore.adapters.sql import schema
from llmcore.adapters.sql.base import Base
from llmcore.adapters.sql.documents import dumps, loads, text
from llmcore.errors import Forbidden, NotFound
from llmcore.ports import Conversation, StoredMessage


class Talks(Base):
    """Conversations, messages, topics."""

    async def conversation_put(self, conversation: Conversation) -> None:
        """Add or replace."""
        values = asdict(conversation) | {"title": text(conversation.title)}
        await self._execute(self._sql.conversation_put, values)

    async def conversation_get(self, conversation_id: str) -> Conversation | None:
        """One conversation."""
        query = select(schema.conversation).where(schema.conversation.c.conversation_id == conversation_id)
        row = await self._read(lambda connection: connection.execute(query).first())
        return Conversation(**row._mapping) if row else None

    async def conversation_list(self, owner: str, limit: int = 200) -> Sequence[Conversation]:
        """An owner's conversations, last used first."""
        table = schema.conversation
        query = (
            select(table)
            .where(table.c.owner == owner)
            .order_by(table.c.updated_at.desc(), table.c.conversation_id)
            .limit(limit)
        )
        rows = await self._read(lambda connection: connection.execute(query).all())
        return [Conversation(**row._mapping) for row in rows]

    async def conversation_delete(self, conversation_id: str) -> None:
        """Remove it with its messages; plans, runs and audit stay."""
        values = {"conversation_id": conversation_id}
        await self._execute(self._sql.conversation_delete, values)

    async def message_add(self, message: StoredMessage) -> None:
        """Append a message, or replace the one of the same id; NotFound if its conversation is gone."""
        values = {
            "message_id": message.message_id,
            "conversation_id": message.conversation_id,
            "role": message.role,
            "content": text(message.content),
            "created_at": message.created_at,
            "run_id": message.run_id,
            "meta": dumps(message.meta),
        }

        def work(connection: Connection) -> None:
            try:
                self._sql.message_put(connection, values)
            except IntegrityError as error:
                raise NotFound("The conversation is gone: begin a new one.") from error

        await self._write(work)

    async def message_list(self, conversation_id: str, limit: int = 500) -> Sequence[StoredMessage]:
        """The last `limit` messages, oldest first."""
        table = schema.message
        query = (
            select(table).where(table.c.conversation_id == conversation_id).order_by(table.c.number.desc()).limit(limit)
        )
        rows = await self._read(lambda connection: connection.execute(query).all())
        return [_message(row) for row in reversed(rows)]

    async def topic_open(self, topic: str, conversation_id: str, owner: str) -> int:
        """Note who owns a topic and return its next epoch (1 the first time); Forbidden for another owner's."""
        values = {"topic": topic, "conversation_id": conversation_id, "owner": owner, "epoch": 1}

        def work(connection: Connection) -> int:
            epoch = self._sql.topic_open(connection, values).scalar()
            if epoch is None:
                raise Forbidden("The topic belongs to another user: choose another one.")
            return int(epoch)

        return await self._write(work)

    async def topic_owner(self, topic: str) -> str | None:
        """The owner, or None for a topic nobody has opened."""
        query = select(schema.topic.c.owner).where(schema.topic.c.topic == topic)
        owner: str | None = await self._read(lambda connection: connection.execute(query).scalar())
        return owner

    async def topic_conversation(self, topic: str) -> str | None:
        """The conversation a topic belongs to, or None for a topic nobody has opened."""
        query = select(schema.topic.c.conversation_id).where(schema.topic.c.topic == topic)
        conversation: str | None = await self._read(lambda connection: connection.execute(query).scalar())
        return conversation


def _message(row: Row[Any]) -> StoredMessage:
    return StoredMessage(
        message_id=row.message_id,
        conversation_id=row.conversation_id,
        role=row.role,
        content=row.content,
        created_at=row.created_at,
        run_id=row.run_id,
        meta=loads(row.meta),
    )
