"""Ratios of times with their 95 % intervals, and the one word that an interval allows."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from enum import StrEnum

from tasks.threads.estimates import CONFIDENCE, MIN_PAIRS, RESAMPLES, Ratio
from tasks.threads.speedup_verdicts import Judgement, judge

__all__ = ["Ratio", "Verdict", "ratio_of_medians", "ratio_of_pairs", "verdict"]


class Verdict(StrEnum):
    """What a ratio of times, B to A, allows to say about B."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE = "no difference shown"
    NO_INTERVAL = "no interval"

    @property
    def is_difference(self) -> bool:
        """Whether something may be said of B."""
        return self in {Verdict.FASTER, Verdict.SLOWER}


# The rule is that of speed-ups; here the ratio is of times, so more is slower.
_WORDS = {
    Judgement.HELPS: Verdict.SLOWER,
    Judgement.SLOWER: Verdict.FASTER,
    Judgement.NO_HELP: Verdict.NO_DIFFERENCE,
    Judgement.UNDECIDED: Verdict.NO_DIFFERENCE,
}


def verdict(ratio: Ratio) -> Verdict:
    """Faster or slower only where the whole interval lies beyond 5 %."""
    return Verdict.NO_INTERVAL if ratio.low is None else _WORDS[judge(ratio)]


def ratio_of_pairs(pairs: Sequence[tuple[float, float]], seed: int = 0) -> Ratio:
    """The median of B to A, pair by pair: what both of a pair had in common cancels out.

    No interval from fewer than six pairs. The same seed gives the same interval. At least one pair (a, b) is needed.
    """
    ratios = [b / a for a, b in pairs]
    value = statistics.median(ratios)
    if len(ratios) < MIN_PAIRS:
        return Ratio(value, None, None, len(ratios))
    return _with_interval(value, _resampled_medians(ratios, random.Random(seed)), len(ratios))  # noqa: S311


def ratio_of_medians(a: Sequence[float], b: Sequence[float], seed: int = 0) -> Ratio:
    """The median of B's values to that of A's, resampled each on its own; `pairs` is the smaller number of values.

    No interval where either has fewer than six values. The same seed gives the same interval.
    """
    value = statistics.median(b) / statistics.median(a)
    fewer = min(len(a), len(b))
    if fewer < MIN_PAIRS:
        return Ratio(value, None, None, fewer)
    draw = random.Random(seed)  # noqa: S311  # resampling, not a secret
    below, above = _resampled_medians(a, draw), _resampled_medians(b, draw)
    return _with_interval(value, [over / under for over, under in zip(above, below, strict=True)], fewer)


def _with_interval(value: float, resampled: list[float], pairs: int) -> Ratio:
    resampled.sort()
    cut = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Ratio(value, resampled[cut], resampled[-cut - 1], pairs)


def _resampled_medians(values: Sequence[float], draw: random.Random) -> list[float]:
    """Medians of bootstrap samples, without drawing the samples.

    The k-th smallest of n uniform numbers has a beta distribution, so the place of a bootstrap sample's k-th smallest
    value among the sorted values can be drawn at once: the same distribution at any n in the time of one.
    """
    ordered = sorted(values)
    n = len(ordered)
    middle = n // 2 + 1
    medians = []
    for _ in range(RESAMPLES):
        upper = draw.betavariate(middle, n - middle + 1)
        value = ordered[min(int(n * upper), n - 1)]
        if n % 2 == 0:
            # The one before: the greatest of n / 2 uniform numbers below the upper.
            lower = upper * draw.random() ** (2 / n)
            value = (value + ordered[int(n * lower)]) / 2
        medians.append(value)
    return medians
