"""`threadmill history trend`: how series went on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Annotated, Literal

from cyclopts import Parameter

from db.rows import TrendRow
from flows.cli.listing import identity, print_rows
from flows.cli.options import Whole, Wholes
from flows.cli.output import print_table
from flows.cli.record import open_history, say_if_empty
from flows.cli.selection import EVERYTHING, FOR_PEOPLE, Form, Selection
from flows.text import day, duration, if_known, local, percent, rate

_BLOCKS = "▁▂▃▄▅▆▇█"
_DEFAULT = 30


def trend(
    *,
    by: Annotated[Literal["day", "run"], Parameter(help="what a row stands for; days are UTC")] = "day",
    which: Selection = EVERYTHING,
    series: Annotated[Wholes, Parameter(help="only this one, by the number in the table")] = [],  # noqa: B006 - never changed
    limit: Whole | None = None,
    form: Form = FOR_PEOPLE,
) -> int:
    """Show how times went on, day by day or run by run.

    Each row has the median and the quartiles of payloads and samples that are good and not noisy.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history trend --suite modern --since 30d

    Args:
        limit: the newest days or runs of each series (default: 30, or all --since that time)
    """
    asked = replace(which.filter(), series_ids=series)
    history = open_history(limit)
    if limit is None and asked.since is None:
        limit = _DEFAULT
    rows = history.trend(asked, by=by, limit=limit)
    say_if_empty(history)
    return print_rows(rows, TrendRow, form, lambda: _print(rows, by))


def _print(rows: Sequence[TrendRow], by: str) -> None:
    groups = [list(group) for _, group in groupby(rows, key=lambda row: row.series.series_id)]
    if len(groups) == 1:
        _print_one(groups[0], by)
    else:
        _print_many(groups, by)


def _print_one(rows: Sequence[TrendRow], by: str) -> None:
    """All points of one series, oldest first."""
    _, cells = identity([rows[0].series])
    title = ", ".join(f"{cell}" for cell in cells(rows[0].series))
    races = any(row.lost_share is not None for row in rows)
    encryption = rows[0].series.kind == "encryption"
    print_table(
        f"{title} by {by}",
        (
            *(("day",) if by == "day" else ("run", "started")),
            "n", "median", "lower quartile", "upper quartile", *(("MAD",) if by == "run" else ("runs",)),
            *(("speed",) if encryption else ()), *(("lost",) if races else ()), "failed", "noisy", "",
        ),
        (
            (
                *((day(row.started_at),) if by == "day" else (row.run_id, local(row.started_at))),
                row.n, *(if_known(duration, one) for one in (row.median_ns, row.lower_ns, row.upper_ns)),
                if_known(duration, row.mad_ns) if by == "run" else row.runs,
                *((if_known(rate, row.bytes_per_s),) if encryption else ()),
                *((if_known(percent, row.lost_share),) if races else ()),
                row.failed or None, row.noisy or None, block,
            )
            for row, block in zip(rows, sparkline([row.median_ns for row in rows]), strict=True)
        ),
    )  # fmt: skip


def _print_many(groups: Sequence[Sequence[TrendRow]], by: str) -> None:
    """One line a series: where it came from, where it is, and what lies between as a line of blocks."""
    headings, cells = identity(rows[0].series for rows in groups)
    print_table(
        f"medians by {by}, oldest to newest (every {by}: --series NUMBER, or --csv)",
        (
            "series", *headings[1:], "number", f"{by}s", "from", "first", "newest", "least", "greatest", "speed", "n",
            "failed", "noisy", "trend",
        ),
        (_overview(rows, cells(rows[0].series)) for rows in groups),
    )  # fmt: skip


def _overview(rows: Sequence[TrendRow], cells: tuple[str | None, ...]) -> tuple[object, ...]:
    medians = [row.median_ns for row in rows]
    known = [one for one in medians if one is not None]
    ends = (known[0], known[-1], min(known), max(known)) if known else (None,) * 4
    return (
        *cells, rows[0].series.series_id, len(rows), day(rows[0].started_at),
        *(if_known(duration, one) for one in ends),
        if_known(rate, rows[-1].bytes_per_s),
        sum(row.n for row in rows), sum(row.failed for row in rows) or None, sum(row.noisy for row in rows) or None,
        sparkline(medians),
    )  # fmt: skip


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
