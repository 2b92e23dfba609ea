"""Findings: the samples of one interpreter in one run, added up case by case. Noisy samples give no times."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from db.rows import SampleRow
from flows.analysis.intervals import Ratio, Spread, none_observed_bound, ratio_of_pairs, spread
from flows.text import if_known
from tasks.axes import Executor, Experiment, Guard, Outcome, Shape, Workload

CaseSamples = Mapping[str, Sequence[SampleRow]]
"""Samples of one interpreter by the name of their case."""


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """The number of samples of a case by outcome."""

    outcomes: tuple[tuple[Outcome, int], ...]
    noisy: int

    def count(self, *outcomes: Outcome) -> int:
        """Samples with one of these outcomes."""
        return sum(number for outcome, number in self.outcomes if outcome in outcomes)

    @property
    def failures(self) -> int:
        """Samples that say that something is broken."""
        return sum(number for outcome, number in self.outcomes if outcome.is_failure)


@dataclass(frozen=True, slots=True)
class SpeedupFinding:
    """A workload under an executor, against serial in the same rounds.

    `ratio` is None without a quiet pair. `ceiling` is the speed-up that as many independent processes had then, None
    where the workload does not compute all the time. `reason` is why samples were skipped, `found` the result of the
    work if it is the same in all samples.
    """

    workload: Workload
    executor: Executor
    workers: int
    count: int
    wall_ns: Spread | None
    ratio: Ratio | None
    ceiling: Ratio | None
    samples: OutcomeCounts
    reason: str | None
    found: str | None


@dataclass(frozen=True, slots=True)
class RaceFinding:
    """An update shape under a guard, or an alternative (`shape` None).

    Losses count in noisy samples too: noise does not undo a lost update, and gives a race more chances.
    `exercised` are the trials that had a chance to lose; `bound` is the loss rate per trial that they do not
    exclude at 95 %, where nothing was lost. `cost` is the time of an update against an unlocked one by the same
    number of threads.
    """

    guard: Guard
    shape: Shape | None
    workers: int
    count: int
    lost_share: Spread | None
    with_loss: int
    exercised: int
    bound: float | None
    context_switches: float | None
    update_ns: Spread | None
    cost: Ratio | None
    gil_on: bool | None
    samples: OutcomeCounts


def by_interpreter(rows: Iterable[SampleRow]) -> dict[str, list[SampleRow]]:
    """Samples by the interpreter's label, sorted by version."""
    groups: dict[str, list[SampleRow]] = {}
    for row in sorted(rows, key=lambda row: (row.interpreter.implementation, version_numbers(row.interpreter.version))):
        groups.setdefault(row.interpreter.label, []).append(row)
    return groups


def by_case(rows: Iterable[SampleRow], experiment: Experiment | None = None) -> dict[str, list[SampleRow]]:
    """Samples of one interpreter by the name of their case, of one experiment or of all.

    Samples of a version that knew other choices are left out.
    """
    grouped: dict[str, list[SampleRow]] = defaultdict(list)
    for row in rows:
        if (experiment is None or row.experiment == experiment) and is_known(row):
            grouped[row.case].append(row)
    return grouped


_AXES = {"experiment": Experiment, "workload": Workload, "executor": Executor, "shape": Shape, "guard": Guard}
_KNOWN = {axis: {None, *map(str, table)} for axis, table in _AXES.items()}
_KNOWN["outcome"] = {*map(str, Outcome)}


def is_known(row: SampleRow) -> bool:
    """Whether this version of the program knows all words of a sample."""
    return all(getattr(row, axis) in words for axis, words in _KNOWN.items())


def speedup_findings(rows: Iterable[SampleRow]) -> tuple[SpeedupFinding, ...]:
    """One finding per case of `speedup`; the samples include those of `ceiling` in the same run."""
    grouped = by_case(rows)
    ceilings: dict[int, Ratio | None] = {}
    serial = {
        (own[0].workload, own[0].count): quiet_walls(own)
        for own in grouped.values()
        if own[0].executor == Executor.SERIAL
    }
    findings = []
    for own in grouped.values():
        first = own[0]
        if first.workload is None or first.executor is None:
            continue
        workload, walls, found = Workload(first.workload), quiet_walls(own), {one.found for one in own}
        if workload.cpu_bound and first.workers not in ceilings:
            ceilings[first.workers] = _ceiling(grouped, first.workers)
        findings.append(
            SpeedupFinding(
                workload=workload,
                executor=Executor(first.executor),
                workers=first.workers,
                count=first.count,
                wall_ns=spread([*walls.values()]) if walls else None,
                ratio=_paired(serial.get((workload, first.count), {}), walls),
                ceiling=ceilings[first.workers] if workload.cpu_bound else None,
                samples=_count(own),
                reason=next((one.error for one in own if one.outcome == Outcome.SKIPPED), None),
                found=if_known(str, found.pop()) if len(found) == 1 else None,
            )
        )
    return tuple(findings)


