"""Experiments in the report: where their time went, speed-ups over time, and the runs that the figures come from."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from db.answers import TrendRow
from db.rows import SampleRow
from flows.analysis.findings import by_case
from flows.analysis.latest import Measured
from flows.show.finding_tables import executor_label
from flows.show.plots.bars import TimeBar, TimeChart, TimePanel
from flows.show.plots.lines import Line, LineChart, LinePanel, Moment
from flows.show.table import Block, Cell, Paragraph, Plot, Section, Table, table_of
from flows.text import day, factor, if_known, milliseconds, percent, plural, visible
from tasks.axes import Executor, Experiment, Outcome, Workload

# Workload and interpreter, its patch release left out.
_Key = tuple[str, str]
_Moments = Mapping[datetime, float]


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
    label = executor_label(*_way(samples))
    if not readings:
        return TimeBar(label, 0, 0, 0, 0)
    cpu, runq, blocked = (statistics.median(values) for values in zip(*readings, strict=True))
    return TimeBar(label, cpu, runq, blocked, len(readings))


def time_table(chart: TimeChart) -> Table:
    """Medians in milliseconds of all measuring threads together, and their shares."""
    return table_of(
        chart.title,
        (
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
        ((panel.title, *_cells(bar)) for panel in chart.panels for bar in panel.bars),
    )


def _cells(bar: TimeBar) -> tuple[Cell, ...]:
    if bar.shares is None:
        return bar.label, None, None, None, None, None, None, bar.samples
    times = (milliseconds(one) for one in (bar.cpu_ns, bar.runq_ns, bar.blocked_ns))
    return (bar.label, *times, *(percent(one) for one in bar.shares), bar.samples)


def _way(samples: Sequence[SampleRow]) -> tuple[Executor, int]:
    return Executor(samples[0].executor or Executor.SERIAL), samples[0].workers


def _position(samples: Sequence[SampleRow]) -> tuple[int, int]:
    executor, workers = _way(samples)
    return list(Executor).index(executor), workers


def speedups_over_time_section(rows: Sequence[TrendRow], workloads: Sequence[str]) -> Section | None:
    """A plot per host; None without two days of anything.

    Args:
        rows: of samples, by day.
        workloads: those to show, in this order.
    """
    hosts = speedups_by_day(rows)
    blocks = [
        block
        for host in sorted(hosts)
        if any(len(moments) > 1 for moments in hosts[host].values())
        for block in _host_blocks(host if len(hosts) > 1 else "", hosts[host], workloads)
    ]
    return (
        Section("Threads against one after the other, over time", (Paragraph(_HOW_TO_READ), *blocks))
        if blocks
        else None
    )


def speedups_by_day(rows: Sequence[TrendRow]) -> dict[str, dict[_Key, dict[datetime, float]]]:
    """The speed-up by threads, by host, then by workload and interpreter, then by day."""
    medians: dict[tuple[str, _Key, datetime], dict[str, float]] = defaultdict(dict)
    for row in rows:
        one = row.series
        if one.experiment == Experiment.SPEEDUP and one.workload and one.executor and row.median_ns:
            interpreter = visible(str(json.loads(one.track)[2]))
            medians[one.host, (one.workload, interpreter), row.started_at][one.executor] = row.median_ns
    hosts: dict[str, dict[_Key, dict[datetime, float]]] = defaultdict(lambda: defaultdict(dict))
    for (host, key, at), own in medians.items():
        if Executor.SERIAL in own and Executor.THREAD in own:
            hosts[host][key][at] = own[Executor.SERIAL] / own[Executor.THREAD]
    return hosts


def _host_blocks(host: str, found: Mapping[_Key, _Moments], workloads: Sequence[str]) -> Iterator[Block]:
    keys = sorted(found, key=_by_version)
    panels = [
        LinePanel(workload, tuple(Line(key[1], _in_order(found[key])) for key in keys if key[0] == workload))
        for workload in workloads
    ]
    title = "Speed-up by threads, by day" + (f", on {visible(host)}" if host else "")
    shown = [key for key in keys if key[0] in workloads]
    yield Plot(LineChart(title, "one after the other / threads", tuple(one for one in panels if one.lines), 1.0))
    days = sorted({day for key in shown for day in found[key]})
    yield table_of(
        f"{title}: the numbers",
        ("day", *(f"#{workload}, {interpreter}" for workload, interpreter in shown)),
        ((day(at), *(if_known(factor, found[key].get(at)) for key in shown)) for at in days),
        folded=True,
    )


def _in_order(found: _Moments) -> tuple[Moment, ...]:
    return tuple(Moment(day, value) for day, value in sorted(found.items()))


def _by_version(key: _Key) -> tuple[str, tuple[int, ...], str]:
    workload, label = key
    version = label.split(" ", maxsplit=1)[0].removesuffix("t")
    return workload, tuple(int(part) for part in version.split(".") if part.isdecimal()), label


def measured_section(measured: Sequence[tuple[Experiment, Measured]]) -> Section:
    """The run that each interpreter's figures come from: pairs are of one round, so statistics are of one run."""
    rows = (
        (
            one.label,
            experiment,
            one.host,
            str(one.run_id),
            one.started_at,
            one.rounds,
            len(one.samples),
            one.noisy,
            f"{plural(one.unknown, 'sample')} of cases that this program does not know" if one.unknown else None,
        )
        for experiment, one in measured
    )
    titles = ("interpreter", "experiment", "host", "#run", "started", "#rounds", "#samples", "#noisy", "remark")
    return Section("What the experiments' figures come from", (table_of("Runs shown", titles, rows),), level=3)


_HOW_TO_READ = (
    "The median of one after the other by the median of threads, both of the same day, so that a slow day counts on "
    "both sides. Above 1 threads helped. These days stay after their runs were removed; what may be said of the newest "
    "run, with intervals, stands under Speed-up."
)
