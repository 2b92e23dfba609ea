"""The record in other forms: a CSV file per table, one SQLite file, or another database."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from typing import IO, Any

from sqlalchemy import (
    JSON,
    Boolean,
    ColumnElement,
    Connection,
    Date,
    LargeBinary,
    Result,
    Table,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.types import TypeEngine

from db.backup import back_up, new_file, new_folder
from db.engine import BUSY_TIMEOUT_S, ROWS_AT_ONCE, explained, first_line, open_engine, parse_url, shown, streamed
from db.errors import NotWritten, RecordUnusable
from db.schema import HEAD, check_readable
from db.store import Store
from db.tables import DAY_SUMMARY, ENCRYPTION, METADATA, RUN, RUN_TABLES, STAGE, SUMMARY
from db.tables.base import UtcDateTime

# Parents before children.
TABLES: tuple[Table, ...] = tuple(METADATA.sorted_tables)


@contextmanager
def _snapshot(url: str, *, timeout_s: float = BUSY_TIMEOUT_S) -> Iterator[Connection]:
    """A connection that sees the record of this moment, even if other processes write to it meanwhile."""
    parsed = parse_url(url)
    engine = open_engine(parsed, readonly=True, timeout_s=timeout_s)
    try:
        with explained(parsed):
            if not check_readable(engine, shown(parsed)):
                raise RecordUnusable(shown(parsed), "nothing is recorded there yet")
            with engine.connect() as connection:
                yield connection
    finally:
        engine.dispose()


def _rows(connection: Connection, table: Table, since: datetime | None = None) -> Result[Any]:
    """A table's rows in the order of their keys; rows of runs only if the run began at or after `since`."""
    query = select(table).order_by(*table.primary_key)
    if since is not None:
        query = query.where(*_later(table, since))
    return streamed(connection, query)


def _later(table: Table, since: datetime) -> Iterator[ColumnElement[bool]]:
    """The condition that a row is of a run that began at or after a time, for tables whose rows are of runs."""
    runs = select(RUN.c.id).where(RUN.c.started_at >= since)
    if table is STAGE:
        yield STAGE.c.encryption_id.in_(select(ENCRYPTION.c.id).where(ENCRYPTION.c.run_id.in_(runs)))
    elif table is DAY_SUMMARY:
        yield DAY_SUMMARY.c.day >= since.date()
    elif table in (RUN, SUMMARY):
        # The run of a summary may have been removed.
        yield table.c.started_at >= since
    elif table in RUN_TABLES:
        yield table.c.run_id.in_(runs)


def _copy_rows(source: Connection, target: Connection, path: str, since: datetime | None = None) -> dict[str, int]:
    """Insert all rows into the empty tables of the target, called `path`; their number by table."""
    counts = {}
    for table in TABLES:
        counts[table.name] = 0
        for batch in _rows(source, table, since).mappings().partitions(ROWS_AT_ONCE):
            with _writing(path):
                target.execute(insert(table), [dict(row) for row in batch])
            counts[table.name] += len(batch)
    return counts


@contextmanager
def _writing(path: str) -> Iterator[None]:
    """Tell errors of the target from errors of the source."""
    try:
        yield
    except DBAPIError as error:
        said = first_line(error.orig or error)
        raise NotWritten(path, "the disk is full" if "disk is full" in said else said) from error


def import_record(path: str, url: str, *, timeout_s: float = BUSY_TIMEOUT_S) -> dict[str, int]:
    """Take all rows of a SQLite record into one that is empty, of either kind; their number by table.

    All or nothing. The ledger comes along as it is, so that the copy verifies like the original, with the same head.
    RecordUnusable if there is nothing at `path`, or something at `url` already.
    """
    with closing(Store(url, timeout_s=timeout_s)) as store, store.transaction() as target:
        if target.execute(select(RUN.c.id).limit(1)).first():
            raise RecordUnusable(store.where, "has runs already; a record is imported into an empty one")
        with _snapshot(f"sqlite:///{path}") as source:
            counts = _copy_rows(source, target, store.where)
        for table in TABLES:
            if table.c.id.autoincrement and target.dialect.name == "postgresql":
                # PostgreSQL's own counter goes on after the ids that were inserted.
                counter = func.pg_get_serial_sequence(f'"{table.name}"', "id")
                target.execute(select(func.setval(counter, select(func.max(table.c.id)).scalar_subquery())))
    return counts


