"""Hosts, runs and their seals; what experiments measured; and the summaries of all runs, which outlive them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    false,
)

from db.tables.base import METADATA, Key, UtcDateTime, each, needed, partial_index
from db.words import SAMPLE_FAILURES, sql_in

# A machine, by its lasting facts; `fingerprint` is the SHA-256 of `facts`.
HOST = Table(
    "host", METADATA,
    Column("id", Key, primary_key=True),
    needed("fingerprint", String(64), unique=True),
    needed("name", String),
    needed("facts", JSON),
)  # fmt: skip

# One run of one job; everything recorded hangs off it.
#
# `attempt` counts the tries of one Prefect flow run (a retry from the UI is a new row). `boot_id`, `pid` and
# `pid_start` (clock ticks since boot) tell whether the process that wrote the row is still there, and `heard_at` (NULL
# once the run is closed) when it last wrote, by the clock of the PostgreSQL server or else its own. `usable_cpus`,
# `quota_cpus` (CPU time per time, NULL without a quota) and `smt` are what it could use of the host. `covariates`
# are readings that may explain a change but identify nothing: load, kernel, versions, governor, steal.
RUN = Table(
    "run", METADATA,
    Column("id", Key, primary_key=True),
    needed("flow", String),
    Column("flow_run_id", String),
    needed("attempt", Integer),
    Column("deployment", String),
    needed("via", String),
    needed("host_id", ForeignKey("host.id")),
    needed("boot_id", String),
    needed("pid", Integer),
    needed("pid_start", BigInteger),
    Column("heard_at", UtcDateTime),
    needed("code_version", String),
    needed("parameters", JSON),
    needed("usable_cpus", Integer),
    Column("quota_cpus", Float),
    Column("smt", Boolean),
    needed("covariates", JSON),
    needed("status", String),
    Column("error", String),
    needed("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    UniqueConstraint("flow_run_id", "attempt"),
    Index("ix_run_started_at", "started_at"),
    Index("ix_run_status_started_at", "status", "started_at"),
)  # fmt: skip

# One entry of the chain of seals; see `db.ledger`. `run_id` stays when the run is removed, hence no foreign key.
#
# `id` counts from 1 without gaps. `digests` maps a table to the number of the run's rows and their SHA-256;
# `format` says which columns they cover.
LEDGER = Table(
    "ledger", METADATA,
    Column("id", Key, primary_key=True, autoincrement=False),
    needed("kind", String),
    needed("run_id", Key),
    needed("format", Integer),
    needed("digests", JSON),
    needed("sealed_at", UtcDateTime),
    needed("head", String(64)),
    Index("ix_ledger_run_id", "run_id"),
)  # fmt: skip

# A Python on some host under one GIL setting; `fingerprint` is the SHA-256 of its facts and that setting.
INTERPRETER = Table(
    "interpreter", METADATA,
    Column("id", Key, primary_key=True),
    needed("fingerprint", String(64), unique=True),
    *each(needed, "label version implementation", String),
    needed("gil_build", Boolean),
    needed("facts", JSON),
)  # fmt: skip

# One cell of an experiment, as one version of the measured program does it.
#
# `count` is how often each item is done, or the updates per thread; axes that an experiment does not have are NULL.
CASE = Table(
    "case", METADATA,
    Column("id", Key, primary_key=True),
    needed("key", String),
    needed("workload_version", String(64)),
    needed("experiment", String),
    *each(Column, "executor workload shape guard", String),
    needed("workers", Integer),
    needed("count", Integer),
    UniqueConstraint("key", "workload_version"),
)  # fmt: skip

# One timed execution of a case in one interpreter, and the outcome of checking its output.
#
# Raw readings are NULL if they are not available; `noise` is why the sample is `noisy`.
SAMPLE = Table(
    "sample", METADATA,
    Column("id", Key, primary_key=True),
    needed("run_id", ForeignKey("run.id")),
    needed("ordinal", Integer),
    needed("case_id", ForeignKey("case.id")),
    needed("interpreter_id", ForeignKey("interpreter.id")),
    needed("round", Integer),
    needed("started_at", UtcDateTime),
    needed("outcome", String),
    *each(Column, "expected found error", String),
    *each(Column, "wall_ns cpu_ns runq_ns blocked_ns throttled_ns stolen_ns context_switches", BigInteger),
    Column("gil_on", Boolean),
    Column("foreign_share", Float),
    Column("positive_lost", BigInteger),
    Column("negative_lost", BigInteger),
    needed("noisy", Boolean),
    Column("noise", String),
    UniqueConstraint("run_id", "ordinal"),
    Index("ix_sample_series", "case_id", "interpreter_id", "started_at"),
    Index("ix_sample_started_at", "started_at"),
    partial_index("ix_sample_failed", "started_at", where=sql_in("outcome", SAMPLE_FAILURES)),
)  # fmt: skip

# Comparable measurements over time: same case, interpreter and host; or same suite, backend, size class and host; and
# the same limits of the process (`usable_cpus`, `quota_cpus`, `smt`).
#
# Series of one `track` differ in releases of the interpreter or facts of the host, so that a change can be traced to
# them. Payloads of a `size_class` are smaller than that many bytes, a power of two; `kept` says that their ciphertext
# was stored, which takes time.
SERIES = Table(
    "series", METADATA,
    Column("id", Key, primary_key=True),
    needed("key", String, unique=True),
    needed("track", String),
    needed("kind", String),
    needed("host_id", ForeignKey("host.id")),
    Column("case_id", ForeignKey("case.id")),
    Column("interpreter_id", ForeignKey("interpreter.id")),
    Column("suite", String),
    Column("backend", String),
    Column("size_class", BigInteger),
    needed("kept", Boolean, server_default=false()),
    needed("usable_cpus", Integer),
    Column("quota_cpus", Float),
    Column("smt", Boolean),
    Index("ix_series_track", "track"),
)  # fmt: skip

# A series in one run, from its good and quiet rows; stays when the run is removed, hence no foreign key to it.
#
# `n` rows are summarised; `failed` and `noisy` rows are only counted. For an unlocked race `lost_share` is the median
# share of lost updates, noisy trials included. `covariates` are possible causes of a step.
SUMMARY = Table(
    "summary", METADATA,
    Column("id", Key, primary_key=True),
    needed("run_id", Key),
    needed("series_id", ForeignKey("series.id")),
    needed("started_at", UtcDateTime),
    *each(needed, "n failed noisy", Integer),
    Column("size_bytes", BigInteger),
    *each(Column, "lower_ns median_ns upper_ns greatest_ns mad_ns lost_share", Float),
    needed("covariates", JSON),
    UniqueConstraint("series_id", "run_id"),
    Index("ix_summary_run_id", "run_id"),
    Index("ix_summary_series", "series_id", "started_at"),
)  # fmt: skip

# A series on one closed day (UTC), from all its good and quiet rows; quartiles of runs do not add up to it.
#
# As in `summary`, `failed` and `noisy` rows are only counted; times are NULL where no row was good and quiet.
DAY_SUMMARY = Table(
    "day_summary", METADATA,
    Column("id", Key, primary_key=True),
    needed("series_id", ForeignKey("series.id")),
    needed("day", Date),
    *each(needed, "runs n failed noisy", Integer),
    Column("size_bytes", BigInteger),
    *each(Column, "lower_ns median_ns upper_ns", Float),
    UniqueConstraint("series_id", "day"),
    Index("ix_day_summary_day", "day"),
)  # fmt: skip
