"""Interpreters, cases, and their samples."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
)

from db.tables.base import METADATA, Key, UtcDateTime, needed, partial_index
from db.words import SAMPLE_FAILURES, sql_in

# A Python on some host under one GIL setting; `fingerprint` is the SHA-256 of its facts and that setting.
INTERPRETER = Table(
    "interpreter", METADATA,
    Column("id", Key, primary_key=True),
    needed("fingerprint", String(64), unique=True),
    needed("label", String),
    needed("version", String),
    needed("implementation", String),
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
    Column("executor", String),
    Column("workload", String),
    Column("shape", String),
    Column("guard", String),
    needed("workers", Integer),
    needed("count", Integer),
    UniqueConstraint("key", "workload_version"),
)  # fmt: skip

# One timed execution of a case in one interpreter, and the outcome of checking its output.
#
# Raw readings are NULL if they are not available.
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
    Column("expected", String),
    Column("found", String),
    Column("error", String),
    Column("wall_ns", BigInteger),
    Column("cpu_ns", BigInteger),
    Column("runq_ns", BigInteger),
    Column("blocked_ns", BigInteger),
    Column("context_switches", BigInteger),
    Column("gil_on", Boolean),
    Column("foreign_share", Float),
    Column("positive_lost", BigInteger),
    Column("negative_lost", BigInteger),
    needed("noisy", Boolean),
    UniqueConstraint("run_id", "ordinal"),
    Index("ix_sample_series", "case_id", "interpreter_id", "started_at"),
    Index("ix_sample_started_at", "started_at"),
    partial_index("ix_sample_failed", "started_at", where=sql_in("outcome", SAMPLE_FAILURES)),
)  # fmt: skip
