"""The schema's version, and bringing a database to it; Alembic is imported only when there is something to do."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, inspect, text

from db.errors import RecordUnusable, SchemaTooNew, SchemaTooOld

# Oldest first; the last one is what this program reads and writes.
REVISIONS = ("0001", "0002", "0003")
HEAD = REVISIONS[-1]

# Any number will do, as long as nobody else takes the same lock in the same PostgreSQL database.
_ADVISORY_LOCK = 0x7468726D


def found_revision(connection: Connection) -> str | None:
    """The revision that a database is at; None for one without our tables."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def check_readable(engine: Engine, where: str) -> bool:
    """Whether there are tables to read.

    Raises:
        SchemaTooOld: a run, or `threadmill db upgrade`, has to upgrade it first.
        SchemaTooNew: a newer program wrote it.
    """
    with engine.connect() as connection:
        found = found_revision(connection)
    if found is None:
        return False
    if found not in REVISIONS:
        raise SchemaTooNew(where, found, HEAD)
    if found != HEAD:
        raise SchemaTooOld(where, found, HEAD)
    return True


def upgrade(engine: Engine, where: str) -> bool:
    """Create or upgrade the tables; safe when several processes start at once. Whether there was something to do.

    Raises:
        SchemaTooNew: a newer program wrote it.
    """
    with engine.connect() as connection:
        found = found_revision(connection)
    if found == HEAD:
        return False
    if found is not None and found not in REVISIONS:
        raise SchemaTooNew(where, found, HEAD)

    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "db:migrations")
    config.set_main_option("path_separator", "os")
    with engine.connect() as connection:
        # A batch migration rebuilds tables; with foreign keys on, SQLite would delete the children's rows.
        if engine.dialect.name == "sqlite":
            connection.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[union-attr]
        try:
            with connection.begin():
                if engine.dialect.name == "postgresql":
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
                # Alembic looks at the version again, under the lock: another process may have been first.
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                if engine.dialect.name == "sqlite" and connection.execute(text("PRAGMA foreign_key_check")).first():
                    raise RecordUnusable(where, "rows without their parents after the upgrade; nothing was changed")
        finally:
            if engine.dialect.name == "sqlite":
                connection.connection.driver_connection.execute("PRAGMA foreign_keys=ON")  # type: ignore[union-attr]
    return True
