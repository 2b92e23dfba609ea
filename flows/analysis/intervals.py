"""Statistics over raw values in any one unit: medians, ratios with their 95 % intervals, and verdicts."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

CONFIDENCE = 0.95
# With fewer pairs the range from least to greatest covers the median in less than 95 % of cases.
MIN_PAIRS = 6
RESAMPLES = 2000
# A smaller difference is no finding, however sure it is.
LEAST_DIFFERENCE = 0.05
# The same rows give the same interval whenever they are asked for.
_SEED = 0


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median of ratios; the 95 % interval is None where the pairs are too few for one."""

    value: float
    low: float | None
    high: float | None
    pairs: int


class SpeedVerdict(StrEnum):
    """The conclusion that an interval allows: about B against A, or about an executor against serial.

    `NOT_FASTER` is said of speed-ups only: the interval leaves no room for a gain of more than 5 %.
    """

    FASTER = "faster"
    SLOWER = "slower"
    NOT_FASTER = "not faster"
    NO_DIFFERENCE = "no difference shown"
    NO_INTERVAL = "no interval"

    @property
    def is_difference(self) -> bool:
        """Whether the interval shows a difference."""
        return self in {SpeedVerdict.FASTER, SpeedVerdict.SLOWER}


def verdict_on_speedup(ratio: Ratio | None) -> SpeedVerdict:
    """The verdict on a ratio of speeds, of which more is faster; the whole interval must lie beyond the 5 %."""
    if ratio is None or ratio.low is None or ratio.high is None:
        return SpeedVerdict.NO_INTERVAL
    if ratio.low > 1 + LEAST_DIFFERENCE:
        return SpeedVerdict.FASTER
    if ratio.high < 1 - LEAST_DIFFERENCE:
        return SpeedVerdict.SLOWER
    return SpeedVerdict.NOT_FASTER if ratio.high <= 1 + LEAST_DIFFERENCE else SpeedVerdict.NO_DIFFERENCE


# By the verdict that the same ratio would have as one of speeds.
_ON_TIMES = {
    SpeedVerdict.FASTER: SpeedVerdict.SLOWER,
    SpeedVerdict.SLOWER: SpeedVerdict.FASTER,
    SpeedVerdict.NOT_FASTER: SpeedVerdict.NO_DIFFERENCE,
}


def verdict_on_times(ratio: Ratio) -> SpeedVerdict:
    """The verdict on a ratio of times, of which more is slower: by the same rule."""
    found = verdict_on_speedup(ratio)
    return _ON_TIMES.get(found, found)


def median(values: Iterable[float | None]) -> float | None:
    """The median of the values that are not None; None without any."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def none_observed_bound(trials: int) -> float:
    """The greatest rate per trial that `trials` (at least one) without an event leave possible: 1 - 0.05**(1/n)."""
    return float(1 - (1 - CONFIDENCE) ** (1 / trials))


def ratio_of_pairs(pairs: Sequence[tuple[float, float]]) -> Ratio:
    """The median of B to A over at least one pair (a, b): everything that both of a pair had in common cancels out.

    No interval from fewer than six pairs.
    """
    ratios = [b / a for a, b in pairs]
    return _with_interval(statistics.median(ratios), len(ratios), lambda draw: _resampled_medians(ratios, draw))


def ratio_of_medians(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """The median of B's values to that of A's, each resampled on its own; `pairs` is the smaller number of values.

    No interval where either has fewer than six values.
    """

    def resampled(draw: random.Random) -> list[float]:
        below, above = _resampled_medians(a, draw), _resampled_medians(b, draw)
        return [over / under for over, under in zip(above, below, strict=True)]

    return _with_interval(statistics.median(b) / statistics.median(a), min(len(a), len(b)), resampled)


def _with_interval(value: float, pairs: int, resample: Callable[[random.Random], list[float]]) -> Ratio:
    if pairs < MIN_PAIRS:
        return Ratio(value, None, None, pairs)
    resampled = sorted(resample(random.Random(_SEED)))  # noqa: S311  # resampling, not a secret
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
