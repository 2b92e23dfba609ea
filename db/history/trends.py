"""Reads of trends: a series per run, or per day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from types import SimpleNamespace
from typing import Any, Literal, TypeVar

from sqlalchemy import Row, func, select

from db.answers import SeriesRow, TrendRow
from db.history.reader import SeriesFilter, in_portions
from db.history.series import SeriesReads
from db.summaries import day_rows
from db.tables import DAY_SUMMARY, SERIES, SUMMARY

_DAY = timedelta(days=1)
_FIGURES = ("n", "failed", "noisy", "lower_ns", "median_ns", "upper_ns", "size_bytes")
_PER_RUN = ("series_id", "started_at", "run_id", *_FIGURES, "mad_ns", "lost_share")
_RUNS = select(*(SUMMARY.c[name] for name in _PER_RUN))
_PER_DAY = ("series_id", "day", "runs", *_FIGURES)
_DAYS = select(*(DAY_SUMMARY.c[name] for name in _PER_DAY))
_Days = dict[int, list[TrendRow]]
_T = TypeVar("_T")


class TrendReads(SeriesReads):
    """Series over time."""

    def trend(
        self, which: SeriesFilter, *, by: Literal["day", "run"] = "day", limit: int | None = 30
    ) -> list[TrendRow]:
        """Each series over time: a row per day (UTC) or run, series by series, from the oldest to the newest.

        A day's quartiles are those of all its good and quiet rows, which do not follow from its runs' quartiles: they
        come from the roll-up of closed days, else from raw rows. Days are whole: the day of `since` counts from its
        beginning, and the day of `until` to its end. Open runs do not count.

        Args:
            which: series and time.
            by: whether a row stands for a day or a run.
            limit: only the newest days or runs of each series.
        """
        series = self.series(which)
        if by == "run":
            rows = self._summary_rows(_RUNS, [one.series_id for one in series], which, None, limit)
            return [_run(one, row) for one in series for row in rows[one.series_id]]
        begin, end = _days_of(which)
        newest = self._not_rolled_up(series, begin, end, limit)
        older = self._rolled_up(series, begin, end, limit)
        return [row for one in series for row in _newest(older[one.series_id] + newest[one.series_id], limit)]

    def _rolled_up(self, series: Sequence[SeriesRow], begin: date | None, end: date | None, limit: int | None) -> _Days:
        query = _DAYS
        if begin is not None:
            query = query.where(DAY_SUMMARY.c.day >= begin)
        if end is not None:
            query = query.where(DAY_SUMMARY.c.day <= end)
        query = query.order_by(DAY_SUMMARY.c.day.desc()).limit(limit)
        days: _Days = defaultdict(list)
        for one in series:
            rows = self._rows(query.where(DAY_SUMMARY.c.series_id == one.series_id))
            days[one.series_id] = [_day(one, _midnight(row.day), row.runs, row) for row in reversed(rows)]
        return days

    def _not_rolled_up(
        self, series: Sequence[SeriesRow], begin: date | None, end: date | None, limit: int | None
    ) -> _Days:
        """Days after the last one that was rolled up.

        If a series has one run on a day, its summary is that of the day; else the day's rows are added up.
        """
        last = next((row[0] for row in self._rows(select(func.max(DAY_SUMMARY.c.day)))), None)
        if last is not None:
            begin = max(begin or last, last + _DAY)
        rows = self._summary_rows(_RUNS, [one.series_id for one in series], _whole_days(begin, end), None, None)
        runs: dict[int, dict[date, list[Row[Any]]]] = {}
        for one in series:
            by_day: dict[date, list[Row[Any]]] = defaultdict(list)
            for row in rows[one.series_id]:
                by_day[row.started_at.date()].append(row)
            runs[one.series_id] = dict(_newest(sorted(by_day.items()), limit))
        added_up = self._added_up(series, {day for own in runs.values() for day, many in own.items() if len(many) > 1})
        days: _Days = defaultdict(list)
        for one in series:
            for day, many in runs[one.series_id].items():
                if len(many) == 1:
                    days[one.series_id].append(_day(one, _midnight(day), 1, many[0]))
                elif total := added_up.get((one.series_id, day)):
                    days[one.series_id].append(_day(one, _midnight(day), total.runs, total))
        return days

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
                    of: Any = row["series"]
                    if of["key"] in ids:
                        found[ids[of["key"]], day] = SimpleNamespace(**row)
        return found


def _newest(rows: list[_T], limit: int | None) -> list[_T]:
    return rows if limit is None else rows[-limit:]


def _days_of(which: SeriesFilter) -> tuple[date | None, date | None]:
    """The first and the last day (UTC) that the time touches."""
    begin = None if which.since is None else which.since.astimezone(UTC).date()
    end = None if which.until is None else (which.until.astimezone(UTC) - timedelta(microseconds=1)).date()
    return begin, end


def _whole_days(begin: date | None, end: date | None) -> SeriesFilter:
    """From the beginning of the first day to the end of the last."""
    return SeriesFilter(
        since=None if begin is None else _midnight(begin), until=None if end is None else _midnight(end + _DAY)
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _run(series: SeriesRow, row: Row[Any]) -> TrendRow:
    one = _day(series, row.started_at, 1, row)
    return replace(one, run_id=row.run_id, mad_ns=row.mad_ns, lost_share=row.lost_share)


def _day(series: SeriesRow, started_at: datetime, runs: int, row: Any) -> TrendRow:
    counts, quartiles = (runs, row.n, row.failed, row.noisy), (row.lower_ns, row.median_ns, row.upper_ns)
    return TrendRow(series, started_at, None, *counts, *quartiles, None, _speed(row), None)


def _speed(row: Any) -> float | None:
    """Bytes per second: the mean size over the median time."""
    return row.size_bytes / row.n / row.median_ns * 1e9 if row.size_bytes and row.median_ns else None
