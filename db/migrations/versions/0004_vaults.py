"""Vaults, snapshots and verdicts; payloads whose ciphertext is kept, and their series.

What was recorded before was kept nowhere. The columns are added in place: rebuilding the tables would take minutes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db.errors import NoWayBack

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the tables, then add the columns that refer to them."""
    op.create_table(
        "vault",
        sa.Column("id", KEY, nullable=False),
        sa.Column("vault_id", sa.String(length=32), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=True),
        sa.Column("last_snapshot", sa.String(), nullable=True),
        sa.Column("last_mac", sa.String(length=64), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vault")),
        sa.UniqueConstraint("vault_id", name=op.f("uq_vault_vault_id")),
    )
    op.create_table(
        "snapshot",
        sa.Column("id", KEY, nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("vault_id", KEY, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sources", sa.JSON(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("new", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("unstable", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_snapshot_run_id_run")),
        sa.ForeignKeyConstraint(["vault_id"], ["vault.id"], name=op.f("fk_snapshot_vault_id_vault")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot")),
        sa.UniqueConstraint("run_id", name=op.f("uq_snapshot_run_id")),
    )
    op.create_index("ix_snapshot_created_at", "snapshot", ["created_at"], unique=False)
    op.create_table(
        "verdict",
        sa.Column("id", KEY, nullable=False),
        sa.Column("run_id", KEY, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("vault_id", KEY, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("path", NAME, nullable=True),
        sa.Column("path_bytes", sa.LargeBinary(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wall_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_verdict_run_id_run")),
        sa.ForeignKeyConstraint(["vault_id"], ["vault.id"], name=op.f("fk_verdict_vault_id_vault")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdict")),
        sa.UniqueConstraint("run_id", "ordinal", name=op.f("uq_verdict_run_id_ordinal")),
    )
    op.create_index("ix_verdict_name", "verdict", ["vault_id", "kind", "name", "checked_at", "status"], unique=False)
    op.create_index("ix_verdict_checked_at", "verdict", ["checked_at"], unique=False)
    pathed = sa.text("path IS NOT NULL")
    op.create_index(
        "ix_verdict_path", "verdict", ["path", "checked_at"], unique=False, sqlite_where=pathed, postgresql_where=pathed
    )
    faulty = sa.text(
        "status IN ('changed', 'missing', 'foreign', 'unreadable', 'invalid', 'rolled-back', 'not-written')"
    )
    op.create_index(
        "ix_verdict_fault", "verdict", ["checked_at"], unique=False, sqlite_where=faulty, postgresql_where=faulty
    )
    key = "BIGINT" if op.get_bind().dialect.name == "postgresql" else "INTEGER"
    op.execute(
        f"ALTER TABLE encryption ADD COLUMN vault_id {key} "
        f"CONSTRAINT {op.f('fk_encryption_vault_id_vault')} REFERENCES vault (id)"
    )
    kept = sa.text("vault_id IS NOT NULL")
    op.create_index(
        "ix_encryption_kept",
        "encryption",
        ["vault_id", "digest", "started_at"],
        unique=False,
        sqlite_where=kept,
        postgresql_where=kept,
    )
    op.add_column("series", sa.Column("kept", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    """There is no way down."""
    raise NoWayBack(revision)
