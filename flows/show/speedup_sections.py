"""Speed-ups in the report: what executors gave, where their time went, and speed-ups over time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from db.answers import TrendRow
from db.rows import SampleRow
from flows.analysis.findings import SpeedupFinding
from flows.analysis.intervals import Ratio, median, verdict_on_speedup
from flows.analysis.samples import Measured, by_case, position, version_numbers
from flows.analysis.sentences import executor_label, speedup_sentences
from flows.show.finding_tables import SPEEDUPS, Result
from flows.show.plots.bars import CellState, HeatCell, HeatMap, Scale, TimeBar, TimeChart
from flows.show.plots.lines import Curve, Line, LineChart, LinePanel, Moment, ScalingChart, ScalingPanel
from flows.show.table import Block, Column, Paragraph, Plot, Section, Sentences, Table, TableOf, table_of
from flows.text import day, factor, if_known, milliseconds, percent, visible
from tasks.axes import Executor, Experiment, Outcome, Workload

# The workloads whose speed-up is shown over workers: they compute all the time, or wait all the time.
SCALING = tuple(one for one in Workload if one.cpu_bound or one is Workload.WAIT)
# The book's select returns at once, so there is nothing to speed up; `book_section` says so.
COMPARED = tuple(one for one in Workload if one is not Workload.WAIT_BOOK)
Way = tuple[Executor, int]
# Workload and interpreter, its patch release left out.
_Key = tuple[str, str]


SpeedupResult = Result[SpeedupFinding]


def _by_way(workload: Workload, result: SpeedupResult) -> dict[Way, SpeedupFinding]:
    """The findings about a workload by executor and workers, serial first."""
    return {(one.executor, one.workers): one for one in result.findings if one.workload is workload}


def speedup_sections(results: Sequence[SpeedupResult]) -> Iterator[Section]:
    """Each workload across interpreters, then each interpreter across workloads; nothing without results."""
    if not results:
        return
    verdicts = [speedup_sentences(one.measured.label, one.findings) for one in results]
    yield Section("Speed-up: do threads help?", (Paragraph(_HOW_TO_READ_SPEEDUPS),))
    for workload in COMPARED:
        if any(_by_way(workload, one) for one in results):
            own = tuple(sentences[workload] for sentences in verdicts if workload in sentences)
            chart = executor_map(workload, results)
            plots = (Plot(chart),) if chart.rows else ()
            blocks = (Sentences(own), *plots, speedup_table(workload, results))
            yield Section(f"Workload {workload}: {_WHAT[workload]}", blocks, level=3)
    for one in results:
        curves, times = scaling_chart(one), time_chart(one.measured)
        drawn: tuple[Block, ...] = (Plot(curves),) if curves.panels else ()
        spent: tuple[Block, ...] = (Plot(times), time_table(times)) if times.bars else ()
        yield Section(f"Interpreter {one.measured.label}", (*drawn, *spent), level=3)


def executor_map(workload: Workload, results: Sequence[SpeedupResult]) -> HeatMap:
    """Executors × interpreters: speed-up against one after the other."""
    found = [_by_way(workload, one) for one in results]
    shown = [_without_repeats(own) for own in found]
    rows = sorted({row for own in shown for row in own if row[0] is not Executor.SERIAL}, key=_way_position)
    return HeatMap(
        title=f"Speed-up of {workload} against one after the other",
        rows=tuple(executor_label(*row) for row in rows),
        columns=tuple(one.measured.label for one in results),
        cells=tuple(tuple(_speedup_cell(own.get(row)) for own in found) for row in rows),
        scale=Scale.SPEEDUP,
    )


def _without_repeats(found: dict[Way, SpeedupFinding]) -> dict[Way, SpeedupFinding]:
    """Say once that an executor is not possible, whatever the number of workers."""
    kept: dict[Way, SpeedupFinding] = {}
    skipped: set[Executor] = set()
    for row, finding in found.items():
        if Outcome.SKIPPED in finding.outcomes:
            if row[0] in skipped:
                continue
            skipped.add(row[0])
        kept[row] = finding
    return kept


def _speedup_cell(finding: SpeedupFinding | None) -> HeatCell:
    if finding is None:
        return HeatCell(CellState.NOT_MEASURED, ("not", "measured"))
    if finding.failures:
        return HeatCell(CellState.FAILED, ("FAILED",))
    if finding.ratio is None:
        if Outcome.SKIPPED in finding.outcomes:
            return HeatCell(CellState.SKIPPED, ("skipped",))
        return HeatCell(CellState.NOTHING, ("no quiet", "pair"))
    value = finding.ratio
    bounds = "no interval" if value.low is None or value.high is None else f"{value.low:.2f}–{value.high:.2f}"
    sure = verdict_on_speedup(value).is_difference
    return HeatCell(CellState.VALUE, (factor(value.value), bounds), value.value, sure)


def speedup_table(workload: Workload, results: Sequence[SpeedupResult]) -> Table:
    """The speed-ups as a table, with times, intervals and the ceiling."""
    rows = (finding for one in results for finding in _without_repeats(_by_way(workload, one)).values())
    return SPEEDUPS.fill(rows, f"Speed-up of {workload}", without=("run", "workload"))


def scaling_chart(result: SpeedupResult) -> ScalingChart:
    """Speed-up over workers, a panel for each workload that has one to show."""
    panels = [_panel(workload, _by_way(workload, result)) for workload in SCALING]
    return ScalingChart(f"Speed-up over workers, {result.measured.label}", tuple(one for one in panels if one.curves))


def _panel(workload: Workload, found: dict[Way, SpeedupFinding]) -> ScalingPanel:
    ratios: dict[Executor, dict[int, Ratio]] = defaultdict(dict)
    for (executor, workers), finding in found.items():
        if executor is not Executor.SERIAL and finding.ratio is not None and not finding.failures:
            ratios[executor][workers] = finding.ratio
    limits = {one.workers: one.ceiling for one in found.values() if one.ceiling is not None}
    return ScalingPanel(workload, tuple(Curve(*one) for one in ratios.items()), dict(sorted(limits.items())))


def _way_position(way: Way) -> tuple[int, int]:
    return position(way[0]), way[1]


def time_chart(measured: Measured) -> TimeChart:
    """A panel for each workload of `speedup`; the book's select does nothing that takes time."""
    grouped = [*by_case(measured.samples, Experiment.SPEEDUP).values()]
    grouped.sort(key=lambda own: _way_position(_way_of(own)))
    shown: list[TimeBar] = []
    for workload in COMPARED:
        cases = [own for own in grouped if own[0].workload == workload]
        # A case that was skipped has no bar.
        bars = [_bar(workload, own) for own in cases if any(one.outcome != Outcome.SKIPPED for one in own)]
        if any(bar.samples for bar in bars):
            shown += bars
    return TimeChart(f"Where the time went, {measured.label}", tuple(shown))


