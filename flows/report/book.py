"""What became of the book's own `+=` and its own `select`, on what was measured here, and why."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from flows.analysis.findings import quiet_walls
from flows.report.blocks import Paragraph, Section, Sentences
from flows.report.races import RaceResult
from flows.report.speedups import SpeedupResult
from flows.text import milliseconds, percent, plural
from tasks.axes import Executor, Outcome, Shape, Workload

_SELECT_WHY = (
    "Why: item 53 waits in `select.select([socket.socket()], [], [], 0.1)`, on a socket never connected. Linux "
    "calls such a socket readable at once, so the call returns at once and there is nothing for threads to overlap. "
    "The workload `wait` does the same with one end of a socket pair, which blocks for the whole tenth of a second."
)
_UPDATE_WHY = (
    "Why: an update is a load, an addition and a store, and another thread's store is lost if it comes between them. "
    "Up to 3.9 the interpreter may switch threads between any two of its instructions. From 3.10 to 3.13 with the GIL, "
    "CPython looks for a switch only at function entry, after calls and on backward jumps, and `self.count += offset` "
    "has none of these between its load and its store. That is an accident of the implementation, not a promise of the "
    "language: a call on the right-hand side, or the same written out with getattr and setattr, brings the loss "
    "back (shapes `computed` and `expanded`), and without the GIL nothing holds it off. Use a lock."
)
_NOT_RACED = "Not measured yet: `threadmill experiment race --shape augmented,expanded --guard none,lock`."
_NOT_WAITED = "Not measured yet: `threadmill experiment speedup --workload wait-book,wait`."


def book_section(speedups: Sequence[SpeedupResult], races: Sequence[RaceResult]) -> Section:
    """Both, each with what was seen here and then why."""
    return Section(
        "The book's own += and select today",
        (
            Sentences(tuple(_updates(races)) or (_NOT_RACED,)),
            Paragraph(_UPDATE_WHY),
            Sentences(tuple(_selects(speedups)) or (_NOT_WAITED,)),
            Paragraph(_SELECT_WHY),
        ),
    )


def _updates(races: Sequence[RaceResult]) -> Iterator[str]:
    """One sentence per interpreter and number of threads."""
    start = f"`{Shape.AUGMENTED.source}` without a lock"
    for one in races:
        for (shape, workers), finding in one.unlocked().items():
            label = f"{one.measured.label}, {start}, {workers} threads"
            if shape is not Shape.AUGMENTED or finding.samples.failures:
                continue
            if finding.with_loss and finding.lost_share is not None:
                lost = percent(finding.lost_share.median)
                trials = plural(finding.exercised, "trial")
                yield f"{label}: loses updates, {lost} of them in the median of {trials}."
            elif finding.bound is not None:
                yield f"{label}: none observed in {plural(finding.exercised, 'trial')}."


def _selects(speedups: Sequence[SpeedupResult]) -> Iterator[str]:
    """One sentence per interpreter."""
    for one in speedups:
        own = [row for row in one.measured.samples if row.workload == Workload.WAIT_BOOK]
        right = [row for row in own if row.outcome == Outcome.OK and row.found]
        if not right:
            continue
        at_once = all("at once" in str(row.found) for row in right)
        walls = quiet_walls(row for row in right if row.executor == Executor.SERIAL)
        took = f", {milliseconds(statistics.median(walls.values()))} ms for all five" if walls else ""
        does = "returns at once" if at_once else "really waits here"
        yield f"{one.measured.label}, the book's `select` of 0.1 s, five times: {does}{took}."
