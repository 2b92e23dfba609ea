"""The tables. Durations are integer nanoseconds, sizes bytes, times UTC; choices are text, checked where written."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.columns import UtcDateTime

# SQLite numbers rows by itself only where the type is exactly INTEGER.
Key = BigInteger().with_variant(Integer, "sqlite")
# Compared by bytes, so that "everything below a folder" is a range that the index answers.
Name = String().with_variant(String(collation="C"), "postgresql")


class Base(DeclarativeBase):
    """Constraint names are fixed, so that migrations can name what they change."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Host(Base):
    """A machine, by what stays the same about it; `fingerprint` is the SHA-256 of `facts`."""

    __tablename__ = "host"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str]
    facts: Mapped[dict[str, str | int]] = mapped_column(JSON)


class Run(Base):
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


class Encryption(Base):
    """One payload of a run: what it was, what ran, what came out, or why not.

    `name` is text for people; `name_bytes` holds the file's name where that is not UTF-8. `cause` is a short word
    for `error`. `ordinal` counts the payloads of the run, so that a batch that is tried again is recorded once.
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
            sqlite_where=text("status IN ('failed', 'unstable')"),
            postgresql_where=text("status IN ('failed', 'unstable')"),
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


class Stage(Base):
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


class Interpreter(Base):
    """A Python on some host under one GIL setting; `fingerprint` is the SHA-256 of its facts and that setting."""

    __tablename__ = "interpreter"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    label: Mapped[str]
    version: Mapped[str]
    implementation: Mapped[str]
    gil_build: Mapped[bool]
    facts: Mapped[dict[str, str]] = mapped_column(JSON)


class Case(Base):
    """One cell of an experiment, as one version of the measured program does it.

    `count` is how often each item is done, or the updates per thread; axes that an experiment has not are NULL.
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


class Sample(Base):
    """One timed execution of a case in one interpreter, and the outcome of checking what came out.

    Raw readings are NULL where they could not be had.
    """

    __tablename__ = "sample"
    __table_args__ = (
        UniqueConstraint("run_id", "ordinal"),
        Index("ix_sample_series", "case_id", "interpreter_id", "started_at"),
        Index("ix_sample_started_at", "started_at"),
        Index(
            "ix_sample_failed",
            "started_at",
            sqlite_where=text("outcome IN ('wrong-output', 'broken', 'crashed', 'garbled', 'timed-out')"),
            postgresql_where=text("outcome IN ('wrong-output', 'broken', 'crashed', 'garbled', 'timed-out')"),
        ),
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


class Ledger(Base):
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


class Series(Base):
    """What is comparable over time: same case, interpreter and host; or same suite, backend, size class and host.

    `track` is the same without what may change under it (releases of the interpreter, facts of the host), so that a
    step can be blamed on that. `size_class` is the power of two, in bytes, that the payloads' size is below.
    """

    __tablename__ = "series"
    __table_args__ = (Index("ix_series_track", "track"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    track: Mapped[str]
    kind: Mapped[str]
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id"))
    case_id: Mapped[int | None] = mapped_column(ForeignKey("case.id"))
    interpreter_id: Mapped[int | None] = mapped_column(ForeignKey("interpreter.id"))
    suite: Mapped[str | None]
    backend: Mapped[str | None]
    size_class: Mapped[int | None] = mapped_column(BigInteger)


class Summary(Base):
    """A series in one run, from its good and quiet rows; stays when the run is removed, hence no foreign key to it.

    `n` rows are summarised; `failed` and `noisy` ones are not, and are counted. For an unlocked race `lost_share` is
    the median share of lost updates, noisy trials included. `covariates` are what a step may be blamed on.
    """

    __tablename__ = "summary"
    __table_args__ = (
        UniqueConstraint("series_id", "run_id"),
        Index("ix_summary_run_id", "run_id"),
        Index("ix_summary_series", "series_id", "started_at"),
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    run_id: Mapped[int] = mapped_column(Key)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    n: Mapped[int]
    failed: Mapped[int]
    noisy: Mapped[int]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    least_ns: Mapped[float | None]
    lower_ns: Mapped[float | None]
    median_ns: Mapped[float | None]
    upper_ns: Mapped[float | None]
    greatest_ns: Mapped[float | None]
    mad_ns: Mapped[float | None]
    lost_share: Mapped[float | None]
    covariates: Mapped[dict[str, object]] = mapped_column(JSON)


class DaySummary(Base):
    """A series on one closed day (UTC), from all its good and quiet rows then: not to be had from those of its runs.

    As in `Summary`, `failed` and `noisy` rows are only counted; times are NULL where no row was good and quiet.
    """

    __tablename__ = "day_summary"
    __table_args__ = (UniqueConstraint("series_id", "day"), Index("ix_day_summary_day", "day"))

    id: Mapped[int] = mapped_column(Key, primary_key=True)
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
