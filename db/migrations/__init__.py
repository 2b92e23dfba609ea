"""Alembic revisions, applied by `db.schema.upgrade`."""
