"""What the record answers: on both databases, from rows whose answers are worked out here by hand."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from db.answers import TrendRow
from db.history import History, PayloadFilter, SampleFilter, SeriesFilter
from db.store import Store
from tasks.axes import Executor, Guard, Shape, Workload
from tasks.threads.cases import Case
from tests.support.generated_record import VERSION, GeneratedRecord, NewPayload, NewSample, at_hour

DAY = date(2026, 10, 1)
SERIAL = Case.speedup(Workload.FACTORIZE, Executor.SERIAL)
THREADS = Case.speedup(Workload.FACTORIZE, Executor.THREAD)
UNLOCKED = Case.race(Guard.NONE, Shape.AUGMENTED)
EVERYTHING = SeriesFilter()


@pytest.fixture
def record(database_url: str) -> Iterator[GeneratedRecord]:
    made = GeneratedRecord(database_url)
    yield made
    made.close()


@pytest.fixture
def history(record: GeneratedRecord) -> Iterator[History]:
    opened = History(record.url)
    yield opened
    opened.close()


def on(number: int, hour: int = 2) -> datetime:
    """A day after the first, and its hour."""
    return at_hour(DAY + timedelta(days=number), hour)


def files(*names: str, **facts: Any) -> list[NewPayload]:
    return [NewPayload(name, 5_000_000, **facts) for name in names]


def samples(*walls_ms: float, case: Case = SERIAL, **facts: Any) -> list[NewSample]:
    return [NewSample(case, round(wall * 1e6), round=number, **facts) for number, wall in enumerate(walls_ms)]


def remove_runs(record: GeneratedRecord, before: datetime) -> int:
    """As the maintenance does it, with a connection of its own."""
    store = Store(record.url)
    removed = store.remove_runs(before)
    store.close()
    return removed


def test_runs_by_time_status_and_host(record: GeneratedRecord, history: History) -> None:
    """The last recorded first whatever the clock said; the end of a span is not part of it."""
    early, late = record.run(on(1)), record.run(on(3))
    crashed = record.run(on(2), status="crashed", host="beta")
    assert [run.id for run in history.runs()] == [crashed, late, early]
    assert [run.id for run in history.runs(since=on(1), until=on(3))] == [crashed, early]
    assert [run.id for run in history.runs(statuses=["completed", "crashed"], limit=2)] == [crashed, late]
    assert [run.id for run in history.runs(statuses=["crashed"])] == [crashed]
    assert [run.id for run in history.runs(hosts=["alpha"])] == [late, early]


def test_payloads_of_a_folder_are_those_below_it(record: GeneratedRecord, history: History) -> None:
    """Not those of a folder whose name begins alike, and not the file that sorts right behind."""
    inside = ["/srv/a", "/srv/a/one", "/srv/a/two/three"]
    record.run(on(0), payloads=files(*inside, "/srv/a0", "/srv/a1/one", "/srv/a-b", "/srv/b"))
    assert sorted(row.name for row in history.payloads(PayloadFilter(path=b"/srv/a"))) == inside
    assert sorted(row.name for row in history.payloads(PayloadFilter(path=b"/srv/a/"))) == inside[1:]
    assert len(history.payloads(PayloadFilter(path=b"/"))) == 7


def test_payload_filters_together(record: GeneratedRecord, history: History) -> None:
    """Several suites are one list, newest first; each filter takes away what it says, alone and with others."""
    record.run(on(0), payloads=[*files("/a", suite="cbc"), *files("/a", "/b", status="failed", cause="unreadable")])
    record.run(on(1), payloads=files("/a", backend="native"), host="beta")

    def names(**which: Any) -> list[tuple[str, str, int]]:
        return [(row.name, row.suite, row.run_id) for row in history.payloads(PayloadFilter(**which), limit=3)]

    everything = [("/a", "modern", 2), ("/b", "modern", 1), ("/a", "modern", 1), ("/a", "cbc", 1)]
    assert names(suites=["cbc", "modern", "cbc"]) == everything[:3]
    assert names(suites=["cbc"]) == everything[3:]
    assert names(failed=True, suites=["modern"]) == everything[1:3]
    assert names(failed=True, suites=["cbc"]) == []
    assert names(path=b"/a", suites=["cbc"]) == everything[3:]
    assert names(path=b"/a", hosts=["alpha"]) == everything[2:]
    assert names(backends=["native"]) == everything[:1]
    assert names(until=on(1)) == everything[1:]
    assert names(run_id=1, suites=["cbc"]) == everything[3:]


def test_newest_samples_of_a_case(record: GeneratedRecord, history: History) -> None:
    """Looked up by case and interpreter or met on the way from the newest on: the same samples."""
    for number in range(4):
        many = [*samples(1, 2, 3), *samples(4, 5, case=THREADS), *samples(6, 7, python="3.11.7")]
        record.run(on(number), samples=many, host="beta" if number == 2 else "alpha")
    everything = history.samples(SampleFilter(), limit=None)
    assert [row.started_at for row in everything] == sorted((row.started_at for row in everything), reverse=True)
    for which, wanted in (
        (SampleFilter({"executor": ["serial"]}), lambda row: row.executor == "serial"),
        (SampleFilter(interpreters=["3.11"]), lambda row: row.interpreter.version == "3.11.7"),
        (SampleFilter({"executor": ["serial"]}, ["3.13"]), lambda row: row.executor == "serial" and row.wall_ns < 4e6),
        (SampleFilter({"workload": ["factorize"]}, hosts=["beta"]), lambda row: row.host == "beta"),
        (
            SampleFilter({"executor": ["thread"]}, since=on(1), until=on(3)),
            lambda row: row.executor == "thread" and on(1) <= row.started_at < on(3),
        ),
        (SampleFilter({"executor": ["asyncio"]}), lambda row: False),
    ):  # fmt: skip
        expected = [row for row in everything if wanted(row)]
        assert history.samples(which, limit=5) == expected[:5]
        assert history.samples(which, limit=None) == expected


def test_runs_with_an_experiment(record: GeneratedRecord, history: History) -> None:
    """The newest that have it, one that goes on included, one that was removed not."""
    record.run(on(0), samples=samples(1, case=UNLOCKED, outcome="lost"))
    speedup = record.run(on(1), samples=samples(1), host="beta")
    both = record.run(on(2), samples=[*samples(1, python="3.11.7"), *samples(1, case=UNLOCKED, outcome="lost")])
    going_on = record.run(on(3), samples=samples(1), status="running")
    speedups, races = SampleFilter({"experiment": ["speedup"]}), SampleFilter({"experiment": ["race"]})
    assert history.runs_with(speedups) == [going_on, both, speedup]
    assert history.runs_with(speedups, limit=1) == [going_on]
    assert history.runs_with(replace(speedups, hosts=["beta"]), limit=1) == [speedup]
    assert history.runs_with(replace(speedups, interpreters=["3.11"])) == [both]
    assert history.runs_with(replace(races, since=on(1))) == [both]
    assert history.runs_with(SampleFilter({"experiment": ["ceiling"]})) == []
    remove_runs(record, on(2))
    assert history.runs_with(races) == [both]


def test_series_of_both_kinds(record: GeneratedRecord, history: History) -> None:
    """Each says what it is of; filters of one kind leave none of the other."""
    record.run(on(0), payloads=[*files("/a"), *files("/b", size_bytes=0), *files("/c", suite="cbc", backend="native")])
    record.run(on(0), samples=[*samples(1), *samples(1, python="3.11.7")], host="beta")
    series = history.series(EVERYTHING)
    assert [(one.kind, one.suite, one.backend, one.size_class) for one in series[:3]] == [
        ("encryption", "cbc", "native", 131_072), ("encryption", "modern", "openssl", 1),
        ("encryption", "modern", "openssl", 131_072),
    ]  # fmt: skip
    assert [(one.experiment, one.executor, one.interpreter, one.workload_version) for one in series[3:]] == [
        ("speedup", "serial", "3.11.7", VERSION),
        ("speedup", "serial", "3.13.0", VERSION),
    ]
    assert [one.host for one in series] == ["alpha"] * 3 + ["beta"] * 2
    for which, expected in (
        (SeriesFilter(suites=["cbc"]), series[:1]), (SeriesFilter(backends=["openssl"]), series[1:3]),
        (SeriesFilter(interpreters=["3.11"]), series[3:4]), (SeriesFilter({"executor": ["serial"]}), series[3:]),
        (SeriesFilter(hosts=["alpha"]), series[:3]), (SeriesFilter(series_ids=[series[4].series_id]), series[4:]),
        (SeriesFilter({"executor": ["serial"]}, suites=["cbc"]), []),
    ):  # fmt: skip
        assert history.series(which) == expected


def test_trend_by_run(record: GeneratedRecord, history: History) -> None:
    """Median, quartiles and deviation of good and quiet rows; failed and noisy ones are counted beside them."""
    walls = (10.0, 11.0, 13.0, 20.0)
    odd = [*samples(99, noisy=True), *samples(98, outcome="wrong-output"), *samples(97, outcome="skipped")]
    run_id = record.run(on(0), samples=[*samples(*walls), *odd])
    record.run(on(1), samples=samples(30))
    record.run(on(2), samples=samples(1, outcome="skipped"))
    first, second = history.trend(EVERYTHING, by="run")
    lower, median, upper = (value * 1e6 for value in statistics.quantiles(walls, n=4, method="inclusive"))
    deviation = statistics.median(abs(wall * 1e6 - median) for wall in walls)
    assert (first.run_id, first.started_at, first.runs) == (run_id, on(0), 1)
    assert (first.n, first.failed, first.noisy) == (4, 1, 1)
    assert (first.lower_ns, first.median_ns, first.upper_ns, first.mad_ns) == (lower, median, upper, deviation)
    assert (first.bytes_per_s, first.lost_share) == (None, None)
    assert (second.n, second.median_ns, second.mad_ns) == (1, 30e6, 0)
    assert history.trend(EVERYTHING, by="run", limit=1) == [second]
    assert history.trend(SeriesFilter(until=on(1)), by="run") == [first]


def test_trend_of_lost_updates_and_of_throughput(record: GeneratedRecord, history: History) -> None:
    """A race has its median share of lost updates, an encryption its bytes per second."""
    lost = [NewSample(UNLOCKED, 1_000_000, outcome="lost", lost=share * 50_000) for share in (10, 20, 60)]
    payloads = [NewPayload("/a", 2_000_000, 70_000), NewPayload("/b", 4_000_000, 130_000)]
    record.run(on(0), samples=lost, payloads=payloads)
    encryption, race = history.trend(EVERYTHING, by="run")
    assert race.lost_share == pytest.approx(0.2)
    assert encryption.bytes_per_s == pytest.approx(100_000 / 0.003)


@pytest.mark.parametrize("rolled_up", [0, 2, 4])
def test_trend_by_day(record: GeneratedRecord, history: History, rolled_up: int) -> None:
    """The same from roll-ups, from raw rows and from both: quartiles of all rows of a day, which a run began."""
    walls: dict[int, tuple[float, ...]] = {0: (10, 12), 1: (10, 11, 12, 30, 31), 2: (), 3: (5, 6, 7)}
    record.run(on(0), samples=samples(10, 12))
    record.run(on(1), samples=samples(10, 11, 12))
    record.run(on(1, 23), samples=[*samples(30, 31), *samples(1, noisy=True)])
    record.run(on(2), samples=samples(1, outcome="broken"))
    record.run(on(3), samples=samples(5))
    record.run(on(3, 4), samples=samples(6))
    record.run(on(3, 6), samples=samples(7))
    record.run(on(3, 8), samples=samples(99), status="running")
    record.roll_up(DAY + timedelta(days=rolled_up))
    rows = history.trend(EVERYTHING)
    assert [row.started_at for row in rows] == [on(number, 0) for number in range(4)]
    for number, row in enumerate(rows):
        expected = statistics.quantiles(walls[number], n=4, method="inclusive") if walls[number] else None
        found = None if row.median_ns is None else [row.lower_ns, row.median_ns, row.upper_ns]
        assert found == (expected and [value * 1e6 for value in expected])
        assert (row.n, row.run_id, row.mad_ns) == (len(walls[number]), None, None)
    assert [(row.runs, row.failed, row.noisy) for row in rows] == [(1, 0, 0), (2, 0, 1), (1, 1, 0), (3, 0, 0)]
    assert history.trend(EVERYTHING, limit=2) == rows[2:]
    assert history.trend(SeriesFilter(since=on(1, 12), until=on(2, 1)), limit=None) == rows[1:3]
    assert history.trend(SeriesFilter(until=on(1, 0))) == rows[:1]


def test_trends_stay_when_runs_are_removed(record: GeneratedRecord, history: History) -> None:
    """Both kinds of point, before and after."""
    for number in range(3):
        record.run(on(number), samples=samples(number + 1, number + 2), payloads=files("/a", "/b"))
        record.run(on(number, 5), samples=samples(number + 5))
    record.roll_up(DAY + timedelta(days=3))

    def points() -> list[list[TrendRow]]:
        return [history.trend(EVERYTHING, by="run"), history.trend(EVERYTHING, by="day")]

    before = points()
    assert list(map(len, before)) == [9, 6]
    assert remove_runs(record, on(9)) == 5
    assert points() == before


def test_summaries_of_one_run_and_of_the_newest(record: GeneratedRecord, history: History) -> None:
    """Series by series, oldest first, with what a change may be blamed on."""
    for number in range(3):
        many = [*samples(number + 1), *samples(number + 4, case=THREADS)]
        record.run(on(number), samples=many, code=f"0.{number}", kernel="6.1")
    rows = history.summaries(EVERYTHING)
    assert [(row.series.executor, row.median_ns) for row in rows] == [
        (executor, (start + number) * 1e6) for executor, start in (("serial", 1), ("thread", 4)) for number in range(3)
    ]
    assert history.summaries(EVERYTHING, limit=1) == [rows[2], rows[5]]
    assert history.summaries(EVERYTHING, run_id=2) == [rows[1], rows[4]]
    assert rows[1].covariates["code"] == "0.1"
    assert rows[1].covariates["kernel"] == "6.1"
    medians = [(row.series, row.run_id, row.started_at, row.median_ns) for row in rows]
    found = history.medians(EVERYTHING, limit=3)
    assert [(one.series, one.run_id, one.started_at, one.median_ns) for one in found] == medians
    assert history.medians(EVERYTHING, limit=1) == [found[2], found[5]]


def test_runs_without_a_median_take_no_place_among_the_newest(record: GeneratedRecord, history: History) -> None:
    """The last run's only sample failed: the newest median is that of the run before."""
    record.run(on(0), samples=samples(1))
    record.run(on(1), samples=[*samples(2, outcome="timed-out")])
    (only,) = history.medians(EVERYTHING, limit=1)
    assert (only.run_id, only.median_ns) == (1, 1e6)


