"""Encryption in the report: sums by suite and backend, the time of stages, and throughput over time from roll-ups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from db.answers import TrendRow
from db.rows import PayloadRow, StageRow
from db.words import PAYLOAD_FAILURES
from flows.analysis.changes import Change
from flows.analysis.intervals import median
from flows.show.plots.bars import StageBar, StageChart
from flows.show.plots.lines import Line, LineChart, LinePanel, Moment
from flows.show.series_tables import THROUGHPUT, THROUGHPUT_DAYS, chain_backend, speeds_of
from flows.show.table import Block, Column, Paragraph, Plot, Section, TableOf
from flows.show.tables import suite_label
from flows.text import megabytes, milliseconds, number, percent, sizes_of

# Host, suite, backend (see `chain_backend`), size class.
Chain = tuple[str, str, str, int]
_Days = Mapping[Chain, Sequence[TrendRow]]
_MOST_CHARTS, _MOST_PANELS = 8, 4


def encryption_sections(payloads: Sequence[PayloadRow]) -> Iterator[Section]:
    """A line per suite and backend; nothing without payloads."""
    if payloads:
        yield Section("Encryption", (Paragraph(_ABOUT_ENCRYPTION), SUMS.fill(_by_suite_and_backend(payloads))))


def _by_suite_and_backend(payloads: Iterable[PayloadRow]) -> list[list[PayloadRow]]:
    groups: dict[tuple[str, str], list[PayloadRow]] = defaultdict(list)
    for row in payloads:
        groups[row.suite, row.backend].append(row)
    return [groups[key] for key in sorted(groups)]


def _counted(*statuses: str) -> Callable[[Sequence[PayloadRow]], int]:
    return lambda own: sum(row.status in statuses for row in own)


def _good(own: Sequence[PayloadRow]) -> Iterator[PayloadRow]:
    return (row for row in own if row.status == "ok")


def _bytes_per_s(own: Sequence[PayloadRow]) -> float | None:
    """All bytes by all time: a mean of rates would be that of the smallest payloads."""
    timed = [(row.size_bytes, row.wall_ns) for row in _good(own) if row.size_bytes is not None and row.wall_ns]
    total_ns = sum(wall_ns for _, wall_ns in timed)
    return sum(size for size, _ in timed) * 1e9 / total_ns if total_ns else None


# All payloads of a suite and backend.
SUMS: TableOf[Sequence[PayloadRow]] = TableOf(
    "Payloads by suite and backend",
    Column("suite", lambda own: suite_label(own[0].suite)),
    Column("chain", lambda own: f"{own[0].cipher} → {own[0].digest_algorithm}"),
    Column("backend", lambda own: own[0].backend),
    Column("payloads", len, right=True),
    Column("ok", _counted("ok"), right=True),
    Column("failed", _counted("failed"), right=True),
    Column("unstable", _counted("unstable"), right=True),
    Column("carried over", lambda own: _counted("carried-over")(own) or None, right=True, optional=True),
    Column("others", lambda own: len(own) - _counted("ok", *PAYLOAD_FAILURES)(own), right=True),
    Column("median size, bytes", lambda own: median(row.size_bytes for row in _good(own)), number, right=True),
    Column("median time, ms", lambda own: median(row.wall_ns for row in _good(own)), milliseconds, right=True),
    Column("MB/s", _bytes_per_s, megabytes, right=True),
)


@dataclass(frozen=True, slots=True)
class _Part:
    """A stage of the chains of a suite and backend, by its place in them."""

    payloads: Sequence[PayloadRow]
    place: int

    @property
    def stages(self) -> list[StageRow]:
        return [row.stages[self.place] for row in self.payloads]

    @property
    def cpu_ns(self) -> int:
        return sum(stage.cpu_ns for stage in self.stages)

    @property
    def bar(self) -> StageBar:
        first = self.payloads[0]
        chain_ns = sum(row.wall_ns for row in self.payloads)
        wall = sum(stage.wall_ns for stage in self.stages) / chain_ns
        name = self.stages[0].program.removeprefix("openssl ")
        return StageBar(f"{first.suite}, {first.backend}: {name}", wall, self.cpu_ns / chain_ns)

    @property
    def bytes_per_cpu_s(self) -> float | None:
        size = sum(row.size_bytes or 0 for row in self.payloads)
        return size * 1e9 / self.cpu_ns if self.cpu_ns and size else None


STAGES: TableOf[_Part] = TableOf(
    "Stages by suite and backend",
    Column("suite", lambda part: suite_label(part.payloads[0].suite)),
    Column("backend", lambda part: part.payloads[0].backend),
    Column("stage", lambda part: part.stages[0].program),
    Column("payloads", lambda part: len(part.payloads), right=True),
    Column("chain's median, ms", lambda part: median(row.wall_ns for row in part.payloads), milliseconds, right=True),
    Column("wall, ms", lambda part: median(stage.wall_ns for stage in part.stages), milliseconds, right=True),
    Column("CPU, ms", lambda part: median(stage.cpu_ns for stage in part.stages), milliseconds, right=True),
    Column("wall of chain", lambda part: part.bar.wall, percent, right=True),
    Column("CPU of chain", lambda part: part.bar.cpu, percent, right=True),
    Column("MB by CPU second", lambda part: part.bytes_per_cpu_s, megabytes, right=True),
)


def stages_section(payloads: Sequence[PayloadRow]) -> Section:
    """The time of the stages of good chains, from payloads of any run."""
    title = "Where a chain's time goes"
    chains = _by_suite_and_backend(row for row in _good(payloads) if row.stages and row.wall_ns)
    if not chains:
        return Section(title, (Paragraph("No chain of processes is on record for this time."),))
    parts = [_Part(own, place) for own in chains for place in range(min(len(row.stages) for row in own))]
    chart = StageChart("Stages' part of their chain's time", tuple(part.bar for part in parts))
    return Section(title, (Paragraph(_ABOUT_STAGES), Plot(chart), STAGES.fill(parts)))


def throughput_section(rows: Sequence[TrendRow], changes: Sequence[Change]) -> Section:
    """A line per suite, backend and size, from encryptions by day; plots of the most frequent ones."""
    title = "Throughput of chains over time"
    days: dict[Chain, list[TrendRow]] = defaultdict(list)
    for row in rows:
        # One line, although facts of the host (such as more memory) may change under it.
        one = row.series
        days[one.place, one.suite or "", chain_backend(one), one.size_class or 0].append(row)
    if not days:
        return Section(title, (Paragraph("No payload in this time: `threadmill survey`, `threadmill encrypt PATH`."),))
    for own in days.values():
        own.sort(key=lambda row: row.started_at)
    # By suite and backend before the host.
    ordered = sorted(days, key=lambda chain: (*chain[1:3], chain[0], chain[3]))
    overview = THROUGHPUT.fill(days[chain] for chain in ordered)
    return Section(title, (Paragraph(_ABOUT_THROUGHPUT), overview, *_charts(days, changes)))


def _charts(days: _Days, changes: Sequence[Change]) -> Iterator[Block]:
    """A plot for each suite on each host, those with most payloads first, and below it its numbers."""
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
        panels = tuple(_panel(size, chains, days, changes) for size, chains in shown.items())
        yield Plot(LineChart(title, "MB/s, median and quartiles", panels))
        numbers = [row for some in shown.values() for one in some for row in days[one]]
        yield THROUGHPUT_DAYS.fill(numbers, f"{title}: the numbers", folded=True)
    left = sum(map(len, groups.values())) - sum(min(len(sizes), _MOST_PANELS) for _, sizes in ranked[:_MOST_CHARTS])
    if left:
        yield Paragraph(
            f"Drawn are the sizes with most payloads; {left} more stand in the first table only: "
            "`threadmill history trend --csv` has their days."
        )


def _panel(size: int, chains: Sequence[Chain], days: _Days, changes: Sequence[Change]) -> LinePanel:
    lines = tuple(Line(one[2], tuple(_moment(row) for row in days[one] if row.bytes_per_s)) for one in chains)
    ids = {row.series.series_id for one in chains for row in days[one]}
    steps = sorted({one.started_at for one in changes if one.series.series_id in ids})
    return LinePanel(f"payloads of {sizes_of(size)}", lines, tuple(steps))


def _moment(row: TrendRow) -> Moment:
    lower, median, upper = speeds_of(row)
    return Moment(row.started_at, (median or 0) / 1e6, lower and lower / 1e6, upper and upper / 1e6)


_ABOUT_ENCRYPTION = (
    "Sizes and times are of good payloads; a time runs from the first start to the last reap, key derivation included, "
    "and MB/s is the sum of sizes by the sum of times (chains run side by side: a whole run is faster than that). "
    "Unstable ones changed while they were read, and those that are carried over could not be read: a vault has their "
    "entries, marked. Others were skipped, or may change."
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
