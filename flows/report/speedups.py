"""Items 52 and 53 in the report: what the executors gave, as sentences, tables, heat maps and curves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flows.analysis.findings import SpeedupFinding, speedup_findings
from flows.analysis.intervals import verdict_on_speedup
from flows.analysis.sentences import WORDS, speedup_sentences
from flows.report.blocks import Cell, Paragraph, Plot, Section, Sentences, Table, columns
from flows.report.charts import CellState, Curve, HeatCell, HeatMap, Point, Scale, ScalingChart, ScalingPanel
from flows.report.figures import executor_label, interval, median_ms, ratio
from flows.report.latest import Measured
from flows.report.times import time_blocks
from flows.text import factor, plural
from tasks.axes import Executor, Outcome, Workload

# Those that the speed-up is over workers of: one that computes, or one that waits and nothing else.
SCALING = tuple(one for one in Workload if one.cpu_bound or one is Workload.WAIT)
# The book's select returns at once, so there is nothing to speed up: `book` says so.
COMPARED = tuple(one for one in Workload if one is not Workload.WAIT_BOOK)
Row = tuple[Executor, int]


@dataclass(frozen=True, slots=True)
class SpeedupResult:
    """What one interpreter's samples add up to."""

    measured: Measured
    findings: tuple[SpeedupFinding, ...]

    def of(self, workload: Workload) -> dict[Row, SpeedupFinding]:
        """Findings by executor and workers, serial first."""
        own = [one for one in self.findings if one.workload is workload]
        own.sort(key=lambda one: _position(_row(one)))
        return {_row(one): one for one in own}


def speedup_results(measured: Iterable[Measured]) -> tuple[SpeedupResult, ...]:
    """Findings of each interpreter."""
    return tuple(SpeedupResult(one, speedup_findings(one.samples)) for one in measured)


def speedup_sections(results: Sequence[SpeedupResult]) -> Iterator[Section]:
    """Each workload across interpreters, then each interpreter across workloads; nothing without results."""
    if not results:
        return
    verdicts = [speedup_sentences(one.measured.label, one.findings) for one in results]
    yield Section("Speed-up: do threads help?", (Paragraph(_HOW_TO_READ),))
    for workload in COMPARED:
        if any(one.of(workload) for one in results):
            own = tuple(sentences[workload] for sentences in verdicts if workload in sentences)
            chart = executor_map(workload, results)
            plots = (Plot(chart),) if chart.rows else ()
            blocks = (Sentences(own), *plots, speedup_table(workload, results))
            yield Section(f"Workload {workload}: {_WHAT[workload]}", blocks, level=3)
    for one in results:
        curves = scaling_chart(one)
        drawn = (Plot(curves),) if curves.panels else ()
        yield Section(f"Interpreter {one.measured.label}", (*drawn, *time_blocks(one.measured)), level=3)


def executor_map(workload: Workload, results: Sequence[SpeedupResult]) -> HeatMap:
    """Executors × interpreters: speed-up against one after the other."""
    found = [one.of(workload) for one in results]
    shown = [_without_repeats(own) for own in found]
    rows = sorted({row for own in shown for row in own if row[0] is not Executor.SERIAL}, key=_position)
    return HeatMap(
        title=f"Speed-up of {workload} against one after the other",
        rows=tuple(executor_label(*row) for row in rows),
        columns=tuple(one.measured.label for one in results),
        cells=tuple(tuple(_cell(own.get(row)) for own in found) for row in rows),
        scale=Scale.SPEEDUP,
    )


def _without_repeats(found: dict[Row, SpeedupFinding]) -> dict[Row, SpeedupFinding]:
    """What cannot be done with one worker cannot be done with two: it is said once."""
    kept: dict[Row, SpeedupFinding] = {}
    skipped: set[Executor] = set()
    for row, finding in found.items():
        if finding.samples.count(Outcome.SKIPPED):
            if row[0] in skipped:
                continue
            skipped.add(row[0])
        kept[row] = finding
    return kept


def _cell(finding: SpeedupFinding | None) -> HeatCell:
    if finding is None:
        return HeatCell(CellState.NOT_MEASURED, ("not", "measured"))
    if finding.samples.failures:
        return HeatCell(CellState.FAILED, ("FAILED",))
    if finding.ratio is None:
        if finding.samples.count(Outcome.SKIPPED):
            return HeatCell(CellState.SKIPPED, ("skipped",))
        return HeatCell(CellState.NOTHING, ("no quiet", "pair"))
    value = finding.ratio
    bounds = "no interval" if value.low is None or value.high is None else f"{value.low:.2f}–{value.high:.2f}"
    sure = verdict_on_speedup(value).is_difference
    return HeatCell(CellState.VALUE, (factor(value.value), bounds), value.value, sure)


def speedup_table(workload: Workload, results: Sequence[SpeedupResult]) -> Table:
    """The same with the times, the intervals and the ceiling."""
    return Table(
        f"Speed-up of {workload}",
        columns(
            "interpreter",
            "executor",
            "#median, ms",
            "#speed-up",
            "#95 % interval",
            "#ceiling",
            "#ceiling's 95 % interval",
            "#quiet pairs",
            "verdict",
            "remark",
        ),
        tuple(
            (one.measured.label, *_speedup_cells(row, finding))
            for one in results
            for row, finding in _without_repeats(one.of(workload)).items()
        ),
    )


def _speedup_cells(row: Row, finding: SpeedupFinding) -> tuple[Cell, ...]:
    base = row[0] is Executor.SERIAL
    against = None if base else finding.ratio
    return (
        executor_label(*row),
        median_ms(finding.wall_ns),
        ratio(against),
        interval(against),
        ratio(finding.ceiling),
        interval(finding.ceiling),
        against.pairs if against else None,
        WORDS[verdict_on_speedup(against)] if against else None,
        _remark(finding),
    )


def _remark(finding: SpeedupFinding) -> str | None:
    remarks = [f"{number} {outcome}" for outcome, number in finding.samples.outcomes if outcome.is_failure]
    if finding.samples.count(Outcome.SKIPPED):
        remarks.append(f"skipped: {finding.reason}")
    elif finding.wall_ns is None:
        remarks.append("no quiet sample")
    elif finding.ratio is None:
        remarks.append("no quiet pair")
    if finding.samples.noisy:
        remarks.append(f"{plural(finding.samples.noisy, 'noisy sample')} left out")
    return ", ".join(remarks) or None


def scaling_chart(result: SpeedupResult) -> ScalingChart:
    """Speed-up over workers, a panel for each workload that has one to show."""
    panels = [_panel(workload, result.of(workload)) for workload in SCALING]
    return ScalingChart(f"Speed-up over workers, {result.measured.label}", tuple(one for one in panels if one.curves))


def _panel(workload: Workload, found: dict[Row, SpeedupFinding]) -> ScalingPanel:
    points: dict[Executor, list[Point]] = {}
    for (executor, workers), finding in found.items():
        if executor is not Executor.SERIAL and finding.ratio is not None and not finding.samples.failures:
            points.setdefault(executor, []).append(Point(workers, finding.ratio))
    limits = {one.workers: one.ceiling for one in found.values() if one.ceiling is not None}
    return ScalingPanel(
        workload,
        tuple(Curve(executor, tuple(own)) for executor, own in points.items()),
        tuple(Point(workers, limits[workers]) for workers in sorted(limits)),
    )


def _row(finding: SpeedupFinding) -> Row:
    return finding.executor, finding.workers


def _position(row: Row) -> tuple[int, int]:
    return list(Executor).index(row[0]), row[1]


_HOW_TO_READ = (
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
