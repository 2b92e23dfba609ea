"""Reads of what failed: runs, payloads, samples and verdicts as one list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Select, func, literal_column, select

from db.answers import FailureRow
from db.history.reader import RecordReader, SeriesFilter, failed, of_case, of_hosts, of_interpreters, unindexed, within
from db.tables import (
    CaseTable,
    EncryptionTable,
    HostTable,
    InterpreterTable,
    RunTable,
    SampleTable,
    VaultTable,
    VerdictTable,
)
from db.tables.base import columns
from db.words import PAYLOAD_FAILURES, RUN_FAILURES, SAMPLE_FAILURES, VERDICT_FAULTS

FailureKind = Literal["run", "payload", "sample", "verdict"]


class FailureReads(RecordReader):
    """What failed, newest first."""

    def failures(
        self, which: SeriesFilter, *, kinds: Sequence[FailureKind] = (), limit: int | None = 20
    ) -> list[FailureRow]:
        """Runs that failed or crashed, payloads that failed or changed while read, broken samples, faults of vaults.

        They are one list, newest first by the time at which each started. A filter by suite or backend leaves only
        payloads, a filter by case or interpreter only samples.

        Args:
            which: the filters.
            kinds: only these, `run`, `payload`, `sample` or `verdict`; empty for all kinds that the filters leave.
            limit: the length of the whole list.
        """
        queries: list[Select[Any]] = []
        if (not kinds or "run" in kinds) and not which.of_samples and not which.of_payloads:
            queries += [_runs(which, status) for status in RUN_FAILURES]
        if (not kinds or "payload" in kinds) and not which.of_samples:
            queries.append(_payloads(which))
        if (not kinds or "sample" in kinds) and not which.of_payloads:
            queries.append(_samples(which))
        if (not kinds or "verdict" in kinds) and not which.of_samples and not which.of_payloads:
            queries.append(_verdicts(which))
        rows = [FailureRow(**row._asdict()) for query in queries for row in self._rows(query.limit(limit))]
        return sorted(rows, key=lambda row: (row.started_at, row.run_id, row.ordinal or 0), reverse=True)[:limit]


def _runs(which: SeriesFilter, status: str) -> Select[Any]:
    # One query per status: each walks its part of the index from the newest row on, and stops at the limit.
    query: Select[Any] = (
        select(
            literal_column("'run'").label("kind"),
            RunTable.id.label("run_id"),
            literal_column("NULL").label("ordinal"),
            *columns(RunTable, "started_at status error"),
            HostTable.name.label("host"),
            RunTable.flow.label("name"),
            RunTable.via.label("by"),
            literal_column("NULL").label("cause"),
        )
        .select_from(RunTable)
        .join(HostTable)
    )
    query = query.where(RunTable.status == status, *of_hosts(which.hosts)).order_by(RunTable.started_at.desc())
    return within(query, RunTable.started_at, which.since, which.until)


def _payloads(which: SeriesFilter) -> Select[Any]:
    query: Select[Any] = (
        select(
            literal_column("'payload'").label("kind"),
            *columns(EncryptionTable, "run_id ordinal started_at name status cause error"),
            HostTable.name.label("host"),
            (EncryptionTable.suite + ", " + EncryptionTable.backend).label("by"),
        )
        .select_from(EncryptionTable)
        .join(RunTable)
        .join(HostTable)
        .where(failed(EncryptionTable.status, PAYLOAD_FAILURES), *of_hosts(which.hosts))
    )
    if which.suites:
        query = query.where(unindexed(EncryptionTable.suite).in_(which.suites))
    if which.backends:
        query = query.where(EncryptionTable.backend.in_(which.backends))
    return within(
        query.order_by(EncryptionTable.started_at.desc()), EncryptionTable.started_at, which.since, which.until
    )


def _samples(which: SeriesFilter) -> Select[Any]:
    query: Select[Any] = (
        select(
            literal_column("'sample'").label("kind"),
            *columns(SampleTable, "run_id ordinal started_at error"),
            HostTable.name.label("host"),
            CaseTable.key.label("name"),
            InterpreterTable.label.label("by"),
            SampleTable.outcome.label("status"),
            literal_column("NULL").label("cause"),
        )
        .select_from(SampleTable)
        .join(CaseTable)
        .join(InterpreterTable)
        .join(RunTable, SampleTable.run_id == RunTable.id)
        .join(HostTable)
        .where(failed(SampleTable.outcome, SAMPLE_FAILURES))
        .where(*of_case(which.case), *of_interpreters(which.interpreters), *of_hosts(which.hosts))
    )
    return within(query.order_by(SampleTable.started_at.desc()), SampleTable.started_at, which.since, which.until)


def _verdicts(which: SeriesFilter) -> Select[Any]:
    query: Select[Any] = (
        select(
            literal_column("'verdict'").label("kind"),
            *columns(VerdictTable, "run_id ordinal name status"),
            VerdictTable.checked_at.label("started_at"),
            HostTable.name.label("host"),
            (VerdictTable.kind + " in " + VaultTable.path).label("by"),
            literal_column("NULL").label("cause"),
            func.coalesce(VerdictTable.error, VerdictTable.path).label("error"),
        )
        .select_from(VerdictTable)
        .join(VaultTable)
        .join(RunTable, VerdictTable.run_id == RunTable.id)
        .join(HostTable)
        .where(failed(VerdictTable.status, VERDICT_FAULTS), *of_hosts(which.hosts))
    )
    return within(query.order_by(VerdictTable.checked_at.desc()), VerdictTable.checked_at, which.since, which.until)
