"""Looking after the record: `threadmill db check|backup|import|stats`."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from db.backup import back_up
from db.errors import NotReplaced, RecordUnusable
from db.health import faults
from db.history import History
from db.rows import NewRun
from db.schema import HEAD
from db.store import Store
from db.transfer import import_record
from tests.support.commands import BIN, Command
from tests.support.small_record import RUNS, make_small, on_small_disk

TABLES = 14
PAGE_BYTES = 4096


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "history.sqlite"
    make_small(f"sqlite:///{path}", date(2026, 9, 1))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def record(made: Path, home: Path) -> Path:
    """A copy where the commands of the test look for it."""
    home.mkdir()
    return Path(shutil.copy(made, home / "history.sqlite"))


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def alter(path: Path, *statements: str) -> None:
    """Change the database as somebody with sqlite3 would; foreign keys are off there."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_what_nobody_touched_is_whole(threadmill: Command, record: Path) -> None:
    """`check` ends with 0, and says what it does not look at; `stats` counts every row, and no byte twice."""
    checked = threadmill("db", "check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"is whole, at schema {HEAD}" in checked.stdout
    assert "threadmill history verify" in checked.stdout
    counted = json.loads(threadmill("db", "stats", "--json").stdout)
    with closing(sqlite3.connect(record)) as connection:
        for table in counted["tables"]:
            found = connection.execute(f'SELECT count(*) FROM "{table["table"]}"').fetchone()  # noqa: S608
            assert found == (table["rows"],)
    assert len(counted["tables"]) == TABLES
    assert 0 < sum(table["size_bytes"] or 0 for table in counted["tables"]) <= counted["size_bytes"]
    assert (counted["oldest_run_at"], counted["newest_run_at"]) == (
        "2026-09-01T02:00:00+00:00",
        "2026-09-03T06:00:00+00:00",
    )


def test_damaged_file_is_found(threadmill: Command, record: Path) -> None:
    """Pages that are overwritten make `check` end with 1, with a line for each fault and no traceback."""
    with record.open("r+b") as file:
        for page in range(20, 24):
            file.seek(page * PAGE_BYTES)
            file.write(b"\xaa" * PAGE_BYTES)
    result = threadmill("db", "check")
    assert (result.returncode, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert lines
    assert all(line.startswith(f"threadmill: {record}: ") for line in lines)


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (cut_off, "malformed"),
        (lambda path: path.write_text("these are my notes, " * 100), "is not an SQLite database"),
        (lambda path: path.write_bytes(b""), "has no tables of threadmill"),
        (lambda path: path.unlink(), "is not there"),
        (lambda path: alter(path, "DELETE FROM encryption"), "table stage: 6 rows without their parent"),
        (lambda path: alter(path, "DROP TABLE stage"), "table stage is missing"),
        (lambda path: alter(path, "DROP INDEX ix_summary_series"), "table summary: index ix_summary_series is missing"),
        (lambda path: alter(path, "ALTER TABLE stage DROP COLUMN cpu_ns"), "table stage: column cpu_ns is missing"),
        (lambda path: alter(path, "UPDATE alembic_version SET version_num = '9999'"), "newer than this program's"),
    ],
)
def test_each_fault_is_one_sentence(record: Path, damage: Callable[[Path], object], fault: str) -> None:
    """Whatever is wrong with the file, its rows' parents, its tables or its schema is said once, in one line."""
    damage(record)
    found = faults(url_of(record))
    assert sum(fault in line for line in found) == 1
    assert all("\n" not in line for line in found)


