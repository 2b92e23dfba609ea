"""Whether a database is whole as a database; whether its contents are what was recorded is `db.ledger.verify`."""

from __future__ import annotations

import os
from collections.abc import Iterator

from sqlalchemy import Connection, inspect, text

from db.engine import BUSY_TIMEOUT_S, explained, open_engine, parse_url, shown
from db.errors import RecordUnusable
from db.models import Base
from db.schema import HEAD, REVISIONS, found_revision


def faults(url: str, *, timeout_s: float = BUSY_TIMEOUT_S) -> tuple[str, ...]:
    """What is wrong with the database, a sentence each; none if it is whole. Reads all of a SQLite file.

    Raises:
        RecordUnusable: the driver of that database is missing.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and not os.path.exists(str(parsed.database)):
        return (f"{shown(parsed)} is not there",)
    engine = open_engine(parsed, readonly=True, timeout_s=timeout_s)
    found: list[str] = []
    for look in (_structure, _references, _revision, _shape):
        try:
            with explained(parsed), engine.connect() as connection:
                found += look(connection)
        except RecordUnusable as error:
            found.append(error.reason)
    engine.dispose()
    # A file that cannot be read at all gives the same reason each time.
    return tuple(dict.fromkeys(found))


def _structure(connection: Connection) -> Iterator[str]:
    """Pages, rows and indexes fit together, as far as SQLite can tell."""
    if connection.dialect.name == "sqlite":
        for (report,) in connection.execute(text("PRAGMA integrity_check")):
            yield from (line for line in report.splitlines() if line != "ok" and not line.startswith("*** in "))


def _references(connection: Connection) -> Iterator[str]:
    """Every row's parents are there; PostgreSQL sees to that itself."""
    if connection.dialect.name == "sqlite":
        query = text('SELECT "table", parent, count(*) FROM pragma_foreign_key_check GROUP BY 1, 2 ORDER BY 1, 2')
        for table, parent, count in connection.execute(query):
            yield f"table {table}: {count:,} rows without their parent in table {parent}"


def _revision(connection: Connection) -> Iterator[str]:
    found = found_revision(connection)
    if found is None:
        yield "has no tables of threadmill"
    elif found not in REVISIONS:
        yield f"schema {found} is newer than this program's {HEAD}; use the threadmill that wrote it"
    elif found != HEAD:
        yield f"schema {found} is older than this program's {HEAD}; run: threadmill db upgrade"


def _shape(connection: Connection) -> Iterator[str]:
    """Tables, columns and indexes are all there, if the revision says that they should be."""
    if found_revision(connection) != HEAD:
        return
    looking = inspect(connection)
    there = set(looking.get_table_names())
    for table in Base.metadata.sorted_tables:
        if table.name not in there:
            yield f"table {table.name} is missing"
            continue
        columns = {column["name"] for column in looking.get_columns(table.name)}
        yield from (f"table {table.name}: column {one.name} is missing" for one in table.c if one.name not in columns)
        indexes = {index["name"] for index in looking.get_indexes(table.name)}
        yield from (
            f"table {table.name}: index {one.name} is missing" for one in table.indexes if one.name not in indexes
        )
