"""Steps, intervals, comparison and blame, against data of which the answers are known."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from db.history import History, SeriesFilter
from flows.analysis import comparison
from flows.analysis.changes import LEAST_VALUES, Changed, cheapest_steps, find_changes, find_steps, may_differ
from flows.analysis.comparison import Side, compare
from flows.analysis.intervals import (
    RESAMPLES,
    Ratio,
    SpeedVerdict,
    ratio_of_medians,
    ratio_of_pairs,
    verdict_on_times,
)
from tasks.axes import Executor, Workload
from tasks.threads.cases import Case
from tests.support.generated_record import GeneratedRecord, NewPayload, NewSample, at_hour

DAY = date(2026, 3, 1)
SERIAL = Case.speedup(Workload.FACTORIZE, Executor.SERIAL)
EVERYTHING = SeriesFilter()


@pytest.fixture
def record(tmp_path: Path) -> Iterator[GeneratedRecord]:
    made = GeneratedRecord(f"sqlite:///{tmp_path / 'history.sqlite'}")
    yield made
    made.close()


@pytest.fixture
def history(record: GeneratedRecord) -> Iterator[History]:
    opened = History(record.url)
    yield opened
    opened.close()


def noise(seed: int, count: int, level: float = 100) -> list[float]:
    """Times as a host gives them: 2 % of spread, and one in twenty much too long."""
    draw = random.Random(seed)
    return [level * draw.gauss(1, 0.02) * (draw.uniform(1.3, 2) if draw.random() < 0.05 else 1) for _ in range(count)]


def sample(wall_ms: float, python: str = "3.13.0", number: int = 0) -> NewSample:
    return NewSample(SERIAL, round(wall_ms * 1e6), python, round=number)


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_step_is_found_at_its_place(seed: int) -> None:
    """Of 12 %, up or down, and two in one series; a value beside it at the most, where outliers stand at the edge."""
    for levels in ((100, 112), (112, 100), (100, 120, 100)):
        values = [value for number, level in enumerate(levels) for value in noise(10 * seed + number, 40, level)]
        found = find_steps(values)
        assert len(found) == len(levels) - 1, (levels, found)
        assert all(abs(step - 40 * (number + 1)) <= 2 for number, step in enumerate(found)), (levels, found)


@pytest.mark.parametrize("seed", range(20))
def test_no_other_steps_are_cheaper(seed: int) -> None:
    """What any steps cost, with medians worked out level by level; values that are the same come too."""
    draw = random.Random(seed)
    levels = [draw.uniform(90, 130) for _ in range(4)]
    values = [round(draw.gauss(levels[number // 12], 3), seed % 2) for number in range(draw.randint(10, 48))]
    penalty = draw.uniform(1, 30)

    def cost(begin: int, end: int) -> float:
        middle = statistics.median(values[begin:end])
        return sum(abs(value - middle) for value in values[begin:end])

    least = {0: -penalty}
    for end in range(LEAST_VALUES, len(values) + 1):
        begins = [begin for begin in least if begin <= end - LEAST_VALUES]
        least[end] = min(least[begin] + penalty + cost(begin, end) for begin in begins)
    steps = cheapest_steps(values, penalty)
    edges = [0, *steps, len(values)]
    assert all(end - begin >= LEAST_VALUES for begin, end in pairwise(edges))
    found = sum(cost(begin, end) for begin, end in pairwise(edges)) + penalty * len(steps)
    assert found == pytest.approx(least[len(values)])


@pytest.mark.parametrize("seed", range(5))
def test_levels_that_differ_are_never_ruled_out(seed: int) -> None:
    """The factor by which the medians of the two parts of a series differ at the most, worked out part by part."""
    values = noise(seed, 30)
    parts = [statistics.median(values[begin:end]) for begin in range(25) for end in range(begin + 6, 31)]
    factor = max(parts) / min(parts)
    assert may_differ(values, 6, factor * 0.999)
    assert not may_differ(values, 6, 2 * factor)
    assert not may_differ(values[:11], 6, 1)


def test_constant_values_and_few_values_have_no_step() -> None:
    """Where nothing varies a spread of nothing must not make a step of rounding."""
    assert find_steps([5.0] * 50) == []
    assert find_steps([5.0] * 30 + [5.000001] * 30) == []
    assert find_steps([1.0, 1.0, 1.0, 9.0, 9.0, 9.0]) == []


CONDITIONS: dict[str, object] = {
    "cpus": "0-1", "governor": "performance", "frequency_mhz": "800 to 4800", "virtualisation": "none",
    "memory_limit_bytes": None, "stolen_share": 0.002, "throttled_share": 0.0,
}  # fmt: skip
OTHERS: dict[str, object] = {
    "cpus": "2-3", "governor": "powersave", "frequency_mhz": "800 to 2000", "virtualisation": "kvm",
    "memory_limit_bytes": 1 << 30, "stolen_share": 0.07, "throttled_share": 0.2,
}  # fmt: skip
NAMED = {
    "CPUs 0-1 → 2-3", "governor performance → powersave", "MHz 800 to 4800 → 800 to 2000", "virtualisation none → kvm",
    "memory limit none → 1,024 MiB", "steal 0 % → 7 %", "throttled 0 % → 20 %",
}  # fmt: skip


def test_conditions_of_the_host_are_named_and_split_no_series(record: GeneratedRecord, history: History) -> None:
    """By a comparison of two runs, and at a step."""
    for number in range(24):
        slow = number >= 12
        record.run(
            at_hour(DAY + timedelta(days=number), 3), flow="run_experiments",
            samples=[sample(130 if slow else 100, number=turn) for turn in range(6)],
            covariates=OTHERS if slow else CONDITIONS,
        )  # fmt: skip
    (row,) = compare(history, Side("run", "run 1", run_id=1), Side("run", "run 24", run_id=24), EVERYTHING).rows
    assert {str(one) for one in row.changed} == NAMED
    (change,) = find_changes(history, EVERYTHING)
    assert {str(one) for one in change.changed} == NAMED
    assert len(history.series(EVERYTHING)) == 1


@pytest.mark.parametrize("limit", [{"usable_cpus": 1}, {"quota_cpus": 1.5}, {"smt": True}])
def test_other_limits_are_another_series(record: GeneratedRecord, history: History, limit: dict[str, object]) -> None:
    """Of which no step and no comparison of runs or times comes, but one of hosts, which names them."""
    for number in range(24):
        slow = number >= 12
        record.run(
            at_hour(DAY + timedelta(days=number), 3), flow="run_experiments", host="beta" if number == 23 else "alpha",
            samples=[sample(130 if slow else 100, number=turn) for turn in range(6)], limits=limit if slow else {},
        )  # fmt: skip
    found = compare(history, Side("run", "run 1", run_id=1), Side("run", "run 20", run_id=20), EVERYTHING)
    assert found.rows == ()
    assert found.limits is not None
    assert found.limits[0] == "2 CPUs"
    assert find_changes(history, EVERYTHING) == []
    middle = at_hour(DAY + timedelta(days=12), 0)
    assert compare(history, Side("time", "a", until=middle), Side("time", "b", since=middle), EVERYTHING).rows == ()
    (row,) = compare(history, Side("run", "run 23", run_id=23), Side("run", "run 20", run_id=20), EVERYTHING).rows
    assert row.changed == ()
    (row,) = compare(history, Side("host", "alpha"), Side("host", "beta"), EVERYTHING).rows
    assert (row.a_runs, row.b_runs, [one.what for one in row.changed]) == (23, 1, ["limits"])


def test_noise_is_no_change(record: GeneratedRecord, history: History) -> None:
    """Neither in one series nor in another, over a hundred runs."""
    series = [noise(seed, 100) for seed in range(4)]
    for number in range(100):
        walls = [one[number] for one in series]
        pythons = ("3.10.1", "3.11.7", "3.12.4", "3.13.0")
        samples = [sample(wall, python) for wall, python in zip(walls, pythons, strict=True)]
        record.run(at_hour(DAY + timedelta(days=number), 2), samples=samples)
    assert find_changes(history, EVERYTHING) == []


def test_a_change_says_where_how_much_and_what_changed(record: GeneratedRecord, history: History) -> None:
    """The run from which it holds, the ratio with its interval, and every fact that changed there."""
    walls, files = [*noise(1, 15), *noise(2, 15, 80)], [*noise(3, 15), *noise(4, 15, 130)]
    ids = [
        record.run(
            at_hour(DAY + timedelta(days=number), 2),
            samples=[sample(walls[number], "3.13.0" if number < 15 else "3.13.1")],
            payloads=[NewPayload("/a", round(files[number] * 1e6), detail=f"OpenSSL 3.0.{18 + number // 15}")],
            kernel=f"6.{1 + number // 15}",
        )
        for number in range(30)
    ]
    faster, slower = sorted(find_changes(history, EVERYTHING), key=lambda one: one.ratio)
    assert (faster.run_id, faster.before_runs, faster.after_runs, faster.verdict) == (
        ids[15],
        15,
        15,
        SpeedVerdict.FASTER,
    )
    assert (slower.run_id, slower.started_at, slower.verdict) == (ids[15], at_hour(DAY + timedelta(15), 2), "slower")
    assert faster.low is not None
    assert faster.high is not None
    assert faster.low < 0.8 < faster.high < 0.95
    assert slower.ratio == pytest.approx(statistics.median(files[15:]) / statistics.median(files[:15]), rel=1e-6)
    kernel = Changed("kernel", "6.1", "6.2")
    assert faster.changed == (Changed("interpreter", "3.13.0", "3.13.1"), kernel)
    assert slower.changed == (Changed("backend", "OpenSSL 3.0.18", "OpenSSL 3.0.19"), kernel)


def test_a_step_without_a_cause_on_record_blames_nothing(record: GeneratedRecord, history: History) -> None:
    """What changed later, or for one run only, is not named."""
    for number, wall in enumerate([*noise(1, 15), *noise(2, 25, 130)]):
        kernel = "6.1" if number < 25 and number != 15 else "6.2"
        record.run(at_hour(DAY + timedelta(days=number), 2), samples=[sample(wall)], kernel=kernel)
    (change,) = find_changes(history, EVERYTHING)
    assert (change.run_id, change.changed) == (16, ())


def test_resampled_medians_are_distributed_as_those_of_bootstrap_samples() -> None:
    """The interval without drawing samples is that with drawing them."""
    a, b = noise(1, 25), noise(2, 30, 120)
    found = ratio_of_medians(a, b)
    draw = random.Random(9)
    drawn = sorted(
        statistics.median(draw.choices(b, k=len(b))) / statistics.median(draw.choices(a, k=len(a)))
        for _ in range(RESAMPLES)
    )
    assert found.value == statistics.median(b) / statistics.median(a)
    assert found.low == pytest.approx(drawn[round(0.025 * RESAMPLES)], rel=0.01)
    assert found.high == pytest.approx(drawn[round(0.975 * RESAMPLES)], rel=0.01)
    assert ratio_of_medians(a, b) == found


@pytest.mark.slow
def test_intervals_hold_the_truth_nearly_always() -> None:
    """Of 200 pairs of groups without a difference, few intervals leave 1 out, and hardly any says there is one."""
    ratios = [ratio_of_medians(noise(2 * seed, 20), noise(2 * seed + 1, 20)) for seed in range(200)]
    outside = sum(not (ratio.low or 0) <= 1 <= (ratio.high or 0) for ratio in ratios)
    assert outside <= 24
    assert sum(verdict_on_times(ratio).is_difference for ratio in ratios) == 0


def test_five_of_a_kind_have_no_interval() -> None:
    """Six have one; then no word is said without it."""
    assert ratio_of_pairs([(1, 2)] * 5) == Ratio(2, None, None, 5)
    assert ratio_of_medians([1.0] * 5, [2.0] * 9) == Ratio(2, None, None, 5)
    assert ratio_of_pairs([(1, 2)] * 6) == Ratio(2, 2, 2, 6)
    assert verdict_on_times(Ratio(2, None, None, 5)) == "no interval"


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(1.06, 1.2, "slower"), (0.8, 0.94, "faster"), (1.04, 1.2, "no difference shown"),
     (0.8, 0.96, "no difference shown"), (0.8, 1.3, "no difference shown"), (0.99, 1.01, "no difference shown")],
)  # fmt: skip
def test_a_word_needs_the_whole_interval(low: float, high: float, word: str) -> None:
    """Beyond 5 %, on one side."""
    assert verdict_on_times(Ratio((low + high) / 2, low, high, 9)) == word


def test_runs_of_both_make_pairs(record: GeneratedRecord, history: History) -> None:
    """What a slow day does to both interpreters is no part of their ratio."""
    draw = random.Random(3)
    for number in range(8):
        load = draw.uniform(1, 3)
        samples = [sample(100 * load, "3.11.7"), sample(80 * load, "3.13.0"), sample(500 * load, "3.13.0t")]
        record.run(at_hour(DAY + timedelta(days=number), 2), samples=samples)
    found = compare(history, Side("interpreter", "3.11"), Side("interpreter", "3.13"), EVERYTHING)
    (row,) = found.rows
    assert (row.verdict, row.basis, row.a_runs, row.changed) == ("faster", "8 runs of both", 8, ())
    assert row.ratio == pytest.approx(0.8)
    assert row.low == pytest.approx(0.8)
    assert row.high == pytest.approx(0.8)
    assert (found.only_a, found.only_b) == (0, 0)


def test_the_newest_runs_are_compared(
    record: GeneratedRecord, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each series on either side as many as may be: what was long ago does not count."""
    monkeypatch.setattr(comparison, "MOST_RUNS", 6)
    for number in range(9):
        wall = 500 if number < 3 else 100
        record.run(at_hour(DAY + timedelta(days=number), 2), samples=[sample(wall)])
        record.run(at_hour(DAY + timedelta(days=number), 2), samples=[sample(100)], host="beta")
    (row,) = compare(history, Side("host", "alpha"), Side("host", "beta"), EVERYTHING).rows
    assert (row.a_runs, row.b_runs, row.ratio, row.low, row.high) == (6, 6, 1, 1, 1)


