"""Throughput of chains over time, from roll-ups: days whose runs were removed since are as they were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from db.rows import TrendRow
from flows.report.blocks import Block, Cell, Paragraph, Plot, Section, Table, columns
from flows.report.charts import Line, LineChart, LinePanel, Moment
from flows.report.encryption import suite_label
from flows.text import if_known, megabytes, milliseconds, sizes_of

# Host, suite, backend (and whether the ciphertext was kept, which takes time), size class.
Chain = tuple[str, str, str, int]
_Days = Mapping[Chain, Sequence[TrendRow]]
_MOST_CHARTS, _MOST_PANELS = 8, 4


def throughput_section(rows: Sequence[TrendRow], steps: Mapping[int, Sequence[datetime]]) -> Section:
    """A line per suite, backend and size; the plots of what was done most, and the numbers of what they show.

    Args:
        rows: of encryptions, by day.
        steps: when a series, by its id, took on another level.
    """
    title = "Throughput of chains over time"
    days: dict[Chain, list[TrendRow]] = defaultdict(list)
    for row in rows:
        days[chain_of(row)].append(row)
    if not days:
        return Section(title, (Paragraph("No payload in this time: `threadmill survey`, `threadmill encrypt PATH`."),))
    for own in days.values():
        own.sort(key=lambda row: row.started_at)
    return Section(title, (Paragraph(_HOW_TO_READ), overview(days), *_charts(days, steps)))


def chain_of(row: TrendRow) -> Chain:
    """What has one line; facts of the host (such as more memory) may change under it."""
    one = row.series
    return one.host, one.suite or "", f"{one.backend or ''}{', kept' * one.kept}", one.size_class or 0


def overview(days: _Days) -> Table:
    """Where each line came from and where it is."""
    return Table(
        "Throughput by suite, backend and size",
        columns(
            "suite", "backend", "payload size", "host", "#days", "first day", "last day", "#payloads", "#failed",
            "#first, MB/s", "#least", "#greatest", "#last, MB/s", "#last median, ms",
        ),
        tuple((*_names(chain), *_overview_cells(days[chain])) for chain in sorted(days, key=_order)),
    )  # fmt: skip


def _order(chain: Chain) -> tuple[str, str, str, int]:
    host, suite, backend, size_class = chain
    return suite, backend, host, size_class


def _names(chain: Chain) -> tuple[str, ...]:
    host, suite, backend, size_class = chain
    return suite_label(suite), backend, sizes_of(size_class), host


def _overview_cells(own: Sequence[TrendRow]) -> tuple[Cell, ...]:
    speeds = [row.bytes_per_s for row in own if row.bytes_per_s is not None]
    timed = [row for row in own if row.median_ns is not None]
    first, least, greatest, last = (
        map(megabytes, (speeds[0], min(speeds), max(speeds), speeds[-1])) if speeds else (None,) * 4
    )
    return (
        len({row.started_at for row in own}), f"{own[0].started_at:%Y-%m-%d}", f"{own[-1].started_at:%Y-%m-%d}",
        sum(row.n for row in own), sum(row.failed for row in own), first, least, greatest, last,
        if_known(milliseconds, timed[-1].median_ns if timed else None),
    )  # fmt: skip


def _charts(days: _Days, steps: Mapping[int, Sequence[datetime]]) -> Iterator[Block]:
    """A plot for each suite on each host, those with most payloads first, and below it what it shows."""
    groups: dict[tuple[str, str], dict[int, list[Chain]]] = defaultdict(lambda: defaultdict(list))
    for chain, own in days.items():
        if sum(bool(row.bytes_per_s) for row in own) > 1:
            groups[chain[:2]][chain[3]].append(chain)
    several = len({host for host, _ in groups}) > 1
    counts = {chain: sum(row.n for row in own) for chain, own in days.items()}
    ranked = sorted(groups.items(), key=lambda item: -sum(counts[one] for some in item[1].values() for one in some))
    for (host, suite), sizes in ranked[:_MOST_CHARTS]:
        most = sorted(sizes, key=lambda size: (-sum(counts[one] for one in sizes[size]), size))[:_MOST_PANELS]
        shown = {size: sorted(sizes[size]) for size in sorted(most)}
        title = f"Throughput of {suite_label(suite)} by day" + (f", on {host}" if several else "")
        panels = tuple(_panel(size, chains, days, steps) for size, chains in shown.items())
        yield Plot(LineChart(title, "MB/s, median and quartiles", panels))
        yield day_table(title, {one: days[one] for some in shown.values() for one in some})
    left = sum(map(len, groups.values())) - sum(min(len(sizes), _MOST_PANELS) for _, sizes in ranked[:_MOST_CHARTS])
    if left:
        yield Paragraph(
            f"Drawn are the sizes with most payloads; {left} more stand in the first table only: "
            "`threadmill history trend --csv` has their days."
        )


def _panel(size: int, chains: Sequence[Chain], days: _Days, steps: Mapping[int, Sequence[datetime]]) -> LinePanel:
    lines = tuple(Line(one[2], tuple(_moment(row) for row in days[one] if row.bytes_per_s)) for one in chains)
    ids = {row.series.series_id for one in chains for row in days[one]}
    return LinePanel(
        f"payloads of {sizes_of(size)}", lines, tuple(sorted({at for one in ids for at in steps.get(one, ())}))
    )


def _moment(row: TrendRow) -> Moment:
    lower, median, upper = speeds_of(row)
    return Moment(row.started_at, (median or 0) / 1e6, lower and lower / 1e6, upper and upper / 1e6)


def speeds_of(row: TrendRow) -> tuple[float | None, float | None, float | None]:
    """Quartiles in bytes per second: the lower one is that of the longer times."""
    median = row.bytes_per_s
    if not (median and row.median_ns and row.lower_ns and row.upper_ns):
        return None, median, None
    return median * row.median_ns / row.upper_ns, median, median * row.median_ns / row.lower_ns


def day_table(title: str, days: _Days) -> Table:
    """Every point of a plot."""
    return Table(
        f"{title}: the numbers",
        columns(
            "day", "payload size", "backend", "#runs", "#payloads", "#failed", "#lower quartile, MB/s", "#median, MB/s",
            "#upper quartile, MB/s", "#median, ms",
        ),
        tuple(
            (
                f"{row.started_at:%Y-%m-%d}", sizes_of(chain[3]), chain[2], row.runs, row.n, row.failed,
                *(if_known(megabytes, one) for one in speeds_of(row)), if_known(milliseconds, row.median_ns),
            )
            for chain, own in days.items()
            for row in own
        ),
        folded=True,
    )  # fmt: skip


_HOW_TO_READ = (
    "Each day (UTC) has the median and the quartiles of all its good payloads, as they were added up when the day was "
    "over: days stay right after their runs were removed. MB/s is the mean size by the median time (10**6 bytes to the "
    "megabyte), key derivation included; the band lies between the quartiles. Only payloads of about the same size are "
    "compared, because what a chain costs before its first byte is most of a small payload's time. A dashed line is a "
    "step, see Changes."
)