def test_failures_are_one_list(record: GeneratedRecord, history: History) -> None:
    """Runs, payloads and samples, newest first; a filter of one kind leaves the others out."""
    bad = [*files("/a"), *files("/b", status="unstable", cause="changed"), *files("/c", status="skipped")]
    record.run(on(0), payloads=bad, status="failed", error="1 of 3")
    lost = NewSample(UNLOCKED, 1, outcome="lost", lost=5)
    record.run(on(1), samples=[*samples(1, 2), *samples(3, outcome="timed-out"), lost], host="beta")
    record.run(on(2), status="crashed", error="its process ended")
    record.run(on(3), status="cancelled")

    def found(which: SeriesFilter = EVERYTHING, **more: Any) -> list[tuple[str, str, str, str]]:
        return [(row.kind, row.name, row.by, row.status) for row in history.failures(which, **more)]

    crashed = ("run", "run_experiments", "direct", "crashed")
    sample = ("sample", "speedup/factorize/serial/1x1", "3.13.0", "timed-out")
    payload, failed = ("payload", "/b", "modern, openssl", "unstable"), ("run", "run_experiments", "direct", "failed")
    assert found() == [crashed, sample, payload, failed]
    assert found(limit=2) == [crashed, sample]
    assert found(SeriesFilter(since=on(0, 3), until=on(2))) == [sample]
    assert found(SeriesFilter(hosts=["beta"])) == [sample]
    assert found(SeriesFilter(suites=["modern"])) == [payload]
    assert found(SeriesFilter(suites=["cbc"])) == []
    assert found(SeriesFilter({"executor": ["serial"]}, ["3.13"])) == [sample]
    assert found(SeriesFilter(interpreters=["3.11"])) == []
    assert found(kinds=["run"]) == [crashed, failed]
    (row,) = history.failures(EVERYTHING, kinds=["payload"])
    assert (row.run_id, row.ordinal, row.host, row.cause, row.error) == (1, 1, "alpha", "changed", "/b: changed")


