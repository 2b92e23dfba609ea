"""A record with a bad value anywhere, or with other bytes: every command that reads it says so in a line."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from db.tables import METADATA
from tests.support.commands import Command
from tests.support.generated_record import GeneratedRecord
from tests.support.small_record import make_small

COMMANDS = (
    "history runs", "history show 1", "history show 2", "history show 3 --json", "history show 4", "history payloads",
    "history samples", "history samples --pyperf --workload factorize --executor serial", "history speedup",
    "history race", "history trend", "history trend --by run --json", "history compare 1 5", "history changes",
    "history failures", "history slowest", "history snapshots", "history proofs --csv", "history verify",
    "report --since 2026-08-01 -o out", "report --run 2 -o out", "export --output out",
    "export --format sqlite --output out --since 2026-08-01", "db check", "db stats", "db backup out",
    "check /srv/documents", "status --only-vault --vault vault", "maintain --via direct", "encrypt --random 1x1",
)  # fmt: skip
# As SQL: of every kind that SQLite has, times and numbers that nobody can have, JSON that is none or another.
VALUES = (
    "NULL", "'x'", "''", "x'ff00'", "CAST(x'ff41' AS TEXT)", "CAST(x'eda080' AS TEXT)", "0", "-1", "1.5", "9e999",
    "9223372036854775807", "-9223372036854775808", "'latest'", "'0000-00-00 00:00:00'", "'0001-01-01 00:00:00.000000'",
    "'9999-12-31 23:59:59.999999'", "'99999-01-01'", "'[]'", "'{}'", "'[1]'", "'null'", "'\"\"'",
    "'{\"paths\":5,\"exclude\":7}'",
    "'{\"a\":[]}'", "'[\"a\",null]'", "'1e999'", f"'{'9' * 5000}'", f"'{'[' * 100_000}'", "char(0)",
)  # fmt: skip
# Each has been a traceback.
MET = (
    ("run", "started_at", "'x'", "report --since 2026-08-01 -o out"),
    ("run", "started_at", "'x'", "export --output out"),
    ("run", "started_at", "'0001-01-01 00:00:00.000000'", "history runs"),
    ("run", "finished_at", "'9999-12-31 23:59:59.999999'", "history show 1"),
    ("run", "parameters", "'[]'", "history show 3"),
    ("run", "parameters", f"'{'[' * 100_000}'", "history runs --json"),
    ("run", "parameters", '\'{"paths":5,"exclude":7}\'', "check /srv/documents"),
    ("encryption", "wall_ns", "'x'", "history show 1"),
    ("encryption", "size_bytes", "x'ff00'", "history payloads"),
    ("encryption", "name", "x'ff00'", "history payloads"),
    ("sample", "found", f"'{'9' * 5000}'", "history race"),
    ("sample", "wall_ns", "'x'", "history speedup"),
    ("summary", "median_ns", "'x'", "history trend --by run"),
    ("summary", "median_ns", "9e999", "history slowest"),
    ("summary", "covariates", "'[]'", "history changes"),
    ("series", "track", "'['", "history compare 1 5"),
    ("snapshot", "sources", "'{}'", "history snapshots"),
    ("snapshot", "files", "'x'", "report --since 2026-08-01 -o out"),
    ("verdict", "checked_at", "5", "history proofs"),
    ("day_summary", "day", "'x'", "history trend"),
    ("ledger", "digests", "'[]'", "history verify"),
    ("host", "name", "NULL", "history runs"),
    # Found by drawing.
    ("run", "covariates", "'null'", "maintain --via direct"),
    ("series", "track", "'0000-00-00'", "report --since 2026-08-01 -o out"),
    ("series", "track", "'{}'", "report --since 2026-08-01 -o out"),
    ("verdict", "run_id", "77", "history proofs"),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record with rows in every table, which takes NULL everywhere, as one by another hand may."""
    path = tmp_path_factory.mktemp("record") / "history.sqlite"
    make_small(f"sqlite:///{path}", date(2026, 9, 1))
    record = GeneratedRecord(f"sqlite:///{path}")
    record.roll_up(date(2026, 9, 3))
    record.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE type = 'table'")
    return path


@pytest.fixture
def damaged(whole: Path, home: Path) -> Path:
    """The record in force: a copy, to be damaged."""
    home.mkdir(mode=0o700)
    return Path(shutil.copy(whole, home / "history.sqlite"))


def holds(threadmill: Command, folder: Path, command: str, case: object) -> None:
    """Run a command: it takes what it reads, or says in one line why not, and then leaves nothing."""
    result = threadmill(*command.split())
    assert result.returncode in {0, 1, 2}, (case, command, result.stderr)
    if result.returncode == 2:
        assert [line for line in result.stderr.splitlines() if line.startswith("threadmill: ")], (case, command)
        assert not (folder / "out").exists(), (case, command)
    out = folder / "out"
    if out.is_dir():
        shutil.rmtree(out)
    out.unlink(missing_ok=True)


