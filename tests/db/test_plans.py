"""Every query that is shipped: none of them without a record, and on one each is answered by an index."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from db.history import History, PayloadFilter, SampleFilter, SeriesFilter, SnapshotFilter, VerdictFilter
from tests.support.example_record import FOLDER, example
from tests.support.generated_record import at_hour, object_of
from tests.support.vault_fakes import VAULT_ID

EVERYTHING = SeriesFilter()
# The vault's first snapshot, a look at its objects, and one of these.
KEPT, VERIFIED = 124, 129
OBJECT = object_of(KEPT, f"{FOLDER}/ledger.csv")


def test_no_record_answers_with_nothing(tmp_path: Path) -> None:
    """Every question, before the first run."""
    history = History(f"sqlite:///{tmp_path / 'none.sqlite'}")
    for call in calls(history).values():
        assert not call()
    history.close()
    assert list(tmp_path.iterdir()) == []


SINCE, UNTIL = at_hour(date(2026, 10, 1), 0), at_hour(date(2026, 10, 20), 0)


def calls(history: History) -> dict[str, Callable[[], Any]]:
    """A call for every query that there is, but `verify`, which is to read everything."""
    h, some = history, SeriesFilter(since=SINCE, until=UNTIL)
    case = SampleFilter({"workload": ["factorize"]}, ["3.13"], ["alpha"])
    return {
        "runs": h.runs,
        "runs of a time": lambda: h.runs(since=SINCE, until=UNTIL),
        "runs by status": lambda: h.runs(statuses=["failed", "crashed"]),
        "runs of a host": lambda: h.runs(hosts=["alpha"]),
        "run of a flow": lambda: h.run_of_flow("x"),
        "counts": lambda: h.counts(1),
        "detail": lambda: h.detail(1) or h.detail(2),
        "payloads": lambda: h.payloads(PayloadFilter()),
        "payloads of a time": lambda: h.payloads(PayloadFilter(since=SINCE, until=UNTIL), limit=None),
        "payloads of a folder": lambda: h.payloads(PayloadFilter(path=FOLDER.encode(), suites=["modern"])),
        "payloads that failed": lambda: h.payloads(PayloadFilter(failed=True, suites=["modern"])),
        "payloads of suites": lambda: h.payloads(PayloadFilter(suites=["modern", "classic"])),
        "payloads of a backend": lambda: h.payloads(PayloadFilter(backends=["native"])),
        "payloads of a host": lambda: h.payloads(PayloadFilter(hosts=["alpha"])),
        "last digest": lambda: h.last_digest(f"{FOLDER}/ledger.csv".encode()),
        "done before": lambda: h.done_before("x"),
        "samples": lambda: h.samples(SampleFilter()),
        "samples of a time": lambda: h.samples(SampleFilter(since=SINCE, until=UNTIL), limit=None),
        "samples of a case": lambda: h.samples(case),
        "all samples of a case": lambda: h.samples(case, limit=None),
        "samples of a host": lambda: h.samples(SampleFilter(hosts=["beta"])),
        "samples of a run": lambda: h.samples(SampleFilter({"workload": ["factorize"]}, run_id=2)),
        "failed samples": lambda: h.failed_samples(102),
        "runs with": lambda: h.runs_with(SampleFilter({"experiment": ["race"]})),
        "runs with, on a host": lambda: h.runs_with(case),
        "series": lambda: h.series(SeriesFilter(suites=["modern"])),
        "summaries": lambda: h.summaries(some),
        "summaries of a run": lambda: h.summaries(EVERYTHING, run_id=1),
        "summaries, the newest": lambda: h.summaries(EVERYTHING, limit=3),
        "medians": lambda: h.medians(some, limit=20),
        "trend by run": lambda: h.trend(EVERYTHING, by="run"),
        "trend by day": lambda: h.trend(EVERYTHING),
        "trend of a time": lambda: h.trend(some, limit=None),
        "failures": lambda: h.failures(EVERYTHING),
        "failures of vaults": lambda: h.failures(some, kinds=["verdict"]),
        "failures of a time": lambda: h.failures(some),
        "failures of a suite": lambda: h.failures(SeriesFilter(suites=["modern"], hosts=["alpha"])),
        "failures of a case": lambda: h.failures(SeriesFilter({"workload": ["factorize"]}, ["3.11"])),
        "slowest": lambda: h.slowest(EVERYTHING),
        "times": lambda: h.times(1) + h.times(2),
        "vault": lambda: h.vault(VAULT_ID),
        "vaults": h.vaults,
        "snapshots": lambda: h.snapshots(SnapshotFilter()),
        "snapshots of a vault": lambda: h.snapshots(SnapshotFilter(vault_id=VAULT_ID, since=SINCE)),
        "snapshot of a run": lambda: h.snapshots(SnapshotFilter(run_id=KEPT)),
        "verdicts": lambda: h.verdicts(VerdictFilter()),
        "verdicts of a time": lambda: h.verdicts(VerdictFilter(vault_id=VAULT_ID, since=SINCE), limit=None),
        "verdicts of a run": lambda: h.verdicts(VerdictFilter(run_id=VERIFIED, kinds=["object"], path=FOLDER.encode())),
        "verdicts on an object": lambda: h.verdicts(VerdictFilter(name=OBJECT)),
        "verdicts on a folder": lambda: h.verdicts(VerdictFilter(path=FOLDER.encode(), kinds=["object"])),
        "faults of vaults": lambda: h.verdicts(VerdictFilter(faults=True, vault_id=VAULT_ID)),
        "damaged objects": lambda: h.damaged(VAULT_ID),
        "verdict counts": lambda: h.verdict_counts(VERIFIED),
        "proven": lambda: list(h.proven(VAULT_ID)),
        "proofs": h.proofs,
        "proofs of a folder": lambda: h.proofs(path=FOLDER.encode(), vault_id=VAULT_ID),
        "times of kept payloads": lambda: h.times(KEPT),
        "head": lambda: h.head(1),
    }


# Queries without a beginning that name no series walk an index from the newest row on until they have met as many
# matches as they may return: soon, unless next to nothing matches, such as a host that has not run for years.
WALKS_FROM_THE_NEWEST = {
    "verdicts",
    "payloads", "payloads of a backend", "payloads of a host", "samples", "all samples of a case", "samples of a host",
}  # fmt: skip
# Indexes that have only the rows that are asked for.
PARTIAL = ("ix_encryption_failed", "ix_sample_failed", "ix_verdict_fault")


@pytest.mark.slow
def test_every_query_is_answered_by_an_index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """SQLite's plan, before anything is known of how often values occur, reads no big table as a whole."""
    path = example(tmp_path_factory)
    history = History(f"sqlite:///{path}")
    seen: dict[str, tuple[str, Any]] = {}
    current = [""]

    @event.listens_for(history._engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any) -> None:
        seen.setdefault(statement, (current[0], parameters))

    for name, call in calls(history).items():
        current[0] = name
        call()
    history.close()
    scans: dict[str, set[str]] = {}
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'").fetchone() == (0,)
        for statement, (name, parameters) in seen.items():
            if statement.startswith("PRAGMA"):
                continue
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            for step in plan:
                if re.match(r"SCAN (encryption|sample|stage|summary|day_summary|verdict)\b", step) and not any(
                    index in step for index in PARTIAL
                ):
                    scans.setdefault(name, set()).add(step)
                    # In the order of the answer, so that it can stop.
                    assert "USING INDEX" in step, (name, plan)
                    assert not any("ORDER BY" in one for one in plan), (name, plan)
    connection.close()
    assert set(scans) == WALKS_FROM_THE_NEWEST
    assert len(seen) > 40


def test_example_record_is_whole(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What these tests query verifies like any other record."""
    history = History(f"sqlite:///{example(tmp_path_factory)}")
    verdict = history.verify()
    history.close()
    assert (verdict.faults, verdict.runs) == ((), 138)
