"""The statements of `db.store`; each function works within the transaction of its caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Table, delete, func, insert, or_, select, update

from db.host import ProcessIdentity, is_dead, readings, this_host, this_process
from db.ledger import seal
from db.rows import InterpreterRow, NewRun, PayloadRow, SampleRow, SnapshotRow, StageRow, VerdictRow, storable
from db.summaries import summarise_run
from db.tables import (
    CASE,
    ENCRYPTION,
    HOST,
    INTERPRETER,
    RUN,
    SAMPLE,
    SNAPSHOT,
    STAGE,
    VAULT,
    VERDICT,
)
from db.words import RunStatus

Ordered = TypeVar("Ordered", PayloadRow, SampleRow, VerdictRow)


def start_run(connection: Connection, new: NewRun) -> int:
    """Write the row of a run that starts now, after marking the runs of dead processes; the new run's id."""
    host, process = this_host(), this_process()
    host_id = connection.execute(select(HOST.c.id).where(HOST.c.fingerprint == host.fingerprint)).scalar()
    if host_id is None:
        host_row = {"fingerprint": host.fingerprint, "name": host.name, "facts": host.facts}
        host_id = connection.execute(insert(HOST).returning(HOST.c.id), host_row).scalar_one()
    _mark_crashed(connection, host_id)
    row = _of_new_run(new) | {
        "host_id": host_id,
        "boot_id": process.boot_id,
        "pid": process.pid,
        "pid_start": process.start,
        "covariates": readings(),
        "status": "running",
        "started_at": datetime.now(UTC),
    }
    return _inserted(connection, RUN, row)


def close_run(connection: Connection, run_id: int, status: RunStatus, error: str | None) -> str | None:
    """Close a run, sum it up and seal it; the ledger's head then, None if the run is closed already."""
    closed = connection.execute(
        update(RUN)
        .where(RUN.c.id == run_id, RUN.c.status == "running")
        .values(status=status, error=storable(error), finished_at=datetime.now(UTC))
    )
    if not closed.rowcount:
        return None
    summarise_run(connection, run_id)
    return seal(connection, run_id)


def removable_runs(connection: Connection, before: datetime) -> list[int]:
    """List the closed runs that began before a time, oldest first.

    The newest run of all is left out: if it were removed, its number would be given to another run.
    """
    newest = connection.execute(select(func.max(RUN.c.id))).scalar()
    query = select(RUN.c.id).where(RUN.c.started_at < before, RUN.c.status != "running", RUN.c.id != newest)
    return list(connection.execute(query.order_by(RUN.c.id)).scalars())


def remove_run(connection: Connection, run_id: int) -> None:
    """Remove a run and all rows that hang off it, and say so in the ledger. Its summaries and its vaults stay."""
    seal(connection, run_id, "removed")
    payloads = select(ENCRYPTION.c.id).where(ENCRYPTION.c.run_id == run_id)
    connection.execute(delete(STAGE).where(STAGE.c.encryption_id.in_(payloads)))
    for table in (ENCRYPTION, SAMPLE, SNAPSHOT, VERDICT):
        connection.execute(delete(table).where(table.c.run_id == run_id))
    connection.execute(delete(RUN).where(RUN.c.id == run_id))


def add_payloads(connection: Connection, rows: Sequence[PayloadRow]) -> int:
    """Add the payloads that the run does not have yet, with their stages; their number."""
    new = _new_rows(connection, ENCRYPTION, rows)
    if not new:
        return 0
    vault_ids = _vault_ids(connection, ((row.vault_id, row.kept_in) for row in new))
    # Without RETURNING, for which SQLAlchemy has SQLite execute one statement per row.
    connection.execute(insert(ENCRYPTION), [_payload_values(row, vault_ids) for row in new])
    staged = [row for row in new if row.stages]
    if staged:
        own = ENCRYPTION.c.run_id == new[0].run_id, _between(ENCRYPTION, new)
        written = connection.execute(select(ENCRYPTION.c.ordinal, ENCRYPTION.c.id).where(*own))
        ids = {row.ordinal: row.id for row in written}
        connection.execute(insert(STAGE), [values for row in staged for values in _stage_values(ids[row.ordinal], row)])
    return len(new)


