"""`threadmill history failures|slowest`: what went wrong, and what took long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, get_args

from cyclopts import Parameter

from db.history import FailureKind
from db.rows import FailureRow, SlowRow
from flows.cli.listing import identity, print_rows
from flows.cli.options import Flag, Names, Whole
from flows.cli.output import print_table
from flows.cli.record import open_history, say_if_empty
from flows.cli.selection import EVERYTHING, FOR_PEOPLE, Form, Selection
from flows.errors import RequestRefused
from flows.text import duration, local

_RECENT = timedelta(days=30)


def failures(
    *,
    kind: Annotated[Names, Parameter(help="run, payload, sample, verdict")] = [],  # noqa: B006 - never changed
    which: Selection = EVERYTHING,
    limit: Whole = 20,
    form: Form = FOR_PEOPLE,
) -> int:
    """List what failed, newest first.

    That is: runs, payloads and samples, and faults that were found in vaults. A filter by suite or backend leaves
    payloads only, one by case or interpreter leaves samples only.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history failures --since 7d

    Args:
        limit: how many at the most
    """
    asked = which.filter()
    history = open_history(limit)
    rows = history.failures(asked, kinds=_kinds(kind), limit=limit)
    say_if_empty(history)
    return print_rows(rows, FailureRow, form, lambda: _print_failures(rows), "nothing failed")


def _kinds(names: Sequence[str]) -> list[FailureKind]:
    known: dict[str, FailureKind] = {one: one for one in get_args(FailureKind)}
    if unknown := [name for name in names if name not in known]:
        raise RequestRefused(f"unknown kind {unknown[0]!r}; there are: {', '.join(known)}")
    return [known[name] for name in names]


def _print_failures(rows: Sequence[FailureRow]) -> None:
    print_table(
        "failures",
        ("started", "run", "what", "name", "by", "host", "status", "why"),
        (
            (
                local(row.started_at),
                row.run_id,
                row.kind,
                row.name,
                row.by,
                row.host,
                row.status,
                row.error or row.cause,
            )
            for row in rows
        ),
    )


def slowest(
    *,
    absolute: Annotated[Flag, Parameter(help="by time, whatever is usual for it")] = False,
    which: Selection = EVERYTHING,
    limit: Whole = 20,
    form: Form = FOR_PEOPLE,
) -> int:
    """List what took longest, against what is usual for it.

    Payloads and samples are ordered by their time as a multiple of the median of their series. Failed and noisy ones
    are left out. Without --since, the last 30 days are looked at.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history slowest --limit 5

    Args:
        limit: how many at the most
    """
    asked = which.filter()
    if asked.since is None:
        asked = replace(asked, since=(asked.until or datetime.now(UTC)) - _RECENT)
    history = open_history(limit)
    rows = history.slowest(asked, absolute=absolute, limit=limit)
    say_if_empty(history)
    return print_rows(rows, SlowRow, form, lambda: _print_slowest(rows))


def _print_slowest(rows: Sequence[SlowRow]) -> None:
    headings, cells = identity(row.series for row in rows)
    print_table(
        "slowest, against the median of their series",
        ("run", "number", "started", "payload", *headings, "time", "usual", "ratio"),
        (
            (
                row.run_id,
                row.ordinal,
                local(row.started_at),
                row.name or (None if row.ordinal is not None else "(its rows were removed)"),
                *cells(row.series),
                duration(row.wall_ns),
                duration(row.series_median_ns),
                f"{row.ratio:.2f}",
            )
            for row in rows
        ),
    )
