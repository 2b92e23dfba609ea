"""Snapshots and verdicts of a made-up vault, as rows of the record."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from db.rows import SnapshotRow, VerdictRow, display_name

VAULT_ID = "5a" * 16
START = datetime(2026, 11, 25, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Vault:
    """Where it was last seen is for people."""

    vault_id: str = VAULT_ID
    path: str = "/srv/vault"


_HERE = Vault()
AT = (VAULT_ID, "/srv/vault")


@dataclass(frozen=True)
class Snapshot:
    """A day later with each number."""

    sequence: int = 1
    begin: datetime = START
    vault_id: str = VAULT_ID
    vault_path: str = "/srv/vault"
    sources: Sequence[bytes] = (b"/srv/documents", b"/srv/caf\xe9")
    entries: int = 9
    files: int = 7
    new: int = 2
    unchanged: int = 5
    skipped: int = 1
    marked: int = 1
    missed: int = 0
    gone: int = 0
    counts: bool = True
    size_bytes: int = 2**40
    stored_bytes: int = 2**33

    @property
    def name(self) -> str:
        return f"{self.created_at:%Y%m%dT%H%M%SZ}-{self.sequence:016x}"

    @property
    def mac(self) -> str:
        return hashlib.sha256(f"{self.vault_id} {self.sequence}".encode()).hexdigest()

    @property
    def created_at(self) -> datetime:
        return self.begin + timedelta(days=self.sequence)

    def row(self, run_id: int) -> SnapshotRow:
        of_vault = self.vault_id, self.vault_path, self.name, self.sequence, self.mac, self.created_at
        sources = tuple(display_name(source)[0] for source in self.sources)
        read = self.entries, self.files, self.new, self.unchanged
        others = self.skipped, self.marked, self.missed, self.gone
        sizes = self.size_bytes, self.stored_bytes
        return SnapshotRow(run_id, *of_vault, sources, *read, *others, self.counts, *sizes)


@dataclass(frozen=True)
class Verdict:
    """`day` after the beginning."""

    name: str
    status: str = "ok"
    day: int = 1
    kind: str = "object"
    size_bytes: int | None = 116
    path: bytes | None = None
    error: str | None = None
    wall_ns: int = 1_000_000
    begin: datetime = START


def verdict_rows(run_id: int, verdicts: Sequence[Verdict], *, vault: Vault = _HERE, first: int = 0) -> list[VerdictRow]:
    """Rows that count on from the first ordinal."""
    return [_verdict_row(run_id, ordinal, vault, one) for ordinal, one in enumerate(verdicts, first)]


def _verdict_row(run_id: int, ordinal: int, vault: Vault, one: Verdict) -> VerdictRow:
    path, path_bytes = (None, None) if one.path is None else display_name(one.path)
    return VerdictRow(
        run_id=run_id,
        ordinal=ordinal,
        vault_id=vault.vault_id,
        vault_path=vault.path,
        kind=one.kind,
        name=one.name,
        status=one.status,
        size_bytes=one.size_bytes,
        path=path,
        path_bytes=path_bytes,
        error=one.error,
        checked_at=one.begin + timedelta(days=one.day),
        wall_ns=one.wall_ns,
    )


def name_of(number: int) -> str:
    """An object's."""
    return hashlib.sha256(str(number).encode()).hexdigest()
