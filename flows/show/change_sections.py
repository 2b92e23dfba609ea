"""Failures and changes in the report: everything that went wrong by name, and steps in what is measured repeatedly."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from db.answers import FailureRow, TrendRow
from db.history import History, SeriesFilter
from db.rows import PayloadRow, RunRow, SampleRow
from db.words import PAYLOAD_FAILURES, RUN_FAILURES, SAMPLE_FAILURES
from flows.analysis.changes import MOST_RUNS, Change, find_changes
from flows.analysis.intervals import MIN_PAIRS
from flows.errors import NumpyMissing
from flows.show.series_tables import CHANGES, said_once
from flows.show.table import Block, Paragraph, Section, TableOf
from flows.show.tables import FAILURES, PAYLOADS, RUNS, SAMPLES

Row = TypeVar("Row")
Ordered = TypeVar("Ordered", PayloadRow, SampleRow)

# A page that people read; a query gives all.
LISTED: Final = 200
_CHANGES_LISTED = 100


def failures_section(runs: Sequence[RunRow], payloads: Sequence[PayloadRow], samples: Sequence[SampleRow]) -> Section:
    """A table for each kind of failure that there is, newest first."""
    blocks = (
        *_listed(
            PAYLOADS,
            "Payloads that failed",
            [row for row in _newest(payloads) if row.status in PAYLOAD_FAILURES],
            ("started", "bytes", "stages", "time"),
        ),
        *_listed(
            SAMPLES,
            "Samples that failed",
            [row for row in _newest(samples) if row.outcome in SAMPLE_FAILURES],
            ("started", "time", "noisy"),
        ),
        *_listed(
            RUNS,
            "Runs that did not complete",
            sorted((run for run in runs if run.status in RUN_FAILURES), key=_start, reverse=True),
            ("via", "deployment", "took"),
        ),
    )
    return Section("Failures", blocks or (Paragraph("None among the runs, payloads and samples of this report."),))


def failures_over_time(rows: Sequence[FailureRow], counts: str) -> Section:
    """The failures of all kinds, newest first; `counts` says how many there were, listed or not."""
    if not rows:
        return Section("Failures", (Paragraph(f"{counts} None is on record by name."),))
    more = f" Listed are the newest {LISTED}; `threadmill history failures` lists all." if len(rows) == LISTED else ""
    table = FAILURES.fill(rows, f"Failures, newest first: {len(rows):,}")
    return Section("Failures", (Paragraph(counts + more), table))


def _start(run: RunRow) -> tuple[datetime, int]:
    return run.started_at, run.id


def _newest(rows: Iterable[Ordered]) -> list[Ordered]:
    return sorted(rows, key=lambda row: (-row.run_id, row.ordinal))


def _listed(table: TableOf[Row], title: str, rows: Sequence[Row], without: Sequence[str]) -> tuple[Block, ...]:
    if not rows:
        return ()
    filled = table.fill(rows[:LISTED], f"{title}: {len(rows):,}", without=without)
    if len(rows) <= LISTED:
        return (filled,)
    return filled, Paragraph(f"The newest {LISTED} of {len(rows):,}; `threadmill history` lists all.")


@dataclass(frozen=True, slots=True)
class StepsFound:
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


def look_for_changes(history: History, which: SeriesFilter, rows: Sequence[TrendRow]) -> StepsFound:
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
        return StepsFound(tuple(find_changes(history, which)), series)
    except NumpyMissing as missing:
        return StepsFound((), series, str(missing))


def changes_section(found: StepsFound) -> Section:
    """The steps as a table, with everything that changed at that point as far as the record knows."""
    title = "Changes"
    looked = (
        f"Looked at are the medians, run by run, of {found.series:,} series with at least {2 * MIN_PAIRS} runs, the "
        f"newest {MOST_RUNS:,} runs of each."
    )
    if found.missing:
        return Section(title, (Paragraph(f"Not looked for: {found.missing.replace(chr(39), '`')}."),))
    if not found.changes:
        return Section(title, (Paragraph(f"{looked} No step of more than 5 % is shown."),))
    shown = found.changes[:_CHANGES_LISTED]
    more = f" Listed are the newest {_CHANGES_LISTED}." if len(found.changes) > _CHANGES_LISTED else ""
    without = said_once(one.series for one in shown)
    table = CHANGES.fill(shown, f"Steps, newest first: {len(found.changes):,}", without=without)
    return Section(title, (Paragraph(f"{looked} {_ABOUT_CHANGES}{more}"), table))


_ABOUT_CHANGES = (
    "A step is a change of level of more than 5 %, with at least six runs on either side and the whole interval beyond "
    "5 %. What changed at that point is what the record knows to differ; it need not be the cause."
)
