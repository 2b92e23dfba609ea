"""Rows that count within their run, so that what is recorded again adds nothing."""

from __future__ import annotations

from sqlalchemy import Connection, select

from db.models import Encryption, Sample, Verdict


def recorded(
    connection: Connection, table: type[Encryption | Sample | Verdict], run_id: int, first: int, last: int
) -> set[int]:
    """Those of these ordinals that a run has already."""
    query = select(table.ordinal).where(table.run_id == run_id, table.ordinal.between(first, last))
    return set(connection.execute(query).scalars())
