"""Reads of series, and of what they came to run by run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Row, Select, or_, select

from db.history.filters import SeriesFilter, in_portions, of_case, of_hosts, of_interpreters, within
from db.history.reader import Reader
from db.models import Case, Host, Interpreter, Series, Summary
from db.rows import MedianRow, SeriesRow, SummaryRow


class SeriesOverTime(Reader):
    """Series of experiments and of encryptions, as they went on."""

    def series(self, which: SeriesFilter) -> list[SeriesRow]:
        """The series that match, whenever they were measured: those of encryptions first, then by case."""
        query = _SERIES.where(*of_case(which.case), *of_interpreters(which.interpreters), *of_hosts(which.hosts))
        if which.suites:
            query = query.where(Series.suite.in_(which.suites))
        if which.backends:
            query = query.where(Series.backend.in_(which.backends))
        if which.series_ids:
            query = query.where(Series.id.in_(which.series_ids))
        payloads = (Series.suite, Series.backend, Series.kept, Series.size_class)
        order = (Series.kind, *payloads, Case.key, Interpreter.label, Series.id)
        return [SeriesRow(**row._asdict()) for row in self._rows(query.order_by(*order))]

    def summaries(
        self, which: SeriesFilter, *, run_id: int | None = None, limit: int | None = None
    ) -> list[SummaryRow]:
        """What each series came to in each closed run, also in those that were removed since.

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
        """Of `summaries` only the medians, where there are any: a third of the time, for questions to all series.

        Args:
            which: series and time.
            limit: only the newest runs of each series.
        """
        series = self.series(which)
        timed = _MEDIANS.where(Summary.median_ns.is_not(None))
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
        """Columns of `summary`, of which the first is `series_id`: by series, oldest first."""
        newest = (Summary.started_at.desc(), Summary.run_id.desc())
        # A run in which the interpreter could not do the case at all says nothing about the series.
        query = columns.where(or_(Summary.n > 0, Summary.failed > 0, Summary.noisy > 0)).order_by(*newest)
        query = within(query, Summary.started_at, which.since, which.until)
        queries: Iterable[Select[Any]]
        if run_id is not None:
            queries = [query.where(Summary.run_id == run_id)]
        elif limit is not None:
            queries = (query.where(Summary.series_id == one).limit(limit) for one in series_ids)
        else:
            queries = (query.where(Summary.series_id.in_(some)) for some in in_portions(series_ids))
        rows: dict[int, list[Row[Any]]] = defaultdict(list)
        for one in queries:
            for row in reversed(self._rows(one)):
                rows[row[0]].append(row)
        return rows


_AXES = ("experiment", "executor", "workload", "shape", "guard", "workers", "count", "workload_version")
_SERIES = (
    select(
        Series.id.label("series_id"),
        Series.kind,
        Series.track,
        Series.suite,
        Series.backend,
        Series.size_class,
        Series.kept,
        *(getattr(Case, name) for name in _AXES),
        Interpreter.label.label("interpreter"),
        Interpreter.version.label("interpreter_version"),
        Host.name.label("host"),
    )
    .join(Host)
    .outerjoin(Case, Series.case_id == Case.id)
    .outerjoin(Interpreter, Series.interpreter_id == Interpreter.id)
)
_MEDIANS = select(Summary.series_id, Summary.run_id, Summary.started_at, Summary.median_ns)
_SUMMARIES = select(
    Summary.series_id, *(getattr(Summary, one.name) for one in fields(SummaryRow) if one.name != "series")
)
