"""Findings of several runs as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from flows.cli.finding_rows import RaceRow, SpeedupRow
from flows.cli.output import print_table
from flows.text import duration, factor, if_known, interval, percent


def print_speedups(rows: Sequence[SpeedupRow]) -> None:
    """What helped, run by run."""
    print_table(
        "speed-up over one after the other (median of pairs, 95 % interval), beside what was possible then",
        (
            "run", "interpreter", "workload", "executor", "workers", "time", "speed-up", "interval", "pairs",
            "possible", "failures", "skipped",
        ),
        (
            (
                row.run_id, row.interpreter, row.workload, row.executor, row.workers,
                if_known(duration, row.median_wall_ns),
                if_known(factor, row.speedup), interval(row.low, row.high), row.pairs, if_known(factor, row.possible),
                row.failures or None, row.skipped,
            )
            for row in rows
        ),
    )  # fmt: skip


def print_races(rows: Sequence[RaceRow]) -> None:
    """What was lost, run by run."""
    print_table(
        "updates lost (median of trials), and what an update cost",
        (
            "run", "interpreter", "update", "guard", "threads", "lost", "trials with loss", "not excluded",
            "per update", "switches", "failures",
        ),
        (
            (
                row.run_id, row.interpreter, row.shape, row.guard, row.workers, if_known(percent, row.lost_share),
                f"{row.with_loss} of {row.exercised}", row.bound and f"loss in {percent(row.bound)} of trials",
                if_known(duration, row.update_ns),
                row.context_switches and f"{row.context_switches:,.0f}", row.failures or None,
            )
            for row in rows
        ),
    )  # fmt: skip
