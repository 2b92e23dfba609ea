"""The record is one file as soon as nothing runs, and can be read where nothing can be written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.account import Account
from tests.support.commands import Command

READING = (
    "history runs", "history verify", "db check", "db stats", "db backup copy", "export --output csv",
    "export --format sqlite --output copy.sqlite", "report --output page.html",
)  # fmt: skip
# Commits to the log, and ends as `kill -9` would have it.
LEAVE_A_LOG = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("UPDATE run SET error = 'only in the log'")
connection.commit()
os._exit(0)
"""


@pytest.fixture
def record(threadmill: Command, home: Path) -> Path:
    """A record with one run."""
    assert threadmill("encrypt", "--random", "10x1").returncode == 0
    return home / "history.sqlite"


def leave_a_log(record: Path) -> None:
    """Leave rows in the log of a record that no process has open."""
    subprocess.run([sys.executable, "-c", LEAVE_A_LOG, record], check=True)
    assert Path(f"{record}-wal").stat().st_size


def runs_in(path: Path) -> int:
    """The runs in a file, whatever is beside it."""
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        number: int = connection.execute("SELECT count(*) FROM run").fetchone()[0]
        return number


def test_a_plain_copy_is_whole_when_nothing_runs(threadmill: Command, record: Path) -> None:
    """Also if somebody had the record open for reading when the last writer ended, and after a kill."""
    with closing(sqlite3.connect(f"file:{record}?mode=ro", uri=True)) as reader:
        assert reader.execute("SELECT count(*) FROM run").fetchone() == (1,)
        assert threadmill("encrypt", "--random", "10x1").returncode == 0
        assert runs_in(record) == 2
        assert Path(f"{record}-wal").stat().st_size == 0
    leave_a_log(record)
    assert threadmill("db", "upgrade").returncode == 0
    assert not Path(f"{record}-wal").exists()


def test_a_copy_without_its_log_is_refused(threadmill: Command, record: Path) -> None:
    """The first page of a new record has no tables: neither to read nor to write, and nothing comes beside it."""
    record.unlink()
    with closing(sqlite3.connect(record)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    for command in (*READING, "encrypt --random 1x1"):
        refused = threadmill(*command.split())
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "has no tables: a copy needs history.sqlite-wal too" in refused.stderr
        assert os.listdir(record.parent) == ["history.sqlite"]


def test_tables_that_could_not_be_made_are_made_later(threadmill_process: Command, home: Path) -> None:
    """On a disk with room for the first page only; what is left is no copy."""
    full = threadmill_process("db", "upgrade", before=("prlimit", "--fsize=20000"))
    assert (full.returncode, len(full.stderr.splitlines())) == (2, 1)
    assert (home / "history.sqlite").stat().st_size == 4096
    assert "nothing is recorded" in threadmill_process("history", "runs").stderr
    assert threadmill_process("encrypt", "--random", "1x1").returncode == 0
    assert os.listdir(home) == ["history.sqlite"]


@pytest.fixture(params=["mount", "folder of another user", "folder that is open to all"])
def read_only(request: pytest.FixtureRequest, account: Account, tmp_path: Path) -> Iterator[Path]:
    """A place for a record, which `close_to_writers` closes."""
    place = account.home / "place"
    place.mkdir()
    if request.param == "mount" and subprocess.run(["mount", "-t", "tmpfs", "none", place], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    place.chmod(0o777 if "open" in request.param else 0o755)
    try:
        yield place
    finally:
        if request.param == "mount":
            subprocess.run(["umount", place], check=True)
        shutil.rmtree(place)


@pytest.mark.parametrize("log", ["no log", "a log", "a log without its index"])
def test_reading_needs_no_right_to_write(read_only: Path, account: Account, record: Path, log: str) -> None:
    """All rows are read, those in the log too, and nothing comes beside the record."""
    if log != "no log":
        leave_a_log(record)
    for file in record.parent.glob("history.sqlite*"):
        shutil.copy(file, read_only)
        (read_only / file.name).chmod(0o644)
    if log == "a log without its index":
        (read_only / "history.sqlite-shm").unlink()
    temporary = account.home / "temporary"
    temporary.mkdir(mode=0o777)
    temporary.chmod(0o777)
    environment = account.environment | {"THREADMILL_HOME": str(read_only), "TMPDIR": str(temporary)}
    mounted = os.path.ismount(read_only)
    if mounted:
        subprocess.run(["mount", "-o", "remount,ro", read_only], check=True)
    before = sorted(os.listdir(read_only))
    for command in ("history runs", "db check", "db backup copy", "export --output csv"):
        ended = account.threadmill(*command.split(), env=environment)
        assert (ended.returncode, ended.stderr) == (0, ""), command
        if command == "history runs":
            assert ("only in the log" in ended.stdout) == (log != "no log")
    (account.home / "copy").unlink()
    shutil.rmtree(account.home / "csv")
    assert (sorted(os.listdir(read_only)), os.listdir(temporary)) == (before, [])
    temporary.rmdir()


def test_a_record_that_only_its_owner_reads_is_said_as_such(account: Account, record: Path) -> None:
    """The message says how to get at its rows."""
    place = account.home / "place"
    place.mkdir()
    shutil.copy(record, place)
    (place / record.name).chmod(0o600)
    ended = account.threadmill("history", "runs", env=account.environment | {"THREADMILL_HOME": str(place)})
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "its owner copies it by `threadmill db backup`" in ended.stderr
