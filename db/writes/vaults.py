"""Vaults, snapshots and verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, or_, select, update

from db.facts import SnapshotFacts, VaultFacts, VerdictFacts
from db.models import Snapshot, Vault, Verdict
from db.names import display_name, storable
from db.writes.ordinals import recorded
from db.writes.times import moment


def vault_row_id(connection: Connection, vault_id: str, path: str) -> int:
    """The number of a vault's row, which is written if there is none, and learns where the vault is now."""
    path = storable(path) or ""
    found = connection.execute(select(Vault.id, Vault.path).where(Vault.vault_id == vault_id)).first()
    if found is None:
        row = {"vault_id": vault_id, "path": path, "updated_at": datetime.now(UTC)}
        return connection.execute(insert(Vault).returning(Vault.id), row).scalar_one()
    if found.path != path:
        connection.execute(update(Vault).where(Vault.id == found.id).values(path=path, updated_at=datetime.now(UTC)))
    row_id: int = found.id
    return row_id


def add_snapshot(connection: Connection, run_id: int, snapshot: SnapshotFacts) -> bool:
    """Unless the run has one already; and it is the vault's high-water mark if it is the newest there ever was."""
    if connection.execute(select(Snapshot.id).where(Snapshot.run_id == run_id)).first():
        return False
    vault_id = vault_row_id(connection, snapshot.vault_id, snapshot.vault_path)
    connection.execute(
        update(Vault)
        .where(Vault.id == vault_id, or_(Vault.last_sequence.is_(None), Vault.last_sequence < snapshot.sequence))
        .values(
            last_sequence=snapshot.sequence,
            last_snapshot=snapshot.name,
            last_mac=snapshot.mac,
            updated_at=datetime.now(UTC),
        )
    )
    connection.execute(insert(Snapshot), _snapshot_row(run_id, vault_id, snapshot))
    return True


def add_verdicts(
    connection: Connection, run_id: int, vault: VaultFacts, first_ordinal: int, verdicts: Sequence[VerdictFacts]
) -> int:
    """Those that the run has not yet; how many."""
    known = recorded(connection, Verdict, run_id, first_ordinal, first_ordinal + len(verdicts) - 1)
    new = [(n, verdict) for n, verdict in enumerate(verdicts, first_ordinal) if n not in known]
    if not new:
        return 0
    vault_id = vault_row_id(connection, vault.vault_id, vault.path)
    connection.execute(insert(Verdict), [_verdict_row(run_id, ordinal, vault_id, one) for ordinal, one in new])
    return len(new)


def _snapshot_row(run_id: int, vault_id: int, snapshot: SnapshotFacts) -> dict[str, object]:
    return {
        "run_id": run_id,
        "vault_id": vault_id,
        "name": snapshot.name,
        "sequence": snapshot.sequence,
        "mac": snapshot.mac,
        "created_at": snapshot.created_at,
        "sources": [display_name(source)[0] for source in snapshot.sources],
        "entries": snapshot.entries,
        "files": snapshot.files,
        "new": snapshot.new,
        "unchanged": snapshot.unchanged,
        "unstable": snapshot.unstable,
        "skipped": snapshot.skipped,
        "failed": snapshot.failed,
        "size_bytes": snapshot.size_bytes,
        "stored_bytes": snapshot.stored_bytes,
    }


def _verdict_row(run_id: int, ordinal: int, vault_id: int, verdict: VerdictFacts) -> dict[str, object]:
    path, path_bytes = (None, None) if verdict.path is None else display_name(verdict.path)
    return {
        "run_id": run_id,
        "ordinal": ordinal,
        "vault_id": vault_id,
        "kind": verdict.kind,
        "name": storable(verdict.name),
        "status": verdict.status,
        "size_bytes": verdict.size_bytes,
        "path": path,
        "path_bytes": path_bytes,
        "error": storable(verdict.error),
        "checked_at": moment(verdict.checked_at_ns),
        "wall_ns": verdict.wall_ns,
    }
