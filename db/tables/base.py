"""The base of all tables. Durations are integer nanoseconds, sizes bytes, times UTC; choices are text."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import BigInteger, DateTime, Dialect, Float, Index, Integer, MetaData, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

# SQLite numbers rows by itself only where the type is exactly INTEGER.
Key = BigInteger().with_variant(Integer, "sqlite")
# Compared by bytes, so that "everything below a folder" is a range that the index answers.
Name = String().with_variant(String(collation="C"), "postgresql")


class Base(DeclarativeBase):
    """A table with a number for each row. Constraint names are fixed, so that migrations can name what they change."""

    # SQLAlchemy 2.0 and 2.1 do not agree on what a Python float is.
    type_annotation_map: ClassVar[dict[Any, Any]] = {float: Float()}
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )

    id: Mapped[int] = mapped_column(Key, primary_key=True, sort_order=-1)


def partial_index(name: str, condition: str, *names: str) -> Index:
    """An index of the rows that meet a condition, on both databases."""
    return Index(name, *names, sqlite_where=text(condition), postgresql_where=text(condition))


def columns(table: Any, names: str) -> tuple[Any, ...]:
    """Columns of a table by their names, which are separated by blanks."""
    return tuple(getattr(table, name) for name in names.split())


def shared_columns(table: type[Base], row_type: type, *, but: str = "") -> tuple[Any, ...]:
    """The columns of a table that a row has as fields of the same names, in the order of the fields; all but one."""
    names = (field.name for field in fields(row_type))
    return tuple(getattr(table, name) for name in names if name in table.__table__.columns and name != but)


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
