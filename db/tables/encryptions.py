"""Payloads, and the child processes that worked on them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Key, Name, UtcDateTime
from db.words import PAYLOAD_FAILURES, sql_in

_FAILED = text(sql_in("status", PAYLOAD_FAILURES))
_KEPT = text("vault_id IS NOT NULL")


class EncryptionTable(Base):
    """One payload of a run: what it was, what ran, what came out, or why not.

    `name` is text for people; `name_bytes` holds the file's name where that is not UTF-8. `cause` is a short word
    for `error`. `ordinal` counts the payloads of the run, so that a batch that is tried again is recorded once.
    `vault_id` says in which vault the ciphertext was kept, under its digest; NULL if it was discarded.
    """

    __tablename__ = "encryption"
    __table_args__ = (
        UniqueConstraint("run_id", "ordinal"),
        Index("ix_encryption_name_started_at", "name", "started_at"),
        Index("ix_encryption_started_at", "started_at"),
        Index("ix_encryption_suite_started_at", "suite", "started_at"),
        Index(
            "ix_encryption_failed",
            "started_at",
            sqlite_where=_FAILED,
            postgresql_where=_FAILED,
        ),
        # What was encrypted to which object, and when.
        Index(
            "ix_encryption_kept",
            "vault_id",
            "digest",
            "started_at",
            sqlite_where=_KEPT,
            postgresql_where=_KEPT,
        ),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
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

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    encryption_id: Mapped[int] = mapped_column(ForeignKey("encryption.id", ondelete="CASCADE"))
    position: Mapped[int]
    program: Mapped[str]
    exit_code: Mapped[int]
    wall_ns: Mapped[int] = mapped_column(BigInteger)
    cpu_ns: Mapped[int] = mapped_column(BigInteger)
