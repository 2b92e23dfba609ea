"""Sealed runs: any later change to them shows, and says which run."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine
from sqlalchemy.engine import make_url

from benchmarks.year import SAMPLES_PER_RUN, SERIES, fill
from db.errors import RecordError, RunClosed
from db.history import History, SampleFilter
from db.ledger import seal
from db.rows import NewRun
from db.store import Store
from db.tables import METADATA
from tests.support.kept import restore
from tests.support.postgres import Server

RUN = NewRun("survey", "direct", {}, "test")
SEALED_TABLES = ("run", "encryption", "stage", "sample", '"case"', "interpreter", "host", "ledger")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def sealed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A record of three sealed runs: payloads, a failed payload, samples."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('sealed') / 'history.sqlite'}"
        seal_kept(url)
        yield url
        return
    server: Server = request.getfixturevalue("postgres_server")
    with server.database() as url:
        seal_kept(url)
        yield url


@pytest.fixture
def record(sealed: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A copy to be tampered with."""
    original = str(make_url(sealed).database)
    if sealed.startswith("sqlite"):
        yield f"sqlite:///{shutil.copy(original, tmp_path / 'history.sqlite')}"
        return
    server: Server = request.getfixturevalue("postgres_server")
    with server.database(template=original) as url:
        yield url


def seal_kept(url: str) -> None:
    restore("1000", url)
    with closing(Store(url)) as store:
        store.optimise()


def seal_again(url: str) -> None:
    """Rewrite the whole chain."""
    alter(url, "DELETE FROM ledger")
    with closing(Store(url)) as store, store.transaction() as connection:
        for run_id in (1, 2, 3):
            seal(connection, run_id)


# All but the number, which is given anew, of the tables that hold a run's rows.
COLUMNS = {
    table: [column.name for column in METADATA.tables[table].columns if column.name != "id"]
    for table in ("encryption", "stage", "sample")
}


