"""What a vault's engine gives to the record, by shape."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

VAULT_ID = "5a" * 16
START = datetime(2026, 11, 25, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Vault:
    """Where it was last seen is for people."""

    vault_id: str = VAULT_ID
    path: str = "/srv/vault"


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
    unstable: int = 1
    skipped: int = 1
    failed: int = 0
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

    @property
    def checked_at_ns(self) -> int:
        return round((self.begin + timedelta(days=self.day)).timestamp()) * 10**9


def name_of(number: int) -> str:
    """An object's."""
    return hashlib.sha256(str(number).encode()).hexdigest()
