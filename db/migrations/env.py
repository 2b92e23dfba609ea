"""Run by Alembic: migrate over the connection that `db.schema.upgrade` (or a developer's command) hands in."""

from __future__ import annotations

from alembic import context

from db.tables import METADATA

connection = context.config.attributes["connection"]
# Batch mode: SQLite cannot alter most things in place.
context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
