"""Reads of failures: runs, payloads, samples and verdicts as one list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

from sqlalchemy import Select, func, literal_column, select

from db.answers import FailureRow
from db.history.reader import RecordReader, SeriesFilter, failed, of_case, of_interpreters, one_of, unindexed, within
from db.tables import CASE, ENCRYPTION, HOST, INTERPRETER, RUN, SAMPLE, VAULT, VERDICT
from db.tables.base import columns
from db.words import PAYLOAD_FAILURES, RUN_FAILURES, SAMPLE_FAILURES, VERDICT_FAULTS

FailureKind = Literal["run", "payload", "sample", "verdict"]


class FailureReads(RecordReader):
    """Failures, newest first."""

    def failures(
        self, which: SeriesFilter, *, kinds: Sequence[FailureKind] = (), limit: int | None = 20
    ) -> list[FailureRow]:
        """Runs that failed or crashed, payloads that failed or changed while read, broken samples, faults of vaults.

        They are one list, newest first by the time at which each started. A filter by suite or backend leaves only
        payloads, a filter by case or interpreter only samples; no `kinds` are all that the filters leave.
        """
        rows: list[FailureRow] = []
        for query, started_at in _queries(which, kinds):
            wanted = query.where(*one_of(HOST.c.name, which.hosts), *within(started_at, which))
            found = self._rows(wanted.order_by(started_at.desc()).limit(limit))
            rows += [FailureRow(**{"ordinal": None, "cause": None} | row._asdict()) for row in found]
        return sorted(rows, key=lambda row: (row.started_at, row.run_id, row.ordinal or 0), reverse=True)[:limit]


def _queries(which: SeriesFilter, kinds: Sequence[FailureKind]) -> Iterator[tuple[Select[Any], Any]]:
    """The queries for the kinds that the filters leave, each with the column of its time."""
    kinds = kinds or get_args(FailureKind)
    if "run" in kinds and not which.of_samples and not which.of_payloads:
        # One query per status: each walks its part of the index from the newest row on, and stops at the limit.
        yield from ((_RUNS.where(RUN.c.status == status), RUN.c.started_at) for status in RUN_FAILURES)
    if "payload" in kinds and not which.of_samples:
        wanted = *one_of(unindexed(ENCRYPTION.c.suite), which.suites), *one_of(ENCRYPTION.c.backend, which.backends)
        yield _PAYLOADS.where(*wanted), ENCRYPTION.c.started_at
    if "sample" in kinds and not which.of_payloads:
        yield _SAMPLES.where(*of_case(which.case), *of_interpreters(which.interpreters)), SAMPLE.c.started_at
    if "verdict" in kinds and not which.of_samples and not which.of_payloads:
        yield _VERDICTS, VERDICT.c.checked_at


def _failures(kind: FailureKind, table: Any, names: str, **others: Any) -> Select[Any]:
    """Select the fields of `FailureRow`: columns by their names, and others; the joins that follow give the host."""
    own = [value.label(name) for name, value in others.items()]
    own += [literal_column(f"'{kind}'").label("kind"), HOST.c.name.label("host")]
    return select(*columns(table, names), *own).select_from(table)


_RUNS = _failures("run", RUN, "started_at status error", run_id=RUN.c.id, name=RUN.c.flow, by=RUN.c.via).join(HOST)
_BACKEND = ENCRYPTION.c.suite + ", " + ENCRYPTION.c.backend
_PAYLOADS = (
    _failures("payload", ENCRYPTION, "run_id ordinal started_at name status cause error", by=_BACKEND)
    .join(RUN)
    .join(HOST)
    .where(failed(ENCRYPTION.c.status, PAYLOAD_FAILURES))
)
_CASE = {"name": CASE.c.key, "by": INTERPRETER.c.label, "status": SAMPLE.c.outcome}
_SAMPLES = (
    _failures("sample", SAMPLE, "run_id ordinal started_at error", **_CASE)
    .join(CASE)
    .join(INTERPRETER)
    .join(RUN, SAMPLE.c.run_id == RUN.c.id)
    .join(HOST)
    .where(failed(SAMPLE.c.outcome, SAMPLE_FAILURES))
)
_LOOK = {
    "started_at": VERDICT.c.checked_at,
    "by": VERDICT.c.kind + " in " + VAULT.c.path,
    "error": func.coalesce(VERDICT.c.error, VERDICT.c.path),
}
_VERDICTS = (
    _failures("verdict", VERDICT, "run_id ordinal name status", **_LOOK)
    .join(VAULT)
    .join(RUN, VERDICT.c.run_id == RUN.c.id)
    .join(HOST)
    .where(failed(VERDICT.c.status, VERDICT_FAULTS))
)
