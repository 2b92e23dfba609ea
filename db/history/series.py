"""Reads of series, and of what they came to run by run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Row, Select, or_, select

from db.answers import MedianRow, SeriesRow, SummaryRow
from db.history.reader import RecordReader, SeriesFilter, in_portions, of_case, of_hosts, of_interpreters, within
from db.tables import CASE, HOST, INTERPRETER, SERIES, SUMMARY


class SeriesReads(RecordReader):
    """Series of experiments and of encryptions, run by run."""

    def series(self, which: SeriesFilter) -> list[SeriesRow]:
        """The series that match, whenever they were measured: series of encryptions first, the others by case."""
        query = _SERIES.where(*of_case(which.case), *of_interpreters(which.interpreters), *of_hosts(which.hosts))
        if which.suites:
            query = query.where(SERIES.c.suite.in_(which.suites))
        if which.backends:
            query = query.where(SERIES.c.backend.in_(which.backends))
        if which.series_ids:
            query = query.where(SERIES.c.id.in_(which.series_ids))
        payloads = (SERIES.c.suite, SERIES.c.backend, SERIES.c.kept, SERIES.c.size_class)
        order = (SERIES.c.kind, *payloads, CASE.c.key, INTERPRETER.c.label, SERIES.c.id)
        return [SeriesRow(**row._asdict()) for row in self._rows(query.order_by(*order))]

    def summaries(
        self, which: SeriesFilter, *, run_id: int | None = None, limit: int | None = None
    ) -> list[SummaryRow]:
        """The summary of each series in each closed run, removed runs included.

        They come series by series, in the order of `series`, and within a series from the oldest run to the newest.

        Args:
            which: series and time.
            run_id: only this run.
            limit: only the newest runs of each series.
        """
        series = self.series(which)
        rows = self._summary_rows(_SUMMARIES, [one.series_id for one in series], which, run_id, limit)
        return [SummaryRow(one, *row[1:]) for one in series for row in rows[one.series_id]]

    def medians(self, which: SeriesFilter, *, limit: int) -> list[MedianRow]:
        """The medians of `summaries` alone, where there are any: a third of the time, for questions about all series.

        Args:
            which: series and time.
            limit: only the newest runs of each series.
        """
        series = self.series(which)
        timed = _MEDIANS.where(SUMMARY.c.median_ns.is_not(None))
        rows = self._summary_rows(timed, [one.series_id for one in series], which, None, limit)
        return [MedianRow(one, *row[1:]) for one in series for row in rows[one.series_id]]

    def _summary_rows(
        self,
        columns: Select[Any],
        series_ids: Sequence[int],
        which: SeriesFilter,
        run_id: int | None,
        limit: int | None,
    ) -> Mapping[int, list[Row[Any]]]:
        """Select columns of `summary`, the first of which is `series_id`: by series, oldest first."""
        newest = (SUMMARY.c.started_at.desc(), SUMMARY.c.run_id.desc())
        # A run in which the interpreter could not do the case at all says nothing about the series.
        query = columns.where(or_(SUMMARY.c.n > 0, SUMMARY.c.failed > 0, SUMMARY.c.noisy > 0)).order_by(*newest)
        query = within(query, SUMMARY.c.started_at, which.since, which.until)
        queries: Iterable[Select[Any]]
        if run_id is not None:
            queries = [query.where(SUMMARY.c.run_id == run_id)]
        elif limit is not None:
            queries = (query.where(SUMMARY.c.series_id == one).limit(limit) for one in series_ids)
        else:
            queries = (query.where(SUMMARY.c.series_id.in_(some)) for some in in_portions(series_ids))
        rows: dict[int, list[Row[Any]]] = defaultdict(list)
        for one in queries:
            for row in reversed(self._rows(one)):
                rows[row[0]].append(row)
        return rows


_AXES = ("experiment", "executor", "workload", "shape", "guard", "workers", "count", "workload_version")
_SERIES = (
    select(
        SERIES.c.id.label("series_id"),
        SERIES.c.kind,
        SERIES.c.track,
        SERIES.c.suite,
        SERIES.c.backend,
        SERIES.c.size_class,
        SERIES.c.kept,
        *(CASE.c[name] for name in _AXES),
        INTERPRETER.c.label.label("interpreter"),
        INTERPRETER.c.version.label("interpreter_version"),
        HOST.c.name.label("host"),
    )
    .join(HOST)
    .outerjoin(CASE, SERIES.c.case_id == CASE.c.id)
    .outerjoin(INTERPRETER, SERIES.c.interpreter_id == INTERPRETER.c.id)
)
_MEDIANS = select(SUMMARY.c.series_id, SUMMARY.c.run_id, SUMMARY.c.started_at, SUMMARY.c.median_ns)
_SUMMARIES = select(SUMMARY.c.series_id, *(SUMMARY.c[one.name] for one in fields(SummaryRow) if one.name != "series"))
