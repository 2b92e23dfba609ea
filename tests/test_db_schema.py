"""Old databases stay readable, many may start at once, and the migrations make what the models say."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, NullPool, create_engine, inspect, text

from db.errors import SchemaTooOld
from db.facts import NewRun
from db.history import History, PayloadFilter, SampleFilter
from db.models import Base
from db.schema import HEAD, REVISIONS
from db.store import Store
from tests.kept import restore

RUN = NewRun("survey", "direct", {}, "test")


@pytest.fixture
def bare(database_url: str) -> Iterator[Engine]:
    """The database, past the store."""
    engine = create_engine(database_url, poolclass=NullPool)
    yield engine
    engine.dispose()


def revision_of(bare: Engine) -> str:
    """The schema's revision; it must be just what the models say if it is the last one."""
    with bare.connect() as connection:
        context = MigrationContext.configure(connection)
        revision = context.get_current_revision()
        assert revision != HEAD or compare_metadata(context, Base.metadata) == []
    return revision or ""


def rows_of(bare: Engine) -> dict[str, list[str]]:
    """All rows of the tables that the earlier releases had."""
    with bare.connect() as connection:
        tables = set(inspect(connection).get_table_names()) - {"alembic_version", "ledger"}
        tables -= {"series", "summary", "day_summary"}
        return {
            name: sorted(map(str, connection.execute(text(f'SELECT * FROM "{name}"'))))  # noqa: S608 - our tables
            for name in tables
        }


def test_migrations_make_what_the_models_say(database_url: str, bare: Engine) -> None:
    """From nothing to the last revision gives the models' tables, indexes and constraints, no more and no less."""
    Store(database_url).close()
    assert revision_of(bare) == HEAD


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_old_database_is_upgraded_with_its_rows(revision: str, database_url: str, bare: Engine) -> None:
    """A writer upgrades what an earlier release left: every row is still there, sealed, summed up, and added to."""
    restore(revision, database_url)
    before = rows_of(bare)
    with pytest.raises(SchemaTooOld, match="db upgrade"):
        History(database_url)
    with closing(Store(database_url)) as store, closing(History(database_url)) as history:
        assert (revision_of(bare), rows_of(bare) | before) == (HEAD, rows_of(bare))
        kept = ["run_experiments"] * (revision > "0001") + ["encrypt_payloads"] * 2
        assert [run.flow for run in history.runs()] == kept
        rows = history.payloads(PayloadFilter())
        assert {row.suite for row in rows} == {"modern", "classic"}
        assert sorted(len(row.stages) for row in rows) == [0, 2, 2, 2, 2]
        assert (history.samples(SampleFilter()) != []) == (revision > "0001")
        with bare.connect() as connection:
            summed = connection.execute(text("SELECT DISTINCT run_id FROM summary ORDER BY run_id")).scalars().all()
        assert list(summed) == [1, 2, 3][: len(kept)]
        store.finish_run(store.start_run(RUN), "completed")
        assert [run.flow for run in history.runs()] == ["survey", *kept]
        assert history.verify().faults == ()


@pytest.mark.parametrize("revision", ["", *REVISIONS[:-1]])
def test_eight_processes_may_start_at_once(revision: str, database_url: str, bare: Engine) -> None:
    """On a new database or an old one, whoever comes first makes the tables; the others wait and go on."""
    if revision:
        restore(revision, database_url)
    program = (
        "import sys; from db.store import Store; from db.facts import NewRun\n"
        "store = Store(sys.argv[1])\n"
        "store.finish_run(store.start_run(NewRun('survey', 'direct', {}, '0')), 'completed')"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", program, database_url], stderr=subprocess.PIPE) for _ in range(8)
    ]
    ends = [(process.communicate()[1], process.returncode) for process in started]
    assert ends == [(b"", 0)] * 8
    assert revision_of(bare) == HEAD
    with closing(History(database_url)) as history:
        assert [run.status for run in history.runs() if run.flow == "survey"] == ["completed"] * 8
        assert history.verify().faults == ()


def test_killed_in_mid_migration(database_url: str, bare: Engine) -> None:
    """`kill -9` at any moment of an upgrade leaves the database as it was; the next start upgrades it."""
    restore("0002", database_url)
    grow(bare)
    before = rows_of(bare)
    draw = random.Random()  # noqa: S311 - moments
    program = (
        "import sys; from sqlalchemy import Engine, event; from db.store import Store\n"
        "event.listen(Engine, 'begin', lambda _: print('begun', flush=True))\n"
        "Store(sys.argv[1])"
    )
    killed, delay_s = 0, 0.005
    while True:
        process = subprocess.Popen([sys.executable, "-c", program, database_url], stdout=subprocess.PIPE)
        assert process.stdout
        # The first transaction only looks at the revision.
        assert [process.stdout.readline() for _ in range(2)] == [b"begun\n"] * 2
        time.sleep(delay_s)
        process.kill()
        process.communicate()
        if process.returncode != -signal.SIGKILL or revision_of(bare) == HEAD:
            break
        killed += 1
        assert (revision_of(bare), rows_of(bare)) == ("0002", before)
        delay_s *= draw.uniform(1.5, 2.5)
    assert killed >= 3
    assert (revision_of(bare), rows_of(bare)) == (HEAD, before)
    with closing(Store(database_url)), closing(History(database_url)) as history:
        assert (history.verify().faults, history.verify().runs) == ((), 3)


def grow(bare: Engine) -> None:
    """Give run 3 some 4,000 samples, so that its sealing takes a while."""
    with bare.begin() as connection:
        columns = [column["name"] for column in inspect(connection).get_columns("sample")]
        columns.remove("id")
        values = ", ".join("ordinal + (SELECT max(ordinal) + 1 FROM sample)" if c == "ordinal" else c for c in columns)
        while connection.execute(text("SELECT count(*) FROM sample")).scalar_one() < 4_000:
            connection.execute(text(f"INSERT INTO sample ({', '.join(columns)}) SELECT {values} FROM sample"))  # noqa: S608
