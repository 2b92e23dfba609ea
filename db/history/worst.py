"""Reads of failures as one list, of the slowest payloads and samples, and of the single times of a run."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from heapq import nlargest
from itertools import chain
from typing import Any, Literal, NamedTuple, get_args

from sqlalchemy import Row, Select, func, literal_column, or_, select

from db.answers import FailureRow, SeriesRow, SlowRow, TimeRow
from db.engine import in_portions
from db.history.reader import RecordReader, SeriesFilter, failed, of_case, of_interpreters, one_of, unindexed, within
from db.history.series import SeriesReads
from db.summaries import size_class_of
from db.tables import CASE, ENCRYPTION, HOST, INTERPRETER, RUN, SAMPLE, SERIES, SUMMARY, VAULT, VERDICT
from db.tables.base import columns
from db.words import PAYLOAD_FAILURES, RUN_FAILURES, SAMPLE_FAILURES, TIMED_OUTCOMES, VERDICT_FAULTS
from db.writes import lost_runs

FailureKind = Literal["run", "payload", "sample", "verdict"]

# A time with the columns that tell its series from the others of the run, and its mate.
_Time = tuple[tuple[object, ...], str, int]


class FailureReads(RecordReader):
    """Failures, newest first."""

    def failures(
        self, which: SeriesFilter, *, kinds: Sequence[FailureKind] = (), limit: int | None = 20
    ) -> list[FailureRow]:
        """Runs that failed, crashed or are lost, payloads that failed or changed, broken samples, faults of vaults.

        They are one list, newest first by the time at which each started. A filter by suite or backend leaves only
        payloads, a filter by case or interpreter only samples; no `kinds` are all that the filters leave.
        """
        rows: list[FailureRow] = []
        lost: dict[int, str] = self._ask(lost_runs, empty={})
        for query, started_at in _queries(which, kinds, lost):
            wanted = query.where(*one_of(HOST.c.name, which.hosts), *within(started_at, which))
            found = self._rows(wanted.order_by(started_at.desc()).limit(limit))
            rows += [FailureRow(**{"ordinal": None, "cause": None} | row._asdict()) for row in found]
        rows = [replace(row, error=lost[row.run_id]) if row.status == "running" else row for row in rows]
        return sorted(rows, key=lambda row: (row.started_at, row.run_id, row.ordinal or 0), reverse=True)[:limit]


def _queries(
    which: SeriesFilter, kinds: Sequence[FailureKind], lost: Collection[int]
) -> Iterator[tuple[Select[Any], Any]]:
    """The queries for the kinds that the filters leave, each with the column of its time."""
    kinds = kinds or get_args(FailureKind)
    if "run" in kinds and not which.of_samples and not which.of_payloads:
        # One query per status: each walks its part of the index from the newest row on, and stops at the limit.
        yield from ((_BAD_RUNS.where(RUN.c.status == status), RUN.c.started_at) for status in RUN_FAILURES)
        yield _BAD_RUNS.where(RUN.c.id.in_(lost)), RUN.c.started_at
    if "payload" in kinds and not which.of_samples:
        wanted = *one_of(unindexed(ENCRYPTION.c.suite), which.suites), *one_of(ENCRYPTION.c.backend, which.backends)
        yield _BAD_PAYLOADS.where(*wanted), ENCRYPTION.c.started_at
    if "sample" in kinds and not which.of_payloads:
        yield _BAD_SAMPLES.where(*of_case(which.case), *of_interpreters(which.interpreters)), SAMPLE.c.started_at
    if "verdict" in kinds and not which.of_samples and not which.of_payloads:
        yield _FAULTS, VERDICT.c.checked_at


def _failures(kind: FailureKind, table: Any, names: str, **others: Any) -> Select[Any]:
    """Select the fields of `FailureRow`: columns by their names, and others; the joins that follow give the host."""
    own = [value.label(name) for name, value in others.items()]
    own += [literal_column(f"'{kind}'").label("kind"), HOST.c.name.label("host")]
    return select(*columns(table, names), *own).select_from(table)


_BAD_RUNS = _failures("run", RUN, "started_at status error", run_id=RUN.c.id, name=RUN.c.flow, by=RUN.c.via).join(HOST)
_BACKEND = ENCRYPTION.c.suite + ", " + ENCRYPTION.c.backend
_BAD_PAYLOADS = (
    _failures("payload", ENCRYPTION, "run_id ordinal started_at name status cause error", by=_BACKEND)
    .join(RUN)
    .join(HOST)
    .where(failed(ENCRYPTION.c.status, PAYLOAD_FAILURES))
)
_CASE = {"name": CASE.c.key, "by": INTERPRETER.c.label, "status": SAMPLE.c.outcome}
_BAD_SAMPLES = (
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
_FAULTS = (
    _failures("verdict", VERDICT, "run_id ordinal name status", **_LOOK)
    .join(VAULT)
    .join(RUN, VERDICT.c.run_id == RUN.c.id)
    .join(HOST)
    .where(failed(VERDICT.c.status, VERDICT_FAULTS))
)


class _Place(NamedTuple):
    """A series in a run, with the greatest time there and the series' median."""

    series: SeriesRow
    run_id: int
    greatest_ns: float
    median_ns: float


