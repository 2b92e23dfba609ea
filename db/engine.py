"""Engines: SQLite so that many processes can write at once, PostgreSQL as it comes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from sqlite3 import Connection as SqliteConnection
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from db.errors import RecordUnusable

BUSY_TIMEOUT_S = 30.0


def parse_url(url: str) -> URL:
    """The URL of a supported database.

    Raises:
        RecordUnusable: it is not one.
    """
    try:
        parsed = make_url(url)
        name = parsed.get_backend_name()
    except ArgumentError:
        raise RecordUnusable(url, "is not a database URL; use sqlite:///PATH or postgresql+psycopg://…") from None
    if name not in ("sqlite", "postgresql"):
        raise RecordUnusable(shown(parsed), "only SQLite and PostgreSQL are supported")
    return parsed


def shown(url: URL) -> str:
    """For people: the file's path, or the URL without its password."""
    return str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)


def open_engine(url: URL, *, readonly: bool, timeout_s: float = BUSY_TIMEOUT_S) -> Engine:
    """An engine for that database; nothing is connected yet.

    On SQLite a writer's transactions begin with the write lock (`BEGIN IMMEDIATE`): one that starts as a reader and
    writes later fails at once with "database is locked" when another was faster, whatever the time-out.

    Raises:
        RecordUnusable: the database's driver is not installed.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, readonly=readonly, timeout_s=timeout_s)
    try:
        return create_engine(url, pool_pre_ping=True)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise RecordUnusable(shown(url), f"{error}; install the extra: pip install -e '.[postgres]'") from None


def _sqlite_engine(url: URL, *, readonly: bool, timeout_s: float) -> Engine:
    if readonly and url.database:
        path = quote(os.path.abspath(url.database))
        url = url.set(database=f"file:{path}", query={"mode": "ro", "uri": "true"})
    engine = create_engine(url, connect_args={"timeout": timeout_s})

    @event.listens_for(engine, "connect")
    def prepare(connection: SqliteConnection, _entry: ConnectionPoolEntry) -> None:
        # The driver's own transactions off: ours begin below.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")
        if not readonly:
            _use_wal(connection, timeout_s)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")

    return engine


def _use_wal(connection: SqliteConnection, timeout_s: float) -> None:
    """Readers beside writers. The switch, once per file, does not honour the busy time-out, so wait here."""
    deadline = time.monotonic() + timeout_s
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except connection.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


# What drivers say → what it means for the user, and what to do.
_MEANINGS = (
    ("database is locked", "is locked by another process; try again when that has finished"),
    ("readonly database", "is read-only; give this user the right to write to it, or set THREADMILL_HOME"),
    ("disk is full", "the disk is full; make room and run again"),
    ("unable to open database file", "cannot be opened; check that the path exists and may be used"),
    ("disk I/O error", "the disk reports an I/O error"),
    ("file is not a database", "is not an SQLite database"),
    ("malformed", "is damaged; restore a backup, or move it away to begin anew"),
    ("could not connect", "the server cannot be reached"),
    ("connection failed", "the server cannot be reached"),
    ("connection refused", "the server cannot be reached"),
)


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn what the driver raises into one line that says what to do.

    Raises:
        RecordUnusable: instead of any error of the database driver.
    """
    try:
        yield
    except DBAPIError as error:
        said = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
        meaning = next((meaning for words, meaning in _MEANINGS if words in said.lower()), None)
        reason = f"{meaning} ({said})" if meaning else said
        raise RecordUnusable(shown(url), reason, "database is locked" in said) from error
    except UnicodeDecodeError as error:
        # Comes from the driver as it is.
        raise RecordUnusable(shown(url), f"the file is damaged ({error}); restore it from a backup") from error
