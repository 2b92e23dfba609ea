"""Databases as earlier releases left them, on both databases."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import BigInteger, Connection, MetaData, NullPool, create_engine, inspect, text
from sqlalchemy.engine import make_url

from db.schema import migrate

DATA = Path(__file__).parent / "data"


def restore(revision: str, url: str) -> None:
    """Put the record that was kept of a revision into a database that is empty or not there."""
    if url.startswith("sqlite"):
        with sqlite3.connect(make_url(url).database or "") as file:
            file.executescript((DATA / f"history-{revision}.sql").read_text())
        file.close()
        return
    file = sqlite3.connect(":memory:")
    file.executescript((DATA / f"history-{revision}.sql").read_text())
    source = create_engine("sqlite://", creator=lambda: file)
    target = create_engine(url, poolclass=NullPool)
    with source.connect() as old, target.begin() as new:
        migrate(new, revision)
        _copy(old, new)
    source.dispose()
    file.close()


def enlarge(url: str, times: int) -> None:
    """So many times the payloads, stages and samples, in the same runs."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        tables = ("encryption", "stage", "sample")
        counts = {table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() for table in tables}  # noqa: S608
        payloads = counts["encryption"]
        for table, rows in counts.items():
            apart = {"id": rows, "ordinal": rows} if table != "stage" else {"id": rows, "encryption_id": payloads}
            names = [column["name"] for column in inspect(connection).get_columns(table)]
            values = [f"{name} + n * {apart[name]}" if name in apart else name for name in names]
            more = "WITH RECURSIVE more(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM more WHERE n + 1 < :times) "
            insert = f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(values)} FROM {table}, more"  # noqa: S608
            connection.execute(text(more + insert), {"times": times})
    engine.dispose()


def _copy(old: Connection, new: Connection) -> None:
    """All rows, and the numbers that the next ones get."""
    tables, targets = MetaData(), MetaData()
    tables.reflect(old)
    targets.reflect(new)
    for table in tables.sorted_tables:
        if table.name == "alembic_version":
            continue
        rows = [{name: _aware(value) for name, value in row.items()} for row in old.execute(table.select()).mappings()]
        if rows:
            new.execute(targets.tables[table.name].insert(), rows)
        following = max((row["id"] for row in old.execute(table.select()).mappings()), default=0) + 1
        new.execute(text(f"SELECT setval(pg_get_serial_sequence('\"{table.name}\"', 'id'), {following}, false)"))
        assert isinstance(targets.tables[table.name].c.id.type, BigInteger)


def _aware(value: object) -> object:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
