"""Rows on their way from one database to another, or out of it: table by table, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Result, Table, insert, select, text
from sqlalchemy.exc import DBAPIError

from db.engine import BUSY_TIMEOUT_S, explained, open_engine, parse_url, shown
from db.errors import NotWritten, RecordUnusable
from db.models import Base, DaySummary, Encryption, Run, Sample, Snapshot, Stage, Summary, Verdict
from db.schema import HEAD, check_readable
from db.store import Store

# Parents before children.
TABLES: tuple[Table, ...] = tuple(Base.metadata.sorted_tables)
ROWS_AT_ONCE = 2_000


@contextmanager
def snapshot(url: str, *, timeout_s: float = BUSY_TIMEOUT_S) -> Iterator[Connection]:
    """A connection that sees the record as it is now, whatever others write meanwhile.

    Raises:
        RecordError: there is none, or it cannot be read.
    """
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


def rows(connection: Connection, table: Table, since: datetime | None = None) -> Result[Any]:
    """A table's rows by their keys; of what belongs to runs, those whose run began at or after `since`."""
    query = select(table).order_by(*table.primary_key)
    if since is not None and table.name in _OF_RUNS:
        query = query.where(_OF_RUNS[table.name](since))
    return connection.execute(query.execution_options(yield_per=ROWS_AT_ONCE))


def copy_rows(source: Connection, target: Connection, path: str, since: datetime | None = None) -> dict[str, int]:
    """Insert all rows into tables that are there and empty; the number of them by table.

    Raises:
        NotWritten: the target, called `path`, does not take them.
    """
    counts = {}
    for table in TABLES:
        found = rows(source, table, since)
        counts[table.name] = 0
        for batch in found.mappings().partitions(ROWS_AT_ONCE):
            with writing(path):
                target.execute(insert(table), [dict(row) for row in batch])
            counts[table.name] += len(batch)
    return counts


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Tell faults of what is written from those of what is read."""
    try:
        yield
    except DBAPIError as error:
        said = str(error.orig).splitlines()[0]
        raise NotWritten(path, "the disk is full" if "disk is full" in said else said) from error


def import_record(path: str, url: str, *, timeout_s: float = BUSY_TIMEOUT_S) -> dict[str, int]:
    """Take all rows of a SQLite record into one that is empty, of either kind; their number by table.

    All or nothing. The ledger comes along as it is, so that the copy verifies like the original, with the same head.

    Raises:
        RecordUnusable: there is nothing at `path`, or something at `url` already.
    """
    store = Store(url, timeout_s=timeout_s)
    target_url = parse_url(url)
    store.close()
    engine = open_engine(target_url, readonly=False, timeout_s=timeout_s)
    try:
        with explained(target_url), snapshot(f"sqlite:///{path}") as source, engine.begin() as target:
            if target.execute(select(Run.id).limit(1)).first():
                raise RecordUnusable(shown(target_url), "has runs already; a record is imported into an empty one")
            counts = copy_rows(source, target, shown(target_url))
            if target.dialect.name == "postgresql":
                _continue_numbers(target)
    finally:
        engine.dispose()
    return counts


def _continue_numbers(target: Connection) -> None:
    """PostgreSQL counts by itself, and does not see the numbers that were given."""
    for table in TABLES:
        key = table.c.id
        if key.autoincrement:
            query = text(
                f"SELECT setval(pg_get_serial_sequence('\"{table.name}\"', 'id'), "  # noqa: S608 - names of ours
                f'(SELECT max(id) FROM "{table.name}"))'
            )
            target.execute(query)


def stamp(connection: Connection) -> None:
    """Say which schema the tables have, as a migration would."""
    connection.execute(
        text(
            "CREATE TABLE alembic_version "
            "(version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


_Condition = Callable[[datetime], Any]

_OF_RUNS: Mapping[str, _Condition] = {
    "run": lambda since: Run.started_at >= since,
    "encryption": lambda since: Encryption.run_id.in_(_runs(since)),
    "stage": lambda since: Stage.encryption_id.in_(select(Encryption.id).where(Encryption.run_id.in_(_runs(since)))),
    "sample": lambda since: Sample.run_id.in_(_runs(since)),
    "snapshot": lambda since: Snapshot.run_id.in_(_runs(since)),
    "verdict": lambda since: Verdict.run_id.in_(_runs(since)),
    "summary": lambda since: Summary.started_at >= since,
    "day_summary": lambda since: DaySummary.day >= since.date(),
}


def _runs(since: datetime) -> Any:
    return select(Run.id).where(Run.started_at >= since)
