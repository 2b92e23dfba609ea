"""How numbers are written in the report's tables."""

from __future__ import annotations

from flows.analysis.intervals import MIN_PAIRS, Ratio, Spread
from flows.text import factor, milliseconds
from tasks.axes import Executor


def executor_label(executor: Executor, workers: int) -> str:
    """What a person calls it, with its workers where they are a choice."""
    name = executor.family
    return f"{name} ({workers})" if executor.scales else name


def median_ms(spread: Spread | None) -> str | None:
    """A median of nanoseconds, in milliseconds."""
    return None if spread is None else milliseconds(spread.median)


def ratio(value: Ratio | None) -> str | None:
    """`1.53` with its sign."""
    return None if value is None else factor(value.value)


def interval(value: Ratio | None) -> str | None:
    """`1.42 to 1.63`, or why there is none."""
    if value is None:
        return None
    if value.low is None or value.high is None:
        return f"none: {value.pairs} of {MIN_PAIRS} pairs"
    return f"{value.low:.2f} to {value.high:.2f}"
