"""How numbers are written in the report's tables."""

from __future__ import annotations

from datetime import datetime

from flows.analysis.intervals import MIN_PAIRS, Ratio, Spread
from tasks.axes import Executor
from tasks.threads.wording import factor


def executor_label(executor: Executor, workers: int) -> str:
    """What a person calls it, with its workers where they are a choice."""
    name = executor.family
    return f"{name} ({workers})" if executor.scales else name


def milliseconds(ns: float | None) -> str | None:
    """Nanoseconds as `12.34`; as `0.0123` where there is no more."""
    if ns is None:
        return None
    return f"{ns / 1e6:,.2f}" if ns >= 1e5 or not ns else f"{ns / 1e6:.4f}"


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


def utc(time: datetime) -> str:
    """A time as it is recorded: a page is read in other zones than it was made in."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def megabytes(bytes_per_s: float | None) -> str | None:
    """Bytes as `12.3` millions; as `0.0123` where there is no more."""
    if bytes_per_s is None:
        return None
    value = bytes_per_s / 1e6
    return f"{value:,.1f}" if value >= 0.1 else f"{value:.4f}"


def sizes_of(size_class: int) -> str:
    """A power of two, and what lies between its half and itself: `64 to 128 KiB`."""
    if size_class <= 1:
        return "0 B"
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    power = min((size_class.bit_length() - 1) // 10, len(units) - 1)
    upper = size_class >> (10 * power)
    if upper == 1 and power:
        return f"512 {units[power - 1]} to 1 {units[power]}"
    return f"{upper // 2} to {upper} {units[power]}"
