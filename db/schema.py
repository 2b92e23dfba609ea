"""The version of the schema, and upgrades to it; Alembic is imported only when a database has to be changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from db.errors import RecordBeforeRelease, RecordUnusable, SchemaTooNew, SchemaTooOld

if TYPE_CHECKING:
    from alembic.config import Config

# Oldest first; the last one is what this program reads and writes.
REVISIONS = ("1000",)
HEAD = REVISIONS[-1]
# Revisions from before the first release; their records cannot be upgraded.
_BEFORE_RELEASE = frozenset({"0001", "0002", "0003", "0004"})


def found_revision(connection: Connection) -> str | None:
    """The revision that a database is at; None for one without our tables."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def check_readable(engine: Engine, where: str) -> bool:
    """Whether there are tables to read. Raises `SchemaTooOld`, or what `known_revision` raises."""
    with _disposed_if_refused(engine), engine.connect() as connection:
        found = known_revision(connection, where)
        if found is not None and found != HEAD:
            raise SchemaTooOld(where, found, HEAD)
    return found is not None


def upgrade(engine: Engine, where: str) -> bool:
    """Create or upgrade the tables; safe when several processes start at once. Whether there was something to do.

    All of it is one transaction: a process that is killed in the middle leaves the database as it was. Raises what
    `known_revision` raises.
    """
    with _disposed_if_refused(engine):
        with engine.connect() as connection:
            if known_revision(connection, where) == HEAD:
                return False
        return _upgrade(engine, where)


def configuration(connection: Connection) -> Config:
    """The configuration for Alembic's commands on this database; it is in no file."""
    from alembic.config import Config

    # Alembic's own default is the output of the moment at which it was imported.
    config = Config(stdout=sys.stdout)
    config.set_main_option("script_location", "db:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _upgrade(engine: Engine, where: str) -> bool:
    from alembic import command

    with engine.connect() as connection, _without_foreign_keys(connection), connection.begin():
        # Again, under the write lock: another process may have been first.
        if known_revision(connection, where) == HEAD:
            return False
        command.upgrade(configuration(connection), HEAD)
        if engine.dialect.name == "sqlite" and connection.execute(text("PRAGMA foreign_key_check")).first():
            raise RecordUnusable(where, "rows without their parents after the upgrade; nothing was changed")
    return True


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """On SQLite a batch migration rebuilds tables; with foreign keys on, it would delete the children's rows."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - it is connected
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


@contextmanager
def _disposed_if_refused(engine: Engine) -> Iterator[None]:
    """Dispose the engine if the database is refused, so that no connection stays open."""
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


def known_revision(connection: Connection, where: str) -> str | None:
    """The revision that a database is at; None for one without our tables.

    Raises SchemaTooNew or RecordBeforeRelease if this program does not know the revision.
    """
    found = found_revision(connection)
    if found in _BEFORE_RELEASE:
        raise RecordBeforeRelease(where)
    if found is not None and found not in REVISIONS:
        raise SchemaTooNew(where, found, HEAD)
    return found
