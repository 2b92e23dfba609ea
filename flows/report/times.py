"""Where the time went: CPU, run queue and blocked, of the threads that did the work."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from db.rows import SampleRow
from flows.analysis.findings import by_case
from flows.report.blocks import Block, Cell, Plot, Table, columns
from flows.report.charts import TimeBar, TimeChart, TimePanel
from flows.report.figures import executor_label
from flows.report.latest import Measured
from flows.text import milliseconds, percent
from tasks.axes import Executor, Experiment, Outcome, Workload


def time_blocks(measured: Measured) -> Iterator[Block]:
    """The plot and the same as a table, or nothing if no sample has these readings."""
    chart = time_chart(measured)
    if chart.panels:
        yield Plot(chart)
        yield time_table(chart)


def time_chart(measured: Measured) -> TimeChart:
    """A panel for each workload of `speedup`; the book's select does nothing that takes time."""
    grouped = [*by_case(measured.samples, Experiment.SPEEDUP).values()]
    panels = []
    for workload in Workload:
        cases = [own for own in grouped if own[0].workload == workload and _was_possible(own)]
        bars = [_bar(own) for own in sorted(cases, key=_position)]
        if workload is not Workload.WAIT_BOOK and any(bar.samples for bar in bars):
            panels.append(TimePanel(workload, tuple(bars)))
    return TimeChart(f"Where the time went, {measured.label}", tuple(panels))


def _was_possible(samples: Sequence[SampleRow]) -> bool:
    return any(one.outcome != Outcome.SKIPPED for one in samples)


def _bar(samples: Sequence[SampleRow]) -> TimeBar:
    readings = [
        (one.cpu_ns, one.runq_ns, one.blocked_ns)
        for one in samples
        if one.outcome == Outcome.OK
        and not one.noisy
        and one.cpu_ns is not None
        and one.runq_ns is not None
        and one.blocked_ns is not None
    ]
    label = executor_label(*_row(samples))
    if not readings:
        return TimeBar(label, 0, 0, 0, 0)
    cpu, runq, blocked = (statistics.median(values) for values in zip(*readings, strict=True))
    return TimeBar(label, cpu, runq, blocked, len(readings))


def time_table(chart: TimeChart) -> Table:
    """Medians in milliseconds of all measuring threads together, and their shares."""
    return Table(
        chart.title,
        columns(
            "workload",
            "executor",
            "#CPU, ms",
            "#run queue, ms",
            "#blocked, ms",
            "#CPU",
            "#run queue",
            "#blocked",
            "#quiet samples",
        ),
        tuple((panel.title, *_cells(bar)) for panel in chart.panels for bar in panel.bars),
    )


def _cells(bar: TimeBar) -> tuple[Cell, ...]:
    if bar.shares is None:
        return bar.label, None, None, None, None, None, None, bar.samples
    times = (milliseconds(one) for one in (bar.cpu_ns, bar.runq_ns, bar.blocked_ns))
    return (bar.label, *times, *(percent(one) for one in bar.shares), bar.samples)


def _row(samples: Sequence[SampleRow]) -> tuple[Executor, int]:
    return Executor(samples[0].executor or Executor.SERIAL), samples[0].workers


def _position(samples: Sequence[SampleRow]) -> tuple[int, int]:
    executor, workers = _row(samples)
    return list(Executor).index(executor), workers
