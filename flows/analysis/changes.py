"""Changes: steps in the per-run medians of a series, and everything on record that changed at that point."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

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
from flows.analysis.steps import find_steps, may_differ

# The number of newest runs of a series that are read: older ones say no more about now, and take longer to read.
MOST_RUNS = 1000
# The number of runs on either side of a step whose facts are compared.
_NEAR = 5
# The begin of the level before a step, the step, the end of the level after it, and the ratio of both levels.
_Finding = tuple[int, int, int, Ratio]
# The names of facts: in a summary, and for people.
_NAMES = {
    "backend": "backend",
    "interpreter": "interpreter",
    "workload": "workload version",
    "host": "host facts",
    "kernel": "kernel",
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
    count as one series, because such a change may be the cause of a step.

    Raises:
        NumpyMissing: the extra that finds steps is not installed.
    """
    found = [
        _change(edges, rows)
        for medians in _tracks(history.medians(which, limit=MOST_RUNS))
        if (findings := _findings([row.median_ns for row in medians]))
        for rows in [_summaries(history, which, medians)]
        for edges in findings
    ]
    return sorted(found, key=lambda one: (one.started_at, one.run_id), reverse=True)


def _summaries(history: History, which: SeriesFilter, medians: Sequence[MedianRow]) -> list[SummaryRow]:
    """The summaries of these runs, which have their facts; read only for the few tracks that have a step."""
    ids = sorted({row.series.series_id for row in medians})
    rows = history.summaries(replace(which, since=medians[0].started_at, series_ids=ids))
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
    steps = find_steps(medians) if may_differ(medians, MIN_PAIRS, 1 + LEAST_DIFFERENCE) else []
    ratios: dict[tuple[int, int, int], Ratio] = {}
    while True:
        edges = [0, *steps, len(medians)]
        places = [*zip(edges, edges[1:], edges[2:], strict=False)]
        for begin, step, end in places:
            # All but two are the same as in the round before.
            if (begin, step, end) not in ratios:
                ratios[begin, step, end] = ratio_of_medians(medians[begin:step], medians[step:end])
        found = [(*place, ratios[place]) for place in places]
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
            yield sorted(part, key=lambda row: (row.started_at, row.run_id))[-MOST_RUNS:]


def _middle(rows: Sequence[SummaryRow]) -> float:
    return statistics.median(row.median_ns or 0 for row in rows)


def changed(
    before: Sequence[SummaryRow], after: Sequence[SummaryRow], apart_from: Iterable[str] = ()
) -> tuple[Changed, ...]:
    """The facts that differ between most runs before and most runs after."""
    found = []
    for key, name in _NAMES.items():
        one, other = _usual(before, key), _usual(after, key)
        if one != other and key not in apart_from:
            found.append(Changed(name, one, other))
    return tuple(found)


def _usual(rows: Sequence[SummaryRow], key: str) -> str:
    """The most frequent value; the latest one of equally frequent values."""
    counts = Counter(str(row.covariates[key]) for row in rows if row.covariates.get(key) is not None)
    latest = [str(row.covariates.get(key)) for row in rows]
    return max(counts, key=lambda value: (counts[value], len(latest) - latest[::-1].index(value)), default="unknown")