class SlowestReads(SeriesReads):
    """Slow payloads and samples, and single times."""

    def slowest(self, which: SeriesFilter, *, absolute: bool = False, limit: int = 20) -> list[SlowRow]:
        """The payloads and samples that took longest against the median of their series in that time.

        `absolute` takes the longest by time instead. Failed and noisy rows are left out. Every row of the answer is in
        one of the `limit` runs with the greatest times: so summaries say where to look, and few raw rows are read.
        """
        places = nlargest(
            limit, self._places(which), key=lambda one: one.greatest_ns / (1 if absolute else one.median_ns)
        )
        rows = [row for place in places for row in self._slowest_in(place, limit)]
        return sorted(rows, key=lambda row: row.wall_ns if absolute else row.ratio, reverse=True)[:limit]

    def _places(self, which: SeriesFilter) -> Iterator[_Place]:
        series = {one.series_id: one for one in self.series(which)}
        query = select(*columns(SUMMARY, "series_id run_id greatest_ns median_ns"))
        query = query.where(SUMMARY.c.median_ns > 0, *within(SUMMARY.c.started_at, which))
        for some in in_portions([*series]):
            found: dict[int, list[Row[Any]]] = defaultdict(list)
            for row in self._rows(query.where(SUMMARY.c.series_id.in_(some))):
                found[row.series_id].append(row)
            for series_id, rows in found.items():
                median_ns = statistics.median(row.median_ns for row in rows)
                for row in rows:
                    yield _Place(series[series_id], row.run_id, row.greatest_ns, median_ns)

    def _slowest_in(self, place: _Place, limit: int) -> Iterator[SlowRow]:
        """The slowest rows of a series in a run; if they were removed, the greatest time in its summary."""
        query = _samples(place) if place.series.kind == "sample" else _payloads(place)
        found = [(row.ordinal, row.started_at, row.name, row.wall_ns) for row in self._rows(query.limit(limit))]
        for ordinal, started_at, name, wall_ns in found or self._remembered(place):
            ratio = wall_ns / place.median_ns
            yield SlowRow(place.series, place.run_id, ordinal, started_at, name, wall_ns, place.median_ns, ratio)

    def _remembered(self, place: _Place) -> Iterator[tuple[None, datetime, None, int]]:
        query = select(SUMMARY.c.started_at).where(
            SUMMARY.c.series_id == place.series.series_id, SUMMARY.c.run_id == place.run_id
        )
        for row in self._rows(query):
            yield None, row.started_at, None, round(place.greatest_ns)

    def times(self, run_id: int) -> list[TimeRow]:
        """The single times behind the summaries of a closed run; none if its rows were removed."""
        identity = columns(SERIES, "case_id interpreter_id suite backend size_class kept")
        query = select(SERIES.c.id, *identity).join(SUMMARY).where(SUMMARY.c.run_id == run_id)
        series = {tuple(row[1:]): row.id for row in self._rows(query)}
        rows = chain(self._payload_times(run_id), self._sample_times(run_id))
        return [TimeRow(series[own], mate, wall_ns) for own, mate, wall_ns in rows if own in series]

    def _payload_times(self, run_id: int) -> Iterator[_Time]:
        query = select(
            *columns(ENCRYPTION, "suite backend size_bytes name wall_ns"),
            ENCRYPTION.c.vault_id.is_not(None).label("kept"),
        ).where(ENCRYPTION.c.run_id == run_id, ENCRYPTION.c.status == "ok")
        for row in self._rows(query.order_by(ENCRYPTION.c.ordinal)):
            own = None, None, row.suite, row.backend, size_class_of(row.size_bytes), row.kept
            yield own, f"{row.name} {row.size_bytes}", row.wall_ns

    def _sample_times(self, run_id: int) -> Iterator[_Time]:
        query = select(SAMPLE.c.case_id, SAMPLE.c.interpreter_id, SAMPLE.c.round, SAMPLE.c.wall_ns).where(
            SAMPLE.c.run_id == run_id,
            SAMPLE.c.outcome.in_(TIMED_OUTCOMES),
            SAMPLE.c.noisy.is_(False),
            SAMPLE.c.wall_ns > 0,
        )
        for row in self._rows(query.order_by(SAMPLE.c.ordinal)):
            yield (row.case_id, row.interpreter_id, None, None, None, False), str(row.round), row.wall_ns


def _samples(one: _Place) -> Select[Any]:
    same = select(SERIES.c.case_id, SERIES.c.interpreter_id).where(SERIES.c.id == one.series.series_id).subquery()
    return (
        select(SAMPLE.c.ordinal, SAMPLE.c.started_at, literal_column("NULL").label("name"), SAMPLE.c.wall_ns)
        .join(
            same, (unindexed(SAMPLE.c.case_id) == same.c.case_id) & (SAMPLE.c.interpreter_id == same.c.interpreter_id)
        )
        .where(SAMPLE.c.run_id == one.run_id, SAMPLE.c.outcome.in_(TIMED_OUTCOMES), SAMPLE.c.noisy.is_(False))
        .order_by(SAMPLE.c.wall_ns.desc())
    )


def _payloads(one: _Place) -> Select[Any]:
    size_class = one.series.size_class or 1
    sized = ENCRYPTION.c.size_bytes.between(size_class // 2, size_class - 1)
    return (
        select(ENCRYPTION.c.ordinal, ENCRYPTION.c.started_at, ENCRYPTION.c.name, ENCRYPTION.c.wall_ns)
        .where(
            ENCRYPTION.c.run_id == one.run_id,
            ENCRYPTION.c.status == "ok",
            unindexed(ENCRYPTION.c.suite) == one.series.suite,
            ENCRYPTION.c.backend == one.series.backend,
            ENCRYPTION.c.vault_id.is_not(None) if one.series.kept else ENCRYPTION.c.vault_id.is_(None),
            or_(sized, ENCRYPTION.c.size_bytes.is_(None)) if size_class == 1 else sized,
        )
        .order_by(ENCRYPTION.c.wall_ns.desc())
    )
