"""Findings as flat rows, for JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from db.rows import SampleRow
from flows.analysis.findings import by_interpreter, race_findings, speedup_findings


@dataclass(frozen=True, slots=True)
class SpeedupRow:
    """A workload under an executor in one run; `low` and `high` bound the 95 % interval of `speedup`."""

    run_id: int
    interpreter: str
    workload: str
    executor: str
    workers: int
    median_wall_ns: float | None
    speedup: float | None
    low: float | None
    high: float | None
    pairs: int
    possible: float | None
    failures: int
    skipped: str | None


@dataclass(frozen=True, slots=True)
class RaceRow:
    """An update under a guard in one run; `lost_share` is the median, 0 to 1, `bound` what is not excluded at 95 %."""

    run_id: int
    interpreter: str
    shape: str | None
    guard: str
    workers: int
    lost_share: float | None
    with_loss: int
    exercised: int
    bound: float | None
    update_ns: float | None
    context_switches: float | None
    failures: int


def speedup_rows(run_id: int, rows: Sequence[SampleRow]) -> list[SpeedupRow]:
    """One row per interpreter and case of `speedup`, from the samples of one run."""
    return [
        SpeedupRow(
            run_id,
            label,
            str(one.workload),
            str(one.executor),
            one.workers,
            one.wall_ns.median if one.wall_ns else None,
            one.ratio.value if one.ratio else None,
            one.ratio.low if one.ratio else None,
            one.ratio.high if one.ratio else None,
            one.ratio.pairs if one.ratio else 0,
            one.ceiling.value if one.ceiling else None,
            one.samples.failures,
            one.reason,
        )
        for label, samples in by_interpreter(rows).items()
        for one in speedup_findings(samples)
    ]


def race_rows(run_id: int, rows: Sequence[SampleRow]) -> list[RaceRow]:
    """One row per interpreter and case of `race`, from the samples of one run."""
    return [
        RaceRow(
            run_id,
            label,
            str(one.shape) if one.shape else None,
            str(one.guard),
            one.workers,
            one.lost_share.median if one.lost_share else None,
            one.with_loss,
            one.exercised,
            one.bound,
            one.update_ns.median if one.update_ns else None,
            one.context_switches,
            one.samples.failures,
        )
        for label, samples in by_interpreter(rows).items()
        for one in race_findings(samples)
    ]
