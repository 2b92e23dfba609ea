"""Sentences about `race`: what is lost without a guard, and that the guards hold. Never "safe"."""

from collections.abc import Iterable

from tasks.threads.choices import Guard, Outcome, Shape
from tasks.threads.races import RaceFinding
from tasks.threads.wording import percent, plural, with_interval

ACCIDENT = (
    " (from 3.10 to 3.13 with the GIL, CPython looks for a switch only at function entry, after calls and on "
    "backward jumps, and this update has none of them between its load and its store: an accident of the "
    "implementation)"
)


def race_verdicts(label: str, findings: Iterable[RaceFinding]) -> tuple[str, ...]:
    """One sentence per case, from findings of the interpreter called `label` in one run."""
    return tuple(
        _unlocked(label, one) if one.case.guard is Guard.NONE else _guarded(label, one)
        for one in sorted(findings, key=_in_order)
    )


def _in_order(finding: RaceFinding) -> tuple[int, int, int]:
    """Guards and shapes as in their tables, then the number of threads."""
    case = finding.case
    guard = list(Guard).index(case.guard or Guard.NONE)
    return guard, list(Shape).index(case.shape or Shape.AUGMENTED), case.workers


def _unlocked(label: str, finding: RaceFinding) -> str:
    shape = finding.case.shape or Shape.AUGMENTED
    start = f"{label}, unlocked {shape} ({shape.source})"
    trials = plural(finding.exercised, "trial")
    if finding.tally.failures:
        return f"{start}: {_failed(finding)}."
    if finding.with_loss and finding.lost_share is not None:
        lost = percent(finding.lost_share.median)
        return f"{start}: updates lost in {finding.with_loss} of {trials}, {lost} of them in the median."
    if finding.bound is not None:
        gil = " with the GIL" if finding.gil_on else ""
        accident = ACCIDENT if shape is Shape.AUGMENTED and finding.gil_on else ""
        return (
            f"{start}: none observed in {trials}{gil}, {finding.context_switches or 0:.0f} context switches "
            f"in the median (a per-trial loss rate above {percent(finding.bound)} is excluded at 95 %); "
            f"the language does not promise it{accident}."
        )
    idle = finding.tally.count(Outcome.NOT_EXERCISED)
    return f"{start}: nothing can be said, the race had no chance in {plural(idle, 'trial')}."


def _guarded(label: str, finding: RaceFinding) -> str:
    case = finding.case
    start = f"{label}, {case.guard}" + (f" around {case.shape}" if case.shape else "")
    if finding.tally.failures:
        return f"{start}: {_failed(finding)}."
    if not finding.exercised:
        return f"{start}: nothing was measured."
    cost = f"; the time of an update against an unlocked one: {with_interval(finding.cost)}" if finding.cost else ""
    return f"{start}: no update lost in {plural(finding.exercised, 'trial')}{cost}."


def _failed(finding: RaceFinding) -> str:
    counts = [f"{number} {outcome}" for outcome, number in finding.tally.outcomes if outcome.is_failure]
    return f"FAILED samples: {', '.join(counts)}"
