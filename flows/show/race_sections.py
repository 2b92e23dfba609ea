"""Races in the report, the book's own `+=` and `select`, and the runs that the experiments' figures come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.analysis.findings import RaceFinding
from flows.analysis.intervals import median
from flows.analysis.samples import Measured, position, quiet_walls
from flows.analysis.sentences import race_sentences
from flows.show.finding_tables import RACES, Result
from flows.show.plots.bars import CellState, HeatCell, HeatMap, Scale
from flows.show.speedup_sections import SpeedupResult
from flows.show.table import Column, Paragraph, Plot, Section, Sentences, Table, TableOf
from flows.text import duration, percent, plural
from tasks.axes import Executor, Guard, Outcome, Shape, Workload

RaceResult = Result[RaceFinding]


def _unlocked(result: RaceResult) -> dict[tuple[Shape, int], RaceFinding]:
    """The findings without a guard, by update shape and threads."""
    found = (one for one in result.findings if one.guard is Guard.NONE)
    return {(one.shape or Shape.AUGMENTED, one.workers): one for one in found}


def race_sections(results: Sequence[RaceResult]) -> Iterator[Section]:
    """Sentences, the map of losses, and all figures; nothing without results."""
    if not results:
        return
    verdicts = [line for one in results for line in race_sentences(one.measured.label, one.findings)]
    yield Section("Races: what unlocked updates lose", (Paragraph(_HOW_TO_READ_RACES), Sentences(tuple(verdicts))))
    losses = loss_map(results)
    plots = (Plot(losses),) if losses.rows else ()
    yield Section("Losses and the cost of guards", (*plots, race_table(results)), level=3)


def loss_map(results: Sequence[RaceResult]) -> HeatMap:
    """Update shapes × interpreters: median share of updates lost without a guard."""
    found = [_unlocked(one) for one in results]
    rows = sorted({row for own in found for row in own}, key=lambda row: (position(row[0]), row[1]))
    return HeatMap(
        title="Updates lost without a guard, median over trials",
        rows=tuple(f"{shape}, {workers} threads\n{shape.source}" for shape, workers in rows),
        columns=tuple(one.measured.label for one in results),
        cells=tuple(tuple(_race_cell(own.get(row)) for own in found) for row in rows),
        scale=Scale.LOST,
    )


def _race_cell(finding: RaceFinding | None) -> HeatCell:
    if finding is None:
        return HeatCell(CellState.NOT_MEASURED, ("not", "measured"))
    if finding.failures:
        return HeatCell(CellState.FAILED, ("FAILED",))
    if finding.with_loss and finding.lost_share is not None:
        words = (percent(finding.lost_share), f"in {finding.with_loss} of {finding.exercised}")
        return HeatCell(CellState.VALUE, words, finding.lost_share)
    if finding.bound is not None:
        return HeatCell(CellState.NONE_OBSERVED, ("none", "observed", f"in {finding.exercised}"))
    if Outcome.SKIPPED in finding.outcomes:
        return HeatCell(CellState.SKIPPED, ("skipped",))
    return HeatCell(CellState.NOTHING, ("not", "exercised"))


def race_table(results: Sequence[RaceResult]) -> Table:
    """Every case: losses, the loss rate that is not excluded where there were none, and times."""
    rows = (finding for one in results for finding in one.findings)
    return RACES.fill(rows, "Updates lost, and what a guard costs", without=("run",))


def book_section(speedups: Sequence[SpeedupResult], races: Sequence[RaceResult]) -> Section:
    """The book's `+=` and `select`: the result on each interpreter, then the reason."""
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
        for (shape, workers), finding in _unlocked(one).items():
            label = f"{one.measured.label}, {start}, {workers} threads"
            if shape is not Shape.AUGMENTED or finding.failures:
                continue
            if finding.with_loss and finding.lost_share is not None:
                lost = percent(finding.lost_share)
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
        wall_ns = median(quiet_walls(row for row in right if row.executor == Executor.SERIAL).values())
        took = f", {duration(wall_ns)} for all five" if wall_ns else ""
        does = "returns at once" if at_once else "really waits here"
        yield f"{one.measured.label}, the book's `select` of 0.1 s, five times: {does}{took}."


def _unknown(samples: int) -> str:
    return f"{plural(samples, 'sample')} of cases that this program does not know"


# The run that the figures of each interpreter come from: pairs are of one round, so statistics are of one run.
MEASURED: TableOf[Measured] = TableOf(
    "Runs shown",
    Column("interpreter", lambda row: row.label),
    Column("experiment", lambda row: row.experiment),
    Column("host", lambda row: row.host),
    Column("run", lambda row: row.run_id, str, right=True),
    Column("started", lambda row: row.started_at),
    Column("rounds", lambda row: row.rounds, right=True),
    Column("samples", lambda row: len(row.samples), right=True),
    Column("noisy", lambda row: row.noisy, right=True),
    Column("remark", lambda row: row.unknown or None, _unknown),
)


_HOW_TO_READ_RACES = (
    'Threads count together; what is missing at the end was lost. "None observed" is never "safe": the table has the '
    'loss rate per trial that so many trials do not exclude at 95 %. "Not exercised" is a trial whose positive '
    "control lost nothing either, so that it says nothing. Times per update are wall time by all threads' updates, "
    "from samples that are not noisy; what a guard costs is its time against the same update without one."
)
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
