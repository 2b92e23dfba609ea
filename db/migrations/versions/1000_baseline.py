"""All tables, as the first release has them."""

from __future__ import annotations

from functools import partial

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column, ForeignKey, UniqueConstraint

from db.errors import NoWayBack

revision = "1000"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.String()
# A SHA-256 or HMAC-SHA-256.
HEX = sa.String(length=64)
NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
WHOLE = sa.Integer()
BIG = sa.BigInteger()
TIME = sa.DateTime(timezone=True)
FAILED_PAYLOAD = sa.text("status IN ('failed', 'unstable', 'carried-over')")
FAILED_SAMPLE = sa.text("outcome IN ('wrong-output', 'broken', 'crashed', 'garbled', 'timed-out')")
FAULTY = sa.text("status IN ('changed', 'missing', 'foreign', 'unreadable', 'invalid', 'rolled-back', 'not-written')")
PATHED = sa.text("path IS NOT NULL")

number = partial(Column, "id", KEY, primary_key=True)
needed = partial(Column, nullable=False)


def upgrade() -> None:
    """Create the tables, parents before children."""
    _create_hosts_and_runs()
    _create_vaults()
    _create_verdicts()
    _create_payloads()
    _create_experiments()
    _create_summaries()


def _create_hosts_and_runs() -> None:
    op.create_table(
        "host", number(), needed("fingerprint", HEX, unique=True), needed("name", TEXT), needed("facts", sa.JSON()),
    )  # fmt: skip
    op.create_table(
        "run", number(), needed("flow", TEXT), Column("flow_run_id", TEXT), needed("attempt", WHOLE),
        Column("deployment", TEXT), needed("via", TEXT), needed("host_id", KEY, ForeignKey("host.id")),
        needed("boot_id", TEXT), needed("pid", WHOLE), needed("pid_start", BIG), Column("heard_at", TIME),
        needed("code_version", TEXT), needed("parameters", sa.JSON()), needed("usable_cpus", WHOLE),
        Column("quota_cpus", sa.Float()), Column("smt", sa.Boolean()), needed("covariates", sa.JSON()),
        needed("status", TEXT), Column("error", TEXT), needed("started_at", TIME), Column("finished_at", TIME),
        UniqueConstraint("flow_run_id", "attempt"),
    )  # fmt: skip
    op.create_index("ix_run_started_at", "run", ["started_at"])
    op.create_index("ix_run_status_started_at", "run", ["status", "started_at"])
    op.create_table(
        "ledger", number(autoincrement=False), needed("kind", TEXT), needed("run_id", KEY),
        needed("format", WHOLE), needed("digests", sa.JSON()), needed("sealed_at", TIME), needed("head", HEX),
    )  # fmt: skip
    op.create_index("ix_ledger_run_id", "ledger", ["run_id"])


def _create_vaults() -> None:
    op.create_table(
        "vault", number(), needed("vault_id", sa.String(length=32), unique=True), needed("path", TEXT),
        Column("last_sequence", BIG), Column("last_snapshot", TEXT), Column("last_mac", HEX),
        needed("updated_at", TIME),
    )  # fmt: skip
    op.create_table(
        "snapshot", number(), needed("run_id", KEY, ForeignKey("run.id"), unique=True),
        needed("vault_id", KEY, ForeignKey("vault.id")), needed("name", TEXT), needed("sequence", BIG),
        needed("mac", HEX), needed("created_at", TIME), needed("sources", sa.JSON()), needed("entries", WHOLE),
        needed("files", WHOLE), needed("new", WHOLE), needed("unchanged", WHOLE), needed("skipped", WHOLE),
        needed("marked", WHOLE), needed("missed", WHOLE), needed("gone", WHOLE), needed("counts", sa.Boolean()),
        needed("size_bytes", BIG), needed("stored_bytes", BIG),
    )  # fmt: skip
    op.create_index("ix_snapshot_created_at", "snapshot", ["created_at"])


def _create_verdicts() -> None:
    op.create_table(
        "verdict", number(), needed("run_id", KEY, ForeignKey("run.id")), needed("ordinal", WHOLE),
        needed("vault_id", KEY, ForeignKey("vault.id")), needed("kind", TEXT), needed("name", NAME),
        needed("status", TEXT), Column("size_bytes", BIG), Column("path", NAME), Column("path_bytes", sa.LargeBinary()),
        Column("error", TEXT), needed("checked_at", TIME), needed("wall_ns", BIG),
        UniqueConstraint("run_id", "ordinal"),
    )  # fmt: skip
    op.create_index("ix_verdict_checked_at", "verdict", ["checked_at"])
    _create_partial_index("ix_verdict_fault", "verdict", ["checked_at"], FAULTY)
    op.create_index("ix_verdict_name", "verdict", ["vault_id", "kind", "name", "checked_at", "status"])
    _create_partial_index("ix_verdict_path", "verdict", ["path", "checked_at"], PATHED)