def _ceiling(grouped: CaseSamples, workers: int) -> Ratio | None:
    """How much more than one process `workers` of them did in the same time, without anything in common.

    From the most processes that were measured, if that was with fewer (the CPUs are the limit then); None
    for a single worker.
    """
    ceilings: dict[int, list[SampleRow]] = defaultdict(list)
    for own in grouped.values():
        if own[0].experiment == Experiment.CEILING:
            ceilings[own[0].workers] += own
    workers = max((one for one in ceilings if 1 < one <= workers), default=1)
    if workers == 1:
        return None
    alone = {number: wall * workers for number, wall in quiet_walls(ceilings[1]).items()}
    return _paired(alone, quiet_walls(ceilings[workers]))


def quiet_walls(rows: Iterable[SampleRow]) -> dict[int, float]:
    """Wall time by round, of the samples that are right and not noisy."""
    return {row.round: row.wall_ns for row in rows if row.outcome == Outcome.OK and not row.noisy and row.wall_ns}


def _paired(base: Mapping[int, float], other: Mapping[int, float]) -> Ratio | None:
    """The ratio of the base's times to the others', paired by round; None if no round has both."""
    rounds = sorted(base.keys() & other.keys())
    return ratio_of_pairs([(other[one], base[one]) for one in rounds]) if rounds else None


def race_findings(rows: Iterable[SampleRow]) -> tuple[RaceFinding, ...]:
    """One finding per case of `race`."""
    grouped = by_case(rows, Experiment.RACE)
    return tuple(_race_finding(own, _unlocked_beside(own[0], grouped)) for own in grouped.values())


def _unlocked_beside(row: SampleRow, grouped: CaseSamples) -> list[SampleRow]:
    """Samples of the same update without a guard; those of `augmented` for an alternative, which has no shape."""
    wanted = (Guard.NONE, row.shape or Shape.AUGMENTED, row.workers)
    return [one for own in grouped.values() for one in own if (one.guard, one.shape, one.workers) == wanted]


def _race_finding(own: Sequence[SampleRow], unlocked: Sequence[SampleRow]) -> RaceFinding:
    first = own[0]
    guard = Guard(first.guard or Guard.NONE)
    shares = [share for one in own if (share := lost_share(one)) is not None]
    times = _quiet_updates(own)
    switches = [one.context_switches for one in own if one.context_switches is not None]
    counted = _count(own)
    with_loss = counted.count(Outcome.LOST, Outcome.BROKEN)
    exercised = with_loss + counted.count(Outcome.NONE_OBSERVED, Outcome.OK)
    return RaceFinding(
        guard=guard,
        shape=Shape(first.shape) if first.shape else None,
        workers=first.workers,
        count=first.count,
        lost_share=spread(shares) if shares else None,
        with_loss=with_loss,
        exercised=exercised,
        bound=none_observed_bound(exercised) if exercised and not with_loss else None,
        context_switches=statistics.median(switches) if switches else None,
        update_ns=spread([*times.values()]) if times else None,
        cost=None if guard is Guard.NONE else _paired(times, _quiet_updates(unlocked)),
        gil_on=next((one.gil_on for one in own if one.gil_on is not None), None),
        samples=counted,
    )


def lost_share(row: SampleRow) -> float | None:
    """Part of the updates that did not arrive, 0 to 1; None for other experiments."""
    if not (row.guard and row.expected and isinstance(row.expected, int) and isinstance(row.found, int)):
        return None
    return 1 - row.found / row.expected


def update_ns(row: SampleRow) -> float | None:
    """Wall nanoseconds per update; None for other experiments."""
    if row.guard is None or row.wall_ns is None:
        return None
    return row.wall_ns / (row.workers * row.count)


def _quiet_updates(rows: Iterable[SampleRow]) -> dict[int, float]:
    """Nanoseconds per update by round, of samples that are not noisy."""
    return {row.round: time for row in rows if (time := update_ns(row)) is not None and not row.noisy}


def _count(rows: Sequence[SampleRow]) -> OutcomeCounts:
    counted = Counter(Outcome(row.outcome) for row in rows)
    return OutcomeCounts(tuple(sorted(counted.items())), sum(row.noisy for row in rows))


def version_numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, for sorting: 3.9 comes before 3.13."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
