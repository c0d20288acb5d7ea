"""Connections to SQLite or PostgreSQL, and what their errors mean to a person.

Used by the other modules of this package. Knows no table. SQLite runs in WAL mode, so that readers never wait for the
writer; transactions of the writer begin with the write lock, so that they never have to be given up half-way.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from sqlite3 import SQLITE_BUSY, SQLITE_CANTOPEN, SQLITE_FULL, SQLITE_IOERR, SQLITE_LOCKED, SQLITE_READONLY
from sqlite3 import Error as SqliteError
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    SQLAlchemyError,
)

from llmcore.errors import BadParams, Conflict, LLMCoreError, Unavailable

_SQLITE = {
    SQLITE_BUSY: "The store is locked by another program: end it (a second llmcore on this folder?) and try again.",
    SQLITE_LOCKED: "The store is locked by another program: end it (a second llmcore on this folder?) and try again.",
    SQLITE_READONLY: "The store cannot be written: give this user the right to write the store file and its folder.",
    SQLITE_IOERR: "The disk under the store fails or is full: free some space or mend it, then it goes on by itself.",
    SQLITE_FULL: "The disk under the store is full: free some space, then it goes on by itself.",
    SQLITE_CANTOPEN: "The store file cannot be opened: check that its folder exists and belongs to this user.",
}
_POSTGRES = {
    "25": "The database takes no writes: it is a read-only copy; connect to the primary server.",
    "28": "The database refuses the login: check user and password in the store URL.",
    "3D": "The database named in the store URL does not exist: create it with createdb.",
    "40": "The database is busy with other transactions: try again in a moment.",
    "42": "The database user lacks a right, or a table of the store is missing: make the user owner of the database.",
    "53": "The database server has no space or connections left: free some, then it goes on by itself.",
    "55P03": "The database is locked by another transaction: end it and try again.",
}
"""By SQLSTATE or its class."""
_AWAY = "The database server cannot be reached: check that it runs and that the store URL names it."
_BROKEN = "The store file is damaged or no store: put back a backup, or move it away to begin anew."


class Database:
    """Two sets of connections: one connection that writes, a few that read."""

    def __init__(self, url: str, *, busy_timeout_s: float = 5.0, readers: int = 1) -> None:
        """Take the URL; does not connect yet. Raises Unavailable if it is none of the two."""
        parsed = _parse(url)
        self.path = Path(parsed.database or "") if parsed.drivername == "sqlite" else None
        """The file of SQLite, None for PostgreSQL."""
        if self.path:
            self.writer = _sqlite_engine(parsed, busy_timeout_s, pool_size=1)
            event.listen(self.writer, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
            self.readers = _sqlite_engine(parsed, busy_timeout_s, pool_size=readers, isolation_level="AUTOCOMMIT")
        else:
            self.writer = _postgres_engine(parsed, busy_timeout_s, pool_size=1)
            self.readers = _postgres_engine(parsed, busy_timeout_s, pool_size=readers, isolation_level="AUTOCOMMIT")

    def make(self) -> None:
        """Make the file of SQLite (mode 600, in a folder of mode 700) if there is none, and close it to others."""
        if self.path:
            _make_private(self.path)

    def insert(self, table: Table) -> Any:
        """An INSERT that can say what to do on conflict."""
        return (sqlite.insert if self.path else postgresql.insert)(table).inline()

    def lock(self, connection: Connection, name: int) -> None:
        """Until the end of the transaction no other node holds the lock of that number; SQLite's writer is alone."""
        if not self.path:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({name})")

    def settle(self) -> None:
        """Make what is committed safe against a crash of the machine, which PostgreSQL does by itself.

        SQLite syncs its log only now and then (`synchronous=NORMAL`): a crash of this process loses nothing, one of the
        machine may lose the last moments.
        """
        log = self.path and self.path.with_name(self.path.name + "-wal")
        if log and log.exists():
            descriptor = os.open(log, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Close all connections."""
        self.writer.dispose()
        self.readers.dispose()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = URL.create("")
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "sqlite" and Path(parsed.database or "").is_absolute():
        return parsed
    raise Unavailable("The store URL must be sqlite:////absolute/path/to/file or postgresql://user@host/database.")


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise Unavailable(f"The store file {path} cannot be written ({error.strerror}): check its folder.") from error


def _sqlite_engine(url: URL, busy_timeout_s: float, **options: Any) -> Engine:
    arguments = {"timeout": busy_timeout_s, "check_same_thread": False}
    engine = create_engine(url, connect_args=arguments, max_overflow=0, **options)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say so
        _write_ahead(connection, busy_timeout_s)
        for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _write_ahead(connection: Any, busy_timeout_s: float) -> None:
    """Switch to WAL; while another connection does that or makes the tables SQLite does not wait by itself."""
    late = time.monotonic() + busy_timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except SqliteError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != SQLITE_BUSY or time.monotonic() > late:
                raise
            time.sleep(0.02)
        else:
            return


def _postgres_engine(url: URL, busy_timeout_s: float, **options: Any) -> Engine:
    milliseconds = int(busy_timeout_s * 1000)
    arguments: Mapping[str, Any] = {
        "connect_timeout": max(2, int(busy_timeout_s)),
        "application_name": "llmcore",
        "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
    }
    try:
        return create_engine(url, connect_args=arguments, max_overflow=0, pool_pre_ping=True, **options)
    except ModuleNotFoundError as error:
        raise Unavailable("PostgreSQL needs the extra: pip install 'cloudisense-llmcore[cluster]'.") from error


def is_refusal(error: Exception) -> bool:
    """True if the database works and only this statement was wrong."""
    refused = (IntegrityError, DataError, ProgrammingError, NotSupportedError)
    return (
        not isinstance(error, SQLAlchemyError) or isinstance(error, refused) or _sqlstate(error) in ("40001", "40P01")
    )


def may_be_full(error: Exception) -> bool:
    """True if the disk under a SQLite file may be full: then its own files can also not be opened or grow."""
    return _sqlite_code(error) in (SQLITE_FULL, SQLITE_IOERR, SQLITE_CANTOPEN)


def told(error: Exception) -> Exception:
    """What a caller is told: a sentence that says what to do, never the database's own words, which may hold data."""
    if isinstance(error, LLMCoreError):
        return error
    answer: LLMCoreError
    if isinstance(error, IntegrityError):
        answer = Conflict("That is in the store already.")
    elif isinstance(error, DataError | UnicodeError):
        answer = BadParams("A name or id holds characters that cannot be stored, such as NUL: leave them out.")
    elif isinstance(error, SQLAlchemyError):
        answer = Unavailable(_advice(error), component="store")
    else:
        return error
    answer.__cause__ = error
    return answer


def _sqlite_code(error: Exception) -> int | None:
    """SQLite's primary result code, None for an error of something else."""
    cause = getattr(error, "orig", None)
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF if isinstance(cause, SqliteError) else None


def _advice(error: SQLAlchemyError) -> str:
    code = _sqlite_code(error)
    if code is not None:
        return _SQLITE.get(code, _BROKEN)
    state = _sqlstate(error) or ""
    return _POSTGRES.get(state) or _POSTGRES.get(state[:2], _AWAY)


def _sqlstate(error: Exception) -> str | None:
    state: str | None = getattr(getattr(error, "orig", None), "sqlstate", None)
    return state
