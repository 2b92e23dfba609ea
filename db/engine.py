"""Engines: on SQLite and on PostgreSQL many processes may write, one transaction after the other, and all may read."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from sqlite3 import Connection as SqliteConnection
from sqlite3 import Error as SqliteError
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import parse_qsl

from sqlalchemy import Column, Connection, Engine, Join, Label, Result, Row, Select, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql import visitors

from db.errors import RecordUnusable
from db.readable import readable
from db.tables.base import CHECKED_TYPES, BadValue

if TYPE_CHECKING:
    from psycopg import Connection as PostgresConnection

T = TypeVar("T")

BUSY_TIMEOUT_S = 30.0
ROWS_AT_ONCE = 2_000
_LOG_WAIT_MS = 1_000
# Enough for a long listing, and below every database's limit on parameters.
_PORTION = 500

_VARIABLE = "THREADMILL_DATABASE_URL"
_FORMS = "sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
# Any number, as long as no other program takes the same lock in the same PostgreSQL database.
_WRITE_LOCK = 0x7468726D


def parse_url(url: str) -> URL:
    """The URL of a supported database, else RecordUnusable; `postgresql://` means our driver.

    A URL that cannot be parsed is not shown: it may hold a password. That of a SQLite file has no options, and a
    question mark in it is one of the path.
    """
    try:
        # No path or name has a NUL, or a character that cannot be encoded.
        url = "" if b"\0" in os.fsencode(url) else url
        if file := re.fullmatch(r"sqlite(?:\+pysqlite)?:///(.+)", url, re.DOTALL):
            parsed = URL.create("sqlite", database=file[1])
        else:
            parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise RecordUnusable(_VARIABLE, f"is not a database URL; use {_FORMS}") from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        path = parsed.database or ""
        if not file or path.startswith((":memory:", "file:")) or re.search(r"\?\w+=[^/]*$", path):
            raise RecordUnusable(_VARIABLE, "names no file, or has options; use sqlite:///PATH, with three slashes")
        return parsed
    # What has become of a byte that is no UTF-8; of a path of SQLite it may be a part.
    if re.search("[\ud800-\udfff]", url):
        raise RecordUnusable(_VARIABLE, "has a byte that is no text; write it as %FF, in two hex digits")
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if "@" in f"{parsed.host}{parsed.database}":
        raise RecordUnusable(_VARIABLE, "has more than one @; write the one in the password as %40")
    if parsed.drivername != "postgresql+psycopg":
        raise RecordUnusable(shown(parsed), f"only SQLite and PostgreSQL are supported; use {_FORMS}")
    return parsed


def shown(url: URL) -> str:
    """For people: the file's path, or the URL without its password and options, which may hold one too."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)


