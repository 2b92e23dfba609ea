"""How values are written for people."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flows.text import age, duration, factor, interval, megabytes, milliseconds, parse_age, percent, plural, size


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "0 ns"),
        (850, "850 ns"), (52.7, "52.7 ns"), (12_345, "12.3 µs"), (4_200_000, "4.20 ms"), (999_600_000, "1.00 s"),
        (119e9, "119 s"), (270e9, "4.50 min"), (7200e9, "2.00 h"), (4e15, "1,111 h"),
    ],
)  # fmt: skip
def test_durations_have_three_digits_and_a_unit(time_ns: float, text: str) -> None:
    """From nanoseconds to hours."""
    assert duration(time_ns) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (57, "57 B"),
        (1023, "1,023 B"),
        (1 << 17, "128 KiB"),
        (1_600_000, "1.53 MiB"),
        (1 << 51, "2,048 TiB"),
    ],
)
def test_sizes_have_a_binary_unit(size_bytes: int, text: str) -> None:
    """The greatest unit is TiB."""
    assert size(size_bytes) == text


def test_figures_of_a_column_keep_small_values() -> None:
    """Milliseconds and megabytes have no unit, and more digits where there is little."""
    assert [milliseconds(one) for one in (0, 12_340_000, 12_300, 1_234_000_000)] == [
        "0.00",
        "12.34",
        "0.0123",
        "1,234.00",
    ]
    assert [megabytes(one) for one in (0, 12_300_000, 12_300)] == ["0", "12.3", "0.0123"]


def test_shares_factors_and_intervals() -> None:
    """A share is never rounded down to nothing; an interval has both bounds, or is none."""
    assert [percent(one) for one in (0, 0.004, 0.41, 1)] == ["0 %", "less than 1 %", "41 %", "100 %"]
    assert [factor(one) for one in (1.534, 15.34)] == ["1.53×", "15.3×"]
    assert (interval(1.166, 1.21), interval(None, None)) == ("1.17 to 1.21", None)
    assert [plural(one, "trial") for one in (0, 1, 2000)] == ["0 trials", "1 trial", "2,000 trials"]


def test_ages_are_said_in_words() -> None:
    """A clock that was set back gives no negative ages."""
    ages = {30: "0 minutes", 60: "1 minute", 7199: "119 minutes", 7200: "2 hours", 172_800: "2 days", -5: "0 minutes"}
    assert {seconds: age(timedelta(seconds=seconds)) for seconds in ages} == ages


def test_ages_are_understood() -> None:
    """Minutes, hours, days and weeks."""
    assert [parse_age(one) for one in ("30m", "36h", "2d", "4w")] == [
        timedelta(minutes=30), timedelta(hours=36), timedelta(days=2), timedelta(weeks=4),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="an age is a number of"):
        parse_age("5")
