"""`threadmill history trend|compare|changes|slowest|failures`: changes over time, slow series, and failures."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from cyclopts import Parameter

from db.answers import FailureRow, SlowRow, TrendRow
from db.words import CLOSED_STATUSES
from flows.analysis.intervals import SpeedVerdict
from flows.cli.history import need_runs, print_rows
from flows.cli.options import Form, Selection, SeriesList, end_in_time, need_known, point_in_time
from flows.errors import RequestRefused
from flows.option_types import Flag, Limit, Names, Wholes
from flows.settings import load_settings
from flows.show.series_tables import CHANGES, COMPARED, SLOWEST, said_once, trend_table
from flows.show.tables import FAILURES
from flows.show.terminal import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.history import FailureKind, History
    from flows.analysis.comparison import Comparison, Side

_DEFAULT = 30
_RECENT = timedelta(days=30)
_FORMS = "a run (12, latest), an interpreter (3.13), host:NAME, or a span of time (2026-10-01..2026-10-31)"
# `30d` in the second text means a moment later than in the first.
_TOGETHER = timedelta(seconds=1)


def trend(
    *,
    by: Annotated[Literal["day", "run"], Parameter(help="what a row stands for; days are UTC")] = "day",
    which: Selection = Selection(),
    series: Annotated[Wholes, Parameter(help="only this one, by the number in the table")] = [],
    limit: Limit | None = None,
    form: Form = Form(),
) -> int:
    """Show how times develop, day by day or run by run.

    Each row has the median and the quartiles of payloads and samples that are good and not noisy.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history trend --suite modern --since 30d

    Args:
        limit: the newest days or runs of each series (default: 30, or all --since that time)
    """
    asked = replace(which.filter(), series_ids=series)
    history = load_settings().open_history()
    if limit is None and asked.since is None:
        limit = _DEFAULT
    rows = history.trend(asked, by=by, limit=limit)
    return print_rows(history, rows, TrendRow, form, lambda: trend_table(rows, by))


def compare(a: str, b: str, /, *, which: Selection = Selection(), limit: Limit = 40, form: Form = Form()) -> int:
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
    from flows.analysis.comparison import Compared
    from flows.analysis.comparison import compare as compare_sides

    asked = which.filter()
    history = load_settings().open_history()
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
    title = f"B = {other.text} against A = {one.text}: ratio of times, 95 % interval"
    without = said_once(row.series for row in rows)
    code = print_rows(history, rows, Compared, form, lambda: COMPARED.fill(rows, title, without=without))
    if not (form.json or form.csv):
        _print_counts(found)
    return code


def _nothing(found: Comparison, a: Side, b: Side) -> str:
    if found.limits:
        limits = f"{a.text} had {found.limits[0]}, {b.text} {found.limits[1]}"
        return f"{limits}: times under different limits are not compared"
    for side, only in ((a, found.only_a), (b, found.only_b)):
        if not only:
            return f"nothing with a quiet time is on record for {side.text}; see: threadmill history runs"
    hint = "; different hosts or interpreters are compared by: host:A host:B, or 3.11 3.13" if a.kind == "run" else ""
    return f"{a.text} and {b.text} have no series in common{hint}"


def _print_counts(found: Comparison) -> None:
    counts = Counter(row.verdict for row in found.rows)
    words = [f"{counts[one]} {one}" for one in SpeedVerdict if counts[one]]
    only = [f"{number} only in {side}" for number, side in ((found.only_a, "A"), (found.only_b, "B")) if number]
    say(f"{len(found.rows)} series on both sides: {', '.join(words)}" + (f"; {', '.join(only)}" if only else ""))


def both_sides(history: History, a: str, b: str) -> tuple[Side, Side]:
    """Two different sides of the same kind."""
    one, other = _side(history, a), _side(history, b)
    if one.kind != other.kind:
        raise RequestRefused(f"{a} ({one.kind}) and {b} ({other.kind}) are not of one kind")
    if (one.text, one.run_id) == (other.text, other.run_id):
        raise RequestRefused(f"{a} and {b} are the same")
    if one.kind == "time" and not (_before(one, other) or _before(other, one)):
        raise RequestRefused(f"{a} and {b} overlap")
    return one, other


def _side(history: History, text: str) -> Side:
    from flows.analysis.comparison import Side

    text = text.strip()
    if text == "latest" or text.isdecimal():
        number = _run(history, text)
        return Side("run", f"run {number}", run_id=number)
    if text.startswith("host:") and text != "host:":
        return Side("host", text.removeprefix("host:"))
    # A day is the span from its begin to its end.
    span = f"{text}..{text}" if re.fullmatch(r"\d{4}-\d\d-\d\d|today|yesterday", text) else text
    if ".." in span:
        begin, _, end = span.partition("..")
        since = point_in_time(begin) if begin else None
        until = end_in_time(end) if end else None
        if (since is None and until is None) or (since is not None and until is not None and since >= until):
            raise RequestRefused(f"{text!r} is no span of time")
        return Side("time", text, since=since, until=until)
    # A label may have more to it: pypy 3.10.14, 3.13.0t with the GIL.
    if re.search(r"\d+\.\d+", text):
        return Side("interpreter", text)
    raise RequestRefused(f"{text!r} cannot be compared; write {_FORMS}")


def _run(history: History, text: str) -> int:
    """The number may be that of a removed run, because its summaries stay on record."""
    if text == "latest":
        newest = history.runs(limit=1, statuses=CLOSED_STATUSES)
        if not newest:
            raise RequestRefused("no run has ended yet")
        return newest[0].id
    if len(text) >= 19:
        raise RequestRefused(f"there is no run {text}; see: threadmill history runs")
    return int(text)


def _before(one: Side, other: Side) -> bool:
    """Whether the first side ends before the other begins, or at the same time."""
    return one.until is not None and other.since is not None and one.until <= other.since + _TOGETHER


def changes(*, which: SeriesList = SeriesList()) -> int:
    """Find the runs since which something takes longer or less, and what changed then.

    Steps of more than 5 % in the medians of runs are listed, newest first, with the changes at that point that are on
    record. The newest 1,000 runs of each series are looked at; patch releases of an interpreter follow each other as
    one series. A step needs six runs on either side, and the extra: pip install -e '.[changes]'

    Exit codes: 0 done, 2 refused, or numpy is missing.

    Example: threadmill history changes --since 90d
    """
    from flows.analysis.changes import Change, find_changes

    asked = which.filter()
    history = load_settings().open_history()
    rows = find_changes(history, asked)[: which.limit]
    without, nothing = said_once(row.series for row in rows), "no step of more than 5 % is shown"
    return print_rows(history, rows, Change, which, lambda: CHANGES.fill(rows, without=without), nothing)


def slowest(
    *,
    absolute: Annotated[Flag, Parameter(help="order by time alone, not relative to what is usual")] = False,
    which: SeriesList = SeriesList(),
) -> int:
    """List the payloads and samples that took longest, relative to what is usual.

    Payloads and samples are ordered by their time as a multiple of the median of their series. Failed and noisy ones
    are left out. Without --since, the last 30 days are looked at.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history slowest --limit 5
    """
    asked = which.filter()
    if asked.since is None:
        asked = replace(asked, since=(asked.until or datetime.now(UTC)) - _RECENT)
    history = load_settings().open_history()
    rows = history.slowest(asked, absolute=absolute, limit=which.limit)
    without = said_once(row.series for row in rows)
    return print_rows(history, rows, SlowRow, which, lambda: SLOWEST.fill(rows, without=without))


def failures(
    *, kind: Annotated[Names, Parameter(help="run, payload, sample, verdict")] = [], which: SeriesList = SeriesList()
) -> int:
    """List failures, newest first.

    That is: runs, payloads and samples, and faults that were found in vaults. A filter by suite or backend leaves
    payloads only, one by case or interpreter leaves samples only.

    Exit codes: 0 done, 2 refused.

    Example: threadmill history failures --since 7d
    """
    asked = which.filter()
    history = load_settings().open_history()
    rows = history.failures(asked, kinds=_kinds(kind), limit=which.limit)
    return print_rows(history, rows, FailureRow, which, lambda: FAILURES.fill(rows), "nothing failed")


def _kinds(names: Sequence[str]) -> list[FailureKind]:
    from db.history import FailureKind

    known: dict[str, FailureKind] = {one: one for one in get_args(FailureKind)}
    need_known("kind", names, known)
    return [known[name] for name in names]
