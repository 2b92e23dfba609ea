"""Experiments in the report: what executors gave, what unlocked updates lost, and the book's own `+=` and `select`."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flows.analysis.findings import RaceFinding, SpeedupFinding, quiet_walls, race_findings, speedup_findings
from flows.analysis.intervals import verdict_on_speedup
from flows.analysis.latest import Measured
from flows.analysis.sentences import race_sentences, speedup_sentences
from flows.show.finding_tables import RACES, SPEEDUPS, executor_label, race_row, speedup_row
from flows.show.plots.bars import CellState, HeatCell, HeatMap, Scale
from flows.show.plots.lines import Curve, Point, ScalingChart, ScalingPanel
from flows.show.table import Paragraph, Plot, Section, Sentences, Table
from flows.show.time_sections import time_blocks
from flows.text import duration, factor, percent, plural
from tasks.axes import Executor, Guard, Outcome, Shape, Workload

# Their speed-up is shown over workers: they compute, or wait and do nothing else.
SCALING = tuple(one for one in Workload if one.cpu_bound or one is Workload.WAIT)
# The book's select returns at once, so there is nothing to speed up; `book_section` says so.
COMPARED = tuple(one for one in Workload if one is not Workload.WAIT_BOOK)
Way = tuple[Executor, int]


@dataclass(frozen=True, slots=True)
class SpeedupResult:
    """The findings about speed-ups on one interpreter."""

    measured: Measured
    findings: tuple[SpeedupFinding, ...]

    def of(self, workload: Workload) -> dict[Way, SpeedupFinding]:
        """Findings by executor and workers, serial first."""
        own = [one for one in self.findings if one.workload is workload]
        own.sort(key=lambda one: _way_position(_way(one)))
        return {_way(one): one for one in own}


def speedup_results(measured: Iterable[Measured]) -> tuple[SpeedupResult, ...]:
    """Findings of each interpreter."""
    return tuple(SpeedupResult(one, speedup_findings(one.samples)) for one in measured)


def speedup_sections(results: Sequence[SpeedupResult]) -> Iterator[Section]:
    """Each workload across interpreters, then each interpreter across workloads; nothing without results."""
    if not results:
        return
    verdicts = [speedup_sentences(one.measured.label, one.findings) for one in results]
    yield Section("Speed-up: do threads help?", (Paragraph(_HOW_TO_READ_SPEEDUPS),))
    for workload in COMPARED:
        if any(one.of(workload) for one in results):
            own = tuple(sentences[workload] for sentences in verdicts if workload in sentences)
            chart = executor_map(workload, results)
            plots = (Plot(chart),) if chart.rows else ()
            blocks = (Sentences(own), *plots, speedup_table(workload, results))
            yield Section(f"Workload {workload}: {_WHAT[workload]}", blocks, level=3)
    for one in results:
        curves = scaling_chart(one)
        drawn = (Plot(curves),) if curves.panels else ()
        yield Section(f"Interpreter {one.measured.label}", (*drawn, *time_blocks(one.measured)), level=3)


def executor_map(workload: Workload, results: Sequence[SpeedupResult]) -> HeatMap:
    """Executors × interpreters: speed-up against one after the other."""
    found = [one.of(workload) for one in results]
    shown = [_without_repeats(own) for own in found]
    rows = sorted({row for own in shown for row in own if row[0] is not Executor.SERIAL}, key=_way_position)
    return HeatMap(
        title=f"Speed-up of {workload} against one after the other",
        rows=tuple(executor_label(*row) for row in rows),
        columns=tuple(one.measured.label for one in results),
        cells=tuple(tuple(_speedup_cell(own.get(row)) for own in found) for row in rows),
        scale=Scale.SPEEDUP,
    )


def _without_repeats(found: dict[Way, SpeedupFinding]) -> dict[Way, SpeedupFinding]:
    """Say once that an executor is not possible, whatever the number of workers."""
    kept: dict[Way, SpeedupFinding] = {}
    skipped: set[Executor] = set()
    for row, finding in found.items():
        if finding.samples.count(Outcome.SKIPPED):
            if row[0] in skipped:
                continue
            skipped.add(row[0])
        kept[row] = finding
    return kept


def _speedup_cell(finding: SpeedupFinding | None) -> HeatCell:
    if finding is None:
        return HeatCell(CellState.NOT_MEASURED, ("not", "measured"))
    if finding.samples.failures:
        return HeatCell(CellState.FAILED, ("FAILED",))
    if finding.ratio is None:
        if finding.samples.count(Outcome.SKIPPED):
            return HeatCell(CellState.SKIPPED, ("skipped",))
        return HeatCell(CellState.NOTHING, ("no quiet", "pair"))
    value = finding.ratio
    bounds = "no interval" if value.low is None or value.high is None else f"{value.low:.2f}–{value.high:.2f}"
    sure = verdict_on_speedup(value).is_difference
    return HeatCell(CellState.VALUE, (factor(value.value), bounds), value.value, sure)


def speedup_table(workload: Workload, results: Sequence[SpeedupResult]) -> Table:
    """The same with the times, the intervals and the ceiling."""
    rows = (
        speedup_row(one.measured.run_id, one.measured.label, finding)
        for one in results
        for finding in _without_repeats(one.of(workload)).values()
    )
    return SPEEDUPS.fill(rows, f"Speed-up of {workload}", without=("run", "workload"))


def scaling_chart(result: SpeedupResult) -> ScalingChart:
    """Speed-up over workers, a panel for each workload that has one to show."""
    panels = [_panel(workload, result.of(workload)) for workload in SCALING]
    return ScalingChart(f"Speed-up over workers, {result.measured.label}", tuple(one for one in panels if one.curves))


def _panel(workload: Workload, found: dict[Way, SpeedupFinding]) -> ScalingPanel:
    points: dict[Executor, list[Point]] = {}
    for (executor, workers), finding in found.items():
        if executor is not Executor.SERIAL and finding.ratio is not None and not finding.samples.failures:
            points.setdefault(executor, []).append(Point(workers, finding.ratio))
    limits = {one.workers: one.ceiling for one in found.values() if one.ceiling is not None}
    return ScalingPanel(
        workload,
        tuple(Curve(executor, tuple(own)) for executor, own in points.items()),
        tuple(Point(workers, limits[workers]) for workers in sorted(limits)),
    )


def _way(finding: SpeedupFinding) -> Way:
    return finding.executor, finding.workers


def _way_position(row: Way) -> tuple[int, int]:
    return list(Executor).index(row[0]), row[1]


Update = tuple[Shape, int]


@dataclass(frozen=True, slots=True)
class RaceResult:
    """The findings about races on one interpreter, guards and shapes in the order of their tables."""

    measured: Measured
    findings: tuple[RaceFinding, ...]

    def unlocked(self) -> dict[Update, RaceFinding]:
        """Findings without a guard, by update shape and threads."""
        return {_update(one): one for one in self.findings if one.guard is Guard.NONE}


def race_results(measured: Iterable[Measured]) -> tuple[RaceResult, ...]:
    """Findings of each interpreter."""
    return tuple(RaceResult(one, tuple(sorted(race_findings(one.samples), key=_race_position))) for one in measured)


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
    found = [one.unlocked() for one in results]
    rows = sorted({row for own in found for row in own}, key=lambda row: (list(Shape).index(row[0]), row[1]))
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
    if finding.samples.failures:
        return HeatCell(CellState.FAILED, ("FAILED",))
    if finding.with_loss and finding.lost_share is not None:
        lost = finding.lost_share.median
        return HeatCell(CellState.VALUE, (percent(lost), f"in {finding.with_loss} of {finding.exercised}"), lost)
    if finding.bound is not None:
        return HeatCell(CellState.NONE_OBSERVED, ("none", "observed", f"in {finding.exercised}"))
    if finding.samples.count(Outcome.SKIPPED):
        return HeatCell(CellState.SKIPPED, ("skipped",))
    return HeatCell(CellState.NOTHING, ("not", "exercised"))


def race_table(results: Sequence[RaceResult]) -> Table:
    """Every case: losses, the loss rate that is not excluded where there were none, and times."""
    rows = (race_row(one.measured.run_id, one.measured.label, finding) for one in results for finding in one.findings)
    return RACES.fill(rows, "Updates lost, and what a guard costs", without=("run",))


def _update(finding: RaceFinding) -> Update:
    return finding.shape or Shape.AUGMENTED, finding.workers


def _race_position(finding: RaceFinding) -> tuple[int, int, int]:
    shape, workers = _update(finding)
    return list(Guard).index(finding.guard or Guard.NONE), list(Shape).index(shape), workers


def book_section(speedups: Sequence[SpeedupResult], races: Sequence[RaceResult]) -> Section:
    """Both, each with its result here, and then the reason."""
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
        took = f", {duration(statistics.median(walls.values()))} for all five" if walls else ""
        does = "returns at once" if at_once else "really waits here"
        yield f"{one.measured.label}, the book's `select` of 0.1 s, five times: {does}{took}."


_HOW_TO_READ_SPEEDUPS = (
    "A speed-up is the time of one after the other by the time of the executor, the median over pairs from the same "
    "round, with a bootstrap interval; noisy samples stay in the record and count for nothing here. The ceiling is "
    "what as many independent processes gave on this host in the same rounds. It helps, or slows down, where the "
    "whole interval lies more than 5 % from 1. A pool's number of workers stands in "
    "brackets; threads are one per item."
)
_WHAT = {
    Workload.FACTORIZE: "the book's four numbers, pure Python",
    Workload.DIGEST: "SHA-256 of large buffers, C code that gives the GIL up",
    Workload.WAIT: "five waits of 0.1 s that really block",
    Workload.CHILD: "chains of child processes, encrypt and then hash",
}
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
