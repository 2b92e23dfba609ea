"""Hosts, runs, payloads and their stages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.errors import NoWayBack

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "host",
        sa.Column("id", KEY, nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_host")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_host_fingerprint")),
    )
    op.create_table(
        "run",
        sa.Column("id", KEY, nullable=False),
        sa.Column("flow", sa.String(), nullable=False),
        sa.Column("flow_run_id", sa.String(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("deployment", sa.String(), nullable=True),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("host_id", KEY, nullable=False),
        sa.Column("boot_id", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("pid_start", sa.BigInteger(), nullable=False),
        sa.Column("code_version", sa.String(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("covariates", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_run_host_id_host")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("flow_run_id", "attempt", name=op.f("uq_run_flow_run_id_attempt")),
    )
    op.create_index(
        "ix_run_running",
        "run",
        ["host_id"],
        unique=False,
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index("ix_run_started_at", "run", ["started_at"], unique=False)
    op.create_table(
        "encryption",
        sa.Column("id", KEY, nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("name_bytes", sa.LargeBinary(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("ciphertext_bytes", sa.BigInteger(), nullable=True),
        sa.Column("suite", sa.String(), nullable=False),
        sa.Column("cipher", sa.String(), nullable=False),
        sa.Column("digest_algorithm", sa.String(), nullable=False),
        sa.Column("kdf", sa.String(), nullable=False),
        sa.Column("iterations", sa.Integer(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("backend", sa.String(), nullable=False),
        sa.Column("backend_detail", sa.String(), nullable=False),
        sa.Column("backend_reason", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("wall_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_encryption_run_id_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_encryption")),
        sa.UniqueConstraint("run_id", "ordinal", name=op.f("uq_encryption_run_id_ordinal")),
    )
    op.create_index(
        "ix_encryption_failed",
        "encryption",
        ["started_at"],
        unique=False,
        sqlite_where=sa.text("status IN ('failed', 'unstable')"),
        postgresql_where=sa.text("status IN ('failed', 'unstable')"),
    )
    op.create_index("ix_encryption_name_started_at", "encryption", ["name", "started_at"], unique=False)
    op.create_index("ix_encryption_started_at", "encryption", ["started_at"], unique=False)
    op.create_index("ix_encryption_suite_started_at", "encryption", ["suite", "started_at"], unique=False)
    op.create_table(
        "stage",
        sa.Column("id", KEY, nullable=False),
        sa.Column("encryption_id", KEY, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("program", sa.String(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=False),
        sa.Column("wall_ns", sa.BigInteger(), nullable=False),
        sa.Column("cpu_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["encryption_id"], ["encryption.id"], name=op.f("fk_stage_encryption_id_encryption"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage")),
        sa.UniqueConstraint("encryption_id", "position", name=op.f("uq_stage_encryption_id_position")),
    )


def downgrade() -> None:
    """There is no way down."""
    raise NoWayBack(revision)
