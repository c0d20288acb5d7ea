"""Check an audit chain, or write it out, without a server.

Used by `llmcore audit verify` and `audit export`. Reads only, so it may run beside a server: the head is read first,
and rows that come after it do no harm.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, NullPool, create_engine, select
from sqlalchemy.exc import SQLAlchemyError

from llmcore.adapters.sql import schema
from llmcore.adapters.sql.chain import HEAD_NAME, read_head
from llmcore.adapters.sql.database import Database, told
from llmcore.adapters.sql.trail import ends
from llmcore.audit import Verification, export_lines, verify
from llmcore.errors import NotFound, Unavailable

STORE_NAME = "llmcore.db"
_PAGE = 1000


def verify_file(data_dir: Path, url: str | None = None) -> Verification:
    """Check the chain of a store against the `audit.head` in `data_dir`; `url` None: the SQLite file in there.

    Blocks. Raises NotFound if there is no store, Unavailable if it cannot be read.
    """
    try:
        head = read_head(data_dir)
    except OSError as error:
        raise Unavailable(f"{data_dir / HEAD_NAME} cannot be read: check who may read it.") from error
    engine = _engine(url or f"sqlite:///{data_dir.absolute() / STORE_NAME}")
    try:
        return verify(_rows(engine), head)
    except SQLAlchemyError as error:
        raise told(error) from error
    finally:
        engine.dispose()


def export_file(data_dir: Path, url: str | None = None, since: str = "") -> Iterator[str]:
    """Lines of an export of the records since a moment (`rfc3339`; empty: of all), read as they are asked for.

    Blocks. Raises NotFound, Unavailable.
    """
    engine = _engine(url or f"sqlite:///{data_dir.absolute() / STORE_NAME}")
    try:
        with engine.connect() as connection:
            after, previous, last = ends(connection, since)
        yield from export_lines(_rows(engine, after, last), previous, last)
    except SQLAlchemyError as error:
        raise told(error) from error
    finally:
        engine.dispose()


def _engine(url: str) -> Engine:
    database = Database(url)
    if not database.path:
        return database.readers
    if not database.path.is_file():
        raise NotFound(f"There is no store {database.path}: name the right data folder with --data-dir.")
    read_only = f"{database.path.as_uri()}?mode=ro"
    return create_engine("sqlite://", creator=lambda: sqlite3.connect(read_only, uri=True), poolclass=NullPool)


def _rows(engine: Engine, after: int | None = None, last: int | None = None) -> Iterator[tuple[Any, Any, Any]]:
    """All rows in order, or those after one up to another."""
    seq = schema.audit.c.seq
    query = select(schema.audit).order_by(seq).limit(_PAGE)
    query = query if last is None else query.where(seq <= last)
    with engine.connect() as connection:
        page = connection.execute(query if after is None else query.where(seq > after)).all()
        while page:
            for row in page:
                yield row.seq, row.record, row.hash
            page = connection.execute(query.where(seq > page[-1].seq)).all()
