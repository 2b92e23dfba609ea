"""Steps in what was measured again and again: since when something takes longer or less."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from db.history import History, SeriesFilter
from db.rows import SeriesRow, TrendRow
from flows.analysis.changes import Change, find_changes
from flows.analysis.steps import RupturesMissing
from flows.report.blocks import Cell, Paragraph, Section, Table, columns
from flows.report.encryption import suite_label
from flows.report.figures import milliseconds, sizes_of, utc
from tasks.threads.estimates import MIN_PAIRS
from tasks.threads.wording import plural

_LEAST_STEP = 1.05
_LISTED = 100
# The time that finding steps takes grows with the square of the number of runs: 2 or 3 seconds for this sum.
_MOST_SQUARES = 800_000
_MOST_RUNS = 400


@dataclass(frozen=True, slots=True)
class Found:
    """Steps, newest first; of `series` with runs enough, `left` were not looked at. `missing` says what to install."""

    changes: tuple[Change, ...]
    series: int
    left: int
    missing: str = ""

    def steps(self) -> Mapping[int, Sequence[datetime]]:
        """When a series took on another level, by its id."""
        steps: dict[int, list[datetime]] = defaultdict(list)
        for one in self.changes:
            steps[one.series.series_id].append(one.started_at)
        return steps


def look_for_changes(history: History, which: SeriesFilter, rows: Sequence[TrendRow]) -> Found:
    """The steps of the series that may have one; encryptions first, then those that vary most.

    Args:
        history: the record.
        which: the time.
        rows: all series by day, in that time.
    """
    tracks: dict[str, list[TrendRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.started_at):
        if row.median_ns:
            tracks[row.series.track].append(row)
    long = [_newest(own) for own in tracks.values() if _runs(own) >= 2 * MIN_PAIRS]
    varying = [(own[0].series.kind, -spread, own) for own in long if (spread := _spread(own)) > _LEAST_STEP]
    varying.sort(key=lambda one: one[:2])
    changes: list[Change] = []
    squares = looked_at = 0
    try:
        for _, _, own in varying:
            squares += _runs(own) ** 2
            if squares > _MOST_SQUARES:
                break
            ids = sorted({row.series.series_id for row in own})
            since = max(which.since or own[0].started_at, own[0].started_at)
            changes += find_changes(history, replace(which, since=since, series_ids=ids))
            looked_at += 1
    except RupturesMissing as missing:
        return Found((), len(long), len(varying), str(missing))
    changes.sort(key=lambda one: (one.started_at, one.run_id), reverse=True)
    return Found(tuple(changes), len(long), len(varying) - looked_at)


def _newest(rows: Sequence[TrendRow]) -> Sequence[TrendRow]:
    """The last days that have no more runs than are looked through."""
    runs = 0
    for place in range(len(rows) - 1, -1, -1):
        runs += rows[place].runs
        if runs > _MOST_RUNS:
            return rows[place + 1 :] or rows[place:]
    return rows


def _runs(rows: Sequence[TrendRow]) -> int:
    return sum(row.runs for row in rows)


def _spread(rows: Sequence[TrendRow]) -> float:
    """About the greatest ratio that two levels in these days can have; 1.05 or less means that there is no step.

    A level is at least six runs, and can be cut into pieces of five to nine: so the level's median lies between the
    medians of its pieces, and these between the extremes of all such pieces. (Exactly so with a run a day.)
    """
    medians = [row.median_ns or 0 for row in rows]
    if max(medians) <= _LEAST_STEP * min(medians):
        return 1.0
    pieces = []
    for start in range(len(rows)):
        runs = 0
        for end in range(start, len(rows)):
            runs += rows[end].runs
            if runs >= 5:
                pieces.append(statistics.median(medians[start : end + 1]))
            if runs >= 9:
                break
    return max(pieces) / min(pieces)


def changes_section(found: Found) -> Section:
    """The steps as a table, with what changed at that point as far as the record knows."""
    title = "Changes"
    looked = (
        f"Looked at are the medians, run by run, of {found.series:,} series with at least {2 * MIN_PAIRS} runs, the "
        f"newest {_MOST_RUNS} runs of each."
    )
    if found.missing:
        return Section(title, (Paragraph(f"Not looked for: {found.missing.replace(chr(39), '`')}."),))
    if found.left:
        looked += (
            f" {found.left:,} of them vary, but less than those looked through here: `threadmill history changes` "
            "takes the time for all."
        )
    if not found.changes:
        return Section(title, (Paragraph(f"{looked} No step of more than 5 % is shown."),))
    table = Table(
        f"Steps, newest first: {len(found.changes):,}",
        columns("since run", "started", "series", "host", "#ratio of times", "#95 % interval", "is",
                "what changed then", "#before, ms", "#after, ms", "#runs before", "#runs after"),
        tuple(map(_cells, found.changes[:_LISTED])),
    )  # fmt: skip
    more = f" Listed are the newest {_LISTED}." if len(found.changes) > _LISTED else ""
    return Section(title, (Paragraph(f"{looked} {_HOW_TO_READ}{more}"), table))


def _cells(one: Change) -> tuple[Cell, ...]:
    bounds = None if one.low is None or one.high is None else f"{one.low:.2f} to {one.high:.2f}"
    return (
        str(one.run_id), utc(one.started_at), series_name(one.series), one.series.host, f"{one.ratio:.2f}", bounds,
        one.verdict, ", ".join(map(str, one.changed)) or "nothing known", milliseconds(one.before_median_ns),
        milliseconds(one.after_median_ns), one.before_runs, one.after_runs,
    )  # fmt: skip


def series_name(series: SeriesRow) -> str:
    """A series in few words."""
    if series.kind == "encryption":
        return f"{suite_label(series.suite or '')}, {series.backend}, {sizes_of(series.size_class or 0)}"
    axes = (series.experiment, series.workload, series.executor, series.shape, series.guard)
    return f"{' '.join(axis for axis in axes if axis)}, {plural(series.workers or 1, 'worker')}, {series.interpreter}"


_HOW_TO_READ = (
    "A step is a change of level of more than 5 %, with at least six runs on either side and the whole interval beyond "
    "5 %. What changed at that point is what the record knows to differ; it need not be the cause."
)
