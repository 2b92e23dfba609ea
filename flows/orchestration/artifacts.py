"""Publish the tables and the report of a run in Prefect's UI, read from the record.

Their keys are the same for every run of a flow, so that each run adds a version.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from db.history import History, PayloadFilter, SampleFilter, VerdictFilter
from db.rows import PayloadRow, SampleRow
from db.words import PAYLOAD_FAILURES
from flows.analysis.findings import race_findings, speedup_findings
from flows.jobs.run import OpenRun
from flows.jobs.vault_state import VaultState
from flows.show.finding_tables import RACES, SPEEDUPS
from flows.show.page import artifact_of, as_markdown, markdown_of
from flows.show.table import Table
from flows.show.tables import PAYLOADS, SAMPLES, VERDICTS, vault_table
from tasks.axes import Outcome

# The UI pages and searches a table, but is sent all of it: 500 payloads are 150 KB.
_ROWS = 500
# The most rows that a report is made from: reading takes 60 µs a row, so at most 6 s.
_READ = 100_000
# The server takes 64 MB, but the UI's page of artifacts loads the newest version of every key, more than once.
_REPORT_BYTES = 1 << 20
# A message names the first faults; the tables have them on top.
_MESSAGE_LETTERS = 300


def publish(prefix: str, history: History, done: OpenRun, look: Callable[[], VaultState] | None) -> None:
    """A run's artifacts: `payloads`, `samples`, `speedups`, `races` and `verdicts`, where there are any, and `report`.

    A run on a vault has `vault` too: its state, which `look` gives where a vault is set in this process. Keys begin
    with the prefix.
    """
    run_id = done.run_id
    run = history.run(run_id)
    assert run is not None  # noqa: S101 - its row was written a moment ago
    payloads = history.payloads(PayloadFilter(run_id=run_id), limit=_READ)
    samples = history.samples(SampleFilter(run_id=run_id), limit=_READ)
    says = f"Run {run_id}: {as_markdown(textwrap.shorten(done.message, _MESSAGE_LETTERS, placeholder=' …'))}."

    def put_table(what: str, table: Table, more: str) -> None:
        create_table_artifact(key=f"{prefix}-{what}", table=artifact_of(table), description=f"{says} {more}")

    for what, table, total, command in _tables(history, run_id, payloads, samples):
        if number := len(table.rows):
            shown = f"All {total:,}" if number == total else f"The first {number:,} of {total:,}"
            put_table(what, table, f"{shown} {what}; all by command: `threadmill {command}`")
    if look is not None and "vault" in run.parameters:
        more = "The state of the vault at the end of the run; its state now: `threadmill status`"
        put_table("vault", vault_table(look()), more)

    # Late, because only this task run needs it: with plots it takes a second, for matplotlib.
    from flows.show.report import TITLE, sections_of_run

    sections = sections_of_run(history, run, payloads, samples, made_at=datetime.now(UTC))
    if _READ in {len(payloads), len(samples)}:
        says += f" From the first {_READ:,} payloads or samples only."
    create_markdown_artifact(
        key=f"{prefix}-report",
        markdown=markdown_of(TITLE, sections, most_bytes=_REPORT_BYTES),
        # Prefect keeps the head in another database: a rewrite of the whole record contradicts it.
        description=f"{says} As a page: `threadmill report --run {run_id}`. Ledger's head: `{done.head}`",
    )


def _tables(
    history: History, run_id: int, payloads: Sequence[PayloadRow], samples: Sequence[SampleRow]
) -> Iterator[tuple[str, Table, int, str]]:
    """What a table shows, the table, the number of its rows on record, and the command that lists them all.

    Rows that need attention come first.
    """
    show = f"history show {run_id}"
    counts = history.counts(run_id)
    total = sum(count.count for count in counts)
    faulty: list[PayloadRow] = []
    if any(count.status in PAYLOAD_FAILURES for count in counts):
        faulty = history.payloads(PayloadFilter(run_id=run_id, failed=True), limit=_ROWS)
    rows = faulty + [row for row in payloads[:_ROWS] if row.status not in PAYLOAD_FAILURES]
    yield "payloads", PAYLOADS.fill(rows[:_ROWS], without=("run", "started")), total, f"{show} --limit {total}"

    total = len(samples)
    sorted_samples = sorted(samples, key=lambda row: not Outcome(row.outcome).is_failure)
    table = SAMPLES.fill(sorted_samples[:_ROWS], without=("run", "started"))
    yield "samples", table, total, f"history samples --run {run_id} --limit {total}"
    speedups, races = speedup_findings(samples), race_findings(samples)
    yield "speedups", SPEEDUPS.fill(speedups[:_ROWS], without=("run",)), len(speedups), show
    yield "races", RACES.fill(races[:_ROWS], without=("run",)), len(races), show

    total = sum(found.count for found in history.verdict_counts(run_id))
    faults = history.verdicts(VerdictFilter(run_id=run_id, faults=True), limit=_ROWS)
    named = {row.ordinal for row in faults}
    verdicts = history.verdicts(VerdictFilter(run_id=run_id), limit=_ROWS)
    verdicts = [*faults, *(row for row in verdicts if row.ordinal not in named)][:_ROWS]
    yield "verdicts", VERDICTS.fill(verdicts, without=("run", "vault")), total, f"{show} --limit {total}"