def _create_payloads() -> None:
    op.create_table(
        "encryption", number(), needed("run_id", KEY, ForeignKey("run.id")), needed("ordinal", WHOLE),
        needed("name", NAME), Column("name_bytes", sa.LargeBinary()), needed("kind", TEXT), Column("size_bytes", BIG),
        Column("ciphertext_bytes", BIG), needed("suite", TEXT), needed("cipher", TEXT),
        needed("digest_algorithm", TEXT), needed("kdf", TEXT), needed("iterations", WHOLE),
        Column("salt", sa.LargeBinary()), Column("digest", sa.LargeBinary()), needed("backend", TEXT),
        needed("backend_detail", TEXT), needed("backend_reason", TEXT), needed("status", TEXT), Column("cause", TEXT),
        Column("error", TEXT), needed("started_at", TIME), needed("wall_ns", BIG),
        Column("vault_id", KEY, ForeignKey("vault.id")), Column("pack", sa.LargeBinary()),
        UniqueConstraint("run_id", "ordinal"),
    )  # fmt: skip
    _create_partial_index("ix_encryption_failed", "encryption", ["started_at"], FAILED_PAYLOAD)
    op.create_index("ix_encryption_name_started_at", "encryption", ["name", "started_at"])
    op.create_index("ix_encryption_started_at", "encryption", ["started_at"])
    op.create_index("ix_encryption_suite_started_at", "encryption", ["suite", "started_at"])
    op.create_table(
        "stage", number(), needed("encryption_id", KEY, ForeignKey("encryption.id", ondelete="CASCADE")),
        needed("position", WHOLE), needed("program", TEXT), needed("exit_code", WHOLE), needed("wall_ns", BIG),
        needed("cpu_ns", BIG), UniqueConstraint("encryption_id", "position"),
    )  # fmt: skip


def _create_experiments() -> None:
    op.create_table(
        "interpreter", number(), needed("fingerprint", HEX, unique=True), needed("label", TEXT),
        needed("version", TEXT), needed("implementation", TEXT), needed("gil_build", sa.Boolean()),
        needed("facts", sa.JSON()),
    )  # fmt: skip
    op.create_table(
        "case", number(), needed("key", TEXT), needed("workload_version", HEX), needed("experiment", TEXT),
        Column("executor", TEXT), Column("workload", TEXT), Column("shape", TEXT), Column("guard", TEXT),
        needed("workers", WHOLE), needed("count", WHOLE), UniqueConstraint("key", "workload_version"),
    )  # fmt: skip
    op.create_table(
        "sample", number(), needed("run_id", KEY, ForeignKey("run.id")), needed("ordinal", WHOLE),
        needed("case_id", KEY, ForeignKey("case.id")), needed("interpreter_id", KEY, ForeignKey("interpreter.id")),
        needed("round", WHOLE), needed("started_at", TIME), needed("outcome", TEXT), Column("expected", TEXT),
        Column("found", TEXT), Column("error", TEXT), Column("wall_ns", BIG), Column("cpu_ns", BIG),
        Column("runq_ns", BIG), Column("blocked_ns", BIG), Column("throttled_ns", BIG), Column("stolen_ns", BIG),
        Column("context_switches", BIG),
        Column("gil_on", sa.Boolean()), Column("foreign_share", sa.Float()), Column("positive_lost", BIG),
        Column("negative_lost", BIG), needed("noisy", sa.Boolean()), Column("noise", TEXT),
        UniqueConstraint("run_id", "ordinal"),
    )  # fmt: skip
    _create_partial_index("ix_sample_failed", "sample", ["started_at"], FAILED_SAMPLE)
    op.create_index("ix_sample_series", "sample", ["case_id", "interpreter_id", "started_at"])
    op.create_index("ix_sample_started_at", "sample", ["started_at"])


def _create_summaries() -> None:
    op.create_table(
        "series", number(), needed("key", TEXT, unique=True), needed("track", TEXT), needed("kind", TEXT),
        needed("host_id", KEY, ForeignKey("host.id")), Column("case_id", KEY, ForeignKey("case.id")),
        Column("interpreter_id", KEY, ForeignKey("interpreter.id")), Column("suite", TEXT), Column("backend", TEXT),
        Column("size_class", BIG), needed("kept", sa.Boolean(), server_default=sa.false()),
        needed("usable_cpus", WHOLE), Column("quota_cpus", sa.Float()), Column("smt", sa.Boolean()),
    )  # fmt: skip
    op.create_index("ix_series_track", "series", ["track"])
    op.create_table(
        "summary", number(), needed("run_id", KEY), needed("series_id", KEY, ForeignKey("series.id")),
        needed("started_at", TIME), needed("n", WHOLE), needed("failed", WHOLE), needed("noisy", WHOLE),
        Column("size_bytes", BIG), Column("lower_ns", sa.Float()), Column("median_ns", sa.Float()),
        Column("upper_ns", sa.Float()), Column("greatest_ns", sa.Float()), Column("mad_ns", sa.Float()),
        Column("lost_share", sa.Float()), needed("covariates", sa.JSON()), UniqueConstraint("series_id", "run_id"),
    )  # fmt: skip
    op.create_index("ix_summary_run_id", "summary", ["run_id"])
    op.create_index("ix_summary_series", "summary", ["series_id", "started_at"])
    op.create_table(
        "day_summary", number(), needed("series_id", KEY, ForeignKey("series.id")), needed("day", sa.Date()),
        needed("runs", WHOLE), needed("n", WHOLE), needed("failed", WHOLE), needed("noisy", WHOLE),
        Column("size_bytes", BIG), Column("lower_ns", sa.Float()), Column("median_ns", sa.Float()),
        Column("upper_ns", sa.Float()), UniqueConstraint("series_id", "day"),
    )  # fmt: skip
    op.create_index("ix_day_summary_day", "day_summary", ["day"])


def _create_partial_index(name: str, table: str, columns: list[str], condition: sa.TextClause) -> None:
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    """There is no way down."""
    raise NoWayBack(revision)