def alter(url: str, statements: str) -> None:
    """Change the database as somebody would who may do anything there: no constraint holds."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        if url.startswith("postgresql"):
            connection.exec_driver_sql("SET session_replication_role = replica")
        for statement in statements.split("; "):
            connection.exec_driver_sql(statement)
    engine.dispose()


def scalar(url: str, query: str) -> object:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return connection.exec_driver_sql(query).scalar()


def faults(url: str, kept_head: str | None = None) -> dict[int | None, list[str]]:
    found: dict[int | None, list[str]] = {}
    with closing(History(url)) as history:
        for fault in history.verify(kept_head).faults:
            found.setdefault(fault.run_id, []).append(fault.what)
    return found


def test_what_nobody_touched_is_whole(record: str) -> None:
    """All sealed runs verify."""
    with closing(History(record)) as history:
        verdict = history.verify()
    assert (verdict.faults, verdict.runs, verdict.entries) == ((), 3, 3)


def test_digests_are_the_same_on_both_databases(postgres_url: str, tmp_path: Path) -> None:
    """A seal is over what was recorded, not over how a database keeps it."""
    on_sqlite = f"sqlite:///{tmp_path / 'history.sqlite'}"
    for url in (on_sqlite, postgres_url):
        seal_kept(url)
        seal_again(url)
    query = "SELECT string_agg(digests::text, '') FROM (SELECT digests FROM ledger ORDER BY id) AS entry"
    assert scalar(postgres_url, query) == scalar(
        on_sqlite, query.replace("string_agg", "group_concat").replace("::text", "")
    )


@pytest.mark.parametrize(
    ("statements", "run_id"),
    [
        ("UPDATE encryption SET digest = salt WHERE run_id = 1 AND ordinal = 2", 1),
        ("UPDATE encryption SET wall_ns = wall_ns + 1 WHERE run_id = 1 AND ordinal = 0", 1),
        ("UPDATE encryption SET status = 'ok', error = NULL WHERE run_id = 2", 2),
        ("UPDATE encryption SET ordinal = 3 - ordinal + 100 WHERE run_id = 1", 1),
        ("UPDATE stage SET exit_code = 1 WHERE id = (SELECT max(id) FROM stage)", 1),
        ("DELETE FROM stage WHERE id = (SELECT min(id) FROM stage)", 1),
        ("DELETE FROM sample WHERE run_id = 3 AND ordinal = 0", 3),
        ("UPDATE sample SET noisy = NOT noisy WHERE run_id = 3 AND ordinal = 0", 3),
        ("UPDATE sample SET wall_ns = 1.5 WHERE run_id = 3 AND ordinal = 0", 3),
        ("UPDATE \"case\" SET workers = 2 WHERE guard = 'none'", 3),
        ("UPDATE interpreter SET version = '3.11.8'", 3),
        ("UPDATE run SET status = 'completed', error = NULL WHERE id = 2", 2),
        ("UPDATE run SET started_at = '2026-11-21 00:00:00.000000' WHERE id = 3", 3),
        ("UPDATE run SET parameters = '{}' WHERE id = 3", 3),
        ("UPDATE run SET status = 'running' WHERE id = 1", 1),
        ("UPDATE sample SET run_id = 2 WHERE run_id = 3", 3),
        ("DELETE FROM sample WHERE run_id = 3; DELETE FROM run WHERE id = 3", 3),
        ("DELETE FROM run WHERE id = 3", 3),
        ("UPDATE ledger SET digests = '{}' WHERE id = 2", 2),
        ("DELETE FROM ledger WHERE id = 3", 3),
        ("DELETE FROM ledger WHERE id = 2", None),
        ("UPDATE ledger SET id = id + 10; UPDATE ledger SET id = 14 - id", 3),
        (
            (
                "INSERT INTO run SELECT 9, flow, 'x', attempt, deployment, via, host_id, boot_id, pid, pid_start, "
                "heard_at, code_version, parameters, usable_cpus, quota_cpus, smt, covariates, status, error, "
                "started_at, finished_at FROM run WHERE id = 1"
            ),
            9,
        ),
    ],
)
def test_any_change_is_found_and_its_run_named(record: str, statements: str, run_id: int | None) -> None:
    """Edited, removed, added and reordered rows, of runs and of the ledger itself."""
    alter(record, statements)
    assert run_id in faults(record)


def copy_of(table: str, row: str, **changed: str) -> str:
    """The statement that adds a row like another one."""
    names = [name for name in COLUMNS[table] if name not in changed]
    columns, values = ", ".join([*changed, *names]), ", ".join([*changed.values(), *names])
    return f"INSERT INTO {table} ({columns}) SELECT {values} FROM {table} WHERE {row}"  # noqa: S608 - our tables


@pytest.mark.parametrize(
    ("statement", "run_id"),
    [
        (copy_of("encryption", "id = 1", ordinal="99"), 1),
        (copy_of("sample", "ordinal = 0", ordinal="99"), 3),
        (copy_of("stage", "id = 1", position="7"), 1),
        # With parents that are not there.
        (copy_of("sample", "ordinal = 0", ordinal="99", case_id="999"), 3),
        (copy_of("sample", "ordinal = 0", ordinal="99", interpreter_id="999"), 3),
        (copy_of("sample", "ordinal = 0", ordinal="99", run_id="999"), 999),
        (copy_of("encryption", "id = 1", ordinal="99", run_id="999"), 999),
        (copy_of("stage", "id = 1", encryption_id="999"), None),
    ],
)
def test_any_added_row_is_found(record: str, statement: str, run_id: int | None) -> None:
    """A row like another one, where nothing else is changed; those of removed runs and payloads too."""
    alter(record, statement)
    assert list(faults(record)) == [run_id]


def test_edited_host_concerns_all_its_runs(record: str) -> None:
    """What several runs share is part of each one's seal."""
    alter(record, "UPDATE host SET name = 'elsewhere'")
    assert set(faults(record)) == {1, 2, 3}


def test_flipped_bits_never_pass_for_rows(tmp_path: Path) -> None:
    """One-bit flips anywhere in the file: whenever a sealed table reads differently, or not at all, it is found."""
    record = tmp_path / "history.sqlite"
    seal_kept(f"sqlite:///{record}")
    whole = record.read_bytes()
    before = contents(record)
    draw = random.Random(20261122)
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
        return bool(faults(f"sqlite:///{path}"))
    except RecordError:
        return True


