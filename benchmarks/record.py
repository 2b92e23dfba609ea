"""The record: writing against the bare driver, and reading at two sizes."""

from __future__ import annotations

import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, event

from benchmarks.rounds import alternate, ratio, show, verdict
from benchmarks.year import CASES, DAYS, PYTHONS, SAMPLES_PER_RUN, fill
from db.history import History, PayloadFilter, SampleFilter, SeriesFilter
from db.rows import NewRun
from db.store import Store
from tasks.axes import Outcome
from tasks.rows import interpreter_facts, sample_rows
from tasks.threads.cases import Sample
from tasks.threads.interpreters import Interpreter

ROUNDS = 15
ROWS = 10_000
# Of the smaller and of the larger database; the larger one takes 2.6 GB, and a quarter of an hour to fill.
SIZES = (100_000, int(os.environ.get("THREADMILL_BENCH_SAMPLES", "10000000")))
READS = 30

Read = Callable[[History], object]


def main(folder: Path) -> None:
    """Writing, reading, and what a command takes from the shell."""
    write(folder)
    read(folder)
    commands(folder)


def write(folder: Path) -> None:
    """The same 10,000 rows in one transaction by the store and by the driver, each into a database of its own."""
    interpreter = Interpreter("/python", "3.13.0", "cpython", True, True, (), (("version", "3.13.0"),))
    interpreters = {interpreter.fingerprint: interpreter}
    facts = interpreter_facts(interpreters)
    blank = Sample(
        CASES[0], interpreter.fingerprint, "0" * 64, 0, datetime.now(UTC), Outcome.OK, "4093082899", "4093082899",
        wall_ns=123_456_789, cpu_ns=123_456_789, runq_ns=1_000, blocked_ns=1_000, context_switches=12, gil_on=True,
        foreign_share=0.01,
    )  # fmt: skip
    samples = [replace(blank, round=number) for number in range(ROWS)]
    both = store, raw_store = [Store(f"sqlite:///{folder / name}.sqlite") for name in ("store", "raw")]
    # The same rows as the store makes them: read back from what it wrote once.
    first = raw_store.start_run(NewRun("bench", "direct", {}, "0"))
    raw_store.record_samples(sample_rows(first, 0, samples, interpreters), facts)
    raw = sqlite3.connect(folder / "raw.sqlite")
    columns = [row[1] for row in raw.execute("PRAGMA table_info(sample)") if row[1] not in ("id", "run_id")]
    rows = raw.execute(f"SELECT {', '.join(columns)} FROM sample").fetchall()  # noqa: S608 - our columns
    marks = ", ".join("?" * (len(columns) + 1))
    statement = f"INSERT INTO sample (run_id, {', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - our columns

    runs, raw_runs = ([one.start_run(NewRun("bench", "direct", {}, "0")) for _ in range(ROUNDS + 1)] for one in both)

    def by_store() -> None:
        assert store.record_samples(sample_rows(runs.pop(), 0, samples, interpreters), facts)

    def by_driver() -> None:
        run_id = raw_runs.pop()
        with raw:
            raw.executemany(statement, [(run_id, *row) for row in rows])

    seconds = alternate({"store.record_samples": by_store, "sqlite3.executemany": by_driver}, ROUNDS)
    show(f"{ROWS:,} sample rows into SQLite, in one transaction", seconds)
    verdict("store against the driver", ratio(seconds, "store.record_samples", "sqlite3.executemany"), 0.4)
    raw.close()
    for one in both:
        one.close()


def read(folder: Path) -> None:
    """What users ask most, at both sizes: in the database alone, and as the function that they call."""
    times = {size: _timed(f"sqlite:///{folder / str(size)}.sqlite", size) for size in SIZES}
    small, large = SIZES
    print(f"\nreads, in ms: in the database, and the whole call; at {small:,} and at {large:,} samples")
    for name in times[small]:
        (few, few_all), (many, many_all) = times[small][name], times[large][name]
        judged = "reached" if many < 20 and many <= max(3 * few, 1) else "MISSED"
        print(f"  {name:34}{few:8.2f} {few_all:8.2f}   {many:8.2f} {many_all:8.2f}   × {many / few:.1f} {judged}")
    print("  (targets: under 20 ms in the database, and at most 3 times as long as in the small one)")


