"""Interpreters, cases of the experiments, and their samples."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.errors import NoWayBack

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the experiments' tables."""
    op.create_table(
        "case",
        sa.Column("id", KEY, nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("workload_version", sa.String(length=64), nullable=False),
        sa.Column("experiment", sa.String(), nullable=False),
        sa.Column("executor", sa.String(), nullable=True),
        sa.Column("workload", sa.String(), nullable=True),
        sa.Column("shape", sa.String(), nullable=True),
        sa.Column("guard", sa.String(), nullable=True),
        sa.Column("workers", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case")),
        sa.UniqueConstraint("key", "workload_version", name=op.f("uq_case_key_workload_version")),
    )
    op.create_table(
        "interpreter",
        sa.Column("id", KEY, nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("implementation", sa.String(), nullable=False),
        sa.Column("gil_build", sa.Boolean(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_interpreter")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_interpreter_fingerprint")),
    )
    op.create_table(
        "sample",
        sa.Column("id", KEY, nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("case_id", KEY, nullable=False),
        sa.Column("interpreter_id", KEY, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("expected", sa.String(), nullable=True),
        sa.Column("found", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("wall_ns", sa.BigInteger(), nullable=True),
        sa.Column("cpu_ns", sa.BigInteger(), nullable=True),
        sa.Column("runq_ns", sa.BigInteger(), nullable=True),
        sa.Column("blocked_ns", sa.BigInteger(), nullable=True),
        sa.Column("context_switches", sa.BigInteger(), nullable=True),
        sa.Column("gil_on", sa.Boolean(), nullable=True),
        sa.Column("foreign_share", sa.Float(), nullable=True),
        sa.Column("positive_lost", sa.BigInteger(), nullable=True),
        sa.Column("negative_lost", sa.BigInteger(), nullable=True),
        sa.Column("noisy", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["case.id"], name=op.f("fk_sample_case_id_case")),
        sa.ForeignKeyConstraint(
            ["interpreter_id"], ["interpreter.id"], name=op.f("fk_sample_interpreter_id_interpreter")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_sample_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sample")),
        sa.UniqueConstraint("run_id", "ordinal", name=op.f("uq_sample_run_id_ordinal")),
    )
    op.create_index("ix_sample_series", "sample", ["case_id", "interpreter_id", "started_at"], unique=False)
    op.create_index("ix_sample_started_at", "sample", ["started_at"], unique=False)


def downgrade() -> None:
    """There is no way down."""
    raise NoWayBack(revision)
