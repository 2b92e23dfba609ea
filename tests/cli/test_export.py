"""Getting out of the record: `threadmill export`."""

from __future__ import annotations

import csv
import sqlite3
import stat
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from db.engine import ROWS_AT_ONCE
from db.errors import NotReplaced, RecordUnusable
from db.health import faults
from db.history import History, PayloadFilter
from db.tables import METADATA
from db.transfer import export_csv, export_sqlite, import_record
from tests.support.commands import BIN, Command
from tests.support.small_record import DAYS, PATH, RUNS, make_small, on_small_disk

TABLES = {table.name: table.c.keys() for table in METADATA.sorted_tables}
Write = Callable[..., dict[str, int]]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SECOND_DAY = datetime(2026, 9, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "history.sqlite"
    make_small(f"sqlite:///{path}", date(2026, 9, 1))
    return path


@pytest.fixture
def url(record: Path) -> str:
    return f"sqlite:///{record}"


def contents(path: Path) -> dict[str, list[object]]:
    """All rows of all tables."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            name: connection.execute(f'SELECT * FROM "{name}" ORDER BY id').fetchall()  # noqa: S608
            for name in TABLES
        }


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_has_every_row_in_plain_forms(
    threadmill: Command, environment: dict[str, str], url: str, record: Path, tmp_path: Path
) -> None:
    """A file per table, for the owner only; columns as in the database, bytes hex, times ISO 8601 in UTC."""
    environment["THREADMILL_DATABASE_URL"] = url
    result = threadmill("export", "--output", "out")
    assert (result.returncode, result.stderr) == (0, "")
    out = tmp_path / "out"
    assert f"{RUNS} runs" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert {path.name for path in out.iterdir()} == {f"{name}.csv" for name in TABLES}
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    for name, rows in contents(record).items():
        path = out / f"{name}.csv"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text().splitlines()[0] == ",".join(TABLES[name])
        assert len(read(path)) == len(rows)
    good, _, bad = read(out / "encryption.csv")[:3]
    with closing(sqlite3.connect(record)) as connection:
        digest, wall_ns = connection.execute("SELECT digest, wall_ns FROM encryption WHERE id = 1").fetchone()
    assert (good["name"], good["digest"], good["wall_ns"]) == (PATH, digest.hex(), str(wall_ns))
    assert good["started_at"] == "2026-09-01T02:00:00.000000+00:00"
    assert (bad["digest"], bad["cause"]) == ("", "unreadable")
    assert {row["noisy"] for row in read(out / "sample.csv")} == {"false"}
    again = threadmill("export", "--output", "out")
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith("threadmill: out is a folder that is there already")


def test_sqlite_is_a_record_itself(url: str, record: Path, tmp_path: Path) -> None:
    """The same tables, rows and indexes, whole and verified, with the same head; whether by pages or by rows."""
    for name, since in (("pages", None), ("rows", LONG_AGO)):
        path = tmp_path / name
        counts = export_sqlite(url, str(path), since=since)
        assert counts == {table: len(rows) for table, rows in contents(record).items()}
        assert contents(path) == contents(record)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert faults(f"sqlite:///{path}") == ()
        history = History(f"sqlite:///{path}")
        verdict = history.verify()
        assert (verdict.faults, verdict.runs, verdict.head) == ((), RUNS, History(url).verify().head)
        history.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pages", "rows"]


def test_postgresql_comes_back_as_it_went(url: str, record: Path, postgres_url: str, tmp_path: Path) -> None:
    """SQLite to PostgreSQL and out of it again changes no value of any row."""
    import_record(str(record), postgres_url)
    export_sqlite(postgres_url, str(tmp_path / "back.sqlite"))
    assert contents(tmp_path / "back.sqlite") == contents(record)
    export_csv(postgres_url, str(tmp_path / "postgresql"))
    export_csv(url, str(tmp_path / "sqlite"))
    for name in TABLES:
        assert read(tmp_path / "postgresql" / f"{name}.csv") == read(tmp_path / "sqlite" / f"{name}.csv")


def test_since_takes_later_runs_with_all_that_is_theirs(url: str, tmp_path: Path) -> None:
    """Runs of the second day on, all that hangs off them, and their summaries; in a zip as in a folder."""
    counts = export_csv(url, str(tmp_path / "out.zip"), since=SECOND_DAY)
    assert counts == export_csv(url, str(tmp_path / "out"), since=SECOND_DAY)
    assert counts == export_sqlite(url, str(tmp_path / "out.sqlite"), since=SECOND_DAY)
    whole = export_csv(url, str(tmp_path / "all"))
    for table in ("run", "encryption", "stage", "sample", "snapshot", "verdict", "summary"):
        assert counts[table] * DAYS == whole[table] * (DAYS - 1) > 0
    assert (counts["ledger"], counts["vault"]) == (whole["ledger"], whole["vault"])
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        for name in TABLES:
            assert archive.read(f"{name}.csv") == (tmp_path / "out" / f"{name}.csv").read_bytes()
    history = History(f"sqlite:///{tmp_path / 'out.sqlite'}")
    assert {row.started_at.date() for row in history.payloads(PayloadFilter())} == {date(2026, 9, 2), date(2026, 9, 3)}
    history.close()


def test_names_survive_csv(url: str, record: Path, tmp_path: Path) -> None:
    """Quotes, commas, line breaks and letters of all kinds in a file's name are read back as they were."""
    odd = tmp_path / "odd.sqlite"
    export_sqlite(url, str(odd))
    name = '/srv/"a", b;\r\nc/ünï\ud7ff🙂=1+1'
    with closing(sqlite3.connect(odd)) as connection:
        connection.execute("UPDATE encryption SET name = ? WHERE id = 1", (name,))
        connection.commit()
    export_csv(f"sqlite:///{odd}", str(tmp_path / "out"))
    assert read(tmp_path / "out" / "encryption.csv")[0]["name"] == name


def add_samples(path: Path, numbers: range) -> None:
    """Samples with a text that does not compress."""
    columns = ", ".join(name for name in TABLES["sample"] if name not in {"id", "ordinal", "error"})
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany(
            f"INSERT INTO sample (ordinal, error, {columns}) "  # noqa: S608
            f"SELECT ?, hex(randomblob(50)), {columns} FROM sample WHERE id = 1",
            ((number,) for number in numbers),
        )
        connection.commit()


@pytest.mark.slow
@pytest.mark.parametrize("write", [export_csv, export_sqlite])
def test_memory_does_not_grow_with_the_rows(url: str, tmp_path: Path, write: Write) -> None:
    """Three times as many rows take no more memory."""
    many = tmp_path / "many.sqlite"
    export_sqlite(url, str(many))
    peaks = []
    for numbers in (range(100, 2 * ROWS_AT_ONCE), range(2 * ROWS_AT_ONCE, 6 * ROWS_AT_ONCE)):
        add_samples(many, numbers)
        tracemalloc.start()
        counts = write(f"sqlite:///{many}", str(tmp_path / f"out-{numbers.stop}"), since=LONG_AGO)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert counts["sample"] > numbers.stop - 100
    assert peaks[1] < 1.5 * peaks[0]


def test_what_cannot_be_exported_is_refused(
    threadmill: Command, environment: dict[str, str], url: str, tmp_path: Path
) -> None:
    """An unknown format, a file that is there, a record that is not: one line, exit code 2, nothing written."""
    environment["THREADMILL_DATABASE_URL"] = url
    result = threadmill("export", "--format", "xml")
    assert (result.returncode, result.stderr) == (2, "threadmill: --format is csv or sqlite, not 'xml'\n")
    (tmp_path / "mine").write_text("mine")
    for write in (export_csv, export_sqlite):
        with pytest.raises(NotReplaced):
            write(url, str(tmp_path / "mine"))
        with pytest.raises(RecordUnusable):
            write(f"sqlite:///{tmp_path / 'nothing.sqlite'}", str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "options"), [("out", []), ("out.zip", []), ("out", ["--format", "sqlite", "--since", "2020-01-01"])]
)
def test_full_disk_leaves_no_half_export(
    environment: dict[str, str], url: str, tmp_path: Path, name: str, options: list[str]
) -> None:
    """One line, exit code 1, and nothing on the disk."""
    many = tmp_path / "many.sqlite"
    export_sqlite(url, str(many))
    add_samples(many, range(100, 2000))
    environment["THREADMILL_DATABASE_URL"] = f"sqlite:///{many}"
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [str(BIN / "threadmill"), "export", "--output", str(disk / name), *options]
    ended = on_small_disk(command, environment, str(disk))
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"threadmill: {disk / name} cannot be written: ")
    assert "disk is full" in line or "No space left" in line