def test_hosts_and_times_are_compared_by_their_runs(record: GeneratedRecord, history: History) -> None:
    """Each by the medians of its runs, and what differs besides is named."""
    for number in range(16):
        begin = at_hour(DAY + timedelta(days=number), 2)
        code = f"0.{number // 8}"
        record.run(begin, samples=[sample(noise(number, 1)[0] * (1.5 if number >= 8 else 1))], code=code)
        record.run(begin, samples=[sample(300)], host="beta")
    (hosts,) = compare(history, Side("host", "beta"), Side("host", "alpha"), EVERYTHING).rows
    assert (hosts.verdict, hosts.a_runs, hosts.b_runs, hosts.basis) == ("faster", 16, 16, "16 and 16 runs")
    then = at_hour(DAY + timedelta(days=8), 0)
    before, after = Side("time", "before", until=then), Side("time", "after", since=then)
    slower, same = compare(history, before, after, EVERYTHING).rows
    assert (slower.verdict, slower.changed) == ("slower", (Changed("threadmill", "0.0", "0.1"),))
    assert (same.verdict, same.series.host, same.ratio) == ("no difference shown", "beta", 1)


def test_two_runs_are_compared_by_their_rows(record: GeneratedRecord, history: History) -> None:
    """Payloads that both have make pairs; too few rows give a ratio and no word."""
    names = [f"/{number}" for number in range(9)]
    slow, fast, few = (
        record.run(
            at_hour(DAY + timedelta(days=day), 2),
            payloads=[NewPayload(name, round(wall * 1e6 * (1 + number))) for number, name in enumerate(names[:count])],
            samples=[sample(50)],
        )
        for day, (wall, count) in enumerate(((4, 9), (2, 9), (2, 3)))
    )
    sides = {one: Side("run", f"run {one}", run_id=one) for one in (slow, fast, few)}
    encryption, one_sample = compare(history, sides[slow], sides[fast], EVERYTHING).rows
    assert (encryption.verdict, encryption.ratio, encryption.low) == ("faster", 0.5, 0.5)
    assert encryption.basis == "9 payloads that both have"
    assert (one_sample.verdict, one_sample.low) == ("no interval", None)
    rows = compare(history, sides[slow], sides[few], EVERYTHING).rows
    assert {row.verdict for row in rows} == {SpeedVerdict.NO_INTERVAL}
