"""Reads of runs, and of what they came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select

from db.answers import PayloadCount
from db.history.filters import of_hosts, within
from db.history.reader import RecordReader
from db.rows import RunRow
from db.tables import EncryptionTable, HostTable, RunTable


class RunReads(RecordReader):
    """Runs, newest first."""

    def runs(
        self,
        *,
        limit: int | None = 20,
        since: datetime | None = None,
        until: datetime | None = None,
        statuses: Sequence[str] = (),
        hosts: Sequence[str] = (),
    ) -> list[RunRow]:
        """The newest runs that started in a time, ended in one of these ways, on one of these hosts."""
        query = within(_RUNS.where(*of_hosts(hosts)), RunTable.started_at, since, until)
        query = query.order_by(RunTable.started_at.desc(), RunTable.id.desc()).limit(limit)
        # One query per status: each walks its part of the index from the newest on, and stops at the limit.
        queries = [query.where(RunTable.status == status) for status in dict.fromkeys(statuses)] or [query]
        rows = [_run_row(row) for one in queries for row in self._rows(one)]
        return sorted(rows, key=lambda row: (row.started_at, row.id), reverse=True)[:limit]

    def run(self, run_id: int) -> RunRow | None:
        """One run by its number."""
        return next((_run_row(row) for row in self._rows(_RUNS.where(RunTable.id == run_id))), None)

    def run_of_flow(self, flow_run_id: str) -> RunRow | None:
        """The last attempt of a Prefect flow run."""
        query = _RUNS.where(RunTable.flow_run_id == flow_run_id).order_by(RunTable.attempt.desc()).limit(1)
        return next((_run_row(row) for row in self._rows(query)), None)

    def counts(self, run_id: int) -> list[PayloadCount]:
        """How the payloads of a run ended."""
        query = (
            select(
                EncryptionTable.status,
                EncryptionTable.cause,
                func.count(),
                func.coalesce(func.sum(EncryptionTable.size_bytes), 0),
            )
            .where(EncryptionTable.run_id == run_id)
            .group_by(EncryptionTable.status, EncryptionTable.cause)
            .order_by(EncryptionTable.status, EncryptionTable.cause)
        )
        return [PayloadCount(status, cause, count, int(size)) for status, cause, count, size in self._rows(query)]


_RUNS = select(
    *(getattr(RunTable, field.name) for field in fields(RunRow) if field.name != "host"), HostTable.name.label("host")
).join(HostTable)


def _run_row(row: Row[Any]) -> RunRow:
    return RunRow(**row._asdict())
