"""What runs record of vaults is sealed too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, NullPool, create_engine

from db.history import History
from db.ledger import LedgerFault, verify
from db.rows import NewRun
from db.store import Store
from tasks.rows import payload_rows
from tests.support.kept import restore
from tests.support.recorder import encryptions
from tests.support.vault_fakes import AT, Snapshot, Verdict, name_of, verdict_rows

RUN = NewRun("encrypt_files", "direct", {}, "test")
OLD, KEPT, OTHER = 1, 4, 5


@pytest.fixture
def record(database_url: str) -> str:
    """Three runs without a vault, and two that put something into one."""
    restore("1000", database_url)
    with closing(Store(database_url)) as store:
        for sequence in (1, 2):
            run_id = store.start_run(RUN)
            store.record_payloads(payload_rows(run_id, encryptions()[:3], *AT))
            store.record_snapshot(Snapshot(sequence).row(run_id))
            verdicts = [Verdict(name_of(1), path=b"caf\xe9"), Verdict(name_of(2), "changed", error="other bytes")]
            store.record_verdicts(verdict_rows(run_id, verdicts))
            store.finish_run(run_id, "completed")
    return database_url


@pytest.fixture
def connection(record: str) -> Iterator[Connection]:
    """Somebody who may do anything there: no constraint holds."""
    engine = create_engine(record, poolclass=NullPool)
    with engine.connect() as connection:
        if record.startswith("postgresql"):
            connection.exec_driver_sql("SET session_replication_role = replica")
            connection.commit()
        yield connection
    engine.dispose()


CHANGES = {
    "UPDATE encryption SET vault_id = NULL WHERE run_id = 4 AND ordinal = 0": KEPT,
    "UPDATE vault SET vault_id = 'ffffffffffffffffffffffffffffffff'": KEPT,
    "UPDATE snapshot SET files = files + 1 WHERE run_id = 4": KEPT,
    "UPDATE snapshot SET mac = name WHERE run_id = 4": KEPT,
    "UPDATE snapshot SET sources = '[]' WHERE run_id = 4": KEPT,
    "UPDATE snapshot SET run_id = run_id + 10; UPDATE snapshot SET run_id = 19 - run_id": KEPT,
    "DELETE FROM snapshot WHERE run_id = 5": OTHER,
    "UPDATE snapshot SET run_id = 2 WHERE run_id = 5": OTHER,
    "UPDATE verdict SET status = 'ok', error = NULL WHERE run_id = 5 AND ordinal = 1": OTHER,
    "UPDATE verdict SET checked_at = '2026-11-25 00:00:00.000000' WHERE run_id = 5 AND ordinal = 0": OTHER,
    "UPDATE verdict SET path_bytes = NULL WHERE run_id = 5": OTHER,
    "UPDATE verdict SET ordinal = 100 - ordinal WHERE run_id = 4": KEPT,
    "DELETE FROM verdict WHERE run_id = 4 AND ordinal = 1": KEPT,
    (
        "INSERT INTO verdict (run_id, ordinal, vault_id, kind, name, status, checked_at, wall_ns) "
        "SELECT run_id, 9, vault_id, kind, name, status, checked_at, wall_ns FROM verdict WHERE id = 1"
    ): KEPT,
    "UPDATE verdict SET run_id = 77 WHERE run_id = 4": 77,
    "DELETE FROM vault": KEPT,
    # Of a run without a vault.
    "UPDATE encryption SET wall_ns = wall_ns + 1 WHERE run_id = 1": OLD,
    "UPDATE encryption SET vault_id = 1 WHERE run_id = 1": OLD,
    "UPDATE snapshot SET run_id = 1 WHERE run_id = 4": OLD,
    "UPDATE verdict SET run_id = 1 WHERE run_id = 4": OLD,
    "UPDATE ledger SET format = 9 WHERE run_id = 1": OLD,
}


def test_what_nobody_touched_is_whole(record: str) -> None:
    """Seals of runs with and without a vault verify."""
    with closing(History(record)) as history:
        verdict = history.verify()
    assert (verdict.faults, verdict.runs, verdict.entries) == ((), 5, 5)


def test_any_change_is_found_and_its_run_named(connection: Connection) -> None:
    """Edited, removed, added and reordered rows of vaults, also in runs that had none."""
    assert verify(connection).faults == ()
    for statements, run_id in CHANGES.items():
        connection.rollback()
        for statement in statements.split("; "):
            connection.exec_driver_sql(statement)
        assert run_id in {fault.run_id for fault in verify(connection).faults}, statements
    connection.rollback()


def test_every_value_is_sealed(connection: Connection) -> None:
    """A change to any column of a snapshot or verdict, but for the numbers of rows, is a fault of its run."""
    for table in ("snapshot", "verdict"):
        columns = connection.exec_driver_sql(f"SELECT * FROM {table}").keys()  # noqa: S608 - our tables
        for column in set(columns) - {"id", "run_id"}:
            connection.rollback()
            other = "(SELECT max(id) + 1 FROM vault)" if column == "vault_id" else changed(column)
            connection.exec_driver_sql(f"UPDATE {table} SET {column} = {other} WHERE run_id = 5")  # noqa: S608 - ours
            assert OTHER in {fault.run_id for fault in verify(connection).faults}, (table, column)
    connection.rollback()


def changed(column: str) -> str:
    """SQL for a value that is not there yet."""
    if column.endswith("_at"):
        return "'2020-01-01 00:00:00.000000'"
    if column == "sources":
        return "'[\"elsewhere\"]'"
    if column == "path_bytes":
        return "NULL"
    if column == "ordinal":
        return "ordinal + 7"
    if column == "counts":
        return "NOT counts"
    return f"'{name_of(9)}'" if column in {"name", "mac", "kind", "status", "path", "error"} else "4711"


def test_removed_runs_stay_provable(record: str) -> None:
    """Removal is an entry of its own; the vault stays."""
    with closing(Store(record)) as store, closing(History(record)) as history:
        store.start_run(RUN)
        assert store.remove_runs(datetime.now(UTC)) == 5
        assert (history.verify().faults, history.verify().runs, history.verify().entries) == ((), 0, 10)
        assert history.vault(AT[0]) is not None


def test_rows_of_vaults_that_were_altered_before_their_removal_stay_a_fault(record: str) -> None:
    """The ledger goes on saying that it was not what was sealed."""
    with closing(Store(record)) as store, closing(History(record)) as history:
        with store.transaction() as connection:
            connection.exec_driver_sql("UPDATE verdict SET wall_ns = 1 WHERE run_id = 4 AND ordinal = 0")
        store.start_run(RUN)
        store.remove_runs(datetime.now(UTC))
        what = "was removed with other rows than those it was sealed with"
        assert history.verify().faults == (LedgerFault(KEPT, what),)
