"""Changes: steps in the per-run medians of a series, and everything on record that changed at that point.

The steps are the levels that fit the medians best at a price per step. numpy is imported only to look for them.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from itertools import pairwise
from types import ModuleType

from db.answers import MedianRow, SeriesRow, SummaryRow
from db.history import History, SeriesFilter
from flows.analysis.intervals import (
    LEAST_DIFFERENCE,
    MIN_PAIRS,
    Ratio,
    SpeedVerdict,
    ratio_of_medians,
    verdict_on_times,
)
from flows.errors import NumpyMissing

# The number of newest runs of a series that are read: older ones say no more about now, and take longer to read.
MOST_RUNS = 1000
# The number of runs on either side of a step whose facts are compared.
_NEAR = 5
# The begin of the level before a step, the step, the end of the level after it, and the ratio of both levels.
_Finding = tuple[int, int, int, Ratio]
# The least number of values of a level. Measured with this and the penalty below, with 5 % outliers in the data: 80 of
# 80 planted steps of 12 % are found, and 0.03 steps per series without one.
LEAST_VALUES = 5
_PENALTY = 3
_NORMAL = 1.4826
# A lower bound, as a share of the median, for series in which most differences are 0: smaller steps do not count.
_LEAST_SPREAD = 0.001
# The names of facts: in a summary, and for people.
_NAMES = {
    "backend": "backend",
    "interpreter": "interpreter",
    "workload": "workload version",
    "host": "host facts",
    "limits": "limits",
    "kernel": "kernel",
    "cpus": "CPUs",
    "governor": "governor",
    "frequency": "MHz",
    "virtualisation": "virtualisation",
    "container": "container",
    "memory": "memory limit",
    "stolen": "steal",
    "throttled": "throttled",
    "code": "threadmill",
}


@dataclass(frozen=True, slots=True)
class Changed:
    """A fact that differs before and after."""

    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.what} {self.before} → {self.after}"


@dataclass(frozen=True, slots=True)
class Change:
    """A step: from the run `run_id` on, a series took `ratio` times as long as before.

    `low` and `high` bound the 95 % interval of `ratio`. The medians are over the medians of the `before_runs` and
    `after_runs` runs between this step and its neighbours. `changed` has the facts that changed at that point:
    interpreter, backend, host, workload, code. It is empty if none is known.
    """

    series: SeriesRow
    started_at: datetime
    run_id: int
    verdict: SpeedVerdict
    ratio: float
    low: float | None
    high: float | None
    before_median_ns: float
    after_median_ns: float
    before_runs: int
    after_runs: int
    changed: tuple[Changed, ...]


def find_changes(history: History, which: SeriesFilter) -> list[Change]:
    """Find every step of more than 5 % in the newest 1,000 runs of the series that match, newest first.

    Successive series that differ only in the interpreter's patch release, the workload's version or the host's facts
    count as one series, because such a change may be the cause of a step. Raises `NumpyMissing` without that extra.
    """
    found = [
        _change(edges, rows)
        for medians in _tracks(history.medians(which, limit=MOST_RUNS))
        if (findings := _findings([row.median_ns for row in medians]))
        for rows in [_summaries(history, which, medians)]
        for edges in findings
    ]
    return sorted(found, key=lambda one: one.run_id, reverse=True)


def _summaries(history: History, which: SeriesFilter, medians: Sequence[MedianRow]) -> list[SummaryRow]:
    """The summaries of these runs, which have their facts; read only for the few tracks that have a step."""
    ids = sorted({row.series.series_id for row in medians})
    rows = history.summaries(replace(which, since=min(row.started_at for row in medians), series_ids=ids))
    known = {(row.series.series_id, row.run_id): row for row in rows}
    return [known[row.series.series_id, row.run_id] for row in medians]


def _change(edges: _Finding, rows: Sequence[SummaryRow]) -> Change:
    begin, step, end, ratio = edges
    before, after = rows[begin:step], rows[step:end]
    return Change(
        after[0].series,
        after[0].started_at,
        after[0].run_id,
        verdict_on_times(ratio),
        ratio.value,
        ratio.low,
        ratio.high,
        _middle(before),
        _middle(after),
        len(before),
        len(after),
        changed(before[-_NEAR:], after[:_NEAR]),
    )


def _findings(medians: Sequence[float]) -> list[_Finding]:
    """The steps whose interval shows a difference.

    A step without a difference is dropped, the weakest first, and the levels on its two sides become one.
    """

    # All but two are the same as in the round before.
    @cache
    def ratio_at(begin: int, step: int, end: int) -> Ratio:
        return ratio_of_medians(medians[begin:step], medians[step:end])

    steps = find_steps(medians) if may_differ(medians, MIN_PAIRS, 1 + LEAST_DIFFERENCE) else []
    while True:
        edges = [0, *steps, len(medians)]
        found = [(*place, ratio_at(*place)) for place in zip(edges, edges[1:], edges[2:], strict=False)]
        weak = [
            (abs(math.log(ratio.value)), step)
            for _, step, _, ratio in found
            if not verdict_on_times(ratio).is_difference
        ]
        if not weak:
            return found
        steps.remove(min(weak)[1])


def _tracks(rows: Sequence[MedianRow]) -> Iterator[list[MedianRow]]:
    """The runs of each track in order; where a run has two series of a track, each series is a track of its own."""
    tracks: dict[str, list[MedianRow]] = defaultdict(list)
    for row in rows:
        if row.median_ns:
            tracks[row.series.track].append(row)
    for track in tracks.values():
        parts: dict[int, list[MedianRow]] = defaultdict(list)
        apart = len({row.run_id for row in track}) < len(track)
        for row in track:
            parts[row.series.series_id if apart else 0].append(row)
        for part in parts.values():
            yield sorted(part, key=lambda row: row.run_id)[-MOST_RUNS:]


def _middle(rows: Sequence[SummaryRow]) -> float:
    return statistics.median(row.median_ns or 0 for row in rows)


def changed(before: Sequence[SummaryRow], after: Sequence[SummaryRow], apart_from: str = "") -> tuple[Changed, ...]:
    """The facts that differ between most runs before and most runs after, without the one that is compared."""
    found = []
    for key, name in _NAMES.items():
        one, other = _usual(before, key), _usual(after, key)
        if one != other and key != apart_from:
            found.append(Changed(name, one, other))
    return tuple(found)


def _usual(rows: Sequence[SummaryRow], key: str) -> str:
    """The most frequent value; the latest one of equally frequent values."""
    counts = Counter(str(row.covariates[key]) for row in rows if row.covariates.get(key) is not None)
    latest = [str(row.covariates.get(key)) for row in rows]
    return max(counts, key=lambda value: (counts[value], len(latest) - latest[::-1].index(value)), default="unknown")


def find_steps(values: Sequence[float]) -> list[int]:
    """The positions of the first value of each new level, in order."""
    if len(values) < 2 * LEAST_VALUES:
        return []
    differences = [after - before for before, after in pairwise(values)]
    middle = statistics.median(differences)
    spread = _NORMAL * statistics.median(abs(one - middle) for one in differences)
    spread = max(spread, _LEAST_SPREAD * abs(statistics.median(values)), math.ulp(1))
    return cheapest_steps(values, _PENALTY * math.log(len(values)) * spread)


def may_differ(values: Sequence[float], least: int, factor: float) -> bool:
    """Whether two levels of `least` values or more can have medians that differ by that factor.

    Answers for most series that keep their level, in a tenth of the time that looking for steps takes. A level can be
    cut into pieces of `least` to `2 * least - 1` values; its median lies between those of its pieces, and these lie
    between the extremes of all such pieces.
    """
    if len(values) < 2 * least:
        return False
    np = _numpy()
    lowest, highest = math.inf, 0.0
    for length in range(least, 2 * least):
        # Both middles where there are two.
        middles = sorted({(length - 1) // 2, length // 2})
        pieces = np.lib.stride_tricks.sliding_window_view(np.asarray(values, dtype=float), length)
        medians = np.partition(pieces, middles, axis=1)
        lowest, highest = min(lowest, medians[:, middles[0]].min()), max(highest, medians[:, middles[-1]].max())
    return bool(highest > factor * lowest)


def cheapest_steps(values: Sequence[float], penalty: float) -> list[int]:
    """The steps for which absolute deviations from all levels, and the penalty per step, add up to the least.

    A level has at least `LEAST_VALUES` values. What PELT looks for, exactly and in 20 ms for 1,000 values: a level's
    best height is one of the values, so that all heights are carried along at once, each with the cheapest place at
    which a level of that height can have begun.
    """
    np = _numpy()
    series = np.asarray(values, dtype=float)
    heights = np.unique(series)
    # By height: what the values up to here cost if the last level has it, and where that level began.
    costs = np.full(len(heights), math.inf)
    begins = np.zeros(len(heights), dtype=int)
    # By number of values: what they cost at the least, and where the last level begins then.
    least, last = [math.inf] * (len(series) + 1), [0] * (len(series) + 1)
    least[0] = -penalty
    deviations = np.zeros((LEAST_VALUES, len(heights)))
    for end, value in enumerate(series, 1):
        deviation = deviations[end % LEAST_VALUES] = np.abs(heights - value)
        costs += deviation
        if end < LEAST_VALUES:
            continue
        fresh = least[end - LEAST_VALUES] + penalty + deviations.sum(axis=0)
        cheaper = fresh < costs
        costs[cheaper] = fresh[cheaper]
        begins[cheaper] = end - LEAST_VALUES
        best = costs.argmin()
        least[end], last[end] = float(costs[best]), int(begins[best])
    steps = []
    end = len(series)
    while end := last[end]:
        steps.append(end)
    return steps[::-1]


def _numpy() -> ModuleType:
    try:
        import numpy as np
    except ModuleNotFoundError:
        raise NumpyMissing from None
    return np
