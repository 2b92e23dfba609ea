"""The migrations make the tables that `db.tables` describes, whole or not at all; old records are told what to do."""

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

from db.errors import NoWayBack, RecordBeforeRelease, SchemaTooOld
from db.health import faults
from db.history import History, PayloadFilter, SampleFilter, SeriesFilter
from db.rows import NewRun
from db.schema import HEAD, configuration
from db.store import Store
from db.tables import METADATA
from tests.support.kept import restore

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
        assert revision != HEAD or compare_metadata(context, METADATA) == []
    return revision or ""


def test_migrations_make_what_the_models_say(database_url: str, bare: Engine) -> None:
    """From nothing to the last revision gives the models' tables, indexes and constraints, no more and no less."""
    Store(database_url).close()
    assert revision_of(bare) == HEAD


def test_kept_record_is_read_and_added_to(database_url: str, bare: Engine) -> None:
    """The record that a release left has all its rows, verifies, and takes another run."""
    restore("1000", database_url)
    with closing(Store(database_url)) as store, closing(History(database_url)) as history:
        assert revision_of(bare) == HEAD
        kept = ["run_experiments", "encrypt_payloads", "encrypt_payloads"]
        assert [run.flow for run in history.runs()] == kept
        rows = history.payloads(PayloadFilter())
        assert {row.suite for row in rows} == {"modern", "classic"}
        assert sorted(len(row.stages) for row in rows) == [0, 2, 2, 2, 2]
        assert len(history.samples(SampleFilter())) == 10
        assert {row.run_id for row in history.summaries(SeriesFilter())} == {1, 2, 3}
        store.finish_run(store.start_run(RUN), "completed")
        assert [run.flow for run in history.runs()] == ["survey", *kept]
        assert history.verify().faults == ()


def test_reader_does_not_upgrade(database_url: str, bare: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader, and the check, of a record of an older revision name the command that upgrades it."""
    Store(database_url).close()
    monkeypatch.setattr("db.schema.REVISIONS", ("0999", HEAD))
    mark(bare, "0999")
    with pytest.raises(SchemaTooOld, match="run: threadmill db upgrade"):
        History(database_url)
    (fault,) = faults(database_url)
    assert fault.endswith("run: threadmill db upgrade")


@pytest.mark.parametrize("revision", ["0001", "0004"])
def test_record_from_before_the_first_release_is_refused(revision: str, database_url: str, bare: Engine) -> None:
    """Readers, writers and the check say the same one line."""
    Store(database_url).close()
    mark(bare, revision)
    for opened in (Store, History, faults):
        with pytest.raises(RecordBeforeRelease) as caught:
            opened(database_url)
        assert str(caught.value).endswith(
            " was written by a threadmill before its first release; move it away, or set THREADMILL_HOME"
        )
        assert caught.value.exit_code == 2


def mark(bare: Engine, revision: str) -> None:
    """Say that the tables are of another revision."""
    with bare.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


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


@pytest.mark.slow
def test_eight_processes_may_start_at_once(database_url: str, bare: Engine) -> None:
    """On a new database, the process that comes first makes the tables; the others wait and go on."""
    ended = subprocess.run([sys.executable, "-c", EIGHT, database_url], capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert revision_of(bare) == HEAD
    with closing(History(database_url)) as history:
        assert [run.status for run in history.runs() if run.flow == "survey"] == ["completed"] * 8
        assert history.verify().faults == ()


# For each line on its input, a process that is killed while it makes the tables; its exit code on the output. It dies
# before its eighth statement (`before 7`), or within a statement, after 70 steps of SQLite's machine (`inside 7`).
KILLED = """
import os, signal, sys, alembic.command
from sqlalchemy import Engine, event
from db.engine import open_engine, parse_url
from db.store import Store
open_engine(parse_url(sys.argv[1]), readonly=False)
for line in sys.stdin:
    how, number = line.split()
    if not (child := os.fork()):
        left = iter(range(int(number)))
        kill = lambda *_: next(left, None) is None and os.kill(os.getpid(), signal.SIGKILL)
        if how == 'inside':
            event.listen(Engine, 'connect', lambda connection, _: connection.set_progress_handler(kill, 10))
        else:
            for name in ('before_cursor_execute', 'commit'):
                event.listen(Engine, name, kill)
        Store(sys.argv[1])
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def tables_of(bare: Engine) -> set[str]:
    with bare.connect() as connection:
        if connection.dialect.name == "sqlite":
            assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
        return set(inspect(connection).get_table_names())


@pytest.mark.slow
@pytest.mark.parametrize("how", ["before", "inside"])
def test_killed_while_it_makes_the_tables(how: str, database_url: str, bare: Engine, dice: random.Random) -> None:
    """`kill -9` anywhere leaves no table; the next start makes all of them."""
    if how == "inside" and bare.dialect.name != "sqlite":
        pytest.skip("only SQLite runs in this process")
    killed, steps = 0, 1.0
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
            process.stdin.write(f"{how} {steps:.0f}\n")
            code = int(process.stdout.readline())
            if code == 0:
                break
            assert (code, tables_of(bare)) == (-signal.SIGKILL, set()), steps
            killed += 1
            steps += dice.uniform(1, 4) if how == "before" else steps * dice.uniform(0.05, 0.3)
    assert killed > 5
    assert revision_of(bare) == HEAD
    with closing(Store(database_url)), closing(History(database_url)) as history:
        assert (history.verify().faults, history.verify().runs) == ((), 0)
