"""What `threadmill history compare` is asked to compare: the two words, understood."""

from __future__ import annotations

import re
from datetime import timedelta

from db.history import History
from flows.analysis.comparison import Side
from flows.cli.options import end_in_time, point_in_time
from flows.errors import RequestRefused

_FORMS = "a run (12, latest), an interpreter (3.13), host:NAME, or a span of time (2026-10-01..2026-10-31)"
# `30d` means a little later in the second word than in the first.
_TOGETHER = timedelta(seconds=1)
_CLOSED = ("completed", "failed", "cancelled", "crashed")


def both_sides(history: History, a: str, b: str) -> tuple[Side, Side]:
    """The two sides, of one kind and not the same.

    Raises:
        RequestRefused: they cannot be compared, or one is none of the forms.
    """
    one, other = _side(history, a), _side(history, b)
    if one.kind != other.kind:
        raise RequestRefused(f"{a} ({one.kind}) and {b} ({other.kind}) are not of one kind")
    if (one.text, one.run_id) == (other.text, other.run_id):
        raise RequestRefused(f"{a} and {b} are the same")
    if one.kind == "time" and not (_before(one, other) or _before(other, one)):
        raise RequestRefused(f"{a} and {b} overlap")
    return one, other


def _side(history: History, text: str) -> Side:
    text = text.strip()
    if text == "latest" or text.isdecimal():
        return _run(history, text)
    if text.startswith("host:") and text != "host:":
        return Side("host", text.removeprefix("host:"))
    if ".." in text:
        begin, _, end = text.partition("..")
        return _time(text, begin, end)
    if re.fullmatch(r"\d{4}-\d\d-\d\d|today|yesterday", text):
        return _time(text, text, text)
    # A label may have more to it: pypy 3.10.14, 3.13.0t with the GIL.
    if re.search(r"\d+\.\d+", text):
        return Side("interpreter", text)
    raise RequestRefused(f"{text!r} cannot be compared; write {_FORMS}")


def _run(history: History, text: str) -> Side:
    """By its number also one that was removed: its summaries are still there."""
    if text == "latest":
        newest = history.runs(limit=1, statuses=_CLOSED)
        if not newest:
            raise RequestRefused("no run has ended yet")
        text = str(newest[0].id)
    if len(text) >= 19:
        raise RequestRefused(f"there is no run {text}; see: threadmill history runs")
    return Side("run", f"run {int(text)}", run_id=int(text))


def _time(text: str, begin: str, end: str) -> Side:
    since = point_in_time(begin) if begin else None
    until = end_in_time(end) if end else None
    if (since is None and until is None) or (since is not None and until is not None and since >= until):
        raise RequestRefused(f"{text!r} is no span of time")
    return Side("time", text, since=since, until=until)


def _before(one: Side, other: Side) -> bool:
    """Whether one ends where the other begins, or earlier."""
    return one.until is not None and other.since is not None and one.until <= other.since + _TOGETHER
