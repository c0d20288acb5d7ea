"""The part of the store for users, void tokens and secrets."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Row, select

from llmcore.adapters.sql import schema
from llmcore.adapters.sql.base import Base
from llmcore.ports import User


class People(Base):
    """Users, void tokens, secrets."""

    async def user_put(self, user: User) -> None:
        """Add or replace a user."""
        values = {
            "name": user.name,
            "role": user.role,
            "password_hash": user.password_hash,
            "created_at": user.created_at,
            "tokens_valid_from": user.tokens_valid_from,
        }
        await self._execute(self._sql.user_put, values)

    async def user_get(self, name: str) -> User | None:
        """A user by name."""
        query = select(schema.user_account).where(schema.user_account.c.name == name)
        row = await self._read(lambda connection: connection.execute(query).first())
        return _user(row) if row else None

    async def user_list(self) -> Sequence[User]:
        """All users by name."""
        query = select(schema.user_account).order_by(schema.user_account.c.name)
        return [_user(row) for row in await self._read(lambda connection: connection.execute(query).all())]

    async def token_revoke(self, token_id: str, expires: float, now: float = 0.0) -> bool:
        """Remember that a token is void; False if it was already. Forgets those that expired before `now`."""

        def work(connection: Connection) -> bool:
            self._sql.token_forget(connection, {"now": now})
            return self._sql.token_revoke(connection, {"token_id": token_id, "expires": expires}).rowcount == 1

        return await self._write(work)

    async def token_revoked(self, token_id: str) -> bool:
        """True if it was revoked."""
        query = select(schema.token_revoked.c.token_id).where(schema.token_revoked.c.token_id == token_id)
        return await self._read(lambda connection: connection.execute(query).first() is not None)

    async def secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """A secret kept for all nodes; made on first use."""
        query = select(schema.secret.c.value).where(schema.secret.c.name == name)
        found = await self._read(lambda connection: connection.execute(query).scalar())
        if found is None:
            values = {"name": name, "value": make()}

            def work(connection: Connection) -> bytes:
                self._sql.secret_add(connection, values)
                return bytes(connection.execute(query).scalar_one())

            return await self._write(work)
        return bytes(found)


def _user(row: Row[tuple[object, ...]]) -> User:
    return User(**row._mapping)
