"""Encryption in the report: sums by suite and backend, the time of stages, and throughput over time from roll-ups."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from db.answers import TrendRow
from db.rows import PayloadRow
from flows.show.plots.bars import StageBar, StageChart
from flows.show.plots.lines import Line, LineChart, LinePanel, Moment
from flows.show.table import Block, Cell, Paragraph, Plot, Section, Table, table_of
from flows.show.tables import suite_label
from flows.text import if_known, megabytes, milliseconds, number, percent, sizes_of

_Key = tuple[str, str]
# Host, suite, backend (and whether the ciphertext was kept, which takes time), size class.
Chain = tuple[str, str, str, int]
_Days = Mapping[Chain, Sequence[TrendRow]]
_MOST_CHARTS, _MOST_PANELS = 8, 4


def encryption_section(payloads: Sequence[PayloadRow]) -> Section:
    """A line per suite and backend."""
    title = "Encryption"
    if not payloads:
        return Section(
            title, (Paragraph("No payload is recorded yet: `threadmill survey`, `threadmill encrypt PATH`."),)
        )
    groups: dict[tuple[str, str], list[PayloadRow]] = defaultdict(list)
    for row in payloads:
        groups[row.suite, row.backend].append(row)
    table = table_of(
        "Payloads by suite and backend",
        (
            "suite",
            "chain",
            "backend",
            "#payloads",
            "#ok",
            "#failed",
            "#unstable",
            "#others",
            "#median size, bytes",
            "#median time, ms",
            "#MB/s",
        ),
        ((*key, *_sums(own)) for key, own in sorted((_heading(own[0]), own) for own in groups.values())),
    )
    return Section(title, (Paragraph(_ABOUT_ENCRYPTION), table))


def _heading(row: PayloadRow) -> tuple[str, str, str]:
    return suite_label(row.suite), f"{row.cipher} → {row.digest_algorithm}", row.backend


def _sums(own: Sequence[PayloadRow]) -> tuple[Cell, ...]:
    good = [row for row in own if row.status == "ok"]
    failed, unstable = (sum(row.status == status for row in own) for status in ("failed", "unstable"))
    sizes = [row.size_bytes for row in good if row.size_bytes is not None]
    return (
        len(own),
        len(good),
        failed,
        unstable,
        len(own) - len(good) - failed - unstable,
        number(statistics.median(sizes)) if sizes else None,
        milliseconds(statistics.median([row.wall_ns for row in good])) if good else None,
        _megabytes_per_second(good),
    )


def _megabytes_per_second(good: Sequence[PayloadRow]) -> str | None:
    """All bytes by all time, 10**6 bytes to the megabyte: a mean of rates would be that of the smallest payloads."""
    timed = [(row.size_bytes, row.wall_ns) for row in good if row.size_bytes is not None and row.wall_ns]
    total_ns = sum(wall_ns for _, wall_ns in timed)
    if not total_ns:
        return None
    return megabytes(sum(size for size, _ in timed) * 1e9 / total_ns)


def stages_section(payloads: Sequence[PayloadRow]) -> Section:
    """From payloads of any run: those with stages that went well count."""
    title = "Where a chain's time goes"
    groups: dict[_Key, list[PayloadRow]] = defaultdict(list)
    for row in payloads:
        if row.status == "ok" and row.stages and row.wall_ns:
            groups[row.suite, row.backend].append(row)
    if not groups:
        return Section(title, (Paragraph("No chain of processes is on record for this time."),))
    parts = [part for key in sorted(groups) for part in _parts(key, groups[key])]
    chart = StageChart("Stages' part of their chain's time", tuple(bar for bar, _ in parts))
    heads = ("suite", "backend", "stage", "#payloads", "#chain's median, ms", "#wall, ms", "#CPU, ms", "#wall of chain",
             "#CPU of chain", "#MB by CPU second")  # fmt: skip
    table = table_of("Stages by suite and backend", heads, (cells for _, cells in parts))
    return Section(title, (Paragraph(_ABOUT_STAGES), Plot(chart), table))


def _parts(key: _Key, own: Sequence[PayloadRow]) -> list[tuple[StageBar, tuple[Cell, ...]]]:
    """A bar and a row of the table for each stage, in the chain's order."""
    suite, backend = key
    length = min(len(row.stages) for row in own)
    chain_ns = sum(row.wall_ns for row in own)
    size = sum(row.size_bytes or 0 for row in own)
    parts = []
    for place in range(length):
        stages = [row.stages[place] for row in own]
        cpu_ns = sum(stage.cpu_ns for stage in stages)
        bar = StageBar(
            f"{suite}, {backend}: {_short(stages[0].program)}",
            sum(stage.wall_ns for stage in stages) / chain_ns,
            cpu_ns / chain_ns,
        )
        cells: tuple[Cell, ...] = (
            suite_label(suite), backend, stages[0].program, len(own),
            milliseconds(statistics.median([row.wall_ns for row in own])),
            milliseconds(statistics.median([stage.wall_ns for stage in stages])),
            milliseconds(statistics.median([stage.cpu_ns for stage in stages])),
            percent(bar.wall), percent(bar.cpu), megabytes(size * 1e9 / cpu_ns) if cpu_ns and size else None,
        )  # fmt: skip
        parts.append((bar, cells))
    return parts


