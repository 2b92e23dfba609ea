"""Findings of experiments as flat rows, the same for JSON, CSV and tables, and the tables of these rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from db.rows import SampleRow
from flows.analysis.findings import RaceFinding, SpeedupFinding, by_interpreter, race_findings, speedup_findings
from flows.analysis.intervals import MIN_PAIRS, Ratio, verdict_on_speedup
from flows.analysis.sentences import WORDS, failures
from flows.show.table import Column, TableOf
from flows.text import duration, factor, interval, number, percent
from tasks.axes import Executor, Guard, Outcome


@dataclass(frozen=True, slots=True)
class SpeedupRow:
    """A workload under an executor in one run.

    `low` and `high` bound the 95 % interval of `speedup`; `possible` is the speed-up of independent processes then.
    `outcomes` counts samples, `noisy` those that give no times.
    """

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
    possible_low: float | None
    possible_high: float | None
    verdict: str
    failures: int
    skipped: str | None
    outcomes: Mapping[str, int]
    noisy: int


@dataclass(frozen=True, slots=True)
class RaceRow:
    """An update under a guard in one run; `count` is the number of updates per thread.

    `lost_share` is the median, 0 to 1, `bound` the loss rate per trial that is not excluded at 95 %. `cost` is the time
    of an update against an unlocked one, `low` and `high` bound its 95 % interval.
    """

    run_id: int
    interpreter: str
    shape: str | None
    guard: str
    workers: int
    count: int
    lost_share: float | None
    with_loss: int
    exercised: int
    bound: float | None
    update_ns: float | None
    context_switches: float | None
    cost: float | None
    low: float | None
    high: float | None
    pairs: int
    verdict: str
    failures: int
    outcomes: Mapping[str, int]
    noisy: int


def speedup_row(run_id: int, interpreter: str, one: SpeedupFinding) -> SpeedupRow:
    """The row of a finding."""
    possible = one.ceiling
    return SpeedupRow(
        run_id,
        interpreter,
        str(one.workload),
        str(one.executor),
        one.workers,
        one.wall_ns.median if one.wall_ns else None,
        *_flat(one.ratio),
        possible.value if possible else None,
        possible.low if possible else None,
        possible.high if possible else None,
        _verdict(one),
        one.samples.failures,
        one.reason,
        {str(outcome): count for outcome, count in one.samples.outcomes},
        one.samples.noisy,
    )


def _flat(ratio: Ratio | None) -> tuple[float | None, float | None, float | None, int]:
    return (ratio.value, ratio.low, ratio.high, ratio.pairs) if ratio else (None, None, None, 0)


def _verdict(one: SpeedupFinding) -> str:
    if failed := failures(one.samples):
        return f"FAILED: {failed}"
    if one.samples.count(Outcome.SKIPPED):
        return f"skipped: {one.reason}"
    return "the base" if one.executor is Executor.SERIAL else WORDS[verdict_on_speedup(one.ratio)]


def race_row(run_id: int, interpreter: str, one: RaceFinding) -> RaceRow:
    """The row of a finding."""
    return RaceRow(
        run_id,
        interpreter,
        str(one.shape) if one.shape else None,
        str(one.guard),
        one.workers,
        one.count,
        one.lost_share.median if one.lost_share else None,
        one.with_loss,
        one.exercised,
        one.bound,
        one.update_ns.median if one.update_ns else None,
        one.context_switches,
        *_flat(one.cost),
        _race_verdict(one),
        one.samples.failures,
        {str(outcome): count for outcome, count in one.samples.outcomes},
        one.samples.noisy,
    )


def _race_verdict(one: RaceFinding) -> str:
    """Never "safe": an update that was not lost may still be lost at another time."""
    if failed := failures(one.samples):
        return f"FAILED: {failed}"
    if one.with_loss:
        return "loses updates"
    if not one.exercised:
        return "not exercised" if one.samples.count(Outcome.NOT_EXERCISED) else "nothing was measured"
    return "none observed" if one.guard is Guard.NONE else "no update lost"


def speedup_rows(samples: Sequence[SampleRow]) -> Iterator[SpeedupRow]:
    """The findings of one run, by interpreter, workload, executor and workers."""
    for label, own in by_interpreter(samples).items():
        rows = [speedup_row(own[0].run_id, label, one) for one in speedup_findings(own)]
        yield from sorted(rows, key=lambda row: (row.workload, row.executor, row.workers))


def race_rows(samples: Sequence[SampleRow]) -> Iterator[RaceRow]:
    """The findings of one run, by interpreter, shape, guard and threads."""
    for label, own in by_interpreter(samples).items():
        rows = [race_row(own[0].run_id, label, one) for one in race_findings(own)]
        yield from sorted(rows, key=lambda row: (row.shape or "", row.guard, row.workers))


def _bounds(low: float | None, high: float | None, pairs: int) -> str | None:
    return interval(low, high) or (f"none: {pairs} of {MIN_PAIRS} pairs" if pairs else None)


def _outcomes(row: SpeedupRow | RaceRow) -> str:
    words = ", ".join(f"{count} {outcome}" for outcome, count in row.outcomes.items())
    return words + (f" ({row.noisy} noisy)" if row.noisy else "")


def _possible_interval(row: SpeedupRow) -> str | None:
    return interval(row.possible_low, row.possible_high)


def _loss_rate(rate: float) -> str:
    return f"loss in {percent(rate)} of trials"


SPEEDUPS: TableOf[SpeedupRow] = TableOf(
    "speed-up over one after the other (median of pairs, 95 % interval), beside what was possible then",
    (
        Column("run", lambda row: row.run_id, str, right=True, wide=True),
        Column("interpreter", lambda row: row.interpreter),
        Column("workload", lambda row: row.workload),
        Column("executor", lambda row: row.executor),
        Column("workers", lambda row: row.workers, right=True, wide=True),
        Column("time", lambda row: row.median_wall_ns, duration, right=True, wide=True),
        Column("speed-up", lambda row: row.speedup, factor, right=True),
        Column("interval", lambda row: _bounds(row.low, row.high, row.pairs), right=True),
        Column("pairs", lambda row: row.pairs or None, right=True, wide=True),
        Column("possible", lambda row: row.possible, factor, right=True, wide=True, optional=True),
        Column("its interval", _possible_interval, right=True, wide=True, optional=True),
        Column("verdict", lambda row: row.verdict, wide=True),
        Column("samples", _outcomes, wide=True),
    ),
)

RACES: TableOf[RaceRow] = TableOf(
    "races: updates lost (median of trials), and what a guard costs",
    (
        Column("run", lambda row: row.run_id, str, right=True, wide=True),
        Column("interpreter", lambda row: row.interpreter),
        Column("update", lambda row: row.shape or "–"),
        Column("guard", lambda row: row.guard),
        Column("threads", lambda row: row.workers, right=True, wide=True),
        Column("updates per thread", lambda row: row.count, right=True, wide=True),
        Column("lost", lambda row: row.lost_share, percent, right=True),
        Column("trials with loss", lambda row: f"{row.with_loss} of {row.exercised}", right=True),
        Column("not excluded", lambda row: row.bound, _loss_rate, wide=True, optional=True),
        Column("per update", lambda row: row.update_ns, duration, right=True),
        Column("switches", lambda row: row.context_switches, number, right=True, wide=True, optional=True),
        Column("cost", lambda row: row.cost, factor, right=True, wide=True, optional=True),
        Column("interval", lambda row: _bounds(row.low, row.high, row.pairs), right=True, wide=True, optional=True),
        Column("verdict", lambda row: row.verdict, wide=True),
        Column("samples", _outcomes, wide=True),
    ),
)
