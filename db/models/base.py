"""What all tables share. Durations are integer nanoseconds, sizes bytes, times UTC; choices are text."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, MetaData, String
from sqlalchemy.orm import DeclarativeBase

# SQLite numbers rows by itself only where the type is exactly INTEGER.
Key = BigInteger().with_variant(Integer, "sqlite")
# Compared by bytes, so that "everything below a folder" is a range that the index answers.
Name = String().with_variant(String(collation="C"), "postgresql")


class Base(DeclarativeBase):
    """Constraint names are fixed, so that migrations can name what they change."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
