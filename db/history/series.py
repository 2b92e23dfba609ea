"""Reads of series, and of what they came to run by run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Row, Select, or_, select

from db.answers import MedianRow, SeriesRow, SummaryRow
from db.history.reader import RecordReader, SeriesFilter, in_portions, of_case, of_hosts, of_interpreters, within
from db.tables import CaseTable, HostTable, InterpreterTable, SeriesTable, SummaryTable


class SeriesReads(RecordReader):
    """Series of experiments and of encryptions, run by run."""

    def series(self, which: SeriesFilter) -> list[SeriesRow]:
        """The series that match, whenever they were measured: series of encryptions first, the others by case."""
        query = _SERIES.where(*of_case(which.case), *of_interpreters(which.interpreters), *of_hosts(which.hosts))
        if which.suites:
            query = query.where(SeriesTable.suite.in_(which.suites))
        if which.backends:
            query = query.where(SeriesTable.backend.in_(which.backends))
        if which.series_ids:
            query = query.where(SeriesTable.id.in_(which.series_ids))
        payloads = (SeriesTable.suite, SeriesTable.backend, SeriesTable.kept, SeriesTable.size_class)
        order = (SeriesTable.kind, *payloads, CaseTable.key, InterpreterTable.label, SeriesTable.id)
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
        timed = _MEDIANS.where(SummaryTable.median_ns.is_not(None))
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
        newest = (SummaryTable.started_at.desc(), SummaryTable.run_id.desc())
        # A run in which the interpreter could not do the case at all says nothing about the series.
        query = columns.where(or_(SummaryTable.n > 0, SummaryTable.failed > 0, SummaryTable.noisy > 0)).order_by(
            *newest
        )
        query = within(query, SummaryTable.started_at, which.since, which.until)
        queries: Iterable[Select[Any]]
        if run_id is not None:
            queries = [query.where(SummaryTable.run_id == run_id)]
        elif limit is not None:
            queries = (query.where(SummaryTable.series_id == one).limit(limit) for one in series_ids)
        else:
            queries = (query.where(SummaryTable.series_id.in_(some)) for some in in_portions(series_ids))
        rows: dict[int, list[Row[Any]]] = defaultdict(list)
        for one in queries:
            for row in reversed(self._rows(one)):
                rows[row[0]].append(row)
        return rows


_AXES = ("experiment", "executor", "workload", "shape", "guard", "workers", "count", "workload_version")
_SERIES = (
    select(
        SeriesTable.id.label("series_id"),
        SeriesTable.kind,
        SeriesTable.track,
        SeriesTable.suite,
        SeriesTable.backend,
        SeriesTable.size_class,
        SeriesTable.kept,
        *(getattr(CaseTable, name) for name in _AXES),
        InterpreterTable.label.label("interpreter"),
        InterpreterTable.version.label("interpreter_version"),
        HostTable.name.label("host"),
    )
    .join(HostTable)
    .outerjoin(CaseTable, SeriesTable.case_id == CaseTable.id)
    .outerjoin(InterpreterTable, SeriesTable.interpreter_id == InterpreterTable.id)
)
_MEDIANS = select(SummaryTable.series_id, SummaryTable.run_id, SummaryTable.started_at, SummaryTable.median_ns)
_SUMMARIES = select(
    SummaryTable.series_id, *(getattr(SummaryTable, one.name) for one in fields(SummaryRow) if one.name != "series")
)
