"""Reads of runs, and of their payloads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, select

from db.answers import PayloadCount
from db.history.reader import PayloadFilter, RecordReader, at_or_below, failed, in_portions, of_hosts, unindexed, within
from db.rows import PayloadRow, RunRow, StageRow, display_name
from db.tables import ENCRYPTION, HOST, RUN, STAGE, VAULT
from db.words import PAYLOAD_FAILURES


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
        """The newest runs that started in a time, with one of the statuses, on one of the hosts."""
        query = within(_RUNS.where(*of_hosts(hosts)), RUN.c.started_at, since, until)
        query = query.order_by(RUN.c.started_at.desc(), RUN.c.id.desc()).limit(limit)
        # One query per status: each walks its part of the index from the newest row on, and stops at the limit.
        queries = [query.where(RUN.c.status == status) for status in dict.fromkeys(statuses)] or [query]
        rows = [_run_row(row) for one in queries for row in self._rows(one)]
        return sorted(rows, key=lambda row: (row.started_at, row.id), reverse=True)[:limit]

    def run(self, run_id: int) -> RunRow | None:
        """One run by its number."""
        return next((_run_row(row) for row in self._rows(_RUNS.where(RUN.c.id == run_id))), None)

    def run_of_flow(self, flow_run_id: str) -> RunRow | None:
        """The last attempt of a Prefect flow run."""
        query = _RUNS.where(RUN.c.flow_run_id == flow_run_id).order_by(RUN.c.attempt.desc()).limit(1)
        return next((_run_row(row) for row in self._rows(query)), None)

    def counts(self, run_id: int) -> list[PayloadCount]:
        """How the payloads of a run ended."""
        query = (
            select(
                ENCRYPTION.c.status,
                ENCRYPTION.c.cause,
                func.count(),
                func.coalesce(func.sum(ENCRYPTION.c.size_bytes), 0),
            )
            .where(ENCRYPTION.c.run_id == run_id)
            .group_by(ENCRYPTION.c.status, ENCRYPTION.c.cause)
            .order_by(ENCRYPTION.c.status, ENCRYPTION.c.cause)
        )
        return [PayloadCount(status, cause, count, int(size)) for status, cause, count, size in self._rows(query)]


_RUNS = select(
    *(RUN.c[field.name] for field in fields(RunRow) if field.name != "host"), HOST.c.name.label("host")
).join(HOST)


def _run_row(row: Row[Any]) -> RunRow:
    return RunRow(**row._asdict())


class PayloadReads(RecordReader):
    """Payloads, newest first."""

    def payloads(self, which: PayloadFilter, *, limit: int | None = 20) -> list[PayloadRow]:
        """Payloads with their stages, newest first; the payloads of one run in their order."""
        query = within(_PAYLOADS, ENCRYPTION.c.started_at, which.since, which.until).limit(limit)
        if which.backends:
            query = query.where(ENCRYPTION.c.backend.in_(which.backends))
        if which.hosts:
            query = query.join(RUN).join(HOST).where(*of_hosts(which.hosts))
        if which.failed:
            query = query.where(failed(ENCRYPTION.c.status, PAYLOAD_FAILURES))
        if which.run_id is not None:
            return self._with_stages(self._rows(_of_run(query, which.run_id, which.suites)))
        query = query.order_by(ENCRYPTION.c.started_at.desc(), ENCRYPTION.c.id.desc())
        return self._with_stages(self._newest(query, which, limit))

    def _newest(self, query: Select[Any], which: PayloadFilter, limit: int | None) -> Sequence[Row[Any]]:
        """Run one query per path or suite: each walks its part of an index and stops at the limit."""
        suites = tuple(dict.fromkeys(which.suites))
        queries = [query]
        if which.path is not None:
            queries = [query.where(one) for one in at_or_below(ENCRYPTION.c.name, which.path)]
        if suites and (which.path is not None or which.failed):
            queries = [one.where(unindexed(ENCRYPTION.c.suite).in_(suites)) for one in queries]
        elif suites:
            queries = [query.where(ENCRYPTION.c.suite == suite) for suite in suites]
        rows = [row for one in queries for row in self._rows(one)]
        return sorted(rows, key=lambda row: (row.started_at, row.id), reverse=True)[:limit] if queries[1:] else rows

    def last_digest(self, name: bytes) -> PayloadRow | None:
        """The newest good encryption of a file, by its absolute path."""
        text, name_bytes = display_name(name)
        query = _PAYLOADS.where(ENCRYPTION.c.name == text, ENCRYPTION.c.status == "ok")
        query = query.where(ENCRYPTION.c.kind == "file")
        query = query.where(
            ENCRYPTION.c.name_bytes.is_(None) if name_bytes is None else ENCRYPTION.c.name_bytes == name_bytes
        )
        rows = self._rows(query.order_by(ENCRYPTION.c.started_at.desc(), ENCRYPTION.c.id.desc()).limit(1))
        return next(iter(self._with_stages(rows)), None)

    def done_before(self, flow_run_id: str) -> frozenset[tuple[bytes, str, str]]:
        """The good payloads of earlier attempts of a Prefect flow run: (name, suite, backend)."""
        query = (
            select(ENCRYPTION.c.name, ENCRYPTION.c.name_bytes, ENCRYPTION.c.suite, ENCRYPTION.c.backend)
            .join(RUN)
            .where(RUN.c.flow_run_id == flow_run_id, ENCRYPTION.c.status == "ok")
        )
        return frozenset((row.name_bytes or row.name.encode(), row.suite, row.backend) for row in self._rows(query))

    def _with_stages(self, rows: Sequence[Row[Any]]) -> list[PayloadRow]:
        stages: dict[int, list[StageRow]] = defaultdict(list)
        for some in in_portions([row.id for row in rows]):
            query = (
                select(STAGE).where(STAGE.c.encryption_id.in_(some)).order_by(STAGE.c.encryption_id, STAGE.c.position)
            )
            for row in self._rows(query):
                stages[row.encryption_id].append(StageRow(row.program, row.exit_code, row.wall_ns, row.cpu_ns))
        return [_payload_row(row, stages[row.id]) for row in rows]


_OWN = tuple(one.name for one in fields(PayloadRow) if one.name not in {"stages", "vault_id", "kept_in"})
_PAYLOADS = (
    select(
        ENCRYPTION.c.id,
        *(ENCRYPTION.c[name] for name in _OWN),
        VAULT.c.vault_id,
        VAULT.c.path.label("kept_in"),
    )
    .select_from(ENCRYPTION)
    .outerjoin(VAULT)
)


def _of_run(query: Select[Any], run_id: int, suites: Sequence[str]) -> Select[Any]:
    if suites:
        query = query.where(unindexed(ENCRYPTION.c.suite).in_(suites))
    return query.where(ENCRYPTION.c.run_id == run_id).order_by(ENCRYPTION.c.ordinal)


def _payload_row(row: Row[Any], stages: Sequence[StageRow]) -> PayloadRow:
    values = {field.name: getattr(row, field.name) for field in fields(PayloadRow) if field.name != "stages"}
    return PayloadRow(**values, stages=tuple(stages))
