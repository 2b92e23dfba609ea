"""Runs: begun, closed, sealed, and removed as a whole."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, delete, func, insert, select, update

from db.facts import NewRun, RunStatus
from db.host import ProcessIdentity, is_dead, readings, this_host, this_process
from db.ledger import seal
from db.models import Encryption, Host, Run, Sample, Snapshot, Stage, Verdict
from db.names import storable
from db.summaries import summarise_run


def start(connection: Connection, new: NewRun) -> int:
    """The row of a run that starts now, after marking those whose process is gone; its id."""
    host, process = this_host(), this_process()
    host_id = connection.execute(select(Host.id).where(Host.fingerprint == host.fingerprint)).scalar()
    if host_id is None:
        host_row = {"fingerprint": host.fingerprint, "name": host.name, "facts": host.facts}
        host_id = connection.execute(insert(Host).returning(Host.id), host_row).scalar_one()
    _mark_crashed(connection, host_id)
    row = {
        "flow": new.flow,
        "flow_run_id": new.flow_run_id,
        "attempt": new.attempt,
        "deployment": new.deployment,
        "via": new.via,
        "host_id": host_id,
        "boot_id": process.boot_id,
        "pid": process.pid,
        "pid_start": process.start,
        "code_version": new.code_version,
        "parameters": new.parameters,
        "covariates": readings(),
        "status": "running",
        "started_at": datetime.now(UTC),
    }
    return connection.execute(insert(Run).returning(Run.id), row).scalar_one()


def close(connection: Connection, run_id: int, status: RunStatus, error: str | None) -> str | None:
    """Close, sum up and seal; the ledger's head then, None for a run that is closed already."""
    closed = connection.execute(
        update(Run)
        .where(Run.id == run_id, Run.status == "running")
        .values(status=status, error=storable(error), finished_at=datetime.now(UTC))
    )
    if not closed.rowcount:
        return None
    summarise_run(connection, run_id)
    return seal(connection, run_id)


def removable(connection: Connection, before: datetime) -> list[int]:
    """Closed runs that began before a time, oldest first; not the newest of all, so that no number is given twice."""
    newest = connection.execute(select(func.max(Run.id))).scalar()
    query = select(Run.id).where(Run.started_at < before, Run.status != "running", Run.id != newest)
    return list(connection.execute(query.order_by(Run.id)).scalars())


def remove(connection: Connection, run_id: int) -> None:
    """A run and all that hangs off it; the ledger says so. Its summaries and the vaults it used stay."""
    seal(connection, run_id, "removed")
    payloads = select(Encryption.id).where(Encryption.run_id == run_id)
    connection.execute(delete(Stage).where(Stage.encryption_id.in_(payloads)))
    for table in (Encryption, Sample, Snapshot, Verdict):
        connection.execute(delete(table).where(table.run_id == run_id))
    connection.execute(delete(Run).where(Run.id == run_id))


def _mark_crashed(connection: Connection, host_id: int) -> None:
    running = connection.execute(
        select(Run.id, Run.boot_id, Run.pid, Run.pid_start).where(Run.status == "running", Run.host_id == host_id)
    ).all()
    for row in running:
        if is_dead(ProcessIdentity(row.boot_id, row.pid, row.pid_start)):
            close(connection, row.id, "crashed", "its process ended without a word")
