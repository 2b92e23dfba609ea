"""Hosts, runs and their seals; what experiments measured; and the summaries of all runs, which outlive them."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Key, UtcDateTime, partial_index
from db.words import SAMPLE_FAILURES, sql_in


class HostTable(Base):
    """A machine, by its lasting facts; `fingerprint` is the SHA-256 of `facts`."""

    __tablename__ = "host"

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
        partial_index("ix_run_running", "status = 'running'", "host_id"),
    )

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

    `id` counts from 1 without gaps. `digests` maps a table to the number of the run's rows and their SHA-256;
    `format` says which columns they cover.
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


class InterpreterTable(Base):
    """A Python on some host under one GIL setting; `fingerprint` is the SHA-256 of its facts and that setting."""

    __tablename__ = "interpreter"

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
        partial_index("ix_sample_failed", sql_in("outcome", SAMPLE_FAILURES), "started_at"),
    )

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


class SeriesTable(Base):
    """Comparable measurements over time: same case, interpreter and host; or same suite, backend, size class and host.

    Series of one `track` differ in releases of the interpreter or facts of the host, so that a change can be traced to
    them. Payloads of a `size_class` are smaller than that many bytes, a power of two; `kept` says that their ciphertext
    was stored, which takes time.
    """

    __tablename__ = "series"
    __table_args__ = (Index("ix_series_track", "track"),)

    key: Mapped[str] = mapped_column(unique=True)
    track: Mapped[str]
    kind: Mapped[str]
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id"))
    case_id: Mapped[int | None] = mapped_column(ForeignKey("case.id"))
    interpreter_id: Mapped[int | None] = mapped_column(ForeignKey("interpreter.id"))
    suite: Mapped[str | None]
    backend: Mapped[str | None]
    size_class: Mapped[int | None] = mapped_column(BigInteger)
    kept: Mapped[bool] = mapped_column(server_default=false())


class SummaryTable(Base):
    """A series in one run, from its good and quiet rows; stays when the run is removed, hence no foreign key to it.

    `n` rows are summarised; `failed` and `noisy` rows are only counted. For an unlocked race `lost_share` is the median
    share of lost updates, noisy trials included. `covariates` are possible causes of a step.
    """

    __tablename__ = "summary"
    __table_args__ = (
        UniqueConstraint("series_id", "run_id"),
        Index("ix_summary_run_id", "run_id"),
        Index("ix_summary_series", "series_id", "started_at"),
    )

    run_id: Mapped[int] = mapped_column(Key)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    n: Mapped[int]
    failed: Mapped[int]
    noisy: Mapped[int]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    lower_ns: Mapped[float | None]
    median_ns: Mapped[float | None]
    upper_ns: Mapped[float | None]
    greatest_ns: Mapped[float | None]
    mad_ns: Mapped[float | None]
    lost_share: Mapped[float | None]
    covariates: Mapped[dict[str, object]] = mapped_column(JSON)


class DaySummaryTable(Base):
    """A series on one closed day (UTC), from all its good and quiet rows; quartiles of runs do not add up to it.

    As in `SummaryTable`, `failed` and `noisy` rows are only counted; times are NULL where no row was good and quiet.
    """

    __tablename__ = "day_summary"
    __table_args__ = (UniqueConstraint("series_id", "day"), Index("ix_day_summary_day", "day"))

    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"))
    day: Mapped[date]
    runs: Mapped[int]
    n: Mapped[int]
    failed: Mapped[int]
    noisy: Mapped[int]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    lower_ns: Mapped[float | None]
    median_ns: Mapped[float | None]
    upper_ns: Mapped[float | None]
