"""Old databases stay readable, many may start at once, and the migrations make what the models say."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, NullPool, create_engine, inspect, text

from db.errors import NoWayBack, SchemaTooOld
from db.history import History, PayloadFilter, SampleFilter
from db.models import Base
from db.rows import NewRun
from db.schema import HEAD, REVISIONS, configuration
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
    """All rows of the tables that the first releases had, and of the columns that these had then."""
    with bare.connect() as connection:
        looking = inspect(connection)
        tables = set(looking.get_table_names()) & {
            "host",
            "run",
            "encryption",
            "stage",
            "interpreter",
            "case",
            "sample",
        }
        columns = {name: [one["name"] for one in looking.get_columns(name)] for name in tables}
        wanted = {name: ", ".join(f'"{one}"' for one in columns[name] if one != "vault_id") for name in tables}
        return {
            name: sorted(map(str, connection.execute(text(f'SELECT {wanted[name]} FROM "{name}"'))))  # noqa: S608 - ours
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
        # In the last one of these records the first of four runs was removed; its summary stays.
        assert list(summed) == [1, 2, 3, 4][: len(kept) + (revision > "0002")]
        store.finish_run(store.start_run(RUN), "completed")
        assert [run.flow for run in history.runs()] == ["survey", *kept]
        assert history.verify().faults == ()


def test_there_is_no_way_down(database_url: str, bare: Engine) -> None:
    """Alembic finds nothing to add to the last revision; asked for the one before, it says what to do instead."""
    Store(database_url).close()
    with bare.connect() as connection:
        command.check(configuration(connection))
        with pytest.raises(NoWayBack, match=r"downgrade from schema \d+ is not promised: restore the backup"):
            command.downgrade(configuration(connection), "-1")
    assert revision_of(bare) == HEAD


# Forked after all imports, the driver's too, they are at the database within milliseconds of each other.
EIGHT = """
import os, sys, alembic.command
from db.engine import open_engine, parse_url
from db.rows import NewRun
from db.store import Store
open_engine(parse_url(sys.argv[1]), readonly=False)
children = []
for _ in range(8):
    children.append(os.fork())
    if not children[-1]:
        store = Store(sys.argv[1])
        store.finish_run(store.start_run(NewRun('survey', 'direct', {}, '0')), 'completed')
        sys.exit()
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


@pytest.mark.parametrize("revision", ["", *REVISIONS[:-1]])
def test_eight_processes_may_start_at_once(revision: str, database_url: str, bare: Engine) -> None:
    """On a new database or an old one, whoever comes first makes the tables; the others wait and go on."""
    if revision:
        restore(revision, database_url)
    ended = subprocess.run([sys.executable, "-c", EIGHT, database_url], capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert revision_of(bare) == HEAD
    with closing(History(database_url)) as history:
        assert [run.status for run in history.runs() if run.flow == "survey"] == ["completed"] * 8
        assert history.verify().faults == ()


# For each number on its input, a process that is killed before it sends that statement; its exit code on the output.
KILLED = """
import os, signal, sys, alembic.command
from sqlalchemy import Engine, event
from db.engine import open_engine, parse_url
from db.store import Store
open_engine(parse_url(sys.argv[1]), readonly=False)
for line in sys.stdin:
    if not (child := os.fork()):
        left = iter(range(int(line)))
        kill = lambda *_: next(left, None) is None and os.kill(os.getpid(), signal.SIGKILL)
        for name in ('before_cursor_execute', 'commit'):
            event.listen(Engine, name, kill)
        Store(sys.argv[1])
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_killed_in_mid_migration(database_url: str, bare: Engine) -> None:
    """`kill -9` anywhere in an upgrade leaves the database as it was; the next start upgrades it."""
    restore("0002", database_url)
    before = rows_of(bare)
    draw = random.Random()  # noqa: S311 - places
    killed, statements = 0, 1.0
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, database_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin
        assert process.stdout
        while True:
            process.stdin.write(f"{statements:.0f}\n")
            code = int(process.stdout.readline())
            if code == 0:
                break
            assert (code, revision_of(bare), rows_of(bare)) == (-signal.SIGKILL, "0002", before), statements
            killed += 1
            statements += draw.uniform(1, 12)
    assert killed > 5
    assert (revision_of(bare), rows_of(bare)) == (HEAD, before)
    with closing(Store(database_url)), closing(History(database_url)) as history:
        assert (history.verify().faults, history.verify().runs) == ((), 3)
