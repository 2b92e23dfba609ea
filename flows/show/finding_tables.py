"""The tables of findings, and the findings of each interpreter that a report shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from db.rows import SampleRow
from flows.analysis.ceiling import CeilingFinding
from flows.analysis.findings import RaceFinding, SpeedupFinding
from flows.analysis.intervals import MIN_PAIRS
from flows.analysis.samples import Measured
from flows.show.table import Column, TableOf
from flows.text import duration, factor, interval, number, percent

Finding = TypeVar("Finding", SpeedupFinding, RaceFinding)


@dataclass(frozen=True, slots=True)
class Result(Generic[Finding]):
    """The findings about one interpreter, under its name in the report."""

    measured: Measured
    findings: tuple[Finding, ...]


def results_of(
    measured: Iterable[Measured], find: Callable[[Iterable[SampleRow]], Iterable[Finding]]
) -> tuple[Result[Finding], ...]:
    """The findings that `find` makes from the samples of each interpreter."""
    return tuple(
        Result(one, tuple(replace(found, interpreter=one.label) for found in find(one.samples))) for one in measured
    )


def _bounds(low: float | None, high: float | None, pairs: int) -> str | None:
    return interval(low, high) or (f"none: {pairs} of {MIN_PAIRS} pairs" if pairs else None)


def _or_noisy(value: float | None, noisy: float | None, show: Callable[[float], str]) -> str | None:
    """A figure, or that of noisy samples, marked as such."""
    return show(value) if value is not None else None if noisy is None else f"{show(noisy)} (noisy)"


def _outcomes(row: SpeedupFinding | RaceFinding | CeilingFinding) -> str:
    words = ", ".join(f"{count} {outcome}" for outcome, count in row.outcomes.items())
    return words + (f" ({row.noisy} noisy)" if row.noisy else "")


SPEEDUPS: TableOf[SpeedupFinding] = TableOf(
    "speed-up over one after the other (median of pairs, 95 % interval), beside what was possible then",
    Column("run", lambda row: row.run_id, str, right=True, wide=True),
    Column("interpreter", lambda row: row.interpreter),
    Column("workload", lambda row: row.workload),
    Column("executor", lambda row: row.executor),
    Column("workers", lambda row: row.workers, right=True, wide=True),
    Column("time", lambda row: _or_noisy(row.median_wall_ns, row.noisy_wall_ns, duration), right=True, wide=True),
    Column("speed-up", lambda row: _or_noisy(row.speedup, row.noisy_speedup, factor), right=True),
    Column("interval", lambda row: _bounds(row.low, row.high, row.pairs), right=True),
    Column("pairs", lambda row: row.pairs or None, right=True, wide=True),
    Column("possible", lambda row: row.possible, factor, right=True, wide=True, optional=True),
    Column(
        "its interval", lambda row: interval(row.possible_low, row.possible_high), right=True, wide=True, optional=True
    ),
    Column("verdict", lambda row: row.verdict, wide=True),
    Column("samples", _outcomes, wide=True),
)

CEILINGS: TableOf[CeilingFinding] = TableOf(
    "ceiling: the work of independent processes, against one in the same time (median of pairs, 95 % interval)",
    Column("run", lambda row: row.run_id, str, right=True, wide=True),
    Column("interpreter", lambda row: row.interpreter),
    Column("processes", lambda row: row.workers, right=True),
    Column("time", lambda row: _or_noisy(row.median_wall_ns, row.noisy_wall_ns, duration), right=True),
    Column("possible", lambda row: _or_noisy(row.possible, row.noisy_possible, factor), right=True),
    Column("interval", lambda row: _bounds(row.low, row.high, row.pairs), right=True),
    Column("verdict", lambda row: row.verdict, wide=True),
    Column("samples", _outcomes, wide=True),
)

RACES: TableOf[RaceFinding] = TableOf(
    "races: updates lost (median of trials), and what a guard costs",
    Column("run", lambda row: row.run_id, str, right=True, wide=True),
    Column("interpreter", lambda row: row.interpreter),
    Column("update", lambda row: row.shape or "–"),
    Column("guard", lambda row: row.guard),
    Column("threads", lambda row: row.workers, right=True, wide=True),
    Column("updates per thread", lambda row: row.count, right=True, wide=True),
    Column("lost", lambda row: row.lost_share, percent, right=True),
    Column("trials with loss", lambda row: f"{row.with_loss} of {row.exercised}", right=True),
    Column(
        "not excluded", lambda row: row.bound and f"loss in {percent(row.bound)} of trials", wide=True, optional=True
    ),
    Column("per update", lambda row: _or_noisy(row.update_ns, row.noisy_update_ns, duration), right=True),
    Column("switches", lambda row: row.context_switches, number, right=True, wide=True, optional=True),
    Column("cost", lambda row: row.cost, factor, right=True, wide=True, optional=True),
    Column("interval", lambda row: _bounds(row.low, row.high, row.pairs), right=True, wide=True, optional=True),
    Column("verdict", lambda row: row.verdict, wide=True),
    Column("samples", _outcomes, wide=True),
)
