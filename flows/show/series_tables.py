"""The tables of series: trends, throughput, comparisons, changes, and the slowest payloads and samples."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from flows.show.table import Column, Table, TableOf
from flows.show.tables import suite_label
from flows.text import day, duration, interval, megabytes, milliseconds, percent, rate, ratio, size, sizes_of

if TYPE_CHECKING:
    from db.answers import SeriesRow, SlowRow, TrendRow
    from flows.analysis.changes import Change
    from flows.analysis.comparison import Compared

_BLOCKS = "▁▂▃▄▅▆▇█"


def series_name(series: SeriesRow) -> str:
    """`speedup factorize thread ×4`, `race augmented lock ×5`, `modern openssl, < 128 KiB`, `modern native kept, …`."""
    if series.kind == "encryption":
        sizes = f"< {size(series.size_class or 1)}" if series.size_class != 1 else "empty or unread"
        return f"{suite_label(series.suite or '')} {series.backend}{' kept' * series.kept}, {sizes}"
    axes = (series.experiment, series.workload, series.executor, series.shape, series.guard)
    return " ".join([*(axis for axis in axes if axis), f"×{series.workers}"])


def said_once(series: Iterable[SeriesRow]) -> Collection[str]:
    """The columns that say the same of all these series: the host and the limits on it, where all have the same."""
    return ("host",) if len({one.place for one in series}) < 2 else ()


COMPARED: TableOf[Compared] = TableOf(
    "B against A: ratio of times, 95 % interval",
    Column("series", lambda row: series_name(row.series)),
    Column("interpreter", lambda row: row.series.interpreter, optional=True),
    Column("host", lambda row: row.series.place, wide=True),
    Column("A", lambda row: row.a_median_ns, duration, right=True, wide=True),
    Column("B", lambda row: row.b_median_ns, duration, right=True, wide=True),
    Column("ratio", lambda row: row.ratio, ratio, right=True),
    Column("interval", lambda row: interval(row.low, row.high), right=True),
    Column("B is", lambda row: row.verdict),
    Column("from", lambda row: row.basis, wide=True),
    Column("what else differs", lambda row: ", ".join(map(str, row.changed)), wide=True),
)

CHANGES: TableOf[Change] = TableOf(
    "steps, newest first: medians of the runs before and after, ratio of times with its 95 % interval",
    Column("since run", lambda row: row.run_id, str, right=True, wide=True),
    Column("started", lambda row: row.started_at),
    Column("series", lambda row: series_name(row.series)),
    Column("interpreter", lambda row: row.series.interpreter, wide=True, optional=True),
    Column("host", lambda row: row.series.place, wide=True),
    Column("before", lambda row: row.before_median_ns, duration, right=True, wide=True),
    Column("after", lambda row: row.after_median_ns, duration, right=True, wide=True),
    Column("ratio", lambda row: row.ratio, ratio, right=True),
    Column("interval", lambda row: interval(row.low, row.high), right=True, wide=True),
    Column("runs", lambda row: f"{row.before_runs}, {row.after_runs}", right=True, wide=True),
    Column("is", lambda row: row.verdict),
    Column("what changed then", lambda row: ", ".join(map(str, row.changed)) or "nothing known", wide=True),
)

SLOWEST: TableOf[SlowRow] = TableOf(
    "slowest, against the median of their series",
    Column("run", lambda row: row.run_id, str, right=True),
    Column("number", lambda row: row.ordinal, str, right=True, wide=True),
    Column("started", lambda row: row.started_at, wide=True),
    Column("payload", lambda row: row.name or (None if row.ordinal is not None else "(its rows were removed)")),
    Column("series", lambda row: series_name(row.series)),
    Column("interpreter", lambda row: row.series.interpreter, wide=True, optional=True),
    Column("host", lambda row: row.series.place, wide=True),
    Column("time", lambda row: row.wall_ns, duration, right=True),
    Column("usual", lambda row: row.series_median_ns, duration, right=True, wide=True),
    Column("ratio", lambda row: row.ratio, ratio, right=True),
)

# A point with its block.
POINTS: TableOf[tuple[TrendRow, str]] = TableOf(
    "medians",
    Column("run", lambda row: row[0].run_id, str, right=True, optional=True),
    Column("day", lambda row: day(row[0].started_at) if row[0].run_id is None else None, optional=True),
    Column("started", lambda row: None if row[0].run_id is None else row[0].started_at, optional=True),
    Column("n", lambda row: row[0].n, right=True),
    Column("median", lambda row: row[0].median_ns, duration, right=True),
    Column("lower quartile", lambda row: row[0].lower_ns, duration, right=True, wide=True),
    Column("upper quartile", lambda row: row[0].upper_ns, duration, right=True, wide=True),
    Column("MAD", lambda row: row[0].mad_ns, duration, right=True, wide=True, optional=True),
    Column("runs", lambda row: row[0].runs if row[0].run_id is None else None, right=True, wide=True, optional=True),
    Column("speed", lambda row: row[0].bytes_per_s, rate, right=True, optional=True),
    Column("lost", lambda row: row[0].lost_share, percent, right=True, optional=True),
    Column("failed", lambda row: row[0].failed or None, right=True, optional=True),
    Column("noisy", lambda row: row[0].noisy or None, right=True, optional=True),
    Column("", lambda row: row[1]),
)


def _times(rows: Sequence[TrendRow]) -> list[float]:
    return [row.median_ns for row in rows if row.median_ns is not None]


def _speeds(rows: Sequence[TrendRow]) -> list[float]:
    return [row.bytes_per_s for row in rows if row.bytes_per_s is not None]


# All points of a series, oldest first.
OVERVIEW: TableOf[Sequence[TrendRow]] = TableOf(
    "medians",
    Column("series", lambda rows: series_name(rows[0].series)),
    Column("interpreter", lambda rows: rows[0].series.interpreter, optional=True),
    Column("host", lambda rows: rows[0].series.place, wide=True),
    Column("number", lambda rows: rows[0].series.series_id, str, right=True),
    Column("points", len, right=True, wide=True),
    Column("from", lambda rows: day(rows[0].started_at), wide=True),
    Column("first", lambda rows: next(iter(_times(rows)), None), duration, right=True, wide=True),
    Column("newest", lambda rows: next(reversed(_times(rows)), None), duration, right=True),
    Column("least", lambda rows: min(_times(rows), default=None), duration, right=True, wide=True),
    Column("greatest", lambda rows: max(_times(rows), default=None), duration, right=True, wide=True),
    Column("speed", lambda rows: rows[-1].bytes_per_s, rate, right=True, wide=True, optional=True),
    Column("n", lambda rows: sum(row.n for row in rows), right=True, wide=True),
    Column("failed", lambda rows: sum(row.failed for row in rows) or None, right=True, wide=True, optional=True),
    Column("noisy", lambda rows: sum(row.noisy for row in rows) or None, right=True, wide=True, optional=True),
    Column("trend", lambda rows: sparkline([row.median_ns for row in rows])),
)


def chain_backend(series: SeriesRow) -> str:
    """A backend, and whether the ciphertext was kept, which takes time."""
    return f"{series.backend or ''}{', kept' * series.kept}"


# All days of a suite, backend and size on a host, oldest first.
THROUGHPUT: TableOf[Sequence[TrendRow]] = TableOf(
    "Throughput by suite, backend and size",
    Column("suite", lambda own: suite_label(own[0].series.suite or "")),
    Column("backend", lambda own: chain_backend(own[0].series)),
    Column("payload size", lambda own: sizes_of(own[0].series.size_class or 0)),
    Column("host", lambda own: own[0].series.place),
    Column("days", lambda own: len({row.started_at for row in own}), right=True),
    Column("first day", lambda own: day(own[0].started_at)),
    Column("last day", lambda own: day(own[-1].started_at)),
    Column("payloads", lambda own: sum(row.n for row in own), right=True),
    Column("failed", lambda own: sum(row.failed for row in own), right=True),
    Column("first, MB/s", lambda rows: next(iter(_speeds(rows)), None), megabytes, right=True),
    Column("least", lambda rows: min(_speeds(rows), default=None), megabytes, right=True),
    Column("greatest", lambda rows: max(_speeds(rows), default=None), megabytes, right=True),
    Column("last, MB/s", lambda rows: next(reversed(_speeds(rows)), None), megabytes, right=True),
    Column("last median, ms", lambda rows: next(reversed(_times(rows)), None), milliseconds, right=True),
)


def speeds_of(row: TrendRow) -> tuple[float | None, float | None, float | None]:
    """Quartiles in bytes per second: the lower one is that of the longer times."""
    median = row.bytes_per_s
    if not (median and row.median_ns and row.lower_ns and row.upper_ns):
        return None, median, None
    return median * row.median_ns / row.upper_ns, median, median * row.median_ns / row.lower_ns


THROUGHPUT_DAYS: TableOf[TrendRow] = TableOf(
    "throughput by day",
    Column("day", lambda row: day(row.started_at)),
    Column("payload size", lambda row: sizes_of(row.series.size_class or 0)),
    Column("backend", lambda row: chain_backend(row.series)),
    Column("runs", lambda row: row.runs, right=True),
    Column("payloads", lambda row: row.n, right=True),
    Column("failed", lambda row: row.failed, right=True),
    Column("lower quartile, MB/s", lambda row: speeds_of(row)[0], megabytes, right=True),
    Column("median, MB/s", lambda row: speeds_of(row)[1], megabytes, right=True),
    Column("upper quartile, MB/s", lambda row: speeds_of(row)[2], megabytes, right=True),
    Column("median, ms", lambda row: row.median_ns, milliseconds, right=True),
)


def trend_table(rows: Sequence[TrendRow], by: str) -> Table:
    """All points of a series; of several series, a line for each that says where it came from and where it is."""
    groups = [list(group) for _, group in groupby(rows, key=lambda row: row.series.series_id)]
    if len(groups) == 1:
        series = rows[0].series
        title = ", ".join(filter(None, (series_name(series), series.interpreter)))
        blocks = sparkline([row.median_ns for row in rows])
        return POINTS.fill(zip(rows, blocks, strict=True), f"{title} by {by}")
    title = f"medians by {by}, oldest to newest (every {by}: --series NUMBER, or --csv)"
    return OVERVIEW.fill(groups, title, without=said_once(row.series for row in rows))


def sparkline(values: Sequence[float | None]) -> str:
    """A block a value, from the least to the greatest, a blank where there is none; level where they hardly differ."""
    known = [value for value in values if value is not None]
    if not known:
        return " " * len(values)
    least = min(known)
    # So that noise of a few per cent does not look like mountains.
    span = max(max(known) - least, 0.1 * least) or 1
    top = len(_BLOCKS) - 1
    return "".join(" " if value is None else _BLOCKS[round((value - least) / span * top)] for value in values)
