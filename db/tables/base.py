"""What all tables share. Durations are integer nanoseconds, sizes bytes, times UTC; choices are text.

The tables are SQLAlchemy Core's: the record gives rows and not objects, and importing the ORM costs as much
as all else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, date, datetime
from functools import partial
from types import UnionType
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.types import TypeDecorator

# SQLite numbers rows by itself only where the type is exactly INTEGER.
Key = BigInteger().with_variant(Integer, "sqlite")
# Compared by bytes, so that "everything below a folder" is a range that the index answers.
Name = String().with_variant(String(collation="C"), "postgresql")

# Constraint names are fixed, so that migrations can name what they change.
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

needed = partial(Column, nullable=False)


def each(column: Callable[[str, Any], Column[Any]], names: str, kind: Any) -> Iterator[Column[Any]]:
    """Columns of one kind, `needed` or not, by their names, which are separated by blanks."""
    return (column(name, kind) for name in names.split())


def partial_index(name: str, *columns: str, where: str) -> Index:
    """An index of the rows that fulfil a condition.

    For SQLite only: the same for PostgreSQL is in the migrations alone, because naming it here imports all its drivers.
    """
    return Index(name, *columns, sqlite_where=text(where))


def columns(table: Table, names: str) -> tuple[Column[Any], ...]:
    """Columns of a table by their names, which are separated by blanks."""
    return tuple(table.c[name] for name in names.split())


def shared_columns(table: Table, row_type: type, *, but: str = "") -> tuple[Column[Any], ...]:
    """The columns of a table that a row has as fields of the same names, in the order of the fields; all but one."""
    names = (field.name for field in fields(row_type))
    return tuple(table.c[name] for name in names if name in table.c and name != but)


class BadValue(ValueError):
    """A value that no run has written, where the database takes any."""


def _checked(base: Any, kinds: type | UnionType, may_be: Callable[[Any], bool] = lambda _value: True) -> Any:
    """The type of SQLAlchemy, which raises BadValue for a stored value of another kind than its own."""

    class Strict(base):  # type: ignore[misc]
        def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
            convert = super().result_processor(dialect, coltype) or _same

            def process(value: Any) -> Any:
                if value is None:
                    return None
                try:
                    if isinstance(value, kinds) and may_be(made := convert(value)):
                        return made
                except (ValueError, RecursionError):
                    pass
                raise BadValue(f"{value!r:.60} is no {base.__name__.lower()}")

            return process

    return Strict


def _same(value: Any) -> Any:
    return value


def _in_time(time: date) -> bool:
    # Times are told in the reader's zone, and days are added to them.
    return 1000 < time.year < 9000


class Texts(JSON):
    """A list of texts; other JSON of the record are objects."""


# SQLite takes any value in any column, and PostgreSQL does not.
CHECKED_TYPES = {
    Integer: _checked(Integer, int),
    String: _checked(String, str),
    Float: _checked(Float, float | int, math.isfinite),
    Boolean: _checked(Boolean, int),
    LargeBinary: _checked(LargeBinary, bytes),
    JSON: _checked(sqlite.JSON, str, lambda value: isinstance(value, dict)),
    Texts: _checked(sqlite.JSON, str, lambda value: isinstance(value, list) and all(type(one) is str for one in value)),
    DateTime: _checked(sqlite.DATETIME, str, _in_time),
    Date: _checked(sqlite.DATE, str, _in_time),
}


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time, UTC, aware in Python; refuses naive values, which would be local times."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database: UTC, without a zone where the database keeps none."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database: aware, UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