def put(record: Path, table: str, column: str, value: str, where: str = "TRUE") -> bool:
    """Write a value; whether the table takes it."""
    with closing(sqlite3.connect(record, isolation_level=None)) as connection:
        try:
            connection.execute(f'UPDATE OR IGNORE "{table}" SET "{column}" = {value} WHERE {where}')  # noqa: S608
        except sqlite3.IntegrityError:
            return False
    return True


@pytest.mark.parametrize(
    ("table", "column", "value", "command"), MET, ids=[f"{one[0]}.{one[1]}={one[2][:20]}" for one in MET]
)
def test_a_bad_value_that_was_met_is_one_line(
    threadmill: Command, damaged: Path, tmp_path: Path, table: str, column: str, value: str, command: str
) -> None:
    """In all rows of the table."""
    put(damaged, table, column, value)
    holds(threadmill, tmp_path, command, (table, column, value))


def _places(dice: random.Random) -> Iterator[tuple[str, str, str]]:
    columns = [(table.name, column.name) for table in METADATA.sorted_tables for column in table.c]
    while True:
        yield *dice.choice(columns), dice.choice(VALUES)


def test_bad_values_anywhere_are_one_line(
    threadmill: Command, whole: Path, damaged: Path, tmp_path: Path, dice: random.Random
) -> None:
    """In one row or in all of them, or rows are gone that others refer to."""
    places = _places(dice)
    for _ in range(25):
        shutil.copy(whole, damaged)
        table, column, value = next(places)
        one_row = f'rowid = (SELECT rowid FROM "{table}" ORDER BY rowid LIMIT 1)'  # noqa: S608
        put(damaged, table, column, value, dice.choice((one_row, "TRUE")))
        if dice.random() < 0.1:
            with closing(sqlite3.connect(damaged, isolation_level=None)) as connection:
                connection.execute(f'DELETE FROM "{table}" WHERE {dice.choice((one_row, "TRUE"))}')  # noqa: S608
        for command in dice.sample(COMMANDS, 3):
            holds(threadmill, tmp_path, command, (table, column, value))


def test_other_bytes_in_the_file_are_one_line(
    threadmill: Command, whole: Path, damaged: Path, tmp_path: Path, dice: random.Random
) -> None:
    """Single bytes, runs of them, whole pages of others, or an end that is missing."""
    content = whole.read_bytes()
    for _ in range(20):
        changed = bytearray(content)
        kind = dice.choice(("bytes", "run", "page", "cut"))
        at = dice.choice((dice.randrange(100), dice.randrange(len(content)), dice.randrange(len(content))))
        if kind == "bytes":
            for place in (at, *(dice.randrange(len(content)) for _ in range(20))):
                changed[place] = dice.randrange(256)
        elif kind == "run":
            changed[at : at + 40] = dice.randbytes(len(changed[at : at + 40]))
        elif kind == "page":
            one, other = (4096 * dice.randrange(len(content) // 4096) for _ in range(2))
            changed[one : one + 4096] = content[other : other + 4096]
        else:
            del changed[at:]
        damaged.write_bytes(changed)
        for command in dice.sample(COMMANDS, 3):
            holds(threadmill, tmp_path, command, (kind, at))
        for more in ("-wal", "-shm", "-journal"):
            Path(f"{damaged}{more}").unlink(missing_ok=True)


@pytest.mark.parametrize("value", ["'x'", "NULL", "x'00'", "'[]'", "CAST(x'ff' AS TEXT)"])
@pytest.mark.parametrize(
    "column", ["run.started_at", "run.parameters", "encryption.wall_ns", "host.facts", "verdict.kind"]
)
def test_a_record_with_a_bad_value_is_not_taken_in_part(
    threadmill: Command, environment: dict[str, str], damaged: Path, tmp_path: Path, column: str, value: str
) -> None:
    """An import takes all or nothing, and `db check` names the place."""
    table, name = column.split(".")
    put(damaged, table, name, value)
    environment["THREADMILL_HOME"] = str(tmp_path / "other")
    result = threadmill("db", "import", str(damaged))
    if result.returncode:
        assert result.returncode in {1, 2}
        assert len(result.stderr.splitlines()) == 1
        assert result.returncode == 1 or f"history database {damaged}: " in result.stderr
        with closing(sqlite3.connect(tmp_path / "other" / "history.sqlite")) as connection:
            assert connection.execute("SELECT count(*) FROM run").fetchone() == (0,)
    environment["THREADMILL_HOME"] = str(damaged.parent)
    checked = threadmill("db", "check")
    if result.returncode:
        assert checked.returncode == 1
        assert f"table {table}: column {name}: " in checked.stderr
