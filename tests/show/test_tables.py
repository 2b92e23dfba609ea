"""Tables: rows become cells once, and a narrow terminal shows the columns that matter."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from db.history import History, PayloadFilter, SampleFilter, SeriesFilter, SnapshotFilter, VerdictFilter
from flows.analysis.changes import find_changes
from flows.analysis.findings import race_findings, speedup_findings
from flows.show import terminal
from flows.show.finding_tables import RACES, SPEEDUPS
from flows.show.page import artifact_of
from flows.show.series_tables import CHANGES, SLOWEST, said_once, trend_table
from flows.show.table import Column, Table, TableOf
from flows.show.tables import FAILURES, PAYLOADS, PROOFS, RUNS, SAMPLES, SNAPSHOTS, VERDICTS
from flows.text import duration, local
from tests.support.example_record import example

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Thing:
    """A row."""

    name: str
    count: int | None = None
    time_ns: int | None = None
    at: datetime | None = None


THINGS: TableOf[Thing] = TableOf(
    "things",
    Column("name", lambda row: row.name),
    Column("count", lambda row: row.count, right=True),
    Column("time", lambda row: row.time_ns, duration, right=True, wide=True),
    Column("at", lambda row: row.at, optional=True),
)


def test_cells_are_written_once_and_none_is_empty() -> None:
    """A figure is text with its unit, a count or a time is the renderer's; an empty optional column is left out."""
    table = THINGS.fill([Thing("one", 1000, 1_500_000), Thing("two")])
    assert [column.heading for column in table.columns] == ["name", "count", "time"]
    assert table.rows == (("one", 1000, "1.50 ms"), ("two", None, None))
    assert [column.heading for column in THINGS.fill([Thing("one", at=NOON)], without=("count",)).columns] == [
        "name", "time", "at",
    ]  # fmt: skip


def test_an_artifact_has_numbers_times_in_utc_and_text_that_is_no_markup() -> None:
    """Counts stay numbers, so that the UI sorts them."""
    table = THINGS.fill([Thing("[a](http://a.example)", 1000, None, NOON)])
    assert artifact_of(table) == [
        {"name": "    [a](http://a.example)", "count": 1000, "time": None, "at": "2026-11-22 12:00 UTC"}
    ]


def printed(table: Table, width: int) -> str:
    """What a terminal of that width shows."""
    return "\n".join(terminal.drawn(table, width))


def test_wide_columns_are_left_out_only_where_they_do_not_fit() -> None:
    """Twenty letters have no room for the time."""
    table = THINGS.fill([Thing("one", 1000, 1_500_000)])
    assert "1.50 ms" in printed(table, 80)
    narrow = printed(table, 20)
    assert ("1.50 ms" in narrow, "1,000" in narrow) == (False, True)


def test_names_are_folded_at_blanks_and_by_the_columns_that_letters_take() -> None:
    """A wide letter takes two columns and a combining mark none; figures stay in one piece."""
    table = THINGS.fill([Thing("a name of words", 1_000_000), Thing("漢字漢字漢字e\u0301")]).narrowed()
    assert printed(table, 26).splitlines()[3:] == [
        "┡━━━━━━━━━━━━┳━━━━━━━━━━━┩".replace("┳", "╇"),
        "│ a name of  │ 1,000,000 │",
        "│ words      │           │",
        "│ 漢字漢字漢 │           │",
        "│ 字e\u0301        │           │",
        "└────────────┴───────────┘",
    ]


def test_lines_are_plain_where_the_output_encodes_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table reaches a stream that takes ASCII only."""
    file = io.BytesIO()
    stream = io.TextIOWrapper(file, encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    terminal.print_table(THINGS.fill([Thing("one", 1000)]).narrowed())
    stream.flush()
    assert file.getvalue().decode().splitlines() == [
        "things",
        "+------+-------+",
        "| name | count |",
        "+------+-------+",
        "| one  | 1,000 |",
        "+------+-------+",
    ]


def every_table(history: History) -> Iterator[Table]:
    """The tables of all that the example record holds."""
    which = SeriesFilter()
    samples = history.samples(SampleFilter(run_id=136), limit=None)
    changes, slowest = find_changes(history, which), history.slowest(which, limit=20)
    yield RUNS.fill(history.runs(limit=30))
    yield PAYLOADS.fill(history.payloads(PayloadFilter(), limit=30))
    yield SAMPLES.fill(samples)
    yield FAILURES.fill(history.failures(which, limit=30))
    yield SNAPSHOTS.fill(history.snapshots(SnapshotFilter()))
    yield VERDICTS.fill(history.verdicts(VerdictFilter(), limit=30))
    yield PROOFS.fill(history.proofs(limit=30))
    yield SPEEDUPS.fill(speedup_findings(samples))
    yield RACES.fill(race_findings(samples))
    yield CHANGES.fill(changes, without=said_once(row.series for row in changes))
    yield SLOWEST.fill(slowest, without=said_once(row.series for row in slowest))
    yield trend_table(history.trend(which, limit=5), "day")


def test_every_table_fits_eighty_columns(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No line is longer; figures and times are in one piece, however long the names beside them are."""
    history = History(f"sqlite:///{example(tmp_path_factory)}")
    for table in every_table(history):
        assert table.rows, table.title
        text = printed(table, 80)
        assert max(map(len, text.splitlines())) <= 80, table.title
        narrow = table.narrowed()
        for place, column in enumerate(narrow.columns):
            cells = [row[place] for row in narrow.rows]
            for cell in cells:
                if isinstance(cell, datetime):
                    assert local(cell) in text, table.title
                elif column.right and cell is not None:
                    assert (f"{cell:,}" if isinstance(cell, int) else cell) in text, (table.title, column.heading)
    history.close()
