"""Reads of series: their summaries run by run, and their trends by run or by day."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter, itemgetter
from types import SimpleNamespace
from typing import Any, Literal, TypeVar

from sqlalchemy import Row, Select, func, or_, select

from db.answers import MedianRow, SeriesRow, SummaryRow, TrendRow
from db.engine import checked, in_portions
from db.history.reader import RecordReader, SeriesFilter, TimeFilter, of_case, of_interpreters, one_of, within
from db.summaries import day_rows
from db.tables import CASE, DAY_SUMMARY, HOST, INTERPRETER, RUN, SERIES, SUMMARY
from db.tables.base import BadValue, columns, shared_columns

_DAY = timedelta(days=1)
_Days = dict[int, list[TrendRow]]
_T = TypeVar("_T")


class SeriesReads(RecordReader):
    """Series of experiments and of encryptions, run by run."""

    def series(self, which: SeriesFilter) -> list[SeriesRow]:
        """The series that match, whenever they were measured: series of encryptions first, the others by case."""
        query = _SERIES.where(
            *of_case(which.case),
            *of_interpreters(which.interpreters),
            *one_of(HOST.c.name, which.hosts),
            *one_of(SERIES.c.suite, which.suites),
            *one_of(SERIES.c.backend, which.backends),
            *one_of(SERIES.c.id, which.series_ids),
        )
        payloads = (SERIES.c.suite, SERIES.c.backend, SERIES.c.kept, SERIES.c.size_class)
        order = (SERIES.c.kind, *payloads, CASE.c.key, INTERPRETER.c.label, SERIES.c.id)
        query = query.order_by(*order)
        return self._ask(lambda asked: [*map(_series, checked(query, asked.execute(query).all()))], empty=[])

    def summaries(
        self, which: SeriesFilter, *, run_id: int | None = None, limit: int | None = None
    ) -> list[SummaryRow]:
        """The summary of each series in each closed run, removed runs included.

        They come series by series, in the order of `series`, and within a series from the oldest run to the newest;
        `limit` leaves only the newest runs of each series.
        """
        rows = self._summary_rows(_SUMMARIES, self.series(which), which, run_id, limit)
        return [SummaryRow(one, *row[1:]) for one, row in rows]

    def medians(self, which: SeriesFilter, *, limit: int) -> list[MedianRow]:
        """The medians of `summaries` alone, where there are any: a third of the time for questions about all series."""
        timed = _MEDIANS.where(SUMMARY.c.median_ns.is_not(None))
        rows = self._summary_rows(timed, self.series(which), which, limit=limit)
        return [MedianRow(one, *row[1:]) for one, row in rows]

    def _summary_rows(
        self,
        selected: Select[Any],
        series: Sequence[SeriesRow],
        time: TimeFilter,
        run_id: int | None = None,
        limit: int | None = None,
    ) -> Iterator[tuple[SeriesRow, Row[Any]]]:
        """Select columns of `summary`, the first of which is `series_id`: series by series, oldest first."""
        # A run in which the interpreter could not do the case at all says nothing about the series.
        some_rows = or_(SUMMARY.c.n > 0, SUMMARY.c.failed > 0, SUMMARY.c.noisy > 0)
        query = selected.where(some_rows, *within(SUMMARY.c.started_at, time)).order_by(SUMMARY.c.run_id.desc())
        queries: Iterable[Select[Any]]
        if run_id is not None:
            queries = [query.where(SUMMARY.c.run_id == run_id)]
        elif limit is not None:
            queries = (query.where(SUMMARY.c.series_id == one.series_id).limit(limit) for one in series)
        else:
            ids = in_portions([one.series_id for one in series])
            queries = (query.where(SUMMARY.c.series_id.in_(some)) for some in ids)
        rows: dict[int, list[Row[Any]]] = defaultdict(list)
        for one in queries:
            for row in reversed(self._rows(one)):
                rows[row[0]].append(row)
        return ((one, row) for one in series for row in rows[one.series_id])


class TrendReads(SeriesReads):
    """Series over time."""

    def trend(
        self, which: SeriesFilter, *, by: Literal["day", "run"] = "day", limit: int | None = 30
    ) -> list[TrendRow]:
        """Each series over time: a row per day (UTC) or run, series by series, from the oldest to the newest.

        A day's quartiles are those of all its good and quiet rows, which do not follow from its runs' quartiles: they
        come from the roll-up of closed days, else from raw rows. Days are whole: the day of `since` counts from its
        beginning, and the day of `until` to its end. Open runs do not count. `limit` leaves only the newest days or
        runs of each series.
        """
        series = self.series(which)
        if by == "run":
            return [_run(one, row) for one, row in self._summary_rows(_RUNS, series, which, limit=limit)]
        days = _whole_days(which)
        newest = self._not_rolled_up(series, days, limit)
        older = self._rolled_up(series, days, limit)
        both = (sorted(older[one.series_id] + newest[one.series_id], key=attrgetter("started_at")) for one in series)
        return [row for own in both for row in _newest(own, limit)]

    def _rolled_up(self, series: Sequence[SeriesRow], days: TimeFilter, limit: int | None) -> _Days:
        query = _DAYS
        if days.since is not None:
            query = query.where(DAY_SUMMARY.c.day >= days.since.date())
        if days.until is not None:
            query = query.where(DAY_SUMMARY.c.day < days.until.date())
        query = query.order_by(DAY_SUMMARY.c.day.desc()).limit(limit)
        found: _Days = {}
        for one in series:
            rows = self._rows(query.where(DAY_SUMMARY.c.series_id == one.series_id))
            found[one.series_id] = [_day(one, _midnight(row.day), row.runs, row) for row in reversed(rows)]
        return found

    def _not_rolled_up(self, series: Sequence[SeriesRow], days: TimeFilter, limit: int | None) -> _Days:
        """Days after the last one that was rolled up, but for those that a clock that was ahead had rolled up.

        If a series has one run on a day, its summary is that of the day; else the day's rows are added up.
        """
        recorded = self._rows(select(RUN.c.started_at).order_by(RUN.c.id.desc()).limit(1))
        rolled_up = select(func.max(DAY_SUMMARY.c.day)).where(
            DAY_SUMMARY.c.day <= (recorded[0][0].date() if recorded else date.max)
        )
        last = next((row[0] for row in self._rows(rolled_up) if row[0]), date.min)
        ahead = {row[0] for row in self._rows(select(DAY_SUMMARY.c.day).where(DAY_SUMMARY.c.day > last))}
        after = _midnight(last + _DAY)
        days = TimeFilter(since=max(days.since or after, after), until=days.until)
        runs: dict[SeriesRow, dict[date, list[Row[Any]]]] = defaultdict(lambda: defaultdict(list))
        for one, row in self._summary_rows(_RUNS, series, days):
            if (day := row.started_at.date()) not in ahead:
                runs[one][day].append(row)
        newest = [
            (one, day, many)
            for one, own in runs.items()
            for day, many in _newest(sorted(own.items(), key=itemgetter(0)), limit)
        ]
        added_up = self._added_up(series, {day for _, day, many in newest if len(many) > 1})
        found: _Days = defaultdict(list)
        for one, day, many in newest:
            if len(many) == 1:
                found[one.series_id].append(_day(one, _midnight(day), 1, many[0]))
            elif total := added_up.get((one.series_id, day)):
                found[one.series_id].append(_day(one, _midnight(day), total.runs, total))
        return found

    def _added_up(self, series: Sequence[SeriesRow], days: set[date]) -> Mapping[tuple[int, date], SimpleNamespace]:
        if not days:
            return {}
        ids: dict[str, int] = {}
        for some in in_portions([one.series_id for one in series]):
            ids |= {
                row.key: row.id for row in self._rows(select(SERIES.c.key, SERIES.c.id).where(SERIES.c.id.in_(some)))
            }
        found: dict[tuple[int, date], SimpleNamespace] = {}
        with self._reading() as connection:
            for day in days:
                for row in day_rows(connection, day):
                    if series_id := ids.get(row["series"]["key"]):
                        found[series_id, day] = SimpleNamespace(**row)
        return found


def _series(row: Row[Any]) -> SeriesRow:
    with suppress(ValueError, RecursionError, KeyError, IndexError, TypeError):
        # The version of the interpreter, or the backend.
        if isinstance(json.loads(row.track)[2], str):
            return SeriesRow(**row._asdict())
    raise BadValue(f"series.track is {row.track!r:.60}")


def _newest(rows: list[_T], limit: int | None) -> list[_T]:
    return rows if limit is None else rows[-limit:]


def _whole_days(time: TimeFilter) -> TimeFilter:
    """From the beginning of the first day (UTC) that the time touches to the end of the last."""
    since = time.since and _midnight(time.since.astimezone(UTC).date())
    until = time.until and _midnight((time.until.astimezone(UTC) - timedelta(microseconds=1)).date() + _DAY)
    return TimeFilter(since=since, until=until)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _run(series: SeriesRow, row: Row[Any]) -> TrendRow:
    one = _day(series, row.started_at, 1, row)
    return replace(one, run_id=row.run_id, mad_ns=row.mad_ns, lost_share=row.lost_share)


def _day(series: SeriesRow, started_at: datetime, runs: int, row: Any) -> TrendRow:
    counts, quartiles = (runs, row.n, row.failed, row.noisy), (row.lower_ns, row.median_ns, row.upper_ns)
    return TrendRow(series, started_at, None, *counts, *quartiles, None, _speed(row), None)


def _speed(row: Any) -> float | None:
    """Bytes per second: the mean size over the median time."""
    return row.size_bytes / row.n / row.median_ns * 1e9 if row.size_bytes and row.median_ns else None


_SERIES = (
    select(
        SERIES.c.id.label("series_id"),
        *columns(SERIES, "kind track suite backend size_class kept usable_cpus quota_cpus smt"),
        *columns(CASE, "experiment executor workload shape guard workers count workload_version"),
        INTERPRETER.c.label.label("interpreter"),
        INTERPRETER.c.version.label("interpreter_version"),
        HOST.c.name.label("host"),
    )
    .join(HOST)
    .outerjoin(CASE, SERIES.c.case_id == CASE.c.id)
    .outerjoin(INTERPRETER, SERIES.c.interpreter_id == INTERPRETER.c.id)
)
_MEDIANS = select(*columns(SUMMARY, "series_id run_id started_at median_ns"))
_SUMMARIES = select(SUMMARY.c.series_id, *shared_columns(SUMMARY, SummaryRow))
_FIGURES = "n failed noisy lower_ns median_ns upper_ns size_bytes"
_RUNS = select(*columns(SUMMARY, f"series_id started_at run_id {_FIGURES} mad_ns lost_share"))
_DAYS = select(*columns(DAY_SUMMARY, f"series_id day runs {_FIGURES}"))
