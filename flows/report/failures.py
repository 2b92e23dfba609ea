"""What went wrong, by name: payloads, samples and runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from db.rows import FailureRow, PayloadRow, RunRow, SampleRow
from flows.report.blocks import Block, Cell, Paragraph, Section, Table, columns
from flows.report.encryption import suite_label
from flows.text import utc
from tasks.axes import FAILURES

Row = TypeVar("Row", PayloadRow, SampleRow)

# A page that people read; a query gives all.
LISTED: Final = 200
_FAULTY_PAYLOADS = frozenset({"failed", "unstable"})
_FAULTY_RUNS = frozenset({"failed", "cancelled", "crashed"})
_FAULTY_SAMPLES = frozenset(str(one) for one in FAILURES)


def failures_section(runs: Sequence[RunRow], payloads: Sequence[PayloadRow], samples: Sequence[SampleRow]) -> Section:
    """A table for each kind of failure that there is, newest first."""
    tables = [
        _table(
            "Payloads that failed",
            ("#run", "payload", "suite", "backend", "status", "cause", "error"),
            [_payload(row) for row in _newest(payloads) if row.status in _FAULTY_PAYLOADS],
        ),
        _table(
            "Samples that failed",
            ("#run", "interpreter", "case", "#round", "outcome", "expected", "found", "error"),
            [_sample(row) for row in _newest(samples) if row.outcome in _FAULTY_SAMPLES],
        ),
        _table(
            "Runs that did not complete",
            ("#run", "flow", "host", "started", "status", "error"),
            [
                (run.id, run.flow, run.host, utc(run.started_at), run.status, run.error)
                for run in sorted(runs, key=lambda run: (run.started_at, run.id), reverse=True)
                if run.status in _FAULTY_RUNS
            ],
        ),
    ]
    blocks = tuple(block for some in tables for block in some)
    return Section("Failures", blocks or (Paragraph("None among the runs, payloads and samples of this report."),))


def failures_over_time(rows: Sequence[FailureRow], counts: str) -> Section:
    """What failed, of all kinds, newest first; `counts` says how many there were, listed or not."""
    if not rows:
        return Section("Failures", (Paragraph(f"{counts} None is on record by name."),))
    heads = ("#run", "started", "what", "name", "of", "host", "status", "cause", "error")
    table = Table(f"Failures, newest first: {len(rows):,}", columns(*heads), tuple(map(_failure, rows)))
    more = f" Listed are the newest {LISTED}; `threadmill history failures` lists all." if len(rows) == LISTED else ""
    return Section("Failures", (Paragraph(counts + more), table))


def _failure(row: FailureRow) -> tuple[Cell, ...]:
    return row.run_id, utc(row.started_at), row.kind, row.name, row.by, row.host, row.status, row.cause, row.error


def _newest(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (-row.run_id, row.ordinal))


def _payload(row: PayloadRow) -> tuple[Cell, ...]:
    return row.run_id, row.name, suite_label(row.suite), row.backend, row.status, row.cause, row.error


def _sample(row: SampleRow) -> tuple[Cell, ...]:
    parts = (row.experiment, row.workload, row.executor, row.guard, row.shape, f"{row.workers}x{row.count}")
    case = "/".join(part for part in parts if part)
    label = row.interpreter.label
    return row.run_id, label, case, row.round, row.outcome, row.expected, row.found, row.error


def _table(title: str, titles: Sequence[str], rows: Sequence[tuple[Cell, ...]]) -> tuple[Block, ...]:
    if not rows:
        return ()
    table = Table(f"{title}: {len(rows):,}", columns(*titles), tuple(rows[:LISTED]))
    if len(rows) <= LISTED:
        return (table,)
    return table, Paragraph(f"The newest {LISTED} of {len(rows):,}; `threadmill history` lists all.")
