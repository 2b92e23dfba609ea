"""Reads of runs, and of what they came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select

from db.history.filters import of_hosts, within
from db.history.reader import Reader
from db.models import Encryption, Host, Run
from db.rows import PayloadCount, RunRow


class Runs(Reader):
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
        query = within(_RUNS.where(*of_hosts(hosts)), Run.started_at, since, until)
        query = query.order_by(Run.started_at.desc(), Run.id.desc()).limit(limit)
        # One query per status: each walks its part of the index from the newest on, and stops at the limit.
        queries = [query.where(Run.status == status) for status in dict.fromkeys(statuses)] or [query]
        rows = [_run_row(row) for one in queries for row in self._rows(one)]
        return sorted(rows, key=lambda row: (row.started_at, row.id), reverse=True)[:limit]

    def run(self, run_id: int) -> RunRow | None:
        """One run by its number."""
        return next((_run_row(row) for row in self._rows(_RUNS.where(Run.id == run_id))), None)

    def run_of_flow(self, flow_run_id: str) -> RunRow | None:
        """The last attempt of a Prefect flow run."""
        query = _RUNS.where(Run.flow_run_id == flow_run_id).order_by(Run.attempt.desc()).limit(1)
        return next((_run_row(row) for row in self._rows(query)), None)

    def counts(self, run_id: int) -> list[PayloadCount]:
        """How the payloads of a run ended."""
        query = (
            select(Encryption.status, Encryption.cause, func.count(), func.coalesce(func.sum(Encryption.size_bytes), 0))
            .where(Encryption.run_id == run_id)
            .group_by(Encryption.status, Encryption.cause)
            .order_by(Encryption.status, Encryption.cause)
        )
        return [PayloadCount(status, cause, count, int(size)) for status, cause, count, size in self._rows(query)]


_RUNS = select(
    *(getattr(Run, field.name) for field in fields(RunRow) if field.name != "host"), Host.name.label("host")
).join(Host)


def _run_row(row: Row[Any]) -> RunRow:
    return RunRow(**row._asdict())
