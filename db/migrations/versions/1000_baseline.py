"""All tables, as the first release has them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.errors import NoWayBack

revision = "1000"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.String()
NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
WHOLE = sa.Integer()
BIG = sa.BigInteger()
TIME = sa.DateTime(timezone=True)
RUNNING = sa.text("status = 'running'")
FAILED_PAYLOAD = sa.text("status IN ('failed', 'unstable')")
KEPT = sa.text("vault_id IS NOT NULL")
FAILED_SAMPLE = sa.text("outcome IN ('wrong-output', 'broken', 'crashed', 'garbled', 'timed-out')")
FAULTY = sa.text("status IN ('changed', 'missing', 'foreign', 'unreadable', 'invalid', 'rolled-back', 'not-written')")
PATHED = sa.text("path IS NOT NULL")


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
        "host", sa.Column("id", KEY, primary_key=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False, unique=True),
        sa.Column("name", TEXT, nullable=False), sa.Column("facts", sa.JSON(), nullable=False),
    )  # fmt: skip
    op.create_table(
        "run", sa.Column("id", KEY, primary_key=True), sa.Column("flow", TEXT, nullable=False),
        sa.Column("flow_run_id", TEXT), sa.Column("attempt", WHOLE, nullable=False), sa.Column("deployment", TEXT),
        sa.Column("via", TEXT, nullable=False), sa.Column("host_id", KEY, sa.ForeignKey("host.id"), nullable=False),
        sa.Column("boot_id", TEXT, nullable=False), sa.Column("pid", WHOLE, nullable=False),
        sa.Column("pid_start", BIG, nullable=False), sa.Column("code_version", TEXT, nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False), sa.Column("covariates", sa.JSON(), nullable=False),
        sa.Column("status", TEXT, nullable=False), sa.Column("error", TEXT),
        sa.Column("started_at", TIME, nullable=False), sa.Column("finished_at", TIME),
        sa.UniqueConstraint("flow_run_id", "attempt"),
    )  # fmt: skip
    _create_partial_index("ix_run_running", "run", ["host_id"], RUNNING)
    op.create_index("ix_run_started_at", "run", ["started_at"])
    op.create_index("ix_run_status_started_at", "run", ["status", "started_at"])
    op.create_table(
        "ledger", sa.Column("id", KEY, primary_key=True, autoincrement=False), sa.Column("kind", TEXT, nullable=False),
        sa.Column("run_id", KEY, nullable=False), sa.Column("format", WHOLE, nullable=False),
        sa.Column("digests", sa.JSON(), nullable=False), sa.Column("sealed_at", TIME, nullable=False),
        sa.Column("head", sa.String(length=64), nullable=False),
    )  # fmt: skip
    op.create_index("ix_ledger_run_id", "ledger", ["run_id"])


def _create_vaults() -> None:
    op.create_table(
        "vault", sa.Column("id", KEY, primary_key=True),
        sa.Column("vault_id", sa.String(length=32), nullable=False, unique=True),
        sa.Column("path", TEXT, nullable=False), sa.Column("last_sequence", BIG), sa.Column("last_snapshot", TEXT),
        sa.Column("last_mac", sa.String(length=64)), sa.Column("updated_at", TIME, nullable=False),
    )  # fmt: skip
    op.create_table(
        "snapshot", sa.Column("id", KEY, primary_key=True),
        sa.Column("run_id", KEY, sa.ForeignKey("run.id"), nullable=False, unique=True),
        sa.Column("vault_id", KEY, sa.ForeignKey("vault.id"), nullable=False), sa.Column("name", TEXT, nullable=False),
        sa.Column("sequence", BIG, nullable=False), sa.Column("mac", sa.String(length=64), nullable=False),
        sa.Column("created_at", TIME, nullable=False), sa.Column("sources", sa.JSON(), nullable=False),
        sa.Column("entries", WHOLE, nullable=False), sa.Column("files", WHOLE, nullable=False),
        sa.Column("new", WHOLE, nullable=False), sa.Column("unchanged", WHOLE, nullable=False),
        sa.Column("unstable", WHOLE, nullable=False), sa.Column("skipped", WHOLE, nullable=False),
        sa.Column("failed", WHOLE, nullable=False), sa.Column("size_bytes", BIG, nullable=False),
        sa.Column("stored_bytes", BIG, nullable=False),
    )  # fmt: skip
    op.create_index("ix_snapshot_created_at", "snapshot", ["created_at"])


def _create_verdicts() -> None:
    op.create_table(
        "verdict", sa.Column("id", KEY, primary_key=True),
        sa.Column("run_id", KEY, sa.ForeignKey("run.id"), nullable=False), sa.Column("ordinal", WHOLE, nullable=False),
        sa.Column("vault_id", KEY, sa.ForeignKey("vault.id"), nullable=False), sa.Column("kind", TEXT, nullable=False),
        sa.Column("name", NAME, nullable=False), sa.Column("status", TEXT, nullable=False),
        sa.Column("size_bytes", BIG), sa.Column("path", NAME), sa.Column("path_bytes", sa.LargeBinary()),
        sa.Column("error", TEXT), sa.Column("checked_at", TIME, nullable=False),
        sa.Column("wall_ns", BIG, nullable=False), sa.UniqueConstraint("run_id", "ordinal"),
    )  # fmt: skip
    op.create_index("ix_verdict_checked_at", "verdict", ["checked_at"])
    _create_partial_index("ix_verdict_fault", "verdict", ["checked_at"], FAULTY)
    op.create_index("ix_verdict_name", "verdict", ["vault_id", "kind", "name", "checked_at", "status"])
    _create_partial_index("ix_verdict_path", "verdict", ["path", "checked_at"], PATHED)


def _create_payloads() -> None:
    op.create_table(
        "encryption", sa.Column("id", KEY, primary_key=True),
        sa.Column("run_id", KEY, sa.ForeignKey("run.id"), nullable=False), sa.Column("ordinal", WHOLE, nullable=False),
        sa.Column("name", NAME, nullable=False), sa.Column("name_bytes", sa.LargeBinary()),
        sa.Column("kind", TEXT, nullable=False), sa.Column("size_bytes", BIG), sa.Column("ciphertext_bytes", BIG),
        sa.Column("suite", TEXT, nullable=False), sa.Column("cipher", TEXT, nullable=False),
        sa.Column("digest_algorithm", TEXT, nullable=False), sa.Column("kdf", TEXT, nullable=False),
        sa.Column("iterations", WHOLE, nullable=False), sa.Column("salt", sa.LargeBinary()),
        sa.Column("digest", sa.LargeBinary()), sa.Column("backend", TEXT, nullable=False),
        sa.Column("backend_detail", TEXT, nullable=False), sa.Column("backend_reason", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False), sa.Column("cause", TEXT), sa.Column("error", TEXT),
        sa.Column("started_at", TIME, nullable=False), sa.Column("wall_ns", BIG, nullable=False),
        sa.Column("vault_id", KEY, sa.ForeignKey("vault.id")), sa.UniqueConstraint("run_id", "ordinal"),
    )  # fmt: skip
    _create_partial_index("ix_encryption_failed", "encryption", ["started_at"], FAILED_PAYLOAD)
    _create_partial_index("ix_encryption_kept", "encryption", ["vault_id", "digest", "started_at"], KEPT)
    op.create_index("ix_encryption_name_started_at", "encryption", ["name", "started_at"])
    op.create_index("ix_encryption_started_at", "encryption", ["started_at"])
    op.create_index("ix_encryption_suite_started_at", "encryption", ["suite", "started_at"])
    op.create_table(
        "stage", sa.Column("id", KEY, primary_key=True),
        sa.Column("encryption_id", KEY, sa.ForeignKey("encryption.id", ondelete="CASCADE"), nullable=False),
        sa.Column("position", WHOLE, nullable=False), sa.Column("program", TEXT, nullable=False),
        sa.Column("exit_code", WHOLE, nullable=False), sa.Column("wall_ns", BIG, nullable=False),
        sa.Column("cpu_ns", BIG, nullable=False), sa.UniqueConstraint("encryption_id", "position"),
    )  # fmt: skip


def _create_experiments() -> None:
    op.create_table(
        "interpreter", sa.Column("id", KEY, primary_key=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False, unique=True),
        sa.Column("label", TEXT, nullable=False), sa.Column("version", TEXT, nullable=False),
        sa.Column("implementation", TEXT, nullable=False), sa.Column("gil_build", sa.Boolean(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
    )  # fmt: skip
    op.create_table(
        "case", sa.Column("id", KEY, primary_key=True), sa.Column("key", TEXT, nullable=False),
        sa.Column("workload_version", sa.String(length=64), nullable=False),
        sa.Column("experiment", TEXT, nullable=False), sa.Column("executor", TEXT), sa.Column("workload", TEXT),
        sa.Column("shape", TEXT), sa.Column("guard", TEXT), sa.Column("workers", WHOLE, nullable=False),
        sa.Column("count", WHOLE, nullable=False), sa.UniqueConstraint("key", "workload_version"),
    )  # fmt: skip
    op.create_table(
        "sample", sa.Column("id", KEY, primary_key=True),
        sa.Column("run_id", KEY, sa.ForeignKey("run.id"), nullable=False), sa.Column("ordinal", WHOLE, nullable=False),
        sa.Column("case_id", KEY, sa.ForeignKey("case.id"), nullable=False),
        sa.Column("interpreter_id", KEY, sa.ForeignKey("interpreter.id"), nullable=False),
        sa.Column("round", WHOLE, nullable=False), sa.Column("started_at", TIME, nullable=False),
        sa.Column("outcome", TEXT, nullable=False), sa.Column("expected", TEXT), sa.Column("found", TEXT),
        sa.Column("error", TEXT), sa.Column("wall_ns", BIG), sa.Column("cpu_ns", BIG), sa.Column("runq_ns", BIG),
        sa.Column("blocked_ns", BIG), sa.Column("context_switches", BIG), sa.Column("gil_on", sa.Boolean()),
        sa.Column("foreign_share", sa.Float()), sa.Column("positive_lost", BIG), sa.Column("negative_lost", BIG),
        sa.Column("noisy", sa.Boolean(), nullable=False), sa.UniqueConstraint("run_id", "ordinal"),
    )  # fmt: skip
    _create_partial_index("ix_sample_failed", "sample", ["started_at"], FAILED_SAMPLE)
    op.create_index("ix_sample_series", "sample", ["case_id", "interpreter_id", "started_at"])
    op.create_index("ix_sample_started_at", "sample", ["started_at"])


def _create_summaries() -> None:
    op.create_table(
        "series", sa.Column("id", KEY, primary_key=True), sa.Column("key", TEXT, nullable=False, unique=True),
        sa.Column("track", TEXT, nullable=False), sa.Column("kind", TEXT, nullable=False),
        sa.Column("host_id", KEY, sa.ForeignKey("host.id"), nullable=False),
        sa.Column("case_id", KEY, sa.ForeignKey("case.id")),
        sa.Column("interpreter_id", KEY, sa.ForeignKey("interpreter.id")), sa.Column("suite", TEXT),
        sa.Column("backend", TEXT), sa.Column("size_class", BIG),
        sa.Column("kept", sa.Boolean(), server_default=sa.false(), nullable=False),
    )  # fmt: skip
    op.create_index("ix_series_track", "series", ["track"])
    op.create_table(
        "summary", sa.Column("id", KEY, primary_key=True), sa.Column("run_id", KEY, nullable=False),
        sa.Column("series_id", KEY, sa.ForeignKey("series.id"), nullable=False),
        sa.Column("started_at", TIME, nullable=False), sa.Column("n", WHOLE, nullable=False),
        sa.Column("failed", WHOLE, nullable=False), sa.Column("noisy", WHOLE, nullable=False),
        sa.Column("size_bytes", BIG), sa.Column("lower_ns", sa.Float()), sa.Column("median_ns", sa.Float()),
        sa.Column("upper_ns", sa.Float()), sa.Column("greatest_ns", sa.Float()), sa.Column("mad_ns", sa.Float()),
        sa.Column("lost_share", sa.Float()), sa.Column("covariates", sa.JSON(), nullable=False),
        sa.UniqueConstraint("series_id", "run_id"),
    )  # fmt: skip
    op.create_index("ix_summary_run_id", "summary", ["run_id"])
    op.create_index("ix_summary_series", "summary", ["series_id", "started_at"])
    op.create_table(
        "day_summary", sa.Column("id", KEY, primary_key=True),
        sa.Column("series_id", KEY, sa.ForeignKey("series.id"), nullable=False),
        sa.Column("day", sa.Date(), nullable=False), sa.Column("runs", WHOLE, nullable=False),
        sa.Column("n", WHOLE, nullable=False), sa.Column("failed", WHOLE, nullable=False),
        sa.Column("noisy", WHOLE, nullable=False), sa.Column("size_bytes", BIG), sa.Column("lower_ns", sa.Float()),
        sa.Column("median_ns", sa.Float()), sa.Column("upper_ns", sa.Float()), sa.UniqueConstraint("series_id", "day"),
    )  # fmt: skip
    op.create_index("ix_day_summary_day", "day_summary", ["day"])


def _create_partial_index(name: str, table: str, columns: list[str], condition: sa.TextClause) -> None:
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def downgrade() -> None:
    """There is no way down."""
    raise NoWayBack(revision)
