"""Comparisons: two runs, interpreters, hosts or times, series by series."""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from db.answers import SeriesRow, SummaryRow
from db.history import History, SeriesFilter
from flows.analysis.blame import Changed, changed
from flows.analysis.changes import MOST_RUNS
from flows.analysis.evidence import RawTimes, evidence
from flows.analysis.intervals import Verdict, verdict

SideKind = Literal["run", "interpreter", "host", "time"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared; `text` is what it was asked for by: a label, a host's name, or for people."""

    kind: SideKind
    text: str
    run_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def narrowed(self, which: SeriesFilter) -> SeriesFilter:
        """The filter, kept to this side."""
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

    `basis` says what the interval comes from, or why there is none. The medians are of the medians of the runs. Of
    `changed`, what is compared is left out.
    """

    series: SeriesRow
    verdict: Verdict
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
    """What both sides have, the greatest differences first, and how many series only one of them has."""

    rows: tuple[Compared, ...]
    only_a: int
    only_b: int


# What is compared is no news in `changed`.
_COMPARED = {"run": (), "time": (), "interpreter": ("interpreter",), "host": ("host",)}
_Groups = dict[tuple[object, ...], list[SummaryRow]]


def compare(history: History, a: Side, b: Side, which: SeriesFilter) -> Comparison:
    """B against A, wherever the same was measured on both sides.

    The same is: the case, the host and the minor release of the interpreter, or suite, backend, size class and host;
    but for what is compared. It rests on the medians of closed runs, which stay when their rows are removed; of each
    series on either side on those of the newest 1,000.
    """
    ours = _groups(history.summaries(a.narrowed(which), run_id=a.run_id, limit=MOST_RUNS), a)
    theirs = _groups(history.summaries(b.narrowed(which), run_id=b.run_id, limit=MOST_RUNS), b)
    times = RawTimes(history)
    rows = [_compared(times, ours[key], theirs[key], _COMPARED[a.kind]) for key in ours if key in theirs]
    rows.sort(key=lambda row: (not row.verdict.is_difference, -abs(math.log(row.ratio))))
    return Comparison(tuple(rows), len(ours.keys() - theirs.keys()), len(theirs.keys() - ours.keys()))


def _groups(rows: Sequence[SummaryRow], side: Side) -> _Groups:
    groups: _Groups = defaultdict(list)
    for row in rows:
        if row.median_ns:
            groups[_key(row.series, side)].append(row)
    return groups


def _key(series: SeriesRow, side: Side) -> tuple[object, ...]:
    """What must be the same on both sides: the track without what is compared, which stands third or last in it."""
    track = json.loads(series.track)
    if side.kind == "host":
        return tuple(track[:-1])
    if side.kind == "interpreter":
        return (*track[:2], _variant(series, side.text), *track[3:])
    return tuple(track)


def _variant(series: SeriesRow, wanted: str) -> str:
    """`3.13t` stands for free-threaded builds with and without the GIL, and 3.10 for pypy's too: these stay apart."""
    label = series.interpreter or ""
    return "" if label == wanted else label.replace(series.interpreter_version or "", "", 1).removeprefix("t").strip()


def _compared(times: RawTimes, a: list[SummaryRow], b: list[SummaryRow], compared: Sequence[str]) -> Compared:
    ratio, basis = evidence(times, a, b)
    a.sort(key=lambda row: row.started_at)
    b.sort(key=lambda row: row.started_at)
    return Compared(
        b[-1].series,
        verdict(ratio),
        ratio.value,
        ratio.low,
        ratio.high,
        statistics.median(row.median_ns or 0 for row in a),
        statistics.median(row.median_ns or 0 for row in b),
        len({row.run_id for row in a}),
        len({row.run_id for row in b}),
        basis,
        changed(a, b, compared),
    )
