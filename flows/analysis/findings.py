"""Findings: the samples of one interpreter in one run, added up case by case. Noisy samples give no times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from db.rows import SampleRow
from flows.analysis.ceiling import possible_speedup
from flows.analysis.intervals import Ratio, SpeedVerdict, median, none_observed_bound, verdict_on_speedup
from flows.analysis.samples import (
    CaseSamples,
    against,
    by_case,
    by_interpreter,
    count_outcomes,
    failed_outcomes,
    failures,
    noisy_wall_ns,
    paired,
    position,
    quiet_walls,
    ratio_fields,
)
from flows.text import if_known
from tasks.axes import Executor, Experiment, Guard, Outcome, Shape, Workload

# A verdict on an executor in few words, for a cell of a table.
_WORDS = {
    SpeedVerdict.FASTER: "helps here",
    SpeedVerdict.NOT_FASTER: "does not help here",
    SpeedVerdict.SLOWER: "slower here",
    SpeedVerdict.NO_DIFFERENCE: "nothing can be said",
    SpeedVerdict.NO_INTERVAL: "nothing can be said",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedupFinding:
    """A workload under an executor in one run, against serial in the same rounds.

    `low` and `high` bound the 95 % interval of `speedup`, which is None without a quiet pair. `possible` is the
    speed-up that as many independent processes had then, None where the workload does not compute all the time.
    `outcomes` counts samples, `noisy` those that give no times; `noisy_wall_ns` and `noisy_speedup` are figures of all
    samples where the quiet ones give none, to be shown and not to be relied on. `skipped` is why samples were skipped,
    `found` the result of the work if it is the same in all samples.
    """

    run_id: int
    interpreter: str
    workload: Workload
    executor: Executor
    workers: int
    median_wall_ns: float | None
    noisy_wall_ns: float | None
    speedup: float | None
    noisy_speedup: float | None
    low: float | None
    high: float | None
    pairs: int
    possible: float | None
    possible_low: float | None
    possible_high: float | None
    possible_pairs: int
    verdict: str
    failures: int
    skipped: str | None
    found: str | None
    outcomes: Mapping[Outcome, int]
    noisy: int

    @property
    def ratio(self) -> Ratio | None:
        """The speed-up with its interval."""
        return None if self.speedup is None else Ratio(self.speedup, self.low, self.high, self.pairs)

    @property
    def ceiling(self) -> Ratio | None:
        """The possible speed-up with its interval."""
        if self.possible is None:
            return None
        return Ratio(self.possible, self.possible_low, self.possible_high, self.possible_pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceFinding:
    """An update shape under a guard in one run, or an alternative (`shape` None); `count` is updates per thread.

    Losses count in noisy samples too: noise does not undo a lost update, and gives a race more chances.
    `lost_share` is the median, 0 to 1. `exercised` are the trials that had a chance to lose; `bound` is the loss rate
    per trial that they do not exclude at 95 %, where nothing was lost. `cost` is the time of an update against an
    unlocked one by the same number of threads, `low` and `high` bound its 95 % interval. `noisy_update_ns` is from
    noisy samples where there are no others.
    """

    run_id: int
    interpreter: str
    shape: Shape | None
    guard: Guard
    workers: int
    count: int
    lost_share: float | None
    with_loss: int
    exercised: int
    bound: float | None
    update_ns: float | None
    noisy_update_ns: float | None
    context_switches: float | None
    cost: float | None
    low: float | None
    high: float | None
    pairs: int
    verdict: str
    failures: int
    gil_on: bool | None
    outcomes: Mapping[Outcome, int]
    noisy: int


def speedup_findings(rows: Iterable[SampleRow]) -> tuple[SpeedupFinding, ...]:
    """One finding per interpreter and case of `speedup`, in the order of their tables.

    The samples are those of one run, the ones of `ceiling` among them.
    """
    return tuple(found for own in by_interpreter(rows).values() for found in _speedups(by_case(own)))


def _speedups(grouped: CaseSamples) -> list[SpeedupFinding]:
    cases = [
        (Workload(first.workload), Executor(first.executor), own)
        for own in grouped.values()
        if (first := own[0]).workload and first.executor
    ]
    serial = {(one, own[0].count): own for one, executor, own in cases if executor is Executor.SERIAL}
    limited = {own[0].workers for workload, _, own in cases if workload.cpu_bound}
    ceilings = {workers: possible_speedup(grouped, workers) for workers in limited}
    findings = []
    for workload, executor, own in cases:
        ratio, noisy = against(serial.get((workload, own[0].count), ()), own)
        ceiling = ceilings[own[0].workers] if workload.cpu_bound else None
        findings.append(_speedup_finding(workload, executor, own, ratio, ceiling, noisy))
    return sorted(findings, key=lambda one: (position(one.workload), position(one.executor), one.workers))


def _speedup_finding(
    workload: Workload,
    executor: Executor,
    own: Sequence[SampleRow],
    ratio: Ratio | None,
    ceiling: Ratio | None,
    noisy: float | None,
) -> SpeedupFinding:
    first, found, outcomes = own[0], {one.found for one in own}, count_outcomes(own)
    speedup, low, high, pairs = ratio_fields(ratio)
    possible, possible_low, possible_high, possible_pairs = ratio_fields(ceiling)
    skipped = next((one.error for one in own if one.outcome == Outcome.SKIPPED), None)
    return SpeedupFinding(
        run_id=first.run_id,
        interpreter=first.interpreter.label,
        workload=workload,
        executor=executor,
        workers=first.workers,
        median_wall_ns=median(quiet_walls(own).values()),
        noisy_wall_ns=noisy_wall_ns(own),
        speedup=speedup,
        noisy_speedup=noisy,
        low=low,
        high=high,
        pairs=pairs,
        possible=possible,
        possible_low=possible_low,
        possible_high=possible_high,
        possible_pairs=possible_pairs,
        verdict=_speedup_verdict(executor, ratio, outcomes, skipped),
        failures=failures(own),
        skipped=skipped,
        found=if_known(str, found.pop()) if len(found) == 1 else None,
        outcomes=outcomes,
        noisy=sum(one.noisy for one in own),
    )


def _speedup_verdict(
    executor: Executor, ratio: Ratio | None, outcomes: Mapping[Outcome, int], skipped: str | None
) -> str:
    if failed := failed_outcomes(outcomes):
        return f"FAILED: {failed}"
    if Outcome.SKIPPED in outcomes:
        return f"skipped: {skipped}"
    return "the base" if executor is Executor.SERIAL else _WORDS[verdict_on_speedup(ratio)]


def race_findings(rows: Iterable[SampleRow]) -> tuple[RaceFinding, ...]:
    """One finding per interpreter and case of `race`, in the order of their tables; the samples are of one run."""
    return tuple(found for own in by_interpreter(rows).values() for found in _races(by_case(own, Experiment.RACE)))


def _races(grouped: CaseSamples) -> list[RaceFinding]:
    findings = [_race_finding(own, _unlocked_beside(own[0], grouped)) for own in grouped.values()]
    return sorted(findings, key=lambda one: (position(one.guard), position(one.shape or Shape.AUGMENTED), one.workers))


def _unlocked_beside(row: SampleRow, grouped: CaseSamples) -> list[SampleRow]:
    """Samples of the same update without a guard; those of `augmented` for an alternative, which has no shape."""
    wanted = (Guard.NONE, row.shape or Shape.AUGMENTED, row.workers)
    return [one for own in grouped.values() for one in own if (one.guard, one.shape, one.workers) == wanted]


def _race_finding(own: Sequence[SampleRow], unlocked: Sequence[SampleRow]) -> RaceFinding:
    first = own[0]
    guard = Guard(first.guard or Guard.NONE)
    times = _quiet_updates(own)
    outcomes = count_outcomes(own)
    with_loss = sum(outcomes.get(one, 0) for one in (Outcome.LOST, Outcome.BROKEN))
    exercised = with_loss + sum(outcomes.get(one, 0) for one in (Outcome.NONE_OBSERVED, Outcome.OK))
    cost, low, high, pairs = ratio_fields(None if guard is Guard.NONE else paired(times, _quiet_updates(unlocked)))
    return RaceFinding(
        run_id=first.run_id,
        interpreter=first.interpreter.label,
        shape=Shape(first.shape) if first.shape else None,
        guard=guard,
        workers=first.workers,
        count=first.count,
        lost_share=median(map(lost_share, own)),
        with_loss=with_loss,
        exercised=exercised,
        bound=none_observed_bound(exercised) if exercised and not with_loss else None,
        update_ns=median(times.values()),
        noisy_update_ns=None if times else median(update_ns(row) for row in own),
        context_switches=median(one.context_switches for one in own),
        cost=cost,
        low=low,
        high=high,
        pairs=pairs,
        verdict=_race_verdict(guard, with_loss, exercised, outcomes),
        failures=failures(own),
        gil_on=next((one.gil_on for one in own if one.gil_on is not None), None),
        outcomes=outcomes,
        noisy=sum(one.noisy for one in own),
    )


def _race_verdict(guard: Guard, with_loss: int, exercised: int, outcomes: Mapping[Outcome, int]) -> str:
    """Never "safe": an update that was not lost may still be lost at another time."""
    if failed := failed_outcomes(outcomes):
        return f"FAILED: {failed}"
    if with_loss:
        return "loses updates"
    if not exercised:
        return "not exercised" if Outcome.NOT_EXERCISED in outcomes else "nothing was measured"
    return "none observed" if guard is Guard.NONE else "no update lost"


def lost_share(row: SampleRow) -> float | None:
    """The part of the updates that did not arrive, 0 to 1; None for other experiments."""
    if not (row.guard and row.expected and isinstance(row.expected, int) and isinstance(row.found, int)):
        return None
    return 1 - row.found / row.expected


def update_ns(row: SampleRow) -> float | None:
    """Wall nanoseconds per update; None for other experiments."""
    return None if row.guard is None or row.wall_ns is None else row.wall_ns / (row.workers * row.count)


def _quiet_updates(rows: Iterable[SampleRow]) -> dict[int, float]:
    """Nanoseconds per update by round, of samples that are not noisy."""
    return {row.round: time for row in rows if (time := update_ns(row)) is not None and not row.noisy}