def _bar(workload: Workload, samples: Sequence[SampleRow]) -> TimeBar:
    quiet = [
        one
        for one in samples
        if one.outcome == Outcome.OK and not one.noisy and None not in (one.cpu_ns, one.runq_ns, one.blocked_ns)
    ]
    cpu_ns = median(one.cpu_ns for one in quiet) or 0
    runq_ns = median(one.runq_ns for one in quiet) or 0
    blocked_ns = median(one.blocked_ns for one in quiet) or 0
    return TimeBar(workload, executor_label(*_way_of(samples)), cpu_ns, runq_ns, blocked_ns, len(quiet))


def _way_of(samples: Sequence[SampleRow]) -> Way:
    return Executor(samples[0].executor or Executor.SERIAL), samples[0].workers


TIMES: TableOf[TimeBar] = TableOf(
    "where the time went",
    Column("workload", lambda row: row.workload),
    Column("executor", lambda row: row.label),
    Column("CPU, ms", lambda row: row.shares and row.cpu_ns, milliseconds, right=True),
    Column("run queue, ms", lambda row: row.shares and row.runq_ns, milliseconds, right=True),
    Column("blocked, ms", lambda row: row.shares and row.blocked_ns, milliseconds, right=True),
    Column("CPU", lambda row: row.shares and row.shares[0], percent, right=True),
    Column("run queue", lambda row: row.shares and row.shares[1], percent, right=True),
    Column("blocked", lambda row: row.shares and row.shares[2], percent, right=True),
    Column("quiet samples", lambda row: row.samples, right=True),
)


