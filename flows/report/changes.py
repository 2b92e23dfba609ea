"""Steps in what was measured again and again: since when something takes longer or less."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from db.history import History, SeriesFilter
from db.rows import SeriesRow, TrendRow
from flows.analysis.changes import MOST_RUNS, Change, find_changes
from flows.analysis.intervals import MIN_PAIRS
from flows.errors import NumpyMissing
from flows.report.blocks import Cell, Paragraph, Section, Table, columns
from flows.report.encryption import suite_label
from flows.text import milliseconds, plural, sizes_of, utc

_LISTED = 100


@dataclass(frozen=True, slots=True)
class Found:
    """Steps, newest first, of the `series` with runs enough. `missing` says what to install."""

    changes: tuple[Change, ...]
    series: int
    missing: str = ""

    def steps(self) -> Mapping[int, Sequence[datetime]]:
        """When a series took on another level, by its id."""
        steps: dict[int, list[datetime]] = defaultdict(list)
        for one in self.changes:
            steps[one.series.series_id].append(one.started_at)
        return steps


def look_for_changes(history: History, which: SeriesFilter, rows: Sequence[TrendRow]) -> Found:
    """The steps of all series.

    Args:
        history: the record.
        which: the time.
        rows: all series by day, in that time.
    """
    runs: Counter[str] = Counter()
    for row in rows:
        if row.median_ns:
            runs[row.series.track] += row.runs
    series = sum(count >= 2 * MIN_PAIRS for count in runs.values())
    try:
        return Found(tuple(find_changes(history, which)), series)
    except NumpyMissing as missing:
        return Found((), series, str(missing))


def changes_section(found: Found) -> Section:
    """The steps as a table, with what changed at that point as far as the record knows."""
    title = "Changes"
    looked = (
        f"Looked at are the medians, run by run, of {found.series:,} series with at least {2 * MIN_PAIRS} runs, the "
        f"newest {MOST_RUNS:,} runs of each."
    )
    if found.missing:
        return Section(title, (Paragraph(f"Not looked for: {found.missing.replace(chr(39), '`')}."),))
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
        way = f"{series.backend}{', kept' * series.kept}"
        return f"{suite_label(series.suite or '')}, {way}, {sizes_of(series.size_class or 0)}"
    axes = (series.experiment, series.workload, series.executor, series.shape, series.guard)
    return f"{' '.join(axis for axis in axes if axis)}, {plural(series.workers or 1, 'worker')}, {series.interpreter}"


_HOW_TO_READ = (
    "A step is a change of level of more than 5 %, with at least six runs on either side and the whole interval beyond "
    "5 %. What changed at that point is what the record knows to differ; it need not be the cause."
)
