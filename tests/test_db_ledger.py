"""Sealed runs: any later change to them shows, and says which run."""

from __future__ import annotations

import random
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.errors import RecordError
from db.facts import NewRun
from db.history import History
from db.store import Store

KEPT = Path(__file__).parent / "data" / "history-0002.sql"
SEALED_TABLES = ("run", "encryption", "stage", "sample", '"case"', "interpreter", "host", "ledger")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of three runs: payloads, a failed payload, samples; all sealed."""
    path = tmp_path_factory.mktemp("sealed") / "history.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(KEPT.read_text())
    connection.close()
    store = Store(f"sqlite:///{path}")
    store.optimise()
    store.close()
    return path


@pytest.fixture
def record(sealed: Path, tmp_path: Path) -> Path:
    """A copy to be tampered with."""
    return Path(shutil.copy(sealed, tmp_path / "history.sqlite"))


def alter(path: Path, statements: str) -> None:
    """Change the database as somebody with sqlite3 would."""
    with sqlite3.connect(path) as connection:
        connection.executescript(statements)
    connection.close()


def faults(path: Path, kept_head: str | None = None) -> dict[int | None, list[str]]:
    found: dict[int | None, list[str]] = {}
    history = History(f"sqlite:///{path}")
    for fault in history.verify(kept_head).faults:
        found.setdefault(fault.run_id, []).append(fault.what)
    history.close()
    return found


def test_what_nobody_touched_is_whole(record: Path) -> None:
    """Runs from before the ledger are sealed by the migration, and marked so; all of them verify."""
    verdict = History(f"sqlite:///{record}").verify()
    assert (verdict.faults, verdict.runs, verdict.entries) == ((), 3, 3)
    with sqlite3.connect(record) as connection:
        assert connection.execute("SELECT DISTINCT kind FROM ledger").fetchall() == [("migrated",)]


@pytest.mark.parametrize(
    ("statements", "run_id"),
    [
        ("UPDATE encryption SET digest = x'00' WHERE run_id = 1 AND ordinal = 2", 1),
        ("UPDATE encryption SET wall_ns = wall_ns + 1 WHERE run_id = 1 AND ordinal = 0", 1),
        ("UPDATE encryption SET status = 'ok', error = NULL WHERE run_id = 2", 2),
        ("UPDATE encryption SET ordinal = 3 - ordinal + 100 WHERE run_id = 1", 1),
        ("UPDATE stage SET exit_code = 1 WHERE id = (SELECT max(id) FROM stage)", 1),
        ("DELETE FROM stage WHERE id = (SELECT min(id) FROM stage)", 1),
        ("DELETE FROM sample WHERE run_id = 3 AND ordinal = 0", 3),
        ("UPDATE sample SET noisy = 1 - noisy WHERE run_id = 3 AND ordinal = 0", 3),
        ("UPDATE sample SET wall_ns = 1.5 WHERE run_id = 3 AND ordinal = 0", 3),
        ("UPDATE \"case\" SET workers = 2 WHERE guard = 'none'", 3),
        ("UPDATE interpreter SET version = '3.11.8'", 3),
        ("UPDATE run SET status = 'completed', error = NULL WHERE id = 2", 2),
        ("UPDATE run SET started_at = '2026-11-21 00:00:00.000000' WHERE id = 3", 3),
        ("UPDATE run SET parameters = '{}' WHERE id = 3", 3),
        ("UPDATE run SET parameters = 'no JSON' WHERE id = 3", 3),
        ("UPDATE run SET status = 'running' WHERE id = 1", 1),
        ("UPDATE sample SET run_id = 2 WHERE run_id = 3", 3),
        ("DELETE FROM sample WHERE run_id = 3; DELETE FROM run WHERE id = 3", 3),
        ("DELETE FROM run WHERE id = 3", 3),
        ("UPDATE ledger SET digests = replace(digests, '0', '1') WHERE id = 2", 2),
        ("DELETE FROM ledger WHERE id = 3", 3),
        ("DELETE FROM ledger WHERE id = 2", None),
        ("UPDATE ledger SET id = id + 10; UPDATE ledger SET id = 14 - id", 3),
        (
            (
                "INSERT INTO run SELECT 9, flow, 'x', attempt, deployment, via, host_id, boot_id, pid, pid_start, "
                "code_version, parameters, covariates, status, error, started_at, finished_at FROM run WHERE id = 1"
            ),
            9,
        ),
        (
            (
                "INSERT INTO stage (encryption_id, position, program, exit_code, wall_ns, cpu_ns) "
                "SELECT min(id), 7, 'openssl', 0, 1, 1 FROM encryption"
            ),
            1,
        ),
    ],
)
def test_any_change_is_found_and_its_run_named(record: Path, statements: str, run_id: int | None) -> None:
    """Edited, removed, added and reordered rows, of runs and of the ledger itself."""
    alter(record, statements)
    assert run_id in faults(record)


def test_edited_host_concerns_all_its_runs(record: Path) -> None:
    """What several runs share is part of each one's seal."""
    alter(record, "UPDATE host SET name = 'elsewhere'")
    assert set(faults(record)) == {1, 2, 3}


