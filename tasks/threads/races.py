"""What race samples of one interpreter in one run add up to: one finding per case."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.threads.cases import Case
from tasks.threads.choices import Experiment, Guard, Outcome, Shape
from tasks.threads.estimates import Ratio, Spread, median, none_observed_bound, spread
from tasks.threads.findings import Tally, by_case, ratio_of, tally
from tasks.threads.samples import Sample


@dataclass(frozen=True, slots=True)
class RaceFinding:
    """An update shape under a guard, or an alternative.

    Losses count in noisy samples too: noise does not undo a lost update, and gives a race more chances.
    `exercised` are the trials that had a chance to lose; `bound` is the loss rate per trial that they do not
    exclude at 95 %, where nothing was lost. `cost` is the time of an update against an unlocked one, the same
    number of threads at it.
    """

    case: Case
    lost_share: Spread | None
    with_loss: int
    exercised: int
    bound: float | None
    context_switches: float | None
    update_ns: Spread | None
    cost: Ratio | None
    gil_on: bool | None
    tally: Tally


def race_findings(samples: Sequence[Sample], seed: int = 0) -> tuple[RaceFinding, ...]:
    """One finding per case of `race`, from samples of one interpreter in one run."""
    grouped = {case: own for case, own in by_case(samples).items() if case.experiment is Experiment.RACE}
    return tuple(_race_finding(case, own, unlocked_beside(case, grouped), seed) for case, own in grouped.items())


def unlocked_beside(case: Case, grouped: dict[Case, list[Sample]]) -> list[Sample]:
    """Samples of the same update without a guard; those of `augmented` for what has no shape."""
    shape = case.shape or Shape.AUGMENTED
    return [
        sample
        for other, own in grouped.items()
        if other.guard is Guard.NONE and other.shape is shape and other.workers == case.workers
        for sample in own
    ]


def _race_finding(case: Case, own: Sequence[Sample], unlocked: Sequence[Sample], seed: int) -> RaceFinding:
    shares = [one.lost_share for one in own if one.lost_share is not None]
    times = _quiet_times(own)
    switches = [one.context_switches for one in own if one.context_switches is not None]
    counted = tally(own)
    with_loss = counted.count(Outcome.LOST, Outcome.BROKEN)
    exercised = with_loss + counted.count(Outcome.NONE_OBSERVED, Outcome.OK)
    return RaceFinding(
        case=case,
        lost_share=spread(shares) if shares else None,
        with_loss=with_loss,
        exercised=exercised,
        bound=none_observed_bound(exercised) if exercised and not with_loss else None,
        context_switches=median(switches) if switches else None,
        update_ns=spread(list(times.values())) if times else None,
        cost=None if case.guard is Guard.NONE else ratio_of(times, _quiet_times(unlocked), seed),
        gil_on=next((one.gil_on for one in own if one.gil_on is not None), None),
        tally=counted,
    )


def _quiet_times(samples: Sequence[Sample]) -> dict[int, float]:
    """Nanoseconds per update by round, of samples that are not noisy."""
    return {one.round: one.update_ns for one in samples if one.update_ns is not None and not one.noisy}
