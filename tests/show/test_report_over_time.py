"""The report over a time: numbers of the record's own summaries, which stay when runs are removed, on one page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from db.history import History, SampleFilter, SeriesFilter
from db.store import Store
from flows.analysis.samples import latest_per_interpreter
from flows.show.page import page_of
from flows.show.plots.lines import LineChart
from flows.show.report import TITLE, over_time
from flows.show.series_tables import speeds_of
from flows.show.table import Cell, Paragraph, Plot, Section, Table
from flows.text import utc
from tasks.axes import Experiment
from tests.support.commands import Command
from tests.support.example_record import FIRST_DAY, LAST_DAY, NEW_OPENSSL, example

ROOT = Path(__file__).parents[2]
SINCE = datetime.combine(FIRST_DAY, time(), UTC)
UNTIL = datetime.combine(LAST_DAY, time(), UTC) + timedelta(days=1)
RUNS = 138
NUMBERS = "Throughput of modern by day: the numbers"


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two months of nightly runs; not to be written to."""
    return f"sqlite:///{example(tmp_path_factory)}"


def sections(url: str) -> tuple[Section, ...]:
    return over_time(History(url), SINCE, UNTIL, made_at=UNTIL)


@pytest.fixture(scope="module")
def shown(record: str) -> tuple[Section, ...]:
    return sections(record)


def tables(shown: Sequence[Section]) -> dict[str, tuple[tuple[Cell, ...], ...]]:
    """Rows by the title, without the number of them that some titles end with."""
    found = [block for section in shown for block in section.blocks if isinstance(block, Table)]
    return {re.sub(r": [\d,]+$", "", table.title): table.rows for table in found}


def prose(shown: Sequence[Section], title: str) -> str:
    return " ".join(
        block.text for one in shown if one.title == title for block in one.blocks if isinstance(block, Paragraph)
    )


def test_throughput_is_that_of_the_trend(record: str, shown: tuple[Section, ...]) -> None:
    """Each day of the table, and each point of the plot, is a row of `History.trend`: quartiles, counts and times."""
    which = SeriesFilter(suites=["modern"], since=SINCE, until=UNTIL)
    trend = [row for row in History(record).trend(which, limit=None) if row.bytes_per_s]
    days = Counter(row.series.series_id for row in trend)
    # One day is no line.
    trend = [row for row in trend if days[row.series.series_id] > 1]
    expected = {
        (f"{row.started_at:%Y-%m-%d}", row.n, *(f"{(one or 0) / 1e6:,.1f}" for one in speeds_of(row))) for row in trend
    }
    assert {(row[0], row[4], *row[6:9]) for row in tables(shown)[NUMBERS] if row[7]} == expected
    charts = [block.chart for one in shown for block in one.blocks if isinstance(block, Plot)]
    modern = next(one for one in charts if isinstance(one, LineChart) and "modern" in one.title)
    drawn = {(one.at, one.value) for panel in modern.panels for line in panel.lines for one in line.moments}
    assert drawn == {(row.started_at, (row.bytes_per_s or 0) / 1e6) for row in trend}


def test_the_planted_step_is_found_and_drawn(shown: tuple[Section, ...]) -> None:
    """Since the day of the new openssl everything is slower, and the record knows what changed on that day."""
    steps = tables(shown)["Steps, newest first"]
    assert len(steps) == 4
    for row in steps:
        assert isinstance(row[1], datetime)
        assert utc(row[1]) == f"{NEW_OPENSSL} 02:00 UTC"
        assert row[-2:] == ("slower", "backend OpenSSL 3.0.18 → OpenSSL 3.0.19")
    charts = [block.chart for one in shown for block in one.blocks if isinstance(block, Plot)]
    modern = next(one for one in charts if isinstance(one, LineChart) and "modern" in one.title)
    assert {at.date() for panel in modern.panels for at in panel.steps} == {NEW_OPENSSL}


def test_stages_have_their_part_of_the_chain(shown: tuple[Section, ...]) -> None:
    """Both took nine tenths of their chain's time, and computed for half of that."""
    rows = tables(shown)["Stages by suite and backend"]
    assert [row[2] for row in rows] == ["openssl enc", "openssl dgst"]
    assert {row[7:9] for row in rows} == {("90 %", "45 %")}


def test_failures_are_listed_as_the_record_lists_them(record: str, shown: tuple[Section, ...]) -> None:
    """The same rows in the same order, the unreadable payload among them, and a sentence that counts them."""
    failures = History(record).failures(SeriesFilter(since=SINCE, until=UNTIL), limit=None)
    rows = tables(shown)["Failures, newest first"]
    assert [(row[1], row[2], row[3], row[6]) for row in rows] == [
        (str(one.run_id), one.kind, one.name, one.status) for one in failures
    ]
    assert "unreadable" in {row[7] for row in rows}
    assert "Failed in this time: runs 5, payloads 2, samples 1." in prose(shown, "Failures")


