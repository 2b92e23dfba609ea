"""Hosts, the runs of jobs on them, and the ledger of their seals."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Key, UtcDateTime


class HostTable(Base):
    """A machine, by what stays the same about it; `fingerprint` is the SHA-256 of `facts`."""

    __tablename__ = "host"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str]
    facts: Mapped[dict[str, str | int]] = mapped_column(JSON)


class RunTable(Base):
    """One run of one job; everything recorded hangs off it.

    `attempt` counts the tries of one Prefect flow run (a retry from the UI is a new row). `boot_id`, `pid` and
    `pid_start` (clock ticks since boot) tell whether the process that wrote the row is still there. `covariates`
    are readings that may explain a change but identify nothing: load, kernel, versions.
    """

    __tablename__ = "run"
    __table_args__ = (
        UniqueConstraint("flow_run_id", "attempt"),
        Index("ix_run_started_at", "started_at"),
        Index("ix_run_status_started_at", "status", "started_at"),
        Index(
            "ix_run_running",
            "host_id",
            sqlite_where=text("status = 'running'"),
            postgresql_where=text("status = 'running'"),
        ),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    flow: Mapped[str]
    flow_run_id: Mapped[str | None]
    attempt: Mapped[int]
    deployment: Mapped[str | None]
    via: Mapped[str]
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id"))
    boot_id: Mapped[str]
    pid: Mapped[int]
    pid_start: Mapped[int] = mapped_column(BigInteger)
    code_version: Mapped[str]
    parameters: Mapped[dict[str, object]] = mapped_column(JSON)
    covariates: Mapped[dict[str, object]] = mapped_column(JSON)
    status: Mapped[str]
    error: Mapped[str | None]
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class LedgerTable(Base):
    """One entry of the chain of seals; see `db.ledger`. `run_id` stays when the run is removed, hence no foreign key.

    `id` counts from 1 without gaps. `digests` maps a table to the number of the run's rows and their SHA-256; which
    columns those cover is the `format`.
    """

    __tablename__ = "ledger"
    __table_args__ = (Index("ix_ledger_run_id", "run_id"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True, autoincrement=False)
    kind: Mapped[str]
    run_id: Mapped[int] = mapped_column(Key)
    format: Mapped[int]
    digests: Mapped[dict[str, str]] = mapped_column(JSON)
    sealed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    head: Mapped[str] = mapped_column(String(64))