def _short(program: str) -> str:
    return program.removeprefix("openssl ")


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
    return Section(title, (Paragraph(_ABOUT_THROUGHPUT), overview(days), *_charts(days, steps)))


def chain_of(row: TrendRow) -> Chain:
    """What has one line; facts of the host (such as more memory) may change under it."""
    one = row.series
    return one.host, one.suite or "", f"{one.backend or ''}{', kept' * one.kept}", one.size_class or 0


def overview(days: _Days) -> Table:
    """Where each line came from and where it is."""
    return table_of(
        "Throughput by suite, backend and size",
        (
            "suite", "backend", "payload size", "host", "#days", "first day", "last day", "#payloads", "#failed",
            "#first, MB/s", "#least", "#greatest", "#last, MB/s", "#last median, ms",
        ),
        ((*_names(chain), *_overview_cells(days[chain])) for chain in sorted(days, key=_order)),
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
    return table_of(
        f"{title}: the numbers",
        (
            "day", "payload size", "backend", "#runs", "#payloads", "#failed", "#lower quartile, MB/s", "#median, MB/s",
            "#upper quartile, MB/s", "#median, ms",
        ),
        (
            (
                f"{row.started_at:%Y-%m-%d}", sizes_of(chain[3]), chain[2], row.runs, row.n, row.failed,
                *(if_known(megabytes, one) for one in speeds_of(row)), if_known(milliseconds, row.median_ns),
            )
            for chain, own in days.items()
            for row in own
        ),
        folded=True,
    )  # fmt: skip


_ABOUT_ENCRYPTION = (
    "Sizes and times are of good payloads; a time runs from the first start to the last reap, key derivation included, "
    "and MB/s is the sum of sizes by the sum of times (chains run side by side: a whole run is faster than that). "
    "Others were skipped or unchanged."
)
_ABOUT_STAGES = (
    "The stages of a chain are processes that run side by side, joined by a pipe: the wall times of `enc` and `dgst` "
    "overlap, and each waits for the other while it does not compute. Where the CPU time of one fills its wall time, "
    "that stage is what the chain waits for. What is left of the chain's time goes into starting processes and "
    "deriving keys. Shares are sums by sums over the newest payloads of each suite; the backend `native` has no "
    "stages, as it does both in this process."
)
_ABOUT_THROUGHPUT = (
    "Each day (UTC) has the median and the quartiles of all its good payloads, as they were added up when the day was "
    "over: days stay right after their runs were removed. MB/s is the mean size by the median time (10**6 bytes to the "
    "megabyte), key derivation included; the band lies between the quartiles. Only payloads of about the same size are "
    "compared, because what a chain costs before its first byte is most of a small payload's time. A dashed line is a "
    "step, see Changes."
)
