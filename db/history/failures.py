"""Reads of what failed: runs, payloads, samples and verdicts as one list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Select, func, literal_column, select

from db.answers import FailureRow
from db.history.reader import RecordReader, SeriesFilter, failed, of_case, of_hosts, of_interpreters, unindexed, within
from db.tables import (
    CASE,
    ENCRYPTION,
    HOST,
    INTERPRETER,
    RUN,
    SAMPLE,
    VAULT,
    VERDICT,
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
            RUN.c.id.label("run_id"),
            literal_column("NULL").label("ordinal"),
            *columns(RUN, "started_at status error"),
            HOST.c.name.label("host"),
            RUN.c.flow.label("name"),
            RUN.c.via.label("by"),
            literal_column("NULL").label("cause"),
        )
        .select_from(RUN)
        .join(HOST)
    )
    query = query.where(RUN.c.status == status, *of_hosts(which.hosts)).order_by(RUN.c.started_at.desc())
    return within(query, RUN.c.started_at, which.since, which.until)


def _payloads(which: SeriesFilter) -> Select[Any]:
    query: Select[Any] = (
        select(
            literal_column("'payload'").label("kind"),
            *columns(ENCRYPTION, "run_id ordinal started_at name status cause error"),
            HOST.c.name.label("host"),
            (ENCRYPTION.c.suite + ", " + ENCRYPTION.c.backend).label("by"),
        )
        .select_from(ENCRYPTION)
        .join(RUN)
        .join(HOST)
        .where(failed(ENCRYPTION.c.status, PAYLOAD_FAILURES), *of_hosts(which.hosts))
    )
    if which.suites:
        query = query.where(unindexed(ENCRYPTION.c.suite).in_(which.suites))
    if which.backends:
        query = query.where(ENCRYPTION.c.backend.in_(which.backends))
    return within(query.order_by(ENCRYPTION.c.started_at.desc()), ENCRYPTION.c.started_at, which.since, which.until)


def _samples(which: SeriesFilter) -> Select[Any]:
    query: Select[Any] = (
        select(
            literal_column("'sample'").label("kind"),
            *columns(SAMPLE, "run_id ordinal started_at error"),
            HOST.c.name.label("host"),
            CASE.c.key.label("name"),
            INTERPRETER.c.label.label("by"),
            SAMPLE.c.outcome.label("status"),
            literal_column("NULL").label("cause"),
        )
        .select_from(SAMPLE)
        .join(CASE)
        .join(INTERPRETER)
        .join(RUN, SAMPLE.c.run_id == RUN.c.id)
        .join(HOST)
        .where(failed(SAMPLE.c.outcome, SAMPLE_FAILURES))
        .where(*of_case(which.case), *of_interpreters(which.interpreters), *of_hosts(which.hosts))
    )
    return within(query.order_by(SAMPLE.c.started_at.desc()), SAMPLE.c.started_at, which.since, which.until)


def _verdicts(which: SeriesFilter) -> Select[Any]:
    query: Select[Any] = (
        select(
            literal_column("'verdict'").label("kind"),
            *columns(VERDICT, "run_id ordinal name status"),
            VERDICT.c.checked_at.label("started_at"),
            HOST.c.name.label("host"),
            (VERDICT.c.kind + " in " + VAULT.c.path).label("by"),
            literal_column("NULL").label("cause"),
            func.coalesce(VERDICT.c.error, VERDICT.c.path).label("error"),
        )
        .select_from(VERDICT)
        .join(VAULT)
        .join(RUN, VERDICT.c.run_id == RUN.c.id)
        .join(HOST)
        .where(failed(VERDICT.c.status, VERDICT_FAULTS), *of_hosts(which.hosts))
    )
    return within(query.order_by(VERDICT.c.checked_at.desc()), VERDICT.c.checked_at, which.since, which.until)
