"""The report over a time: what happened run after run from summaries, and raw rows only of what is shown by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from db.history import RUN_FAILURES, History, PayloadFilter, SampleFilter, SeriesFilter
from db.rows import PayloadRow, RunRow, SampleRow, TrendRow
from flows.analysis.intervals import MIN_PAIRS
from flows.report.blocks import Paragraph, Section
from flows.report.changes import changes_section, look_for_changes
from flows.report.contents import experiment_sections, without_plots
from flows.report.failures import LISTED, failures_over_time
from flows.report.latest import SURVEY
from flows.report.plots import why_no_plots
from flows.report.speedups import COMPARED
from flows.report.speedups_over_time import speedups_over_time_section
from flows.report.stages import stages_section
from flows.report.summary import summary_over_time
from flows.report.throughput import throughput_section
from flows.report.vaults import vault_sections
from flows.text import utc

# Enough for shares that stay the same when more are read.
_PAYLOADS_READ = 200
# Among so many newest runs of a series is one with rounds enough, or there is hardly any.
_RUNS_RANKED = 30


def over_time(history: History, since: datetime, until: datetime | None, *, made_at: datetime) -> tuple[Section, ...]:
    """All sections about what started from `since` on and before `until`."""
    which = SeriesFilter(since=since, until=until)
    runs = history.runs(limit=None, since=since, until=until)
    days = history.trend(which, limit=None)
    span = f"about what started from {utc(since)} to {utc(until or made_at)}"
    summary = _summary(runs, days, span, made_at, history.where)
    if not (runs or days):
        return (summary,)
    found = look_for_changes(history, which, days)
    samples = _samples_shown(history, which, runs)
    sections = [
        throughput_section([row for row in days if not _of_sample(row)], found.steps()),
        stages_section([*_payloads_shown(history, since, until, days)]),
        *filter(None, [speedups_over_time_section([row for row in days if _of_sample(row)], COMPARED)]),
    ]
    kept = [*vault_sections(history, runs, since, until, made_at=made_at)]
    if missing := why_no_plots():
        said = [] if samples else [Section("Plots", (Paragraph(missing),))]
        sections, kept = [*said, *map(without_plots, sections)], [*map(without_plots, kept)]
    return (
        summary,
        *kept,
        *sections,
        changes_section(found),
        *experiment_sections(samples, runs),
        failures_over_time(history.failures(which, limit=LISTED), _failure_counts(runs, days)),
    )


def _of_sample(row: TrendRow) -> bool:
    return row.series.kind == "sample"


def _rows(row: TrendRow) -> int:
    return row.n + row.failed + row.noisy


def _summary(runs: Sequence[RunRow], days: Sequence[TrendRow], span: str, made_at: datetime, where: str) -> Section:
    payloads = sum(_rows(row) for row in days if not _of_sample(row))
    samples = sum(_rows(row) for row in days if _of_sample(row))
    return summary_over_time(runs, payloads, samples, span=span, made_at=made_at, where=where)


def _failure_counts(runs: Sequence[RunRow], days: Sequence[TrendRow]) -> str:
    payloads = sum(row.failed for row in days if not _of_sample(row))
    samples = sum(row.failed for row in days if _of_sample(row))
    failed = sum(run.status in RUN_FAILURES for run in runs)
    return f"Failed in this time: runs {failed:,}, payloads {payloads:,}, samples {samples:,}."


def _payloads_shown(
    history: History, since: datetime, until: datetime | None, days: Sequence[TrendRow]
) -> Iterator[PayloadRow]:
    """The newest of each suite and backend."""
    chains = {(row.series.suite or "", row.series.backend or "") for row in days if not _of_sample(row)}
    for suite, backend in sorted(chains):
        yield from history.payloads(
            PayloadFilter(since=since, until=until, suites=(suite,), backends=(backend,)), limit=_PAYLOADS_READ
        )


def _samples_shown(history: History, which: SeriesFilter, runs: Sequence[RunRow]) -> list[SampleRow]:
    """All samples of the runs that `latest_per_interpreter` would choose from all runs, and of few others.

    Whatever run it takes for an interpreter is the best run of the series that has most rounds there.
    """
    known = {run.id: run for run in runs}
    best: dict[int, tuple[bool, bool, datetime, int]] = {}
    for row in history.trend(which, by="run", limit=_RUNS_RANKED):
        run = known.get(row.run_id or 0)
        if _of_sample(row) and run is not None:
            rank = (run.flow != SURVEY, _rows(row) >= MIN_PAIRS, row.started_at, run.id)
            series_id = row.series.series_id
            best[series_id] = max(best.get(series_id, rank), rank)
    shown = sorted({run_id for *_, run_id in best.values()})
    return [row for run_id in shown for row in history.samples(SampleFilter(run_id=run_id), limit=None)]
