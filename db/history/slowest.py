"""Reads of the slowest payloads and samples."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from heapq import nlargest
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, literal_column, or_, select

from db.history.filters import SeriesFilter, in_portions, unindexed, within
from db.history.series import SeriesOverTime
from db.models import Encryption, Sample, Series, Summary
from db.rows import SeriesRow, SlowRow
from db.summaries import TIMED_OUTCOMES


class _Place(NamedTuple):
    """A series in a run, with the greatest time there and the series' median."""

    series: SeriesRow
    run_id: int
    greatest_ns: float
    median_ns: float


class Slowest(SeriesOverTime):
    """What took long."""

    def slowest(self, which: SeriesFilter, *, absolute: bool = False, limit: int = 20) -> list[SlowRow]:
        """The payloads and samples that took longest against the median of their series in that time.

        Failed and noisy ones are left out. Each of those that took longest is in one of the `limit` runs with the
        greatest times: so summaries say where to look, and few raw rows are read.

        Args:
            which: series, and the time of the runs.
            absolute: longest by time, not by the ratio to the median.
            limit: how many at the most.
        """
        places = nlargest(
            limit, self._places(which), key=lambda one: one.greatest_ns / (1 if absolute else one.median_ns)
        )
        rows = [row for place in places for row in self._slowest_in(place, limit)]
        return sorted(rows, key=lambda row: row.wall_ns if absolute else row.ratio, reverse=True)[:limit]

    def _places(self, which: SeriesFilter) -> Iterator[_Place]:
        series = {one.series_id: one for one in self.series(which)}
        columns = (Summary.series_id, Summary.run_id, Summary.greatest_ns, Summary.median_ns)
        query = within(select(*columns).where(Summary.median_ns > 0), Summary.started_at, which.since, which.until)
        for some in in_portions([*series]):
            found: dict[int, list[Row[Any]]] = defaultdict(list)
            for row in self._rows(query.where(Summary.series_id.in_(some))):
                found[row.series_id].append(row)
            for series_id, rows in found.items():
                median_ns = statistics.median(row.median_ns for row in rows)
                for row in rows:
                    yield _Place(series[series_id], row.run_id, row.greatest_ns, median_ns)

    def _slowest_in(self, place: _Place, limit: int) -> Iterator[SlowRow]:
        """The slowest rows of a series in a run; where they were removed, the one that its summary remembers."""
        query = _samples(place) if place.series.kind == "sample" else _payloads(place)
        found = [(row.ordinal, row.started_at, row.name, row.wall_ns) for row in self._rows(query.limit(limit))]
        for ordinal, started_at, name, wall_ns in found or self._remembered(place):
            ratio = wall_ns / place.median_ns
            yield SlowRow(place.series, place.run_id, ordinal, started_at, name, wall_ns, place.median_ns, ratio)

    def _remembered(self, place: _Place) -> Iterator[tuple[None, datetime, None, int]]:
        query = select(Summary.started_at).where(
            Summary.series_id == place.series.series_id, Summary.run_id == place.run_id
        )
        for row in self._rows(query):
            yield None, row.started_at, None, round(place.greatest_ns)


def _samples(one: _Place) -> Select[Any]:
    same = select(Series.case_id, Series.interpreter_id).where(Series.id == one.series.series_id).subquery()
    return (
        select(Sample.ordinal, Sample.started_at, literal_column("NULL").label("name"), Sample.wall_ns)
        .join(same, (unindexed(Sample.case_id) == same.c.case_id) & (Sample.interpreter_id == same.c.interpreter_id))
        .where(Sample.run_id == one.run_id, Sample.outcome.in_(sorted(TIMED_OUTCOMES)), Sample.noisy.is_(False))
        .order_by(Sample.wall_ns.desc())
    )


def _payloads(one: _Place) -> Select[Any]:
    size_class = one.series.size_class or 1
    sized = Encryption.size_bytes.between(size_class // 2, size_class - 1)
    return (
        select(Encryption.ordinal, Encryption.started_at, Encryption.name, Encryption.wall_ns)
        .where(
            Encryption.run_id == one.run_id,
            Encryption.status == "ok",
            unindexed(Encryption.suite) == one.series.suite,
            Encryption.backend == one.series.backend,
            Encryption.vault_id.is_not(None) if one.series.kept else Encryption.vault_id.is_(None),
            or_(sized, Encryption.size_bytes.is_(None)) if size_class == 1 else sized,
        )
        .order_by(Encryption.wall_ns.desc())
    )