def add_samples(
    connection: Connection, rows: Sequence[SampleRow], interpreter_facts: Mapping[str, Mapping[str, str]]
) -> int:
    """Add the samples that the run does not have yet, with their cases and interpreters; their number."""
    new = _new_rows(connection, SAMPLE, rows)
    if not new:
        return 0
    cases = {(row.case, row.workload_version): row for row in new}
    case_ids = {key: _case_id(connection, row) for key, row in cases.items()}
    interpreters = {row.interpreter.fingerprint: row.interpreter for row in new}
    interpreter_ids = {
        name: _interpreter_id(connection, one, interpreter_facts[name]) for name, one in interpreters.items()
    }
    connection.execute(insert(SAMPLE), [_sample_values(row, case_ids, interpreter_ids) for row in new])
    return len(new)


def add_snapshot(connection: Connection, row: SnapshotRow) -> bool:
    """Add a run's snapshot, and raise the vault's high-water mark to it; False if the run has a snapshot already."""
    if connection.execute(select(SNAPSHOT.c.id).where(SNAPSHOT.c.run_id == row.run_id)).first():
        return False
    vault_id = _vault_id(connection, row.vault_id, row.vault_path)
    connection.execute(
        update(VAULT)
        .where(VAULT.c.id == vault_id, or_(VAULT.c.last_sequence.is_(None), VAULT.c.last_sequence < row.sequence))
        .values(last_sequence=row.sequence, last_snapshot=row.name, last_mac=row.mac, updated_at=datetime.now(UTC))
    )
    connection.execute(insert(SNAPSHOT), _of_snapshot(row) | {"vault_id": vault_id, "sources": list(row.sources)})
    return True


def add_verdicts(connection: Connection, rows: Sequence[VerdictRow]) -> int:
    """Add the verdicts that the run does not have yet; their number."""
    new = _new_rows(connection, VERDICT, rows)
    if not new:
        return 0
    vault_ids = _vault_ids(connection, ((row.vault_id, row.vault_path) for row in new))
    connection.execute(insert(VERDICT), [_verdict_values(row, vault_ids[row.vault_id]) for row in new])
    return len(new)


def _mark_crashed(connection: Connection, host_id: int) -> None:
    running = connection.execute(
        select(RUN.c.id, RUN.c.boot_id, RUN.c.pid, RUN.c.pid_start).where(
            RUN.c.status == "running", RUN.c.host_id == host_id
        )
    ).all()
    for row in running:
        if is_dead(ProcessIdentity(row.boot_id, row.pid, row.pid_start)):
            close_run(connection, row.id, "crashed", "its process ended without a word")


def _inserted(connection: Connection, table: Table, values: dict[str, object]) -> int:
    """Insert a row; its number."""
    number: int = connection.execute(insert(table).returning(table.c.id), values).scalar_one()
    return number


def _new_rows(connection: Connection, table: Table, rows: Sequence[Ordered]) -> list[Ordered]:
    """Leave out the rows whose ordinal their run has already, so that a batch may be recorded again."""
    if not rows:
        return []
    own = select(table.c.ordinal).where(table.c.run_id == rows[0].run_id, _between(table, rows))
    known = set(connection.execute(own).scalars())
    return [row for row in rows if row.ordinal not in known]


def _between(table: Table, rows: Sequence[Ordered]) -> ColumnElement[bool]:
    ordinals = [row.ordinal for row in rows]
    return table.c.ordinal.between(min(ordinals), max(ordinals))


