"""The store: open, check, close.

Built in `app` by `open_store`; called through the port `llmcore.ports.Store` by the rooms above.
"""

import asyncio
from secrets import token_bytes

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from llmcore.adapters.sql import schema
from llmcore.adapters.sql.base import StoreOptions
from llmcore.adapters.sql.chain import Chain
from llmcore.adapters.sql.database import Database, told
from llmcore.adapters.sql.ledger import Ledger
from llmcore.adapters.sql.migrate import migrate
from llmcore.adapters.sql.people import People
from llmcore.adapters.sql.recordings import Recordings
from llmcore.adapters.sql.rules import Rules
from llmcore.adapters.sql.statements import Statements
from llmcore.adapters.sql.talks import Talks
from llmcore.adapters.sql.templates import Templates
from llmcore.adapters.sql.trail import Trail
from llmcore.adapters.sql.work import Work
from llmcore.adapters.sql.writer import Writer
from llmcore.errors import Unavailable

CHECK_S = 1.0
"""How long a store that is in trouble may take to show that it is well again."""


class SqlStore(People, Talks, Work, Templates, Rules, Recordings, Trail, Ledger):
    """`llmcore.ports.Store` on SQLite or PostgreSQL."""

    async def check(self) -> None:
        """Raises Unavailable if reads do not work now, if writes have failed and still do, or if the disk is full."""
        self.admit()
        query = select(schema.user_account.c.name).limit(1)
        await self._read(lambda connection: connection.execute(query).first())
        trouble = self._writer.trouble
        if trouble is None:
            return
        try:
            async with asyncio.timeout(CHECK_S):
                await self._write(_leave_a_mark)
        except TimeoutError as error:
            raise Unavailable(trouble, component="store") from error

    async def close(self) -> None:
        """Write what is waiting and let go; further writes raise Unavailable."""
        self._writer.close()
        await asyncio.to_thread(self._close_now)

    def _close_now(self) -> None:
        self._writer.join(self._options.timeout_s)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._database.close()


def _leave_a_mark(connection: Connection) -> None:
    """A write that really needs space on the disk."""
    table = schema.secret
    connection.execute(table.delete().where(table.c.name == "mark"))
    connection.execute(table.insert().values(name="mark", value=token_bytes(8)))


def _writer(options: StoreOptions, database: Database, chain: Chain) -> Writer:
    return Writer(database, chain, options.queue_limit, options.space.relieve)


async def open_store(options: StoreOptions) -> SqlStore:
    """Open a store, make or update its tables, start its threads; raises Unavailable with what to do."""
    return await asyncio.to_thread(_open, options)


def _open(options: StoreOptions) -> SqlStore:
    database = Database(options.url, busy_timeout_s=options.busy_timeout_s, readers=options.readers)
    folder = options.head_dir or (database.path and database.path.parent)
    if folder is None:
        raise Unavailable("A store on PostgreSQL needs a data folder for audit.head: set the data folder.")
    try:
        database.make()
        migrate(database)
    except SQLAlchemyError as error:
        database.close()
        raise told(error) from error
    statements = Statements(database)
    chain = Chain(database, statements, folder)
    return SqlStore(options, database, statements, _writer(options, database, chain), chain)