def test_slowest_by_ratio_and_by_time(record: GeneratedRecord, history: History) -> None:
    """Against the median of the series' runs: a small file that took long comes before a big one that always does."""
    big = [NewPayload(f"/big{number}", 900_000_000 + number, 90_000_000) for number in range(3)]
    small = [NewPayload("/small0", 1_000_000), NewPayload("/small1", 1_100_000), NewPayload("/small2", 5_000_000)]
    odd = files("/broken", status="failed", cause="stage")
    record.run(on(0), payloads=[*big, *small, *odd], samples=[*samples(1, 1, 2), *samples(50, noisy=True)])
    (first, second, *_) = history.slowest(EVERYTHING)
    assert (first.name, first.wall_ns, first.ordinal) == ("/small2", 5_000_000, 5)
    assert first.ratio == pytest.approx(5 / 1.1)
    assert (second.name, second.series.executor, second.ratio) == (None, "serial", 2)
    assert [row.name for row in history.slowest(EVERYTHING, absolute=True, limit=3)] == ["/big2", "/big1", "/big0"]
    assert [row.wall_ns for row in history.slowest(SeriesFilter({"executor": ["serial"]}))] == [2e6, 1e6, 1e6]
    assert history.slowest(SeriesFilter(since=on(1))) == []


def test_slowest_misses_none(record: GeneratedRecord, history: History) -> None:
    """Summaries say where to look; what is found there is what a look at every row finds."""
    draw = random.Random(5)
    walls: list[tuple[int, int]] = []
    for number in range(12):
        own = [draw.randrange(10, 1000) for _ in range(6)]
        run_id = record.run(on(number), samples=samples(*own))
        walls += [(wall * 1_000_000, run_id) for wall in own]
    found = [(row.wall_ns, row.run_id) for row in history.slowest(EVERYTHING, limit=10)]
    assert [wall for wall, _ in found] == [wall for wall, _ in sorted(walls, reverse=True)[:10]]
    assert set(found) <= set(walls)