def open_engine(url: URL, *, readonly: bool, timeout_s: float = BUSY_TIMEOUT_S) -> Engine:
    """An engine for that database, RecordUnusable if its driver is not installed, or its file cannot be read.

    On both databases a writer's transactions begin with the one write lock. SQLite fails a transaction that starts as
    a reader and writes later at once with "database is locked" when another was faster, whatever the time-out. On
    PostgreSQL two runs that add the same host, case or series at once would meet a unique constraint or a deadlock.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, readonly=readonly, timeout_s=timeout_s)
    return _postgres_engine(url, readonly=readonly, timeout_s=timeout_s)


def _postgres_engine(url: URL, *, readonly: bool, timeout_s: float) -> Engine:
    # Readers see one state of the record from their first query to their last, as they do on SQLite.
    isolation: Literal["REPEATABLE READ", "READ COMMITTED"] = "REPEATABLE READ" if readonly else "READ COMMITTED"
    patience = {} if "connect_timeout" in url.query else {"connect_timeout": max(2, round(timeout_s))}
    try:
        engine = create_engine(url, pool_pre_ping=True, isolation_level=isolation, connect_args=patience)
    except ImportError as error:
        reason = f"its driver cannot be used ({first_line(error)}); install the extra: pip install -e '.[postgres]'"
        raise RecordUnusable(shown(url), reason) from None
    settings = f"SET lock_timeout = {max(1, round(timeout_s * 1000))}"
    if readonly:
        settings += "; SET default_transaction_read_only = on"

    @event.listens_for(engine, "connect")
    def prepare(connection: PostgresConnection[Any], _entry: ConnectionPoolEntry) -> None:
        # Outside of a transaction, whose end could undo it.
        connection.autocommit = True
        connection.execute(settings)
        connection.autocommit = False

    if not readonly:

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})")

    return engine


def _sqlite_engine(url: URL, *, readonly: bool, timeout_s: float) -> Engine:
    if url.database and os.path.exists(url.database) and not os.path.isfile(url.database):
        # Opening a pipe would wait for ever.
        raise RecordUnusable(shown(url), "is not a regular file")
    until_disposed = ExitStack()
    if readonly and url.database:
        file, _, options = until_disposed.enter_context(readable(url.database)).partition("?")
        url = url.set(database=file, query={"uri": "true", **dict(parse_qsl(options))})
    engine = create_engine(url, connect_args={"timeout": timeout_s})
    event.listen(engine, "engine_disposed", lambda _: until_disposed.close())
    engine.dialect.colspecs = {**engine.dialect.colspecs, **CHECKED_TYPES}

    @event.listens_for(engine, "connect")
    def prepare(connection: SqliteConnection, _entry: ConnectionPoolEntry) -> None:
        # Switch the driver's own transactions off: ours begin below.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")
        if not readonly:
            _use_wal(connection, timeout_s)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if readonly:
            connection.exec_driver_sql("BEGIN")
        else:
            _begin_immediate(connection, timeout_s)

    return engine


def _begin_immediate(connection: Connection, timeout_s: float) -> None:
    """Take the write lock; all that wait for it have the same chance, however long each has waited.

    SQLite's own waiting looks again after 1 ms at first and after 100 ms later on, so that among many writers newcomers
    are served first: of sixteen that wrote for a minute on a busy machine, one waited for more than 30 s.
    """
    driver: Any = connection.connection.driver_connection
    deadline = time.monotonic() + timeout_s
    driver.execute("PRAGMA busy_timeout=0")
    try:
        # Past SQLAlchemy, whose errors cost more than the wait: sixteen that try often must leave time to the writer.
        while _busy(driver):
            if time.monotonic() > deadline:
                break
            time.sleep(random.uniform(0.002, 0.010))  # noqa: S311 - a moment
        if not driver.in_transaction:
            # Again, so that SQLAlchemy raises the error.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        driver.execute(f"PRAGMA busy_timeout={round(timeout_s * 1000)}")


def _busy(driver: Any) -> bool:
    """Whether another process has the lock; if not, it is ours now, or there is another error, which comes again."""
    try:
        driver.execute("BEGIN IMMEDIATE")
    except driver.DatabaseError as error:
        return "locked" in str(error)
    return False


def _use_wal(connection: SqliteConnection, timeout_s: float) -> None:
    """Let readers work beside writers. The switch, once per file, ignores the busy time-out, so wait here."""
    deadline = time.monotonic() + timeout_s
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except connection.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            if mode != "wal":
                raise connection.OperationalError("its file system has no shared memory for a write-ahead log")


class Database:
    """An open history database."""

    def __init__(self, url: str, *, readonly: bool, timeout_s: float) -> None:
        self._url = parse_url(url)
        self._readonly = readonly
        self._engine = open_engine(self._url, readonly=readonly, timeout_s=timeout_s)

    @property
    def where(self) -> str:
        """For people: the file, or the server without the password."""
        return shown(self._url)

    def close(self) -> None:
        """Close every connection. A writer empties SQLite's log, so that the file alone is the whole record."""
        pool: Any = self._engine.pool
        # Without a connection there was nothing to write.
        if not self._readonly and self._url.get_backend_name() == "sqlite" and pool.checkedin():
            with suppress(SqliteError, DBAPIError), self._engine.connect() as connection:
                driver: Any = connection.connection.driver_connection
                # Readers may keep it from that: then the next writer empties it.
                driver.execute(f"PRAGMA busy_timeout={_LOG_WAIT_MS}")
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._engine.dispose()