def test_experiments_are_those_of_the_newest_runs(record: str, shown: tuple[Section, ...]) -> None:
    """The runs shown are the ones that would be chosen if all samples were read."""
    history = History(record)
    samples, runs = history.samples(SampleFilter(), limit=None), history.runs(limit=None)
    expected = {
        (one.label, experiment, str(one.run_id))
        for experiment in (Experiment.SPEEDUP, Experiment.RACE)
        for one in latest_per_interpreter(samples, experiment, runs)
    }
    assert {(row[0], row[1], row[3]) for row in tables(shown)["Runs shown"]} == expected


@pytest.mark.slow
def test_days_stay_when_their_runs_are_removed(record: str, shown: tuple[Section, ...], tmp_path: Path) -> None:
    """Throughput and steps are the same rows afterwards; the runs left are counted."""
    path = tmp_path / "kept.sqlite"
    shutil.copy(record.removeprefix("sqlite:///"), path)
    with_all = tables(shown)
    store = Store(f"sqlite:///{path}")
    removed = store.remove_runs(UNTIL - timedelta(days=10))
    store.close()
    assert removed
    after = sections(f"sqlite:///{path}")
    for title in (NUMBERS, "Throughput by suite, backend and size", "Steps, newest first"):
        assert tables(after)[title] == with_all[title]
    assert f"On record are {RUNS - removed} runs" in prose(after, "Summary")


def test_nothing_on_record_says_what_to_run(record: str, tmp_path: Path) -> None:
    """A record that is not there, and a time without runs, make a page with the commands that fill one."""
    (none,) = sections(f"sqlite:///{tmp_path / 'none.sqlite'}")
    (before,) = over_time(History(record), SINCE - timedelta(days=9), SINCE, made_at=UNTIL)
    for summary in (none, before):
        assert "`threadmill survey`" in prose([summary], "Summary")


def test_only_what_started_in_the_time_counts(record: str) -> None:
    """The first ten days have ten nights of files, and no step."""
    shown = over_time(History(record), SINCE, SINCE + timedelta(days=10), made_at=UNTIL)
    assert {row[0] for row in tables(shown)[NUMBERS]} == {f"2026-09-{day:02}" for day in range(1, 11)}
    assert "Steps, newest first" not in tables(shown)


WITHOUT = """
import sys
for name in ("matplotlib", "numpy"):
    sys.modules[name] = None
from tests.show.test_report_over_time import TITLE, page_of, sections
sys.stdout.write(page_of(TITLE, sections(sys.argv[1])))
"""


@pytest.mark.slow
def test_without_the_extras_it_says_so(record: str) -> None:
    """Neither plots nor steps, one sentence each with what to install, and the tables all the same."""
    command = [sys.executable, "-W", "error", "-c", WITHOUT, record]
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120).stdout
    assert "<svg" not in text
    assert text.count("matplotlib is not installed") == 1
    assert text.count("numpy, which is not installed") == 1
    assert NUMBERS in text


@pytest.mark.slow
def test_command_writes_the_time_that_is_asked_for(
    threadmill: Command, environment: dict[str, str], record: str, tmp_path: Path
) -> None:
    """`-o` and both ends of the time; a run and a time together are refused."""
    environment["THREADMILL_DATABASE_URL"] = record
    span = ("--since", "2026-09-01", "--until", "2026-10-31")
    assert threadmill("report", *span, "-o", "page.html").returncode == 0
    assert NUMBERS in (tmp_path / "page.html").read_text()
    refused = threadmill("report", "--run", "1", *span)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_a_pipe_gets_the_page(threadmill: Command, environment: dict[str, str], record: str, tmp_path: Path) -> None:
    """It is written to, not replaced by a file."""
    environment["THREADMILL_DATABASE_URL"] = record
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        assert threadmill("report", "--run", "1", "-o", "pipe").returncode == 0
        assert reader.communicate(timeout=60)[0].endswith("</html>\n")
    assert pipe.is_fifo()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """The system's chromium, running."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def page_file(shown: tuple[Section, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page_of(TITLE, shown), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [390, 1280])
def test_page_fits_a_phone_and_a_screen(browser: Browser, page_file: Path, width: int) -> None:
    """Only tables and plots scroll sideways, in boxes of their own, opened ones too; every plot has a size."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert asked == [page_file.as_uri()]
    assert page.locator("script").count() == 0
    boxes = page.evaluate("[...document.querySelectorAll('svg')].map(one => one.getBoundingClientRect().toJSON())")
    assert len(boxes) > 5
    assert all(box["width"] > 250 and box["height"] > 100 for box in boxes)
    cut_off = page.evaluate(
        "[...document.querySelectorAll('svg')].flatMap(one => [...one.querySelectorAll('text')].filter(text => {"
        " const [all, own] = [one.getBoundingClientRect(), text.getBoundingClientRect()];"
        " return own.left < all.left - 1 || own.right > all.right + 1 || own.top < all.top - 1"
        " || own.bottom > all.bottom + 1 }).map(text => text.textContent))"
    )
    assert cut_off == []
    page.close()