def test_json_that_is_none_is_found(tmp_path: Path) -> None:
    """SQLite takes any text for JSON; a run that cannot be read is a fault of that run."""
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    seal_kept(url)
    alter(url, "UPDATE run SET parameters = 'no JSON' WHERE id = 3")
    assert "cannot be read" in faults(url)[3][0]


def test_a_chain_rewritten_as_a_whole_contradicts_a_kept_head(record: str) -> None:
    """Who seals everything anew gives a chain that is right in itself, but not the head that was printed elsewhere."""
    with closing(History(record)) as history:
        kept = history.verify().head
    assert faults(record, kept) == {}
    alter(record, "UPDATE encryption SET wall_ns = 1 WHERE run_id = 1")
    seal_again(record)
    assert faults(record) == {}
    assert "rewritten" in faults(record, kept)[None][0]


def test_a_run_is_sealed_once(database_url: str) -> None:
    """Closing gives the head, closing again is refused, and each head covers the one before."""
    heads = []
    with closing(Store(database_url)) as store:
        for _ in range(3):
            run_id = store.start_run(RUN)
            heads.append(store.finish_run(run_id, "completed"))
            with pytest.raises(RunClosed):
                store.finish_run(run_id, "failed", "too late")
    with closing(History(database_url)) as history:
        assert [history.head(run_id) for run_id in (1, 2, 3)] == heads
        assert len(set(heads)) == 3
        assert history.verify().head == heads[-1]
        assert history.verify(heads[0]).faults == ()


def test_removed_runs_stay_provable(record: str) -> None:
    """Removal is an entry of its own: what was removed on purpose is no fault, its summaries stay."""
    with closing(Store(record)) as store, closing(History(record)) as history:
        store.start_run(RUN)
        assert store.remove_runs(datetime.now(UTC)) == 3
        assert [run.flow for run in history.runs()] == ["survey"]
        verdict = history.verify()
    assert (verdict.faults, verdict.entries, verdict.runs) == ((), 6, 0)
    assert int(str(scalar(record, "SELECT count(*) FROM summary"))) > 3
    for table in ("encryption", "sample", "stage"):
        assert scalar(record, f"SELECT count(*) FROM {table}") == 0  # noqa: S608 - our tables


def test_a_removed_run_does_not_come_back(record: str) -> None:
    """Put in again from outside, also as one that goes on: named."""
    with closing(Store(record)) as store:
        store.start_run(RUN)
        store.remove_runs(datetime.now(UTC))
    alter(record, "UPDATE run SET id = 2")
    assert set(faults(record)) == {2}


def test_a_run_that_cannot_be_read_says_nothing_about_the_next(record: str) -> None:
    """Each run is checked by itself, on PostgreSQL too, where an error ends the transaction."""
    alter(record, "ALTER TABLE stage RENAME COLUMN wall_ns TO gone")
    found = faults(record)
    assert set(found) == {1, 2, 3}
    assert all("wall_ns" in what for whats in found.values() for what in whats)


def test_a_running_run_is_not_sealed_yet(database_url: str) -> None:
    """A run that goes on is no fault."""
    with closing(Store(database_url)) as store, closing(History(database_url)) as history:
        store.start_run(RUN)
        assert history.verify().faults == ()
        assert history.head(1) is None


def test_a_made_up_year_verifies(tmp_path: Path) -> None:
    """What the benchmarks read is sealed and summed up like any other record."""
    url = f"sqlite:///{tmp_path / 'year.sqlite'}"
    assert fill(url, 1) == SAMPLES_PER_RUN
    with closing(History(url)) as history:
        verdict = history.verify()
        assert (verdict.faults, verdict.runs) == ((), 2)
        assert len(history.samples(SampleFilter(), limit=None)) == SAMPLES_PER_RUN
    assert scalar(url, "SELECT count(DISTINCT series_id) FROM day_summary") == SERIES + 1
