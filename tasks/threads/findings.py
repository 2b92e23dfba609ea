"""What samples of one interpreter in one run add up to: one finding per case of `speedup`."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.threads.cases import Case
from tasks.threads.choices import Executor, Experiment, Outcome
from tasks.threads.estimates import Ratio, Spread, paired_ratio, spread
from tasks.threads.samples import Sample


@dataclass(frozen=True, slots=True)
class Tally:
    """How many samples of a case ended how."""

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

    `ratio` is None without a quiet pair; `ceiling` is what as many independent processes gave then; `found` is what
    the samples gave, if that is one and the same.
    """

    case: Case
    wall_ns: Spread | None
    ratio: Ratio | None
    ceiling: Ratio | None
    tally: Tally
    reason: str | None
    found: str | None


def by_case(samples: Iterable[Sample]) -> dict[Case, list[Sample]]:
    """Samples of one interpreter, by case."""
    grouped: dict[Case, list[Sample]] = defaultdict(list)
    for sample in samples:
        grouped[sample.case].append(sample)
    return grouped


def tally(samples: Sequence[Sample]) -> Tally:
    """Count outcomes."""
    counted = Counter(sample.outcome for sample in samples)
    return Tally(tuple(sorted(counted.items())), sum(sample.noisy for sample in samples))


def speedup_findings(samples: Sequence[Sample], seed: int = 0) -> tuple[SpeedupFinding, ...]:
    """One finding per case of `speedup`; the samples include those of `ceiling` in the same run."""
    grouped = by_case(samples)
    ceilings: dict[int, Ratio | None] = {}
    findings = []
    for case, own in grouped.items():
        if case.experiment is not Experiment.SPEEDUP or case.workload is None:
            continue
        serial = grouped.get(Case.speedup(case.workload, Executor.SERIAL, count=case.count), [])
        walls = [float(wall) for wall in quiet_walls(own).values()]
        reason = next((one.error for one in own if one.outcome is Outcome.SKIPPED), None)
        found = {one.found for one in own}
        if case.cpu_bound and case.workers not in ceilings:
            ceilings[case.workers] = ceiling_of(grouped, case.workers, seed)
        findings.append(
            SpeedupFinding(
                case=case,
                wall_ns=spread(walls) if walls else None,
                ratio=ratio_of(quiet_walls(serial), quiet_walls(own), seed),
                ceiling=ceilings[case.workers] if case.cpu_bound else None,
                tally=tally(own),
                reason=reason,
                found=found.pop() if len(found) == 1 else None,
            )
        )
    return tuple(findings)


def ceiling_of(grouped: dict[Case, list[Sample]], workers: int, seed: int = 0) -> Ratio | None:
    """How much more than one process `workers` of them did in the same time, without anything in common.

    From the most processes that were measured, if that was with fewer (the CPUs are the limit then); None
    for a single worker.
    """
    measured = [case.workers for case in grouped if case.experiment is Experiment.CEILING]
    workers = max((one for one in measured if 1 < one <= workers), default=1)
    if workers == 1:
        return None
    alone = {number: wall * workers for number, wall in quiet_walls(_ceilings(grouped, 1)).items()}
    return ratio_of(alone, quiet_walls(_ceilings(grouped, workers)), seed)


def _ceilings(grouped: dict[Case, list[Sample]], workers: int) -> list[Sample]:
    return [
        sample
        for case, own in grouped.items()
        if case.experiment is Experiment.CEILING and case.workers == workers
        for sample in own
    ]


def quiet_walls(samples: Iterable[Sample]) -> dict[int, int]:
    """Wall time by round, of the samples that are right and not noisy."""
    return {
        sample.round: sample.wall_ns
        for sample in samples
        if sample.outcome is Outcome.OK and not sample.noisy and sample.wall_ns
    }


def ratio_of(base: Mapping[int, float], other: Mapping[int, float], seed: int) -> Ratio | None:
    """Paired by round; None if no round has both."""
    rounds = sorted(base.keys() & other.keys())
    if not rounds:
        return None
    return paired_ratio([base[one] for one in rounds], [other[one] for one in rounds], seed)
