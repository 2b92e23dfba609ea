"""Whether threads help, day after day: medians of a day by medians of the same day, from roll-ups."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from db.rows import TrendRow
from flows.report.blocks import Block, Paragraph, Plot, Section, Table, columns
from flows.report.charts import Line, LineChart, LinePanel, Moment
from flows.text import factor, visible
from tasks.axes import Executor, Experiment

# Workload and interpreter, its patch release left out.
_Key = tuple[str, str]
_Moments = Mapping[datetime, float]


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
        for block in _blocks(host if len(hosts) > 1 else "", hosts[host], workloads)
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
    for (host, key, day), own in medians.items():
        if Executor.SERIAL in own and Executor.THREAD in own:
            hosts[host][key][day] = own[Executor.SERIAL] / own[Executor.THREAD]
    return hosts


def _blocks(host: str, found: Mapping[_Key, _Moments], workloads: Sequence[str]) -> Iterator[Block]:
    keys = sorted(found, key=_order)
    panels = [
        LinePanel(workload, tuple(Line(key[1], _moments(found[key])) for key in keys if key[0] == workload))
        for workload in workloads
    ]
    title = "Speed-up by threads, by day" + (f", on {visible(host)}" if host else "")
    shown = [key for key in keys if key[0] in workloads]
    yield Plot(LineChart(title, "one after the other / threads", tuple(one for one in panels if one.lines), 1.0))
    days = sorted({day for key in shown for day in found[key]})
    yield Table(
        f"{title}: the numbers",
        columns("day", *(f"#{workload}, {interpreter}" for workload, interpreter in shown)),
        tuple((f"{day:%Y-%m-%d}", *(_cell(found[key].get(day)) for key in shown)) for day in days),
        folded=True,
    )


def _cell(value: float | None) -> str | None:
    return None if value is None else factor(value)


def _moments(found: _Moments) -> tuple[Moment, ...]:
    return tuple(Moment(day, value) for day, value in sorted(found.items()))


def _order(key: _Key) -> tuple[str, tuple[int, ...], str]:
    workload, label = key
    version = label.split(" ", maxsplit=1)[0].removesuffix("t")
    return workload, tuple(int(part) for part in version.split(".") if part.isdecimal()), label


_HOW_TO_READ = (
    "The median of one after the other by the median of threads, both of the same day, so that a slow day counts on "
    "both sides. Above 1 threads helped. These days stay after their runs were removed; what may be said of the newest "
    "run, with intervals, stands under Speed-up."
)
