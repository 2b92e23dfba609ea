"""Experiments for people: tables of findings, and the sentences that they allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from db.rows import SampleRow
from flows.analysis.findings import (
    OutcomeCounts,
    RaceFinding,
    SpeedupFinding,
    by_interpreter,
    race_findings,
    speedup_findings,
)
from flows.analysis.intervals import Ratio
from flows.analysis.sentences import race_sentences, speedup_sentences
from flows.cli.output import print_table, say
from flows.text import duration, factor, interval, percent


def print_findings(rows: Sequence[SampleRow]) -> None:
    """Both tables and all sentences, from samples of one run."""
    groups = by_interpreter(rows)
    speedups = {label: speedup_findings(samples) for label, samples in groups.items()}
    races = {label: race_findings(samples) for label, samples in groups.items()}
    _print_speedups(speedups)
    _print_races(races)
    for label in groups:
        for sentence in (*speedup_sentences(label, speedups[label]).values(), *race_sentences(label, races[label])):
            say(sentence)


def _print_speedups(findings: Mapping[str, Sequence[SpeedupFinding]]) -> None:
    """Speed-up of each executor over serial, beside what independent processes gave at that time."""
    lines = [_speedup(label, one) for label, own in findings.items() for one in own]
    if lines:
        print_table(
            "speed-up over one after the other (median of pairs, 95 % interval), beside what was possible then",
            ("interpreter", "workload", "executor", "workers", "time", "speed-up", "interval", "possible", "samples"),
            sorted(lines, key=lambda line: tuple(map(str, line[:4]))),
        )


def _print_races(findings: Mapping[str, Sequence[RaceFinding]]) -> None:
    """Updates lost, trials with a loss, what an update takes, and what its guard costs."""
    lines = [_race(label, one) for label, own in findings.items() for one in own]
    if lines:
        print_table(
            "races: updates lost, and what a guard costs",
            (
                "interpreter",
                "update",
                "guard",
                "threads",
                "lost",
                "trials with loss",
                "ns an update",
                "cost",
                "samples",
            ),
            sorted(lines, key=lambda line: tuple(map(str, line[:4]))),
        )


def _speedup(label: str, one: SpeedupFinding) -> tuple[object, ...]:
    wall = None if one.wall_ns is None else duration(one.wall_ns.median)
    possible = None if one.ceiling is None else factor(one.ceiling.value)
    return (
        label, str(one.workload), str(one.executor), one.workers, wall,
        *_ratio(one.ratio), possible, _samples(one.samples),
    )  # fmt: skip


def _race(label: str, one: RaceFinding) -> tuple[object, ...]:
    lost = None if one.lost_share is None else percent(one.lost_share.median)
    took = None if one.update_ns is None else f"{one.update_ns.median:,.0f}"
    cost = None if one.cost is None else factor(one.cost.value)
    trials = f"{one.with_loss} of {one.exercised}"
    return (
        label, str(one.shape or "–"), str(one.guard), one.workers, lost, trials, took, cost, _samples(one.samples),
    )  # fmt: skip


def _ratio(ratio: Ratio | None) -> tuple[str | None, str | None]:
    if ratio is None:
        return None, None
    return factor(ratio.value), interval(ratio.low, ratio.high)


def _samples(counts: OutcomeCounts) -> str:
    words = ", ".join(f"{number} {outcome}" for outcome, number in counts.outcomes)
    return words + (f" ({counts.noisy} noisy)" if counts.noisy else "")
