"""Payloads and their stages."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from db.facts import EncryptionFacts, VaultFacts
from db.models import Encryption, Stage
from db.names import display_name, storable
from db.writes.ordinals import recorded
from db.writes.times import moment
from db.writes.vaults import vault_row_id


def add_encryptions(
    connection: Connection, run_id: int, encryptions: Sequence[EncryptionFacts], vault: VaultFacts | None
) -> int:
    """Those that the run has not yet, but for unchanged ones; how many."""
    changed = [encryption for encryption in encryptions if encryption.status != "unchanged"]
    if not changed:
        return 0
    ordinals = [encryption.ordinal for encryption in changed]
    known = recorded(connection, Encryption, run_id, min(ordinals), max(ordinals))
    new = [encryption for encryption in changed if encryption.ordinal not in known]
    if not new:
        return 0
    vault_id = None if vault is None else vault_row_id(connection, vault.vault_id, vault.path)
    # Without RETURNING, for which SQLAlchemy has SQLite execute one statement per row.
    connection.execute(insert(Encryption), [_encryption_row(run_id, vault_id, encryption) for encryption in new])
    staged = [encryption for encryption in new if encryption.stages]
    if not staged:
        return len(new)
    of_batch = Encryption.run_id == run_id, Encryption.ordinal.between(min(ordinals), max(ordinals))
    ids = dict(connection.execute(select(Encryption.ordinal, Encryption.id).where(*of_batch)).tuples().all())
    stages = [
        {
            "encryption_id": ids[encryption.ordinal],
            "position": position,
            "program": stage.program,
            "exit_code": stage.exit_code,
            "wall_ns": stage.wall_ns,
            "cpu_ns": stage.cpu_ns,
        }
        for encryption in staged
        for position, stage in enumerate(encryption.stages)
    ]
    connection.execute(insert(Stage), stages)
    return len(new)


def _encryption_row(run_id: int, vault_id: int | None, encryption: EncryptionFacts) -> dict[str, object]:
    name, name_bytes = display_name(encryption.payload.name)
    suite, chosen = encryption.suite, encryption.chosen
    size_bytes = encryption.payload.size_bytes if encryption.size_bytes is None else encryption.size_bytes
    return {
        "run_id": run_id,
        "ordinal": encryption.ordinal,
        "name": name,
        "name_bytes": name_bytes,
        "kind": encryption.payload.kind,
        "size_bytes": size_bytes,
        "ciphertext_bytes": encryption.ciphertext_bytes,
        "suite": suite.name,
        "cipher": suite.cipher,
        "digest_algorithm": suite.digest,
        "kdf": suite.kdf,
        "iterations": suite.iterations,
        "salt": encryption.salt,
        "digest": encryption.digest,
        "backend": chosen.backend,
        "backend_detail": chosen.detail,
        "backend_reason": chosen.reason,
        "status": encryption.status,
        "cause": encryption.cause,
        "error": storable(encryption.error),
        "started_at": moment(encryption.started_at_ns),
        "wall_ns": encryption.wall_ns,
        # What failed is kept nowhere.
        "vault_id": vault_id if encryption.status == "ok" else None,
    }
