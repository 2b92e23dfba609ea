"""Alternating runs: on a noisy machine only a ratio from neighbouring runs means anything."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Contender = Callable[[], object]


def _nothing() -> None:
    """Between two contenders."""


def alternate(
    contenders: Mapping[str, Contender], rounds: int, between: Contender = _nothing
) -> dict[str, list[float]]:
    """Seconds of each contender in each round, after one round that does not count; the order turns every round.

    `between` is called after each contender, and not timed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds + 1):
        for name in names if number % 2 else reversed(names):
            start = time.perf_counter()
            contenders[name]()
            if number:
                seconds[name].append(time.perf_counter() - start)
            between()
    return seconds


def ratio(seconds: Mapping[str, list[float]], fast: str, slow: str) -> float:
    """How many times as fast `fast` was: median over the rounds of the ratio within each."""
    return statistics.median(b / a for a, b in zip(seconds[fast], seconds[slow], strict=True))


def show(title: str, seconds: Mapping[str, list[float]]) -> None:
    """Median, least and greatest time of each contender."""
    print(f"\n{title}")
    for name, values in seconds.items():
        print(f"  {name:34}{statistics.median(values):9.3f} s   ({min(values):.3f} to {max(values):.3f})")


def verdict(what: str, reached: float, target: float) -> None:
    """One line: what was reached, what was wanted."""
    print(f"  {what}: {reached:.2f} (target {target:g}) {'reached' if reached >= target else 'MISSED'}")
