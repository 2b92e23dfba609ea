"""Item 54 in the report: what is lost without a guard, and what a guard costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flows.analysis.findings import RaceFinding, race_findings
from flows.analysis.sentences import race_sentences
from flows.report.blocks import Cell, Paragraph, Plot, Section, Sentences, Table, columns
from flows.report.charts import CellState, HeatCell, HeatMap, Scale
from flows.report.figures import interval, ratio
from flows.report.latest import Measured
from flows.text import if_known, number, percent, plural
from tasks.axes import Guard, Outcome, Shape

Row = tuple[Shape, int]


@dataclass(frozen=True, slots=True)
class RaceResult:
    """What one interpreter's samples add up to, guards and shapes in the order of their tables."""

    measured: Measured
    findings: tuple[RaceFinding, ...]

    def unlocked(self) -> dict[Row, RaceFinding]:
        """Findings without a guard, by update shape and threads."""
        return {_row(one): one for one in self.findings if one.guard is Guard.NONE}


def race_results(measured: Iterable[Measured]) -> tuple[RaceResult, ...]:
    """Findings of each interpreter."""
    return tuple(RaceResult(one, tuple(sorted(race_findings(one.samples), key=_position))) for one in measured)


def race_sections(results: Sequence[RaceResult]) -> Iterator[Section]:
    """Sentences, the map of losses, and all figures; nothing without results."""
    if not results:
        return
    verdicts = [line for one in results for line in race_sentences(one.measured.label, one.findings)]
    yield Section("Races: what unlocked updates lose", (Paragraph(_HOW_TO_READ), Sentences(tuple(verdicts))))
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
        cells=tuple(tuple(_cell(own.get(row)) for own in found) for row in rows),
        scale=Scale.LOST,
    )


def _cell(finding: RaceFinding | None) -> HeatCell:
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
    """Every case: losses, what is not excluded where there were none, and times."""
    return Table(
        "Updates lost, and what a guard costs",
        columns(
            "interpreter",
            "guard",
            "update",
            "#threads",
            "#updates per thread",
            "#trials with a loss",
            "#lost, median",
            "#loss rate not excluded",
            "#context switches",
            "#ns per update",
            "#time against unlocked",
            "#95 % interval",
            "remark",
        ),
        tuple((one.measured.label, *_race_cells(finding)) for one in results for finding in one.findings),
    )


def _race_cells(finding: RaceFinding) -> tuple[Cell, ...]:
    exercised = finding.exercised
    return (
        finding.guard,
        finding.shape or "none: counts by itself",
        finding.workers,
        f"{finding.count:,}",
        f"{finding.with_loss} of {exercised}" if exercised else None,
        percent(finding.lost_share.median) if finding.lost_share and finding.with_loss else None,
        f"to {percent(finding.bound)} per trial" if finding.bound is not None else None,
        if_known(number, finding.context_switches),
        None if finding.update_ns is None else number(finding.update_ns.median),
        ratio(finding.cost),
        interval(finding.cost),
        _remark(finding),
    )


def _remark(finding: RaceFinding) -> str | None:
    told = {Outcome.SKIPPED, Outcome.NOT_EXERCISED}
    remarks = [f"{number} {one}" for one, number in finding.samples.outcomes if one.is_failure or one in told]
    if finding.samples.noisy:
        remarks.append(f"{plural(finding.samples.noisy, 'noisy sample')}: not in the times")
    return ", ".join(remarks) or None


def _row(finding: RaceFinding) -> Row:
    return finding.shape or Shape.AUGMENTED, finding.workers


def _position(finding: RaceFinding) -> tuple[int, int, int]:
    shape, workers = _row(finding)
    return list(Guard).index(finding.guard or Guard.NONE), list(Shape).index(shape), workers


_HOW_TO_READ = (
    'Threads count together; what is missing at the end was lost. "None observed" is never "safe": the table has the '
    'loss rate per trial that so many trials do not exclude at 95 %. "Not exercised" is a trial whose positive '
    "control lost nothing either, so that it says nothing. Times per update are wall time by all threads' updates, "
    "from samples that are not noisy; what a guard costs is its time against the same update without one."
)
