"""`threadmill history compare`: two runs, interpreters, hosts or times against each other."""

from __future__ import annotations

from collections import Counter

from flows.analysis.comparison import Compared, Comparison, Side
from flows.analysis.comparison import compare as compare_sides
from flows.analysis.intervals import SpeedVerdict
from flows.cli.listing import identity, print_rows
from flows.cli.options import Whole
from flows.cli.output import print_table, say
from flows.cli.record import need_runs, open_history
from flows.cli.selection import EVERYTHING, FOR_PEOPLE, Form, Selection
from flows.cli.sides import both_sides
from flows.errors import RequestRefused
from flows.text import duration, interval


def compare(a: str, b: str, /, *, which: Selection = EVERYTHING, limit: Whole = 40, form: Form = FOR_PEOPLE) -> int:
    """Compare two runs, interpreters, hosts or spans of time.

    Wherever A and B measured the same, the ratio of their times is given with its 95 % interval. Faster or slower is
    said only where the whole interval lies beyond 5 %. The newest 1,000 runs of each series are looked at on either
    side.

    Exit codes: 0 done, 2 refused, or nothing to compare.

    Example: threadmill history compare 3.11 3.13t --workload factorize

    Args:
        a: a run (12, latest), an interpreter (3.11), host:NAME, or a span of time (2026-10-01..2026-10-31)
        b: another of that kind
        limit: series at the most, the greatest differences first
    """
    asked = which.filter()
    history = open_history(limit)
    need_runs(history)
    one, other = both_sides(history, a, b)
    if one.kind == "interpreter" and (asked.interpreters or asked.of_payloads):
        raise RequestRefused("interpreters are compared: --interpreter, --suite and --backend do not go with that")
    if (one.kind == "host" and asked.hosts) or (one.kind == "time" and (asked.since or asked.until)):
        raise RequestRefused(f"{one.kind}s are compared: the option for it does not go with that")
    found = compare_sides(history, one, other, asked)
    if not found.rows:
        raise RequestRefused(_nothing(found, one, other))
    rows = found.rows[:limit]
    return print_rows(rows, Compared, form, lambda: _print(rows, found, one, other))


def _nothing(found: Comparison, a: Side, b: Side) -> str:
    for side, only in ((a, found.only_a), (b, found.only_b)):
        if not only:
            return f"nothing with a time is on record for {side.text}; see: threadmill history runs"
    hint = "; different hosts or interpreters are compared by: host:A host:B, or 3.11 3.13" if a.kind == "run" else ""
    return f"{a.text} and {b.text} have no series in common{hint}"


def _print(rows: tuple[Compared, ...], found: Comparison, a: Side, b: Side) -> None:
    headings, cells = identity(row.series for row in rows)
    print_table(
        f"B = {b.text} against A = {a.text}: ratio of times, 95 % interval",
        (*headings, "A", "B", "ratio", "interval", "B is", "from", "what else differs"),
        (
            (
                *cells(row.series),
                duration(row.a_median_ns),
                duration(row.b_median_ns),
                f"{row.ratio:.2f}",
                interval(row.low, row.high),
                row.verdict,
                row.basis,
                ", ".join(map(str, row.changed)),
            )
            for row in rows
        ),
    )
    counts = Counter(row.verdict for row in found.rows)
    words = [f"{counts[one]} {one}" for one in SpeedVerdict if counts[one]]
    only = [f"{number} only in {side}" for number, side in ((found.only_a, "A"), (found.only_b, "B")) if number]
    say(f"{len(found.rows)} series on both sides: {', '.join(words)}" + (f"; {', '.join(only)}" if only else ""))
