"""Interpreters, cases, and their samples."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Key, UtcDateTime
from db.words import SAMPLE_FAILURES, sql_in

_FAILED = text(sql_in("outcome", SAMPLE_FAILURES))


class InterpreterTable(Base):
    """A Python on some host under one GIL setting; `fingerprint` is the SHA-256 of its facts and that setting."""

    __tablename__ = "interpreter"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    label: Mapped[str]
    version: Mapped[str]
    implementation: Mapped[str]
    gil_build: Mapped[bool]
    facts: Mapped[dict[str, str]] = mapped_column(JSON)


class CaseTable(Base):
    """One cell of an experiment, as one version of the measured program does it.

    `count` is how often each item is done, or the updates per thread; axes that an experiment does not have are NULL.
    """

    __tablename__ = "case"
    __table_args__ = (UniqueConstraint("key", "workload_version"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    key: Mapped[str]
    workload_version: Mapped[str] = mapped_column(String(64))
    experiment: Mapped[str]
    executor: Mapped[str | None]
    workload: Mapped[str | None]
    shape: Mapped[str | None]
    guard: Mapped[str | None]
    workers: Mapped[int]
    count: Mapped[int]


class SampleTable(Base):
    """One timed execution of a case in one interpreter, and the outcome of checking its output.

    Raw readings are NULL if they are not available.
    """

    __tablename__ = "sample"
    __table_args__ = (
        UniqueConstraint("run_id", "ordinal"),
        Index("ix_sample_series", "case_id", "interpreter_id", "started_at"),
        Index("ix_sample_started_at", "started_at"),
        Index("ix_sample_failed", "started_at", sqlite_where=_FAILED, postgresql_where=_FAILED),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    ordinal: Mapped[int]
    case_id: Mapped[int] = mapped_column(ForeignKey("case.id"))
    interpreter_id: Mapped[int] = mapped_column(ForeignKey("interpreter.id"))
    round: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    outcome: Mapped[str]
    expected: Mapped[str | None]
    found: Mapped[str | None]
    error: Mapped[str | None]
    wall_ns: Mapped[int | None] = mapped_column(BigInteger)
    cpu_ns: Mapped[int | None] = mapped_column(BigInteger)
    runq_ns: Mapped[int | None] = mapped_column(BigInteger)
    blocked_ns: Mapped[int | None] = mapped_column(BigInteger)
    context_switches: Mapped[int | None] = mapped_column(BigInteger)
    gil_on: Mapped[bool | None]
    foreign_share: Mapped[float | None]
    positive_lost: Mapped[int | None] = mapped_column(BigInteger)
    negative_lost: Mapped[int | None] = mapped_column(BigInteger)
    noisy: Mapped[bool]
