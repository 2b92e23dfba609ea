"""The ledger of seals, series, and their summaries per run and day; runs from before are sealed here, and marked so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.errors import NoWayBack
from db.ledger import seal

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables, then seal every run that is closed."""
    op.create_table(
        "ledger",
        sa.Column("id", KEY, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("digests", sa.JSON(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("head", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
    )
    op.create_index("ix_ledger_run_id", "ledger", ["run_id"], unique=False)
    op.create_table(
        "series",
        sa.Column("id", KEY, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("track", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("host_id", KEY, nullable=False),
        sa.Column("case_id", KEY, nullable=True),
        sa.Column("interpreter_id", KEY, nullable=True),
        sa.Column("suite", sa.String(), nullable=True),
        sa.Column("backend", sa.String(), nullable=True),
        sa.Column("size_class", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_series_host_id_host")),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_series_case_id_case")),
        sa.ForeignKeyConstraint(
            ["interpreter_id"], ["interpreter.id"], name=op.f("fk_series_interpreter_id_interpreter")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint("key", name=op.f("uq_series_key")),
    )
    op.create_index("ix_series_track", "series", ["track"], unique=False)
    op.create_table(
        "summary",
        sa.Column("id", KEY, nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("series_id", KEY, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("noisy", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("least_ns", sa.Float(), nullable=True),
        sa.Column("lower_ns", sa.Float(), nullable=True),
        sa.Column("median_ns", sa.Float(), nullable=True),
        sa.Column("upper_ns", sa.Float(), nullable=True),
        sa.Column("greatest_ns", sa.Float(), nullable=True),
        sa.Column("mad_ns", sa.Float(), nullable=True),
        sa.Column("lost_share", sa.Float(), nullable=True),
        sa.Column("covariates", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_summary_series_id_series")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_summary")),
        sa.UniqueConstraint("series_id", "run_id", name=op.f("uq_summary_series_id_run_id")),
    )
    op.create_index("ix_summary_run_id", "summary", ["run_id"], unique=False)
    op.create_index("ix_summary_series", "summary", ["series_id", "started_at"], unique=False)
    op.create_table(
        "day_summary",
        sa.Column("id", KEY, nullable=False),
        sa.Column("series_id", KEY, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("noisy", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("lower_ns", sa.Float(), nullable=True),
        sa.Column("median_ns", sa.Float(), nullable=True),
        sa.Column("upper_ns", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_day_summary_series_id_series")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_day_summary")),
        sa.UniqueConstraint("series_id", "day", name=op.f("uq_day_summary_series_id_day")),
    )
    op.create_index("ix_day_summary_day", "day_summary", ["day"], unique=False)
    op.create_index("ix_run_status_started_at", "run", ["status", "started_at"], unique=False)
    failed = sa.text("outcome IN ('wrong-output', 'broken', 'crashed', 'garbled', 'timed-out')")
    op.create_index(
        "ix_sample_failed", "sample", ["started_at"], unique=False, sqlite_where=failed, postgresql_where=failed
    )
    connection = op.get_bind()
    for run_id in (
        connection.execute(sa.text("SELECT id FROM run WHERE status <> 'running' ORDER BY id")).scalars().all()
    ):
        seal(connection, run_id, "migrated", form=1)


def downgrade() -> None:
    """There is no way down."""
    raise NoWayBack(revision)
