"""Whether a database is whole, and where its space goes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, inspect, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError

from db.answers import RecordSize
from db.engine import BUSY_TIMEOUT_S, checked, explained, first_line, open_engine, parse_url, shown, streamed
from db.errors import RecordUnusable, SchemaTooNew
from db.schema import HEAD, found_revision, known_revision
from db.tables import METADATA, RUN
from db.tables.base import BadValue


def faults(url: str, *, timeout_s: float = BUSY_TIMEOUT_S) -> tuple[str, ...]:
    """The faults of the database, a sentence each; none if it is whole. Reads all of a SQLite file."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and not os.path.exists(str(parsed.database)):
        return (f"{shown(parsed)} is not there",)
    engine = open_engine(parsed, readonly=True, timeout_s=timeout_s)
    found: list[str] = []
    try:
        for look in (_structure, _references, _revision, _shape, _values):
            try:
                with explained(parsed), engine.connect() as connection:
                    found += look(connection, shown(parsed))
            except RecordUnusable as error:
                found.append(error.reason)
    finally:
        engine.dispose()
    # A file that cannot be read at all gives the same reason each time.
    return tuple(dict.fromkeys(found))


def _structure(connection: Connection, _where: str) -> Iterator[str]:
    """Pages, rows or indexes that do not fit together, as far as SQLite can tell."""
    if connection.dialect.name == "sqlite":
        for (report,) in connection.execute(text("PRAGMA integrity_check")):
            yield from (line for line in report.splitlines() if line != "ok" and not line.startswith("*** in "))


def _references(connection: Connection, _where: str) -> Iterator[str]:
    """Rows whose parents are missing; PostgreSQL does not allow them."""
    if connection.dialect.name == "sqlite":
        query = text('SELECT "table", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2 ORDER BY 1, 2')
        for table, parent, count in connection.execute(query):
            yield f"table {table}: {count:,} rows without their parent in table {parent}"


def _revision(connection: Connection, where: str) -> Iterator[str]:
    try:
        found = known_revision(connection, where)
    except SchemaTooNew as error:
        yield f"schema {error.found} is newer than this program's {HEAD}; use the threadmill that wrote it"
        return
    if found is None:
        yield "has no tables of threadmill"
    elif found != HEAD:
        yield f"schema {found} is older than this program's {HEAD}; run: threadmill db upgrade"


def _shape(connection: Connection, _where: str) -> Iterator[str]:
    """Tables, columns and indexes that the revision has, and that are missing."""
    if found_revision(connection) != HEAD:
        return
    looking = inspect(connection)
    there = set(looking.get_table_names())
    for table in METADATA.sorted_tables:
        if table.name not in there:
            yield f"table {table.name} is missing"
            continue
        columns = {column["name"] for column in looking.get_columns(table.name)}
        yield from (f"table {table.name}: column {one.name} is missing" for one in table.c if one.name not in columns)
        indexes = {index["name"] for index in looking.get_indexes(table.name)}
        yield from (
            f"table {table.name}: index {one.name} is missing" for one in table.indexes if one.name not in indexes
        )


def _values(connection: Connection, _where: str) -> Iterator[str]:
    """Values that no run has written: of another kind than the column's, JSON of another form, text that is none."""
    if connection.dialect.name != "sqlite" or found_revision(connection) != HEAD:
        return
    for table in METADATA.sorted_tables:
        # All columns at once, and one by one only where that fails.
        if _bad_value(connection, select(table)):
            faults_by_column = ((column, _bad_value(connection, select(column))) for column in table.c)
            yield from (f"table {table.name}: column {one.name}: {fault}" for one, fault in faults_by_column if fault)


def _bad_value(connection: Connection, query: Select[Any]) -> str | None:
    try:
        for rows in streamed(connection, query).partitions():
            checked(query, rows)
    except (BadValue, DBAPIError) as error:
        return first_line(getattr(error, "orig", None) or error)
    return None


@dataclass(frozen=True, slots=True)
class TableSize:
    """Rows of a table, and its bytes with those of its indexes; None where the database cannot tell bytes apart."""

    table: str
    rows: int
    size_bytes: int | None
    share: float | None


@dataclass(frozen=True, slots=True)
class RecordStats:
    """The record in numbers; `size_bytes` is its size on disk, with SQLite's write-ahead log."""

    where: str
    schema: str
    size_bytes: int
    oldest_run_at: datetime | None
    newest_run_at: datetime | None
    tables: tuple[TableSize, ...]


def size_of(connection: Connection, url: URL) -> RecordSize:
    """The size of the record, without reading all of it."""
    runs = connection.execute(select(func.count()).select_from(RUN)).scalar_one()
    return RecordSize(_bytes(connection, url), runs)


def stats_of(connection: Connection, url: URL) -> RecordStats:
    """Count everything. Reads all of a SQLite file to tell its tables apart."""
    oldest, newest = connection.execute(select(func.min(RUN.c.started_at), func.max(RUN.c.started_at))).one()
    on_sqlite = connection.dialect.name == "sqlite"
    sizes = _sqlite_sizes(connection) if on_sqlite else _postgresql_sizes(connection)
    total = _bytes(connection, url)
    tables = []
    for table in METADATA.sorted_tables:
        rows = connection.execute(select(func.count()).select_from(table)).scalar_one()
        size_bytes = sizes.get(table.name)
        share = None if size_bytes is None else size_bytes / total
        tables.append(TableSize(table.name, rows, size_bytes, share))
    largest_first = sorted(tables, key=lambda one: (-(one.size_bytes or 0), -one.rows, one.table))
    return RecordStats(shown(url), HEAD, total, oldest, newest, tuple(largest_first))


def _bytes(connection: Connection, url: URL) -> int:
    if connection.dialect.name == "sqlite":
        # The write-ahead log is not always there.
        files = (f"{url.database}", f"{url.database}-wal")
        return sum(os.path.getsize(path) for path in files if os.path.exists(path))
    return int(connection.execute(select(func.pg_database_size(func.current_database()))).scalar_one())


def _sqlite_sizes(connection: Connection) -> Mapping[str, int]:
    query = text(
        "SELECT owner.tbl_name, sum(pages.pgsize) FROM dbstat AS pages JOIN sqlite_master AS owner USING (name) "
        "WHERE pages.aggregate = TRUE GROUP BY 1"
    )
    try:
        return {row[0]: row[1] for row in connection.execute(query)}
    except OperationalError as error:
        if "no such table: dbstat" not in str(error):
            raise
        # This build of SQLite has no dbstat.
        return {}


def _postgresql_sizes(connection: Connection) -> Mapping[str, int]:
    query = text("SELECT pg_total_relation_size(CAST(:name AS regclass))")
    return {
        table.name: connection.execute(query, {"name": f'"{table.name}"'}).scalar_one()
        for table in METADATA.sorted_tables
    }
