"""Old databases stay readable, and the migrations make what the models say."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from db.errors import SchemaTooOld
from db.history import History, PayloadFilter, SampleFilter
from db.models import Base
from db.schema import HEAD, REVISIONS
from db.store import Store

KEPT = Path(__file__).parent / "data"


def kept_database(revision: str, folder: Path) -> Path:
    """A database as the program of that revision wrote it."""
    path = folder / "history.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript((KEPT / f"history-{revision}.sql").read_text())
    connection.close()
    return path


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_old_database_is_upgraded_with_its_rows(revision: str, tmp_path: Path) -> None:
    """A writer upgrades what an earlier release left, and every row is still there."""
    path = kept_database(revision, tmp_path)
    with pytest.raises(SchemaTooOld, match="db upgrade"):
        History(f"sqlite:///{path}")
    Store(f"sqlite:///{path}").close()
    history = History(f"sqlite:///{path}")
    assert [run.flow for run in history.runs()] == ["run_experiments"] * (revision > "0001") + ["encrypt_payloads"] * 2
    rows = history.payloads(PayloadFilter())
    assert {row.suite for row in rows} == {"modern", "classic"}
    assert sorted(len(row.stages) for row in rows) == [0, 2, 2, 2, 2]
    assert (history.samples(SampleFilter()) != []) == (revision > "0001")
    assert history.verify().faults == ()


def test_migrations_make_what_the_models_say(tmp_path: Path) -> None:
    """From nothing to the last revision gives the models' tables, indexes and constraints, no more and no less."""
    path = tmp_path / "history.sqlite"
    Store(f"sqlite:///{path}").close()
    with create_engine(f"sqlite:///{path}").connect() as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == HEAD
        assert compare_metadata(context, Base.metadata) == []
