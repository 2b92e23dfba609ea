"""How much is on record, and where the space goes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from db.engine import shown
from db.models import Base, Run
from db.rows import RecordSize
from db.schema import HEAD


@dataclass(frozen=True, slots=True)
class TableSize:
    """Rows of a table, and its bytes with those of its indexes; None where the database cannot tell bytes apart."""

    table: str
    rows: int
    size_bytes: int | None
    share: float | None


@dataclass(frozen=True, slots=True)
class RecordStats:
    """The record in numbers; `size_bytes` is what it takes on disk, SQLite's write-ahead log included."""

    where: str
    schema: str
    size_bytes: int
    oldest_run_at: datetime | None
    newest_run_at: datetime | None
    tables: tuple[TableSize, ...]


def size_of(connection: Connection, url: URL) -> RecordSize:
    """What status needs of it, without reading all."""
    runs = connection.execute(select(func.count()).select_from(Run)).scalar_one()
    return RecordSize(_bytes(connection, url), runs)


def stats_of(connection: Connection, url: URL) -> RecordStats:
    """Count everything. Reads all of a SQLite file to tell its tables apart."""
    rows = {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in Base.metadata.sorted_tables
    }
    oldest, newest = connection.execute(select(func.min(Run.started_at), func.max(Run.started_at))).one()
    on_sqlite = connection.dialect.name == "sqlite"
    sizes = _sqlite_sizes(connection) if on_sqlite else _postgresql_sizes(connection)
    total = _bytes(connection, url)
    tables = (
        TableSize(name, count, sizes.get(name), sizes[name] / total if name in sizes else None)
        for name, count in rows.items()
    )
    largest_first = sorted(tables, key=lambda one: (-(one.size_bytes or 0), -one.rows, one.table))
    return RecordStats(shown(url), HEAD, total, oldest, newest, tuple(largest_first))


def _bytes(connection: Connection, url: URL) -> int:
    if connection.dialect.name == "sqlite":
        return _file_bytes(url)
    return int(connection.execute(select(func.pg_database_size(func.current_database()))).scalar_one())


def _sqlite_sizes(connection: Connection) -> Mapping[str, int]:
    query = text(
        "SELECT owner.tbl_name, sum(pages.pgsize) FROM dbstat AS pages JOIN sqlite_master AS owner USING (name) "
        "WHERE pages.aggregate = TRUE GROUP BY 1"
    )
    try:
        return dict(connection.execute(query).tuples().all())
    except OperationalError as error:
        if "no such table: dbstat" not in str(error):
            raise
        # Left out of this build of SQLite.
        return {}


def _postgresql_sizes(connection: Connection) -> Mapping[str, int]:
    query = text("SELECT pg_total_relation_size(CAST(:name AS regclass))")
    return {
        table.name: connection.execute(query, {"name": f'"{table.name}"'}).scalar_one()
        for table in Base.metadata.sorted_tables
    }


def _file_bytes(url: URL) -> int:
    """Of the file and its write-ahead log, which is not always there."""
    return sum(os.path.getsize(path) for path in (f"{url.database}", f"{url.database}-wal") if os.path.exists(path))
