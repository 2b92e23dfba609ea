"""`threadmill history changes`: since when something takes longer or less, and what changed then."""

from __future__ import annotations

from collections.abc import Sequence

from flows.analysis.changes import Change, find_changes
from flows.cli.listing import identity, print_rows
from flows.cli.options import Whole
from flows.cli.output import print_table
from flows.cli.record import open_history, say_if_empty
from flows.cli.selection import EVERYTHING, FOR_PEOPLE, Form, Selection
from flows.text import duration, interval, local


def changes(*, which: Selection = EVERYTHING, limit: Whole = 20, form: Form = FOR_PEOPLE) -> int:
    """Find since when something takes longer or less, and what changed then.

    Steps of more than 5 % in the medians of runs are listed with the changes at that point that are on record. The
    newest 1,000 runs of each series are looked at; patch releases of an interpreter follow each other as one series. A
    step needs six runs on either side, and the extra: pip install -e '.[changes]'

    Exit codes: 0 done, 2 refused, or numpy is missing.

    Example: threadmill history changes --since 90d

    Args:
        limit: steps at the most, newest first
    """
    asked = which.filter()
    history = open_history(limit)
    rows = find_changes(history, asked)[:limit]
    say_if_empty(history)
    return print_rows(rows, Change, form, lambda: _print(rows), "no step of more than 5 % is shown")


def _print(rows: Sequence[Change]) -> None:
    headings, cells = identity(row.series for row in rows)
    print_table(
        "steps, newest first: medians of the runs before and after, ratio of times with its 95 % interval",
        ("since run", "started", *headings, "before", "after", "ratio", "interval", "runs", "is", "what changed then"),
        (
            (
                row.run_id,
                local(row.started_at),
                *cells(row.series),
                duration(row.before_median_ns),
                duration(row.after_median_ns),
                f"{row.ratio:.2f}",
                interval(row.low, row.high),
                f"{row.before_runs}, {row.after_runs}",
                row.verdict,
                ", ".join(map(str, row.changed)) or "nothing known",
            )
            for row in rows
        ),
    )
