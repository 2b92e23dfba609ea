"""Statistics against known values."""

import random
import statistics
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db import summaries
from db.summaries import mad, quartiles
from flows.analysis.intervals import Ratio, none_observed_bound, ratio_of_pairs

values = st.lists(st.floats(0.001, 1000), min_size=1, max_size=30)


def against_one(row: list[float]) -> Ratio:
    """The ratio of values to 1, pair by pair."""
    return ratio_of_pairs([(1, value) for value in row])


def test_median_and_mad_of_a_known_row() -> None:
    """The textbook row 1 1 2 2 4 6 9 has median 2 and median absolute deviation 1."""
    row = array("d", [9, 1, 2, 6, 1, 4, 2])
    assert (quartiles(row)[1], mad(row)) == (2, 1)


def test_quartiles_are_those_of_r() -> None:
    """R: quantile(c(7, 15, 36, 39, 40, 41)) gives 20.25, 37.5, 39.75 by its default type 7."""
    assert quartiles(array("d", [36, 7, 15, 41, 39, 40])) == (20.25, 37.5, 39.75)


def test_one_value_has_all_quartiles() -> None:
    """A single value is each of its quartiles, and does not deviate from them."""
    assert (*quartiles(array("d", [3])), mad(array("d", [3]))) == (3, 3, 3, 0)


@settings(deadline=None, max_examples=50)
@given(values)
def test_quartiles_are_ordered(row: list[float]) -> None:
    """Least, quartiles and greatest never cross."""
    lower, middle, upper = quartiles(array("d", row))
    assert min(row) <= lower <= middle <= upper <= max(row)
    assert mad(array("d", row)) >= 0


def test_pairs_cancel_what_hit_both() -> None:
    """A host that slows both halves of a pair tenfold changes nothing: the ratio stays exactly 2."""
    slow = [1.0, 10.0, 1.0, 7.0, 1.0, 3.0, 1.0, 9.0]
    ratio = ratio_of_pairs([(one, 2 * one) for one in slow])
    assert (ratio.value, ratio.low, ratio.high, ratio.pairs) == (2, 2, 2, 8)


def test_few_pairs_have_no_interval() -> None:
    """Five pairs cannot carry a 95 % interval of a median, six can."""
    assert against_one([1, 2, 3, 4, 5]).low is None
    six = against_one([1, 2, 3, 4, 5, 6])
    assert six.low is not None
    assert six.high is not None
    assert 1 <= six.low < six.value < six.high <= 6


def test_the_same_rows_give_the_same_interval() -> None:
    """An interval can be had again from the rows."""
    row = [1.0, 1.4, 0.9, 1.7, 1.1, 1.3, 2.0]
    assert against_one(row) == against_one(row)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0.1, 10), min_size=6, max_size=20))
def test_the_interval_holds_its_value(row: list[float]) -> None:
    """The median lies within its own interval."""
    ratio = against_one(row)
    assert ratio.low is not None
    assert ratio.high is not None
    assert min(row) <= ratio.low <= ratio.value <= ratio.high <= max(row)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Of 150 intervals from ten pairs each, at least nine in ten hold the true ratio (seeded)."""
    draw = random.Random(1)  # sampling, not a secret
    covered = 0
    for _ in range(150):
        ratio = against_one([1.5 * draw.lognormvariate(0, 0.1) for _ in range(10)])
        assert ratio.low is not None
        assert ratio.high is not None
        covered += ratio.low <= 1.5 <= ratio.high
    assert covered >= 135


@pytest.mark.parametrize(("trials", "bound"), [(1, 0.95), (3, 0.632), (30, 0.0950), (300, 0.00994)])
def test_none_observed_excludes_rates_above_the_bound(trials: int, bound: float) -> None:
    """1 - 0.05**(1/n): after 30 trials without an event a rate of 10 % per trial is excluded."""
    assert none_observed_bound(trials) == pytest.approx(bound, rel=1e-2)


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=40), st.integers(1, 7))
def test_quartiles_of_many_are_found_in_parts(values: list[int], at_once: int) -> None:
    """Sorted in parts, they are those of the standard library, and so is the deviation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summaries, "_SORTED_AT_ONCE", at_once)
        found, deviation = quartiles(array("d", values)), mad(array("d", values))
    middle = statistics.median(values)
    assert found == (tuple(statistics.quantiles(values, n=4, method="inclusive")) if values[1:] else (values[0],) * 3)
    assert deviation == statistics.median([abs(value - middle) for value in values])