def test_slowest_of_removed_runs_is_remembered(record: GeneratedRecord, history: History) -> None:
    """Its time and its run, from the summary; what its name was is gone."""
    record.run(on(0), payloads=[*files("/a", "/b"), NewPayload("/slow", 20_000_000)])
    record.run(on(1), payloads=files("/a"))
    remove_runs(record, on(1))
    first, *_ = history.slowest(EVERYTHING)
    assert (first.run_id, first.name, first.ordinal, first.wall_ns) == (1, None, None, 20_000_000)
    assert first.started_at == on(0)


def test_single_times_are_those_of_the_summaries(record: GeneratedRecord, history: History) -> None:
    """As many, of the same series; each with what it may be paired by."""
    many = [*samples(1, 2), *samples(3, noisy=True), *samples(4, outcome="broken"), *samples(5, python="3.11.7")]
    run_id = record.run(on(0), samples=many, payloads=[*files("/a", "/b"), *files("/c", status="failed", cause="x")])
    times = history.times(run_id)
    for row in history.summaries(EVERYTHING, run_id=run_id):
        assert sum(one.series_id == row.series.series_id for one in times) == row.n
    assert [(one.mate, one.wall_ns) for one in times] == [
        ("/a 100000", 5_000_000), ("/b 100000", 5_000_000), ("0", 1_000_000), ("1", 2_000_000), ("0", 5_000_000),
    ]  # fmt: skip
    assert history.times(99) == []


def test_detail_has_the_seal(record: GeneratedRecord, history: History) -> None:
    """The ledger's head when the run was closed; none while it goes on."""
    closed, going_on = record.run(on(0)), record.run(on(1), status="running")
    detail = history.detail(closed)
    assert detail is not None
    assert detail.head == history.verify().head
    detail = history.detail(going_on)
    assert detail is not None
    assert detail.head is None
