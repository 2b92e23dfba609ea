"""`threadmill db upgrade` killed by `kill -9` within a statement, or at any moment: never half of it."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import NullPool, create_engine, inspect, text

from db.history import History, SeriesFilter
from db.schema import HEAD
from db.store import Store
from tests.kept import enlarge, restore
from tests.test_db_schema import revision_of, rows_of

# Its upgrade takes a tenth of a second.
TIMES = 100
# For each line on its input a process of its own that runs the command; its exit code on the output. `inside 7`: killed
# after 7,000 steps of SQLite's own machine, and so within a statement; `after 0.1`: when that many seconds are over.
UPGRADES = """
import os, signal, sys, time, alembic.command, flows.cli.record
from sqlalchemy import Engine, event
from db.engine import open_engine, parse_url
from flows.cli.main import app
os.environ['THREADMILL_DATABASE_URL'] = sys.argv[1]
open_engine(parse_url(sys.argv[1]), readonly=False)
for line in sys.stdin:
    how, number = line.split()
    if not (child := os.fork()):
        if how == 'inside':
            left = iter(range(int(number)))
            kill = lambda: next(left, None) is None and os.kill(os.getpid(), signal.SIGKILL)
            event.listen(Engine, 'connect', lambda connection, _: connection.set_progress_handler(kill, 1000))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(app(['db', 'upgrade']))
    if how == 'after':
        time.sleep(float(number))
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
Rows = dict[str, list[str]]


@contextmanager
def upgrades(url: str) -> Iterator[Callable[[str], int]]:
    """A function that runs one upgrade and gives its exit code."""
    with subprocess.Popen(
        [sys.executable, "-c", UPGRADES, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin
        assert process.stdout
        asked, answers = process.stdin, process.stdout

        def upgrade(how: str) -> int:
            asked.write(f"{how}\n")
            return int(answers.readline())

        yield upgrade
        asked.close()


def state(url: str) -> tuple[str, Rows, set[str]]:
    """Its revision, its rows and its tables; a file that SQLite finds damaged has none."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
        tables = set(inspect(connection).get_table_names())
    return revision_of(engine), rows_of(engine), tables


def check_upgraded(url: str, before: Rows) -> None:
    """The last revision, every row, seals that hold, and summaries of all runs."""
    revision, rows, _ = state(url)
    assert (revision, rows | before) == (HEAD, rows)
    with closing(History(url)) as history:
        verdict = history.verify()
        summed = {row.run_id for row in history.summaries(SeriesFilter())}
    assert (verdict.faults, verdict.runs, summed) == ((), 3, {1, 2, 3})


def copied(database: Path, folder: Path) -> str:
    """What the killed process left, log included, for the next one."""
    for name in (database.name, f"{database.name}-wal"):
        (folder / name).unlink(missing_ok=True)
        if (database.parent / name).exists():
            shutil.copy(database.parent / name, folder / name)
    return f"sqlite:///{folder / database.name}"


def test_killed_within_a_statement(tmp_path: Path) -> None:
    """From its first steps to its last: the record is as it was, and whoever comes next upgrades and verifies it."""
    database, folder = tmp_path / "history.sqlite", tmp_path / "next"
    url = f"sqlite:///{database}"
    folder.mkdir()
    restore("0002", url)
    enlarge(url, TIMES)
    old = state(url)
    draw = random.Random()  # noqa: S311 - places
    killed, thousands = 0, draw.uniform(0, 10)
    with upgrades(url) as upgrade:
        while code := upgrade(f"inside {thousands:.0f}"):
            assert (code, state(url)) == (-signal.SIGKILL, old), thousands
            following = copied(database, folder)
            Store(following).close()
            check_upgraded(following, old[1])
            killed += 1
            thousands += draw.uniform(1, 12)
    assert killed > 10
    check_upgraded(url, old[1])


def test_killed_at_any_moment(database_url: str) -> None:
    """Between statements too, and while it commits: the record is as it was or as it is to be."""
    restore("0002", database_url)
    enlarge(database_url, TIMES)
    old = state(database_url)
    draw = random.Random()  # noqa: S311 - moments
    killed, moment = 0, 0.01
    with upgrades(database_url) as upgrade:
        while code := upgrade(f"after {moment:.4f}"):
            assert code == -signal.SIGKILL
            killed += 1
            if state(database_url) != old:
                # It was killed after its commit.
                check_upgraded(database_url, old[1])
                break
            moment += draw.uniform(0.002, 0.04)
    assert killed
    Store(database_url).close()
    check_upgraded(database_url, old[1])