def test_flipped_bits_never_pass_for_rows(record: Path, tmp_path: Path) -> None:
    """One-bit flips anywhere in the file: whenever a sealed table reads differently, or not at all, it is found."""
    whole = record.read_bytes()
    before = contents(record)
    draw = random.Random(20261122)  # noqa: S311 - places in a file
    damaged = 0
    for number in range(500):
        flipped = bytearray(whole)
        flipped[draw.randrange(100, len(whole))] ^= 1 << draw.randrange(8)
        path = tmp_path / f"flipped-{number}"
        path.write_bytes(flipped)
        if contents(path) != before:
            damaged += 1
            assert found(path), number
        path.unlink()
    assert damaged > 20


def contents(path: Path) -> object:
    """All rows of what is sealed; None if they cannot be read."""
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        return [sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in SEALED_TABLES]  # noqa: S608
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    finally:
        connection.close()


def found(path: Path) -> bool:
    """Whether the damage is noticed: at verification, or because the record refuses to open."""
    try:
        return bool(faults(path))
    except RecordError:
        return True


def test_a_chain_rewritten_as_a_whole_contradicts_a_kept_head(record: Path) -> None:
    """Who seals everything anew gives a chain that is right in itself, but not the head that was printed elsewhere."""
    kept = History(f"sqlite:///{record}").verify().head
    assert faults(record, kept) == {}
    alter(record, "UPDATE encryption SET wall_ns = 1 WHERE run_id = 1; DROP TABLE ledger; DROP TABLE series")
    alter(record, "DROP TABLE summary; DROP TABLE day_summary; UPDATE alembic_version SET version_num = '0002'")
    Store(f"sqlite:///{record}").close()
    assert faults(record) == {}
    assert "rewritten" in faults(record, kept)[None][0]


def test_a_run_is_sealed_once(tmp_path: Path) -> None:
    """Closing gives the head, closing again does nothing, and each head covers the one before."""
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    store = Store(url)
    heads = []
    for _ in range(3):
        run_id = store.start_run(NewRun("survey", "direct", {}, "test"))
        heads.append(store.finish_run(run_id, "completed"))
        assert store.finish_run(run_id, "failed", "too late") is None
    history = History(url)
    assert [history.head(run_id) for run_id in (1, 2, 3)] == heads
    assert len(set(heads)) == 3
    assert history.verify().head == heads[-1]
    assert history.verify(heads[0]).faults == ()


def test_removed_runs_stay_provable(record: Path) -> None:
    """Removal is an entry of its own: what was removed on purpose is no fault, its summaries stay."""
    store = Store(f"sqlite:///{record}")
    store.start_run(NewRun("survey", "direct", {}, "test"))
    assert store.remove_runs(datetime.now(UTC)) == 3
    history = History(f"sqlite:///{record}")
    assert [run.flow for run in history.runs()] == ["survey"]
    verdict = history.verify()
    assert (verdict.faults, verdict.entries, verdict.runs) == ((), 6, 0)
    with sqlite3.connect(record) as connection:
        assert connection.execute("SELECT count(*) FROM summary").fetchone()[0] > 3
        assert connection.execute("SELECT count(*) FROM encryption, sample, stage").fetchone() == (0,)


def test_a_running_run_is_not_sealed_yet(tmp_path: Path) -> None:
    """A run that goes on is no fault."""
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    store = Store(url)
    store.start_run(NewRun("survey", "direct", {}, "test"))
    assert History(url).verify().faults == ()
    assert History(url).head(1) is None
