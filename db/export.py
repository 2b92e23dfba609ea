"""The record in forms that other programs read: a CSV file per table, or one SQLite file."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import IO, Any

from sqlalchemy import JSON, Boolean, Connection, Date, LargeBinary, Table, create_engine, event, func, select
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.types import TypeEngine

from db.backup import back_up
from db.columns import UtcDateTime
from db.engine import BUSY_TIMEOUT_S, parse_url
from db.new_files import new_file, new_folder
from db.transfer import TABLES, copy_rows, rows, snapshot, stamp, writing

Cell = str | int | float | None


def export_csv(
    url: str, path: str, *, since: datetime | None = None, timeout_s: float = BUSY_TIMEOUT_S
) -> dict[str, int]:
    """A folder, or a file if it ends in `.zip`, with one CSV file per table; the number of rows by table.

    With a line of headings; NULL is an empty cell, bytes are hex, times ISO 8601 in UTC, JSON as it is.

    Raises:
        RecordError: the record cannot be read.
        NotReplaced, NotWritten: see `db.errors`.
    """
    if path.endswith(".zip"):
        with (
            new_file(path) as part,
            snapshot(url, timeout_s=timeout_s) as connection,
            zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            return _write_tables(connection, since, lambda name: archive.open(name, "w", force_zip64=True))
    with new_folder(path) as part, snapshot(url, timeout_s=timeout_s) as connection:
        return _write_tables(connection, since, lambda name: _private(os.path.join(part, name)))


def export_sqlite(
    url: str, path: str, *, since: datetime | None = None, timeout_s: float = BUSY_TIMEOUT_S
) -> dict[str, int]:
    """A SQLite file with the same tables and indexes, which is a record itself; the number of rows by table.

    All of a SQLite record is copied by its pages, which is many times faster than by its rows.

    Raises:
        RecordError: the record cannot be read.
        NotReplaced, NotWritten: see `db.errors`.
    """
    if since is None and parse_url(url).get_backend_name() == "sqlite":
        with snapshot(url, timeout_s=timeout_s):
            back_up(url, path, timeout_s=timeout_s)
        with snapshot(f"sqlite:///{path}") as copy:
            return {table.name: copy.execute(select(func.count()).select_from(table)).scalar_one() for table in TABLES}
    with new_file(path) as part, snapshot(url, timeout_s=timeout_s) as source, _new_database(part, path) as target:
        with writing(path):
            for table in TABLES:
                target.execute(CreateTable(table))
        counts = copy_rows(source, target, path, since)
        with writing(path):
            # Sorted once is faster than row by row.
            for index in (index for table in TABLES for index in sorted(table.indexes, key=lambda one: str(one.name))):
                target.execute(CreateIndex(index))
            stamp(target)
        return counts


def _write_tables(connection: Connection, since: datetime | None, new: Callable[[str], IO[bytes]]) -> dict[str, int]:
    return {table.name: _write_table(connection, table, since, new) for table in TABLES}


def _write_table(connection: Connection, table: Table, since: datetime | None, new: Callable[[str], IO[bytes]]) -> int:
    converters = [(n, one) for n, column in enumerate(table.c) if (one := _converter(column.type))]
    count = 0
    with new(f"{table.name}.csv") as binary, io.TextIOWrapper(binary, encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.c.keys())
        for row in rows(connection, table, since):
            cells = list(row)
            for n, convert in converters:
                if cells[n] is not None:
                    cells[n] = convert(cells[n])
            writer.writerow(cells)
            count += 1
    return count


def _private(path: str) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _converter(kind: TypeEngine[Any]) -> Callable[[Any], Cell] | None:
    return next((convert for known, convert in _FORMS.items() if isinstance(kind, known)), None)


def _time(value: datetime) -> str:
    """Always of the same length, so that text sorts as time does."""
    return value.astimezone(UTC).isoformat(timespec="microseconds")


_FORMS: Mapping[type[TypeEngine[Any]], Callable[[Any], Cell]] = {
    UtcDateTime: _time,
    Date: date.isoformat,
    LargeBinary: bytes.hex,
    Boolean: lambda value: "true" if value else "false",
    JSON: json.dumps,
}


@contextmanager
def _new_database(part: str, path: str) -> Iterator[Connection]:
    """A transaction on a file that nobody else knows yet: no journal, synchronised when it is done."""
    engine = create_engine(f"sqlite:///{part}")

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _entry: object) -> None:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")

    try:
        with engine.connect() as connection:
            yield connection
            with writing(path):
                connection.commit()
    finally:
        engine.dispose()