_VERSION_TABLE = (
    "CREATE TABLE alembic_version "
    "(version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def export_csv(
    url: str, path: str, *, since: datetime | None = None, timeout_s: float = BUSY_TIMEOUT_S
) -> dict[str, int]:
    """Write a folder, or a file if the path ends in `.zip`, with one CSV file per table; the number of rows by table.

    Each file has a line of headings; NULL is an empty cell, bytes are hex, times ISO 8601 in UTC, JSON as it is.
    """
    if path.endswith(".zip"):
        with (
            new_file(path) as part,
            _snapshot(url, timeout_s=timeout_s) as connection,
            zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            return _write_tables(connection, since, lambda name: archive.open(name, "w", force_zip64=True))
    with new_folder(path) as part, _snapshot(url, timeout_s=timeout_s) as connection:
        return _write_tables(connection, since, lambda name: _private(os.path.join(part, name)))


def export_sqlite(
    url: str, path: str, *, since: datetime | None = None, timeout_s: float = BUSY_TIMEOUT_S
) -> dict[str, int]:
    """Write a SQLite file with the same tables and indexes, a record itself; the number of rows by table.

    A whole SQLite record is copied by pages, which is many times faster than by rows.
    """
    if since is None and parse_url(url).get_backend_name() == "sqlite":
        with _snapshot(url, timeout_s=timeout_s):
            back_up(url, path, timeout_s=timeout_s)
        with _snapshot(f"sqlite:///{path}") as copy:
            return {table.name: copy.execute(select(func.count()).select_from(table)).scalar_one() for table in TABLES}
    with new_file(path) as part, _snapshot(url, timeout_s=timeout_s) as source, _new_database(part, path) as target:
        with _writing(path):
            for table in TABLES:
                target.execute(CreateTable(table))
        counts = _copy_rows(source, target, path, since)
        with _writing(path):
            # To sort the rows once is faster than to add them to an index one by one.
            for index in (index for table in TABLES for index in sorted(table.indexes, key=lambda one: str(one.name))):
                target.execute(CreateIndex(index))
            # A migration does the same.
            target.execute(text(_VERSION_TABLE))
            target.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
        return counts


def _write_tables(connection: Connection, since: datetime | None, new: Callable[[str], IO[bytes]]) -> dict[str, int]:
    return {table.name: _write_table(connection, table, since, new) for table in TABLES}


def _write_table(connection: Connection, table: Table, since: datetime | None, new: Callable[[str], IO[bytes]]) -> int:
    converters = [
        (n, convert)
        for n, column in enumerate(table.c)
        for kind, convert in _FORMS.items()
        if isinstance(column.type, kind)
    ]
    count = 0
    with new(f"{table.name}.csv") as binary, io.TextIOWrapper(binary, encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.c.keys())
        for row in _rows(connection, table, since):
            cells = list(row)
            for n, convert in converters:
                if cells[n] is not None:
                    cells[n] = convert(cells[n])
            writer.writerow(cells)
            count += 1
    return count


def _private(path: str) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _time(value: datetime) -> str:
    """A time as text of one length, so that text sorts as time does."""
    return value.astimezone(UTC).isoformat(timespec="microseconds")


_FORMS: Mapping[type[TypeEngine[Any]], Callable[[Any], str]] = {
    UtcDateTime: _time,
    Date: date.isoformat,
    LargeBinary: bytes.hex,
    Boolean: lambda value: "true" if value else "false",
    JSON: json.dumps,
}


@contextmanager
def _new_database(part: str, path: str) -> Iterator[Connection]:
    """A transaction on a file that no other process knows yet: no journal, synchronised when it is done."""
    engine = create_engine(f"sqlite:///{part}")

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _entry: object) -> None:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")

    try:
        with engine.connect() as connection:
            yield connection
            with _writing(path):
                connection.commit()
    finally:
        engine.dispose()
