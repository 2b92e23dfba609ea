"""Reads of what failed: runs, payloads, samples and verdicts as one list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Select, func, literal_column, select

from db.history.filters import (
    PAYLOAD_FAILURES,
    RUN_FAILURES,
    SAMPLE_FAILURES,
    VERDICT_FAULTS,
    SeriesFilter,
    failed,
    of_case,
    of_hosts,
    of_interpreters,
    unindexed,
    within,
)
from db.history.reader import Reader
from db.models import Case, Encryption, Host, Interpreter, Run, Sample, Vault, Verdict
from db.rows import FailureRow

FailureKind = Literal["run", "payload", "sample", "verdict"]


class Failures(Reader):
    """What failed, newest first."""

    def failures(
        self, which: SeriesFilter, *, kinds: Sequence[FailureKind] = (), limit: int | None = 20
    ) -> list[FailureRow]:
        """Runs that failed or crashed, payloads that failed or would not hold still, broken samples, faults of vaults.

        They are one list, newest first by the time at which each started. A filter by suite or backend leaves payloads
        only, one by case or interpreter samples only.

        Args:
            which: the filters.
            kinds: only these, `run`, `payload`, `sample` or `verdict`; empty for all that the filters leave.
            limit: of the whole list.
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
    # One query per status: each walks its part of the index from the newest on, and stops at the limit.
    query: Select[Any] = (
        select(
            literal_column("'run'").label("kind"),
            Run.id.label("run_id"),
            literal_column("NULL").label("ordinal"),
            Run.started_at,
            Host.name.label("host"),
            Run.flow.label("name"),
            Run.via.label("by"),
            Run.status,
            literal_column("NULL").label("cause"),
            Run.error,
        )
        .select_from(Run)
        .join(Host)
    )
    query = query.where(Run.status == status, *of_hosts(which.hosts)).order_by(Run.started_at.desc())
    return within(query, Run.started_at, which.since, which.until)


def _payloads(which: SeriesFilter) -> Select[Any]:
    query: Select[Any] = (
        select(
            literal_column("'payload'").label("kind"),
            Encryption.run_id,
            Encryption.ordinal,
            Encryption.started_at,
            Host.name.label("host"),
            Encryption.name,
            (Encryption.suite + ", " + Encryption.backend).label("by"),
            Encryption.status,
            Encryption.cause,
            Encryption.error,
        )
        .select_from(Encryption)
        .join(Run)
        .join(Host)
        .where(failed(Encryption.status, PAYLOAD_FAILURES), *of_hosts(which.hosts))
    )
    if which.suites:
        query = query.where(unindexed(Encryption.suite).in_(which.suites))
    if which.backends:
        query = query.where(Encryption.backend.in_(which.backends))
    return within(query.order_by(Encryption.started_at.desc()), Encryption.started_at, which.since, which.until)


def _samples(which: SeriesFilter) -> Select[Any]:
    query: Select[Any] = (
        select(
            literal_column("'sample'").label("kind"),
            Sample.run_id,
            Sample.ordinal,
            Sample.started_at,
            Host.name.label("host"),
            Case.key.label("name"),
            Interpreter.label.label("by"),
            Sample.outcome.label("status"),
            literal_column("NULL").label("cause"),
            Sample.error,
        )
        .select_from(Sample)
        .join(Case)
        .join(Interpreter)
        .join(Run, Sample.run_id == Run.id)
        .join(Host)
        .where(failed(Sample.outcome, SAMPLE_FAILURES))
        .where(*of_case(which.case), *of_interpreters(which.interpreters), *of_hosts(which.hosts))
    )
    return within(query.order_by(Sample.started_at.desc()), Sample.started_at, which.since, which.until)


def _verdicts(which: SeriesFilter) -> Select[Any]:
    query: Select[Any] = (
        select(
            literal_column("'verdict'").label("kind"),
            Verdict.run_id,
            Verdict.ordinal,
            Verdict.checked_at.label("started_at"),
            Host.name.label("host"),
            Verdict.name,
            (Verdict.kind + " in " + Vault.path).label("by"),
            Verdict.status,
            literal_column("NULL").label("cause"),
            func.coalesce(Verdict.error, Verdict.path).label("error"),
        )
        .select_from(Verdict)
        .join(Vault)
        .join(Run, Verdict.run_id == Run.id)
        .join(Host)
        .where(failed(Verdict.status, VERDICT_FAULTS), *of_hosts(which.hosts))
    )
    return within(query.order_by(Verdict.checked_at.desc()), Verdict.checked_at, which.since, which.until)