def _vault_ids(connection: Connection, vaults: Iterable[tuple[str | None, str | None]]) -> dict[str | None, int | None]:
    """The numbers of the vaults' rows, by id; None for no vault."""
    ids: dict[str | None, int | None] = {None: None}
    for vault_id, path in dict.fromkeys(vaults):
        if vault_id is not None:
            ids[vault_id] = _vault_id(connection, vault_id, path)
    return ids


def _vault_id(connection: Connection, vault_id: str, path: str | None) -> int:
    """The number of a vault's row; the row is written if there is none, and learns where the vault is now."""
    path = storable(path) or ""
    found = connection.execute(select(VAULT.c.id, VAULT.c.path).where(VAULT.c.vault_id == vault_id)).first()
    if found is None:
        values = {"vault_id": vault_id, "path": path, "updated_at": datetime.now(UTC)}
        return _inserted(connection, VAULT, values)
    if found.path != path:
        connection.execute(update(VAULT).where(VAULT.c.id == found.id).values(path=path, updated_at=datetime.now(UTC)))
    row_id: int = found.id
    return row_id


def _case_id(connection: Connection, row: SampleRow) -> int:
    same = select(CASE.c.id).where(CASE.c.key == row.case, CASE.c.workload_version == row.workload_version)
    found: int | None = connection.execute(same).scalar()
    if found is not None:
        return found
    axes = ("workload_version", "experiment", "executor", "workload", "shape", "guard", "workers", "count")
    values = {"key": row.case} | {name: getattr(row, name) for name in axes}
    return _inserted(connection, CASE, values)


def _interpreter_id(connection: Connection, row: InterpreterRow, facts: Mapping[str, str]) -> int:
    same = select(INTERPRETER.c.id).where(INTERPRETER.c.fingerprint == row.fingerprint)
    found: int | None = connection.execute(same).scalar()
    if found is not None:
        return found
    values = {
        "fingerprint": row.fingerprint,
        "label": row.label,
        "version": row.version,
        "implementation": row.implementation,
        "gil_build": row.gil_build,
        "facts": dict(facts),
    }
    return _inserted(connection, INTERPRETER, values)


def _payload_values(row: PayloadRow, vault_ids: Mapping[str | None, int | None]) -> dict[str, object]:
    return _of_payload(row) | {"error": storable(row.error), "vault_id": vault_ids[row.vault_id]}


def _stage_values(payload_id: int, row: PayloadRow) -> list[dict[str, object]]:
    return [
        _of_stage(stage) | {"encryption_id": payload_id, "position": position}
        for position, stage in enumerate(row.stages)
    ]


def _sample_values(
    row: SampleRow, case_ids: Mapping[tuple[str, str], int], interpreter_ids: Mapping[str, int]
) -> dict[str, object]:
    return _of_sample(row) | {
        "case_id": case_ids[row.case, row.workload_version],
        "interpreter_id": interpreter_ids[row.interpreter.fingerprint],
        "expected": None if row.expected is None else storable(str(row.expected)),
        "found": None if row.found is None else storable(str(row.found)),
        "error": storable(row.error),
    }


def _verdict_values(row: VerdictRow, vault_id: int | None) -> dict[str, object]:
    return _of_verdict(row) | {"vault_id": vault_id, "name": storable(row.name), "error": storable(row.error)}


def _columns_of(row_type: type, table: Table) -> Callable[[object], dict[str, object]]:
    """A function that gives the values of a row's fields that are columns of the table, under the same names."""
    names = [field.name for field in fields(row_type) if field.name in table.c]
    values_of = attrgetter(*names)
    return lambda row: dict(zip(names, values_of(row), strict=True))


_of_new_run = _columns_of(NewRun, RUN)
_of_payload = _columns_of(PayloadRow, ENCRYPTION)
_of_stage = _columns_of(StageRow, STAGE)
_of_sample = _columns_of(SampleRow, SAMPLE)
_of_snapshot = _columns_of(SnapshotRow, SNAPSHOT)
_of_verdict = _columns_of(VerdictRow, VERDICT)
