"""The ceiling: what independent processes with nothing in common get out of a host at a moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from db.rows import SampleRow
from flows.analysis.intervals import Ratio, median
from flows.analysis.samples import (
    CaseSamples,
    against,
    by_case,
    by_interpreter,
    count_outcomes,
    failed_outcomes,
    failures,
    noisy_wall_ns,
    quiet_walls,
    ratio_fields,
)
from tasks.axes import Experiment, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class CeilingFinding:
    """What `workers` independent processes did in one run, against one process in the same rounds.

    `possible` is how many times as much they did in the same time, None for a single one and without a quiet pair;
    `low` and `high` bound its 95 % interval. `noisy_wall_ns` and `noisy_possible` are figures of all samples where the
    quiet ones give none, to be shown and not to be relied on.
    """

    run_id: int
    interpreter: str
    workers: int
    median_wall_ns: float | None
    noisy_wall_ns: float | None
    possible: float | None
    noisy_possible: float | None
    low: float | None
    high: float | None
    pairs: int
    verdict: str
    failures: int
    outcomes: Mapping[Outcome, int]
    noisy: int

    @property
    def ratio(self) -> Ratio | None:
        """The possible speed-up with its interval."""
        return None if self.possible is None else Ratio(self.possible, self.low, self.high, self.pairs)


def ceiling_findings(rows: Iterable[SampleRow]) -> tuple[CeilingFinding, ...]:
    """One finding per interpreter and number of processes, ascending; the samples are of one run."""
    return tuple(
        _finding(ceilings[workers], ceilings)
        for own in by_interpreter(rows).values()
        for ceilings in [_by_workers(by_case(own))]
        for workers in sorted(ceilings)
    )


def _finding(own: Sequence[SampleRow], ceilings: Mapping[int, Sequence[SampleRow]]) -> CeilingFinding:
    first, outcomes = own[0], count_outcomes(own)
    ratio, noisy = _against_one(ceilings, first.workers)
    possible, low, high, pairs = ratio_fields(ratio)
    failed = failed_outcomes(outcomes)
    words = "the base" if first.workers == 1 else "measured" if ratio else "nothing can be said"
    return CeilingFinding(
        run_id=first.run_id,
        interpreter=first.interpreter.label,
        workers=first.workers,
        median_wall_ns=median(quiet_walls(own).values()),
        noisy_wall_ns=noisy_wall_ns(own),
        possible=possible,
        noisy_possible=noisy,
        low=low,
        high=high,
        pairs=pairs,
        verdict=f"FAILED: {failed}" if failed else words,
        failures=failures(own),
        outcomes=outcomes,
        noisy=sum(one.noisy for one in own),
    )


def possible_speedup(grouped: CaseSamples, workers: int) -> Ratio | None:
    """How much more than one process `workers` of them did in the same time, without anything in common.

    From the most processes that were measured, if that was with fewer (the CPUs are the limit then); None
    for a single worker.
    """
    ceilings = _by_workers(grouped)
    return _against_one(ceilings, max((one for one in ceilings if one <= workers), default=1))[0]


def _by_workers(grouped: CaseSamples) -> dict[int, list[SampleRow]]:
    ceilings: dict[int, list[SampleRow]] = defaultdict(list)
    for own in grouped.values():
        if own[0].experiment == Experiment.CEILING:
            ceilings[own[0].workers] += own
    return ceilings


def _against_one(ceilings: Mapping[int, Sequence[SampleRow]], workers: int) -> tuple[Ratio | None, float | None]:
    return (None, None) if workers == 1 else against(ceilings.get(1, ()), ceilings[workers], workers)
