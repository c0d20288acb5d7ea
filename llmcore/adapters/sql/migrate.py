"""Bring the tables of a store up to date.

Used when a store is opened. Alembic is imported only where there is something to do, because that takes longer than all
the rest of the start.
"""

import threading
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from llmcore.adapters.sql.database import Database
from llmcore.adapters.sql.schema import REVISION
from llmcore.errors import Unavailable

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x6C6C6D02
_one_at_a_time = threading.Lock()
"""Alembic hands its context to migrations through globals of the process."""


def migrate(database: Database) -> None:
    """Make or change the tables, in one transaction; other nodes that start meanwhile wait.

    Raises Unavailable if a newer version of the program has written the store.
    """
    with database.writer.begin() as connection:
        database.lock(connection, _LOCK)
        if _revision(connection) != REVISION:
            _upgrade(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        with _one_at_a_time:
            command.upgrade(config, "head")
    except CommandError as error:
        raise Unavailable("A newer llmcore has written this store: update this one, or use another store.") from error
