"""What a ratio of two groups of runs rests on: their medians, or single times where runs are too few."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from db.answers import SummaryRow
from db.history import History
from flows.analysis.intervals import Ratio, ratio_of_medians, ratio_of_pairs
from tasks.threads.estimates import MIN_PAIRS

# Times by what pairs them.
_Mates = Mapping[str, Sequence[int]]


class RawTimes:
    """Single times of series in runs, each run read once."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._runs: dict[int, dict[int, dict[str, list[int]]]] = {}

    def of(self, rows: Sequence[SummaryRow]) -> _Mates:
        """All times of these series in these runs; empty where they were removed."""
        times: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            for mate, walls in self._run(row.run_id).get(row.series.series_id, {}).items():
                times[mate] += walls
        return times

    def _run(self, run_id: int) -> dict[int, dict[str, list[int]]]:
        if run_id not in self._runs:
            series: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
            for one in self._history.times(run_id):
                series[one.series_id][one.mate].append(one.wall_ns)
            self._runs[run_id] = series
        return self._runs[run_id]


def evidence(times: RawTimes, a: Sequence[SummaryRow], b: Sequence[SummaryRow]) -> tuple[Ratio, str]:
    """How B's times are to A's, and what the interval rests on, in words.

    Runs that measured both make pairs, since what the host did to both cancels out. Where runs are too few for an
    interval of their medians, the rounds of such runs do; and two single runs are compared by their rows, which says
    nothing about other runs of the same.
    """
    ours, theirs = _by_run(a), _by_run(b)
    both = [run_id for run_id in ours if run_id in theirs]
    if len(both) >= MIN_PAIRS:
        return ratio_of_pairs([(ours[one], theirs[one]) for one in both]), f"{len(both)} runs of both"
    if min(len(ours), len(theirs)) >= MIN_PAIRS:
        words = f"{len(ours)} and {len(theirs)} runs"
        return ratio_of_medians([*ours.values()], [*theirs.values()]), words
    if both:
        found = _by_rounds(times, [row for row in a if row.run_id in both], [row for row in b if row.run_id in both])
    elif len(ours) == len(theirs) == 1:
        found = _by_rows(times, a, b)
    else:
        found = None, f"{len(ours)} and {len(theirs)} runs, of which 6 each are needed"
    ratio, words = found
    value = statistics.median(theirs.values()) / statistics.median(ours.values())
    return ratio or Ratio(value, None, None, 0), words


def _by_rounds(times: RawTimes, a: Sequence[SummaryRow], b: Sequence[SummaryRow]) -> tuple[Ratio | None, str]:
    pairs: list[tuple[float, float]] = []
    for run_id in dict.fromkeys(row.run_id for row in a):
        ours = times.of([row for row in a if row.run_id == run_id])
        theirs = times.of([row for row in b if row.run_id == run_id])
        pairs += _pairs(ours, theirs)
    if len(pairs) < MIN_PAIRS:
        return None, f"{len(pairs)} rounds on record, of which {MIN_PAIRS} are needed"
    return ratio_of_pairs(pairs), f"{len(pairs)} rounds of the same runs"


def _by_rows(times: RawTimes, a: Sequence[SummaryRow], b: Sequence[SummaryRow]) -> tuple[Ratio | None, str]:
    ours, theirs = times.of(a), times.of(b)
    if a[0].series.kind == "encryption":
        pairs = _pairs(ours, theirs)
        # The same payloads on both sides: then their sizes are no part of the difference.
        if len(pairs) >= max(MIN_PAIRS, min(_count(ours), _count(theirs)) / 2):
            return ratio_of_pairs(pairs), f"{len(pairs)} payloads that both have"
    fewer = min(_count(ours), _count(theirs))
    if not fewer:
        return None, "the rows of a run were removed"
    words = f"{_count(ours)} and {_count(theirs)} rows of one run each"
    if fewer < MIN_PAIRS:
        return None, f"{words}, of which {MIN_PAIRS} are needed"
    return ratio_of_medians(_all(ours), _all(theirs)), words


def _by_run(rows: Sequence[SummaryRow]) -> dict[int, float]:
    """The median of each run; where it has several series of the kind, such as two patch releases, that of theirs."""
    medians: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        medians[row.run_id].append(row.median_ns or 0)
    return {run_id: statistics.median(own) for run_id, own in medians.items()}


def _pairs(a: _Mates, b: _Mates) -> list[tuple[float, float]]:
    return [pair for mate in a if mate in b for pair in zip(a[mate], b[mate], strict=False)]


def _all(times: _Mates) -> list[float]:
    return [wall for walls in times.values() for wall in walls]


def _count(times: _Mates) -> int:
    return sum(map(len, times.values()))
