"""Payloads and the child processes that worked on them; vaults, their snapshots, and verdicts on their objects."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Name, UtcDateTime, partial_index
from db.words import PAYLOAD_FAILURES, VERDICT_FAULTS, sql_in


class EncryptionTable(Base):
    """One payload of a run: its source, the suite and backend, and its result or error.

    `name` is text for people; `name_bytes` holds the file's name if that is not UTF-8. `cause` is a short word
    for `error`. `ordinal` counts the payloads of the run, so that a batch that is tried again is recorded once.
    `vault_id` says in which vault the ciphertext was kept, under its digest; NULL if it was discarded.
    """

    __tablename__ = "encryption"
    __table_args__ = (
        UniqueConstraint("run_id", "ordinal"),
        Index("ix_encryption_name_started_at", "name", "started_at"),
        Index("ix_encryption_started_at", "started_at"),
        Index("ix_encryption_suite_started_at", "suite", "started_at"),
        partial_index("ix_encryption_failed", sql_in("status", PAYLOAD_FAILURES), "started_at"),
        # Answers which payload was encrypted to which object, and when.
        partial_index("ix_encryption_kept", "vault_id IS NOT NULL", "vault_id", "digest", "started_at"),
    )

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    ordinal: Mapped[int]
    name: Mapped[str] = mapped_column(Name)
    name_bytes: Mapped[bytes | None] = mapped_column(LargeBinary)
    kind: Mapped[str]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    ciphertext_bytes: Mapped[int | None] = mapped_column(BigInteger)
    suite: Mapped[str]
    cipher: Mapped[str]
    digest_algorithm: Mapped[str]
    kdf: Mapped[str]
    iterations: Mapped[int]
    salt: Mapped[bytes | None] = mapped_column(LargeBinary)
    digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    backend: Mapped[str]
    backend_detail: Mapped[str]
    backend_reason: Mapped[str]
    status: Mapped[str]
    cause: Mapped[str | None]
    error: Mapped[str | None]
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    wall_ns: Mapped[int] = mapped_column(BigInteger)
    vault_id: Mapped[int | None] = mapped_column(ForeignKey("vault.id"))


class StageTable(Base):
    """One child process of a payload's chain; `position` counts from 0, a negative `exit_code` is a signal."""

    __tablename__ = "stage"
    __table_args__ = (UniqueConstraint("encryption_id", "position"),)

    encryption_id: Mapped[int] = mapped_column(ForeignKey("encryption.id", ondelete="CASCADE"))
    position: Mapped[int]
    program: Mapped[str]
    exit_code: Mapped[int]
    wall_ns: Mapped[int] = mapped_column(BigInteger)
    cpu_ns: Mapped[int] = mapped_column(BigInteger)


class VaultTable(Base):
    """A vault by the id in its `vault.json`, the path where it was last seen, and the newest snapshot it ever had.

    That high-water mark (`last_*`, NULL if no run on record added a snapshot) never goes down and outlives the runs: a
    vault whose newest snapshot is older was rolled back. `vault_id` is 32 hex digits, `last_mac` hex.
    """

    __tablename__ = "vault"

    vault_id: Mapped[str] = mapped_column(String(32), unique=True)
    path: Mapped[str]
    last_sequence: Mapped[int | None] = mapped_column(BigInteger)
    last_snapshot: Mapped[str | None]
    last_mac: Mapped[str | None] = mapped_column(String(64))
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SnapshotTable(Base):
    """The snapshot that one run added to a vault; `sequence` counts the vault's snapshots, `mac` is hex.

    `sources` are texts for people. `entries` are files, folders and links; of the files, `new` were encrypted,
    `unchanged` taken over from an earlier snapshot; `unstable`, `skipped` and `failed` are not in it. `size_bytes` is
    the plaintext of all files in it, `stored_bytes` the ciphertext that this run added.
    """

    __tablename__ = "snapshot"
    __table_args__ = (Index("ix_snapshot_created_at", "created_at"),)

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), unique=True)
    vault_id: Mapped[int] = mapped_column(ForeignKey("vault.id"))
    name: Mapped[str]
    sequence: Mapped[int] = mapped_column(BigInteger)
    mac: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sources: Mapped[list[str]] = mapped_column(JSON)
    entries: Mapped[int]
    files: Mapped[int]
    new: Mapped[int]
    unchanged: Mapped[int]
    unstable: Mapped[int]
    skipped: Mapped[int]
    failed: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    stored_bytes: Mapped[int] = mapped_column(BigInteger)


class VerdictTable(Base):
    """The verdict of a run on one thing in a vault; `ordinal` counts the verdicts of the run.

    `kind` is vault, snapshot, object or file; `name` an object's digest (64 hex digits), a snapshot's name, or a file's
    path in the vault. `path` is text for people: one path that the thing is about; `path_bytes` holds it if it is
    not UTF-8.
    """

    __tablename__ = "verdict"
    __table_args__ = (
        UniqueConstraint("run_id", "ordinal"),
        # Holds every column that "when was each object last proven" needs, in the order of the answer.
        Index("ix_verdict_name", "vault_id", "kind", "name", "checked_at", "status"),
        Index("ix_verdict_checked_at", "checked_at"),
        partial_index("ix_verdict_path", "path IS NOT NULL", "path", "checked_at"),
        partial_index("ix_verdict_fault", sql_in("status", VERDICT_FAULTS), "checked_at"),
    )

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    ordinal: Mapped[int]
    vault_id: Mapped[int] = mapped_column(ForeignKey("vault.id"))
    kind: Mapped[str]
    name: Mapped[str] = mapped_column(Name)
    status: Mapped[str]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    path: Mapped[str | None] = mapped_column(Name)
    path_bytes: Mapped[bytes | None] = mapped_column(LargeBinary)
    error: Mapped[str | None]
    checked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    wall_ns: Mapped[int] = mapped_column(BigInteger)