def in_portions(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split values for `IN (…)` into portions."""
    for start in range(0, len(values), _PORTION):
        yield values[start : start + _PORTION]


def streamed(connection: Connection, query: Select[Any]) -> Result[Any]:
    """The rows of a query, in constant memory."""
    return connection.execute(query.execution_options(yield_per=ROWS_AT_ONCE))


def checked(query: Select[Any], rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """The rows of a query; BadValue if one lacks a value that its table must have."""
    joins = (one for top in query.get_final_froms() for one in visitors.iterate(top) if isinstance(one, Join))
    optional = {table for join in joins if join.isouter for table in visitors.iterate(join.right)}
    for at, column in enumerate(one.element if isinstance(one, Label) else one for one in query.selected_columns):
        needed = isinstance(column, Column) and not column.nullable and column.table not in optional
        if needed and any(row[at] is None for row in rows):
            raise BadValue(f"{column} has no value")
    return rows


# A pattern for a driver's message → its meaning for the user and what to do; whether it may pass by itself.
_MEANINGS = (
    ("database is locked|lock timeout", "is locked by another process; try again when that has finished", True),
    ("readonly database", "is read-only; give this user the right to write to it, or set THREADMILL_HOME", False),
    ("disk is full|no space left", "the disk is full; make room and run again", False),
    ("unable to open database file", "cannot be opened; check that the path exists and may be used", False),
    ("disk i/o error", "the disk reports an I/O error", False),
    ("file is not a database", "is not an SQLite database", False),
    ("malformed", "is damaged; restore a backup, or move it away to begin anew", False),
    ("authentication failed", f"the server refuses the user or the password; see {_VARIABLE}", False),
    ("no password supplied", f"the server asks for a password; see {_VARIABLE}", False),
    (r'database ".*" does not exist', "it is not on the server; create it there first (createdb)", False),
    ("permission denied", "the server does not let this user do that", False),
    ("read-only transaction", "the server is read-only", False),
    ("too many clients", "the server takes no more connections now", True),
    ("server closed the connection|terminating connection", "the server has gone away", True),
    ("connection (failed|is bad|refused|timeout)|failed to resolve", "the server cannot be reached", True),
)


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn any error of the database driver into RecordUnusable, one line that says what to do."""
    try:
        yield
    except DBAPIError as error:
        cause = error.orig or error
        said = str(cause).lower()
        reason, transient = first_line(cause), error.connection_invalidated
        for pattern, meaning, passes in _MEANINGS:
            if re.search(pattern, said):
                reason, transient = f"{meaning} ({reason})", transient or passes
                break
        raise RecordUnusable(shown(url), reason, transient) from error
    except OverflowError as error:
        # SQLite's driver raises this unwrapped, for a number that a user wrote; PostgreSQL's raises a DBAPIError.
        raise RecordUnusable(shown(url), f"cannot be asked for so great a number ({error})") from error
    except BadValue as error:
        reason = f"is damaged, or was changed from outside: {error}; `threadmill db check` names the place"
        raise RecordUnusable(shown(url), reason) from error
    except UnicodeDecodeError as error:
        # The driver raises this and the next one unwrapped.
        raise RecordUnusable(shown(url), f"the file is damaged ({error}); restore it from a backup") from error
    except UnicodeError as error:
        raise RecordUnusable(shown(url), f"a name or text has a character that cannot be written ({error})") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, else its type."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