def commands(folder: Path) -> None:
    """The page about a year of two runs a day, and the search for steps in it."""
    fill(f"sqlite:///{folder / 'year.sqlite'}", DAYS * SAMPLES_PER_RUN)
    names = {name: value for name, value in os.environ.items() if not name.startswith("THREADMILL_")}
    environment = names | {
        "THREADMILL_HOME": str(folder),
        "THREADMILL_DATABASE_URL": f"sqlite:///{folder / 'year.sqlite'}",
    }

    def run(*command: str) -> None:
        subprocess.run([sys.executable, *command], env=environment, stdout=subprocess.DEVNULL, check=True)

    threadmill = ("-c", "from flows.cli.main import main; main()")
    year = ("--since", f"{DAYS + 1}d")
    for what, command in (
        ("report over a year of daily runs (target: under 10 s)", ("report", *year, "-o", str(folder / "report.html"))),
        ("history changes over the same", ("history", "changes", *year)),
    ):
        begin = time.perf_counter()
        run(*threadmill, *command)
        print(f"\n{what}: {time.perf_counter() - begin:.1f} s")


def _timed(url: str, size: int) -> dict[str, tuple[float, float]]:
    begin = time.perf_counter()
    written = fill(url, size)
    print(f"\n{written:,} samples over a year: filled in {time.perf_counter() - begin:.0f} s")
    with closing(History(url)) as history:
        newest = history.runs(limit=2)
        a_run = next(row.id for row in newest if row.flow == "run_experiments")
        case: dict[str, list[str | int]] = {
            "experiment": [CASES[0].experiment],
            "workload": [CASES[0].workload or ""],
            "executor": [CASES[0].executor or ""],
        }
        series = SampleFilter(case=case, interpreters=[PYTHONS[0]])
        reads: dict[str, Read] = {
            "runs": lambda one: one.runs(limit=50),
            "show: a run and its first samples": lambda one: one.samples(SampleFilter(run_id=a_run), limit=20),
            "show: a run with all its samples": lambda one: one.detail(a_run),
            "samples: the newest 20": lambda one: one.samples(SampleFilter()),
            "samples: the newest 20 of a series": lambda one: one.samples(series),
            "samples: 1,000 of a series": lambda one: one.samples(series, limit=1000),
            "payloads: that failed": lambda one: one.payloads(PayloadFilter(failed=True)),
            "failures": lambda one: one.failures(SeriesFilter()),
            "trend of a series over 365 days": lambda one: one.trend(
                SeriesFilter(case=case, interpreters=[PYTHONS[0]]), limit=None
            ),
        }
        return {name: _milliseconds(history, one) for name, one in reads.items()}


def _milliseconds(history: History, one: Read) -> tuple[float, float]:
    """Medians: of its statements by the driver alone, and of the call."""
    statements: list[tuple[str, tuple[object, ...]]] = []

    def note(_c: object, _u: object, statement: str, values: tuple[object, ...], *_: object) -> None:
        if statement != "BEGIN":
            statements.append((statement, values))

    event.listen(Engine, "before_cursor_execute", note)
    assert one(history)
    event.remove(Engine, "before_cursor_execute", note)
    bare, whole = [], []
    with closing(sqlite3.connect(history.where)) as connection:
        for _ in range(READS):
            begin = time.perf_counter()
            for statement, values in statements:
                connection.execute(statement, values).fetchall()
            between = time.perf_counter()
            one(history)
            bare.append((between - begin) * 1e3)
            whole.append((time.perf_counter() - between) * 1e3)
    return statistics.median(bare), statistics.median(whole)
