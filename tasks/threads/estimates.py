"""Statistics over raw values: pure functions, each for values in any one unit."""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.threads.errors import TooFewValuesError

CONFIDENCE = 0.95
# With fewer pairs the range from least to greatest covers the median in less than 95 % of cases.
MIN_PAIRS = 6
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Spread:
    """Where values lie; `mad` is the median absolute deviation, not scaled to a standard deviation."""

    n: int
    least: float
    lower_quartile: float
    median: float
    upper_quartile: float
    greatest: float
    mad: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median of ratios; the 95 % interval is None where the pairs are too few for one."""

    value: float
    low: float | None
    high: float | None
    pairs: int


def median(values: Sequence[float]) -> float:
    """The middle value; TooFewValuesError for none."""
    if not values:
        raise TooFewValuesError("a median", 1, 0)
    return statistics.median(values)


def mad(values: Sequence[float]) -> float:
    """Median of the absolute deviations from the median."""
    middle = median(values)
    return median([abs(value - middle) for value in values])


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Quarter, half and three quarters, interpolated between the values (R's type 7)."""
    if len(values) < 2:
        only = median(values)
        return only, only, only
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return lower, middle, upper


def spread(values: Sequence[float]) -> Spread:
    """All of these together."""
    lower, middle, upper = quartiles(values)
    return Spread(len(values), min(values), lower, middle, upper, max(values), mad(values))


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float], seed: int = 0) -> Ratio:
    """Median of the ratios of pairs, with a percentile bootstrap interval at 95 %.

    A pair comes from one round, so what the host did to both cancels out. The same seed gives the same
    interval. Raises TooFewValuesError for no pair, ValueError for unequal lengths.
    """
    ratios = [one / other for one, other in zip(numerators, denominators, strict=True)]
    value = median(ratios)
    if len(ratios) < MIN_PAIRS:
        return Ratio(value, None, None, len(ratios))
    draw = random.Random(seed)  # noqa: S311  # resampling, not a secret
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    cut = round(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Ratio(value, medians[cut], medians[-cut - 1], len(ratios))


def none_observed_bound(trials: int) -> float:
    """The greatest rate per trial that `trials` without an event leave possible at 95 %: 1 - 0.05**(1/n)."""
    if trials < 1:
        raise TooFewValuesError("a bound", 1, trials)
    return float(1 - (1 - CONFIDENCE) ** (1 / trials))