def test_postgresql_is_checked_and_counted(postgres_url: str) -> None:
    """Connection, revision and tables; sizes too; a server that does not answer is a fault."""
    assert faults(postgres_url) == ("has no tables of threadmill",)
    Store(postgres_url).close()
    assert faults(postgres_url) == ()
    engine = create_engine(postgres_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_summary_series"))
    assert faults(postgres_url) == ("table summary: index ix_summary_series is missing",)
    with closing(History(postgres_url)) as history:
        counted = history.stats()
    assert counted is not None
    assert all(table.size_bytes for table in counted.tables)
    (fault,) = faults("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    assert "cannot be reached" in fault


WRITER = """
import sys
from db.rows import NewRun
from db.store import Store
store = Store(sys.argv[1])
while True:
    run_id = store.start_run(NewRun("survey", "direct", {"note": "x" * 2000}, "test"))
    store.finish_run(run_id, "completed")
    print(run_id, flush=True)
"""


def test_backup_is_whole_while_another_process_writes(
    threadmill_process: Command, record: Path, tmp_path: Path
) -> None:
    """All that was acknowledged before is in it, it verifies, and it is for its owner only."""
    copy = tmp_path / "copy.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, url_of(record)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(20)]
        result = threadmill_process("db", "backup", str(copy))
        assert writer.poll() is None
    finally:
        writer.kill()
        written, _ = writer.communicate()
    assert len(written.splitlines()) > 1, "nobody wrote meanwhile"
    assert (result.returncode, result.stderr) == (0, "")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.sqlite", "home"]
    assert faults(url_of(copy)) == ()
    history = History(url_of(copy))
    assert history.verify().faults == ()
    assert {run.id for run in history.runs(limit=None)} >= set(acknowledged)
    assert history.verify().head in result.stdout


def test_backup_replaces_nothing_by_accident(record: Path, tmp_path: Path) -> None:
    """What is there stays unless told otherwise; the record itself, a folder and a database in use always do."""
    copy = tmp_path / "copy.sqlite"
    copy.write_text("mine")
    with pytest.raises(NotReplaced, match="not overwritten"):
        back_up(url_of(record), str(copy))
    assert copy.read_text() == "mine"
    with pytest.raises(NotReplaced, match="the record itself"):
        back_up(url_of(record), str(record), overwrite=True)
    with pytest.raises(NotReplaced, match="a folder"):
        back_up(url_of(record), str(tmp_path), overwrite=True)
    (tmp_path / "copy.sqlite-wal").write_bytes(b"frames")
    with pytest.raises(NotReplaced, match="in use"):
        back_up(url_of(record), str(copy), overwrite=True)
    (tmp_path / "copy.sqlite-wal").write_bytes(b"")
    back_up(url_of(record), str(copy), overwrite=True)
    assert faults(url_of(copy)) == ()


def test_backup_replaces_regular_files_only(record: Path, tmp_path: Path) -> None:
    """Who may write to /dev would lose a device to `--overwrite`."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotReplaced, match="no regular file"):
        back_up(url_of(record), str(tmp_path / "pipe"), overwrite=True)
    assert (tmp_path / "pipe").is_fifo()


def test_damaged_record_does_not_replace_a_good_backup(record: Path, tmp_path: Path) -> None:
    """The copy is checked before it gets its name."""
    copy = tmp_path / "copy.sqlite"
    back_up(url_of(record), str(copy))
    before = copy.read_bytes()
    cut_off(record)
    with pytest.raises(RecordUnusable):
        back_up(url_of(record), str(copy), overwrite=True)
    assert copy.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.sqlite", "home"]


@pytest.fixture
def unreleased(record: Path) -> Path:
    """A record of a schema from before the first release, made by hand."""
    alter(record, "UPDATE alembic_version SET version_num = '0004'")
    return record


@pytest.mark.parametrize(
    "command",
    [
        ("encrypt", "--random", "10x1"),
        ("history", "runs"),
        ("status",),
        ("report", "--output", "report.html"),
        ("export", "--output", "copies"),
        ("db", "check"),
        ("db", "stats"),
        ("db", "upgrade"),
        ("maintain",),
    ],
    ids=" ".join,
)
def test_record_from_before_the_first_release_is_one_line(
    threadmill: Command, unreleased: Path, command: tuple[str, ...]
) -> None:
    """Commands that read and commands that write are refused alike, and leave it as it is."""
    before = unreleased.read_bytes()
    result = threadmill(*command)
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    (line,) = result.stderr.splitlines()
    assert line.endswith("was written by a threadmill before its first release; move it away, or set THREADMILL_HOME")
    assert unreleased.read_bytes() == before


def test_backup_takes_a_record_of_any_schema(unreleased: Path, tmp_path: Path) -> None:
    """A record that no command reads is copied as it is."""
    done = back_up(url_of(unreleased), str(tmp_path / "copy.sqlite"))
    assert done.schema == "0004"


def test_postgresql_is_copied_by_its_own_tool(threadmill: Command, environment: dict[str, str]) -> None:
    """One line that names pg_dump, without the password."""
    environment["THREADMILL_DATABASE_URL"] = "postgresql+psycopg://me:hunter2@db.example:5433/history"
    result = threadmill("db", "backup", "my copy")
    assert (result.returncode, result.stdout) == (2, "")
    command = "pg_dump --format=custom '--file=my copy' --host=db.example --port=5433 --username=me history"
    assert command in result.stderr
    assert "hunter2" not in result.stderr


def test_full_disk_leaves_no_half_backup(record: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """One line, exit code 1, and nothing on the disk."""
    (tmp_path / "disk").mkdir()
    command = [str(BIN / "threadmill"), "db", "backup", str(tmp_path / "disk" / "copy.sqlite")]
    ended = on_small_disk(command, environment, str(tmp_path / "disk"))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines() == [
        f"threadmill: {tmp_path / 'disk' / 'copy.sqlite'} cannot be written: the disk is full; nothing is left of it"
    ]


def test_record_moves_to_another_database(made: Path, database_url: str) -> None:
    """On either database it verifies with the same head, goes on with the next number, and takes no second one."""
    assert import_record(str(made), database_url)["run"] == RUNS
    moved = History(database_url)
    verdict = moved.verify()
    assert (verdict.faults, verdict.runs) == ((), RUNS)
    assert verdict.head == History(url_of(made)).verify().head
    assert faults(database_url) == ()
    store = Store(database_url)
    assert store.start_run(NewRun("survey", "direct", {}, "test")) == RUNS + 1
    store.close()
    with pytest.raises(RecordUnusable, match="has runs already"):
        import_record(str(made), database_url)
    moved.close()
