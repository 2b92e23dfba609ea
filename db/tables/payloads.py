"""Payloads and the child processes that worked on them; vaults, their snapshots, and verdicts on their objects."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
)

from db.tables.base import METADATA, Key, Name, Texts, UtcDateTime, each, needed, partial_index
from db.words import PAYLOAD_FAILURES, VERDICT_FAULTS, sql_in

# One payload of a run: its source, the suite and backend, and its result or error.
#
# `name` is text for people; `name_bytes` holds the file's name if that is not UTF-8. `cause` is a short word
# for `error`. `ordinal` counts the payloads of the run, so that a batch that is tried again is recorded once.
# `vault_id` says in which vault the ciphertext was kept, under its digest; NULL if it was discarded. `pack` is the
# SHA-256 of the pack that it was put into there; NULL if it is a file of its own.
ENCRYPTION = Table(
    "encryption", METADATA,
    Column("id", Key, primary_key=True),
    needed("run_id", ForeignKey("run.id")),
    needed("ordinal", Integer),
    needed("name", Name),
    Column("name_bytes", LargeBinary),
    needed("kind", String),
    Column("size_bytes", BigInteger),
    Column("ciphertext_bytes", BigInteger),
    *each(needed, "suite cipher digest_algorithm kdf", String),
    needed("iterations", Integer),
    Column("salt", LargeBinary),
    Column("digest", LargeBinary),
    *each(needed, "backend backend_detail backend_reason status", String),
    Column("cause", String),
    Column("error", String),
    needed("started_at", UtcDateTime),
    needed("wall_ns", BigInteger),
    Column("vault_id", ForeignKey("vault.id")),
    Column("pack", LargeBinary),
    UniqueConstraint("run_id", "ordinal"),
    Index("ix_encryption_name_started_at", "name", "started_at"),
    Index("ix_encryption_started_at", "started_at"),
    Index("ix_encryption_suite_started_at", "suite", "started_at"),
    partial_index("ix_encryption_failed", "started_at", where=sql_in("status", PAYLOAD_FAILURES)),
)  # fmt: skip

# One child process of a payload's chain; `position` counts from 0, a negative `exit_code` is a signal.
STAGE = Table(
    "stage", METADATA,
    Column("id", Key, primary_key=True),
    needed("encryption_id", ForeignKey("encryption.id", ondelete="CASCADE")),
    needed("position", Integer),
    needed("program", String),
    needed("exit_code", Integer),
    needed("wall_ns", BigInteger),
    needed("cpu_ns", BigInteger),
    UniqueConstraint("encryption_id", "position"),
)  # fmt: skip

# A vault by the instance in its `vault.json` (its id, until a copy is adopted), the path where it was last seen, and
# the newest snapshot it ever had.
#
# That high-water mark (`last_*`, NULL if no run on record added a snapshot) never goes down and outlives the runs: a
# vault whose newest snapshot is older was rolled back. `vault_id` is 32 hex digits, `last_mac` hex.
VAULT = Table(
    "vault", METADATA,
    Column("id", Key, primary_key=True),
    needed("vault_id", String(32), unique=True),
    needed("path", String),
    Column("last_sequence", BigInteger),
    Column("last_snapshot", String),
    Column("last_mac", String(64)),
    needed("updated_at", UtcDateTime),
)  # fmt: skip

# The snapshot that one run added to a vault; `sequence` counts the vault's snapshots, `mac` is hex.
#
# `sources` are texts for people. `entries` are files, folders and links; of the files, `new` were encrypted,
# `unchanged` taken over from an earlier snapshot. Of the entries, `marked` changed while they were read, or were
# carried over. Not in it are `skipped`, which have no content, `missed`, which could not be read, and `gone`, which
# only the snapshot before has; it `counts` unless too many are gone. `size_bytes` is the plaintext of all files in it,
# `stored_bytes` the ciphertext that this run added.
SNAPSHOT = Table(
    "snapshot", METADATA,
    Column("id", Key, primary_key=True),
    needed("run_id", ForeignKey("run.id"), unique=True),
    needed("vault_id", ForeignKey("vault.id")),
    needed("name", String),
    needed("sequence", BigInteger),
    needed("mac", String(64)),
    needed("created_at", UtcDateTime),
    needed("sources", Texts),
    *each(needed, "entries files new unchanged skipped marked missed gone", Integer),
    needed("counts", Boolean),
    needed("size_bytes", BigInteger),
    needed("stored_bytes", BigInteger),
    Index("ix_snapshot_created_at", "created_at"),
)  # fmt: skip

# The verdict of a run on one thing in a vault; `ordinal` counts the verdicts of the run.
#
# `kind` is vault, snapshot, pack, object or file; `name` the SHA-256 of a pack or object (64 hex digits), a snapshot's
# name, or a file's path in the vault. `path` is text for people: one path that the thing is about; `path_bytes` holds
# it if it is not UTF-8. A whole pack has one row, and none for each of its objects; `error` of a pack that prune has
# rewritten names the packs that its objects are in.
VERDICT = Table(
    "verdict", METADATA,
    Column("id", Key, primary_key=True),
    needed("run_id", ForeignKey("run.id")),
    needed("ordinal", Integer),
    needed("vault_id", ForeignKey("vault.id")),
    needed("kind", String),
    needed("name", Name),
    needed("status", String),
    Column("size_bytes", BigInteger),
    Column("path", Name),
    Column("path_bytes", LargeBinary),
    Column("error", String),
    needed("checked_at", UtcDateTime),
    needed("wall_ns", BigInteger),
    UniqueConstraint("run_id", "ordinal"),
    # Holds every column that "when was each object last proven" needs, in the order of the answer.
    Index("ix_verdict_name", "vault_id", "kind", "name", "checked_at", "status"),
    Index("ix_verdict_checked_at", "checked_at"),
    partial_index("ix_verdict_path", "path", "checked_at", where="path IS NOT NULL"),
    partial_index("ix_verdict_fault", "checked_at", where=sql_in("status", VERDICT_FAULTS)),
)  # fmt: skip
