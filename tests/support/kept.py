"""Records as the releases left them, on both databases.

The record of revision 1000 has two runs of `encrypt_payloads`, the second of which failed, and one of experiments.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from sqlalchemy import BigInteger, Connection, MetaData, NullPool, create_engine, text
from sqlalchemy.engine import make_url

from db.schema import configuration

DATA = Path(__file__).parents[1] / "data"


def restore(revision: str, url: str) -> None:
    """Put the record that was kept of a revision into a database that is empty or not there."""
    if url.startswith("sqlite"):
        with sqlite3.connect(make_url(url).database or "") as file:
            file.executescript((DATA / f"record-{revision}.sql").read_text())
        file.close()
        return
    file = sqlite3.connect(":memory:")
    file.executescript((DATA / f"record-{revision}.sql").read_text())
    source = create_engine("sqlite://", creator=lambda: file)
    target = create_engine(url, poolclass=NullPool)
    with source.connect() as old, target.begin() as new:
        command.upgrade(configuration(new), revision)
        _copy(old, new)
    source.dispose()
    file.close()


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
