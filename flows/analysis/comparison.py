"""Comparisons: two runs, interpreters, hosts or times, series by series."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial
from typing import Literal

from db.answers import SeriesRow, SummaryRow
from db.history import History, SeriesFilter
from flows.analysis.changes import MOST_RUNS, Changed, changed
from flows.analysis.intervals import MIN_PAIRS, Ratio, SpeedVerdict, ratio_of_medians, ratio_of_pairs, verdict_on_times

SideKind = Literal["run", "interpreter", "host", "time"]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison; `text` is an interpreter's label, a host's name, or a name for people."""

    kind: SideKind
    text: str
    run_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def narrowed(self, which: SeriesFilter) -> SeriesFilter:
        """The filter, narrowed to this side."""
        match self.kind:
            case "interpreter":
                return replace(which, interpreters=(self.text,))
            case "host":
                return replace(which, hosts=(self.text,))
            case "time":
                return replace(which, since=self.since, until=self.until)
        return which


@dataclass(frozen=True, slots=True)
class Compared:
    """A series on both sides: B took `ratio` times as long as A; `low` and `high` bound its 95 % interval.

    `basis` says which values the interval comes from, or why there is none. The medians are over the medians of the
    runs. `changed` has the facts that differ, without the compared one.
    """

    series: SeriesRow
    verdict: SpeedVerdict
    ratio: float
    low: float | None
    high: float | None
    a_median_ns: float
    b_median_ns: float
    a_runs: int
    b_runs: int
    basis: str
    changed: tuple[Changed, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The series that both sides have, the greatest differences first, and the number that only one side has.

    `limits` are those of both sides if they alone keep the sides from having a series in common.
    """

    rows: tuple[Compared, ...]
    only_a: int
    only_b: int
    limits: tuple[str, str] | None = None


_Groups = dict[tuple[object, ...], list[SummaryRow]]
# The place in a track where the three limits begin; the host's name comes after them.
_LIMITS = -4


def compare(history: History, a: Side, b: Side, which: SeriesFilter) -> Comparison:
    """Compare B with A in every series that both sides have.

    Series match if they have the same case, host, limits and minor release of the interpreter, or the same suite,
    backend, size class, host and limits, but for the compared fact. The medians of the newest 1,000 closed runs of each
    series on either side are read; these medians stay when the rows of a run are removed.
    """
    on_a = history.summaries(a.narrowed(which), run_id=a.run_id, limit=MOST_RUNS)
    on_b = history.summaries(b.narrowed(which), run_id=b.run_id, limit=MOST_RUNS)
    ours, theirs = _groups(on_a, a), _groups(on_b, b)
    # Each run is read once.
    read = cache(partial(_times_of_run, history))
    rows = [_compared(read, ours[key], theirs[key], a.kind) for key in ours if key in theirs]
    rows.sort(key=lambda row: (not row.verdict.is_difference, -abs(math.log(row.ratio))))
    limits = None if rows else _differing_limits(on_a, on_b)
    return Comparison(tuple(rows), len(ours.keys() - theirs.keys()), len(theirs.keys() - ours.keys()), limits)


def _differing_limits(a: Sequence[SummaryRow], b: Sequence[SummaryRow]) -> tuple[str, str] | None:
    """The limits of two series that differ in nothing else."""
    one, other = (
        {tuple(json.loads(row.series.track)[:_LIMITS]): str(row.covariates.get("limits")) for row in rows}
        for rows in (a, b)
    )
    return next(((one[key], other[key]) for key in one if other.get(key, one[key]) != one[key]), None)


def _groups(rows: Sequence[SummaryRow], side: Side) -> _Groups:
    groups: _Groups = defaultdict(list)
    for row in rows:
        if row.median_ns:
            groups[_key(row.series, side)].append(row)
    return groups


def _key(series: SeriesRow, side: Side) -> tuple[object, ...]:
    """The key by which series match: the track without the compared fact; hosts are compared whatever their limits."""
    track = json.loads(series.track)
    if side.kind == "host":
        return tuple(track[:_LIMITS])
    if side.kind == "interpreter":
        return (*track[:2], _variant(series, side.text), *track[3:])
    return tuple(track)


def _variant(series: SeriesRow, wanted: str) -> str:
    """`3.13t` stands for free-threaded builds with and without the GIL, and 3.10 for pypy's too: these stay apart."""
    label = series.interpreter or ""
    return "" if label == wanted else label.replace(series.interpreter_version or "", "", 1).removeprefix("t").strip()


def _compared(read: _Read, a: list[SummaryRow], b: list[SummaryRow], kind: SideKind) -> Compared:
    ratio, basis = _evidence(read, a, b)
    a.sort(key=lambda row: row.run_id)
    b.sort(key=lambda row: row.run_id)
    return Compared(
        b[-1].series,
        verdict_on_times(ratio),
        ratio.value,
        ratio.low,
        ratio.high,
        statistics.median(row.median_ns or 0 for row in a),
        statistics.median(row.median_ns or 0 for row in b),
        len({row.run_id for row in a}),
        len({row.run_id for row in b}),
        basis,
        changed(a, b, kind),
    )


# Times by the key that pairs them: a payload, or a round.
_Mates = Mapping[str, Sequence[int]]
# Gives the times of a run by series.
_Read = Callable[[int], Mapping[int, _Mates]]


def _times_of_run(history: History, run_id: int) -> Mapping[int, _Mates]:
    series: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for one in history.times(run_id):
        series[one.series_id][one.mate].append(one.wall_ns)
    return series


def _times(read: _Read, rows: Sequence[SummaryRow]) -> _Mates:
    """All times of these series in these runs; empty where they were removed."""
    times: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        for mate, walls in read(row.run_id).get(row.series.series_id, {}).items():
            times[mate] += walls
    return times


def _evidence(read: _Read, a: Sequence[SummaryRow], b: Sequence[SummaryRow]) -> tuple[Ratio, str]:
    """The ratio of B's times to A's, and the values that its interval rests on, in words.

    Runs that measured both sides make pairs, since the host's influence on both cancels out. Where there are too few
    runs for an interval of their medians, the rounds of such runs make pairs. Two single runs are compared by their
    rows, which says nothing about other runs.
    """
    ours, theirs = _by_run(a), _by_run(b)
    both = [run_id for run_id in ours if run_id in theirs]
    if len(both) >= MIN_PAIRS:
        return ratio_of_pairs([(ours[one], theirs[one]) for one in both]), f"{len(both)} runs of both"
    if min(len(ours), len(theirs)) >= MIN_PAIRS:
        words = f"{len(ours)} and {len(theirs)} runs"
        return ratio_of_medians([*ours.values()], [*theirs.values()]), words
    if both:
        found = _by_rounds(read, [row for row in a if row.run_id in both], [row for row in b if row.run_id in both])
    elif len(ours) == len(theirs) == 1:
        found = _by_rows(read, a, b)
    else:
        found = None, f"{len(ours)} and {len(theirs)} runs, of which 6 each are needed"
    ratio, words = found
    value = statistics.median(theirs.values()) / statistics.median(ours.values())
    return ratio or Ratio(value, None, None, 0), words


def _by_rounds(read: _Read, a: Sequence[SummaryRow], b: Sequence[SummaryRow]) -> tuple[Ratio | None, str]:
    pairs: list[tuple[float, float]] = []
    for run_id in dict.fromkeys(row.run_id for row in a):
        ours = _times(read, [row for row in a if row.run_id == run_id])
        theirs = _times(read, [row for row in b if row.run_id == run_id])
        pairs += _pairs(ours, theirs)
    if len(pairs) < MIN_PAIRS:
        return None, f"{len(pairs)} rounds on record, of which {MIN_PAIRS} are needed"
    return ratio_of_pairs(pairs), f"{len(pairs)} rounds of the same runs"


def _by_rows(read: _Read, a: Sequence[SummaryRow], b: Sequence[SummaryRow]) -> tuple[Ratio | None, str]:
    ours, theirs = _times(read, a), _times(read, b)
    a_walls, b_walls = _all(ours), _all(theirs)
    fewer = min(len(a_walls), len(b_walls))
    if a[0].series.kind == "encryption":
        pairs = _pairs(ours, theirs)
        # The same payloads on both sides: then their sizes are no part of the difference.
        if len(pairs) >= max(MIN_PAIRS, fewer / 2):
            return ratio_of_pairs(pairs), f"{len(pairs)} payloads that both have"
    if not fewer:
        return None, "the rows of a run were removed"
    words = f"{len(a_walls)} and {len(b_walls)} rows of one run each"
    if fewer < MIN_PAIRS:
        return None, f"{words}, of which {MIN_PAIRS} are needed"
    return ratio_of_medians(a_walls, b_walls), words


def _by_run(rows: Sequence[SummaryRow]) -> dict[int, float]:
    """The median of each run; over the medians where a run has several series, such as those of two patch releases."""
    medians: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        medians[row.run_id].append(row.median_ns or 0)
    return {run_id: statistics.median(own) for run_id, own in medians.items()}


def _pairs(a: _Mates, b: _Mates) -> list[tuple[float, float]]:
    return [pair for mate in a if mate in b for pair in zip(a[mate], b[mate], strict=False)]


def _all(times: _Mates) -> list[float]:
    return [wall for walls in times.values() for wall in walls]