def time_table(chart: TimeChart) -> Table:
    """Medians of all measuring threads together, and their shares."""
    return TIMES.fill(chart.bars, chart.title)


def speedups_over_time(rows: Sequence[TrendRow]) -> Iterator[Section]:
    """A plot per host from samples by day; nothing without two days of anything."""
    hosts = _speedups_by_day(rows)
    blocks = [
        block
        for host, found in sorted(hosts.items())
        if any(len(moments) > 1 for moments in found.values())
        for block in _host_blocks(f", on {visible(host)}" if len(hosts) > 1 else "", found)
    ]
    if blocks:
        yield Section("Threads against one after the other, over time", (Paragraph(_HOW_TO_READ_DAYS), *blocks))


def _speedups_by_day(rows: Sequence[TrendRow]) -> dict[str, dict[_Key, dict[datetime, float]]]:
    """The speed-up by threads, by host, then by workload and interpreter, then by day."""
    medians: dict[tuple[str, _Key, datetime], dict[str, float]] = defaultdict(dict)
    for row in rows:
        one = row.series
        if one.experiment == Experiment.SPEEDUP and one.workload in COMPARED and one.executor and row.median_ns:
            interpreter = visible(str(json.loads(one.track)[2]))
            medians[one.place, (one.workload, interpreter), row.started_at][one.executor] = row.median_ns
    hosts: dict[str, dict[_Key, dict[datetime, float]]] = defaultdict(lambda: defaultdict(dict))
    for (host, key, at), own in medians.items():
        if Executor.SERIAL in own and Executor.THREAD in own:
            hosts[host][key][at] = own[Executor.SERIAL] / own[Executor.THREAD]
    return hosts


def _host_blocks(where: str, found: Mapping[_Key, Mapping[datetime, float]]) -> Iterator[Block]:
    keys = sorted(found, key=_by_version)
    title = f"Speed-up by threads, by day{where}"
    panels = []
    for workload in COMPARED:
        own = {label: sorted(found[name, label].items()) for name, label in keys if name == workload}
        lines = tuple(Line(label, tuple(Moment(*one) for one in values)) for label, values in own.items())
        panels += [LinePanel(workload, lines)] if lines else []
    yield Plot(LineChart(title, "one after the other / threads", tuple(panels), 1.0))
    days = sorted({day for key in keys for day in found[key]})
    yield table_of(
        f"{title}: the numbers",
        ("day", *(f"#{workload}, {interpreter}" for workload, interpreter in keys)),
        ((day(at), *(if_known(factor, found[key].get(at)) for key in keys)) for at in days),
        folded=True,
    )


def _by_version(key: _Key) -> tuple[str, tuple[int, ...], str]:
    workload, label = key
    version = label.split(" ", maxsplit=1)[0].removesuffix("t")
    return workload, version_numbers(version), label


_HOW_TO_READ_SPEEDUPS = (
    "A speed-up is the time of one after the other by the time of the executor, the median over pairs from the same "
    "round, with a bootstrap interval; noisy samples stay in the record and count for nothing here. The ceiling is "
    "what as many independent processes gave on this host in the same rounds. It helps, or slows down, where the "
    "whole interval lies more than 5 % from 1. A pool's number of workers stands in "
    "brackets; threads are one per item."
)
_WHAT = {
    Workload.FACTORIZE: "the book's four numbers, pure Python",
    Workload.DIGEST: "SHA-256 of large buffers, C code that gives the GIL up",
    Workload.WAIT: "five waits of 0.1 s that really block",
    Workload.CHILD: "chains of child processes, encrypt and then hash",
}
_HOW_TO_READ_DAYS = (
    "The median of one after the other by the median of threads, both of the same day, so that a slow day counts on "
    "both sides. Above 1 threads helped. These days stay after their runs were removed; what may be said of the newest "
    "run, with intervals, stands under Speed-up."
)
