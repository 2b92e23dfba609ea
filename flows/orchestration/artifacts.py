"""Publish the tables and the report of a run in Prefect's UI, read from the record.

Their keys are the same for every run of a flow, so that each run adds a version.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from db.history import History, PayloadFilter, SampleFilter, VerdictFilter
from db.rows import PayloadRow, RunRow, SampleRow
from db.words import PAYLOAD_FAILURES
from flows.analysis.findings import race_findings, speedup_findings
from flows.jobs.vault import VaultState
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


@dataclass(frozen=True, slots=True)
class _Published:
    """A run as it is on record, and the name that its artifacts begin with."""

    prefix: str
    message: str
    head: str | None
    history: History
    run: RunRow
    payloads: Sequence[PayloadRow]
    samples: Sequence[SampleRow]

    def key(self, what: str) -> str:
        """The same for every run of the flow."""
        return f"{self.prefix}-{what}"

    def says(self, more: str) -> str:
        """The text above an artifact."""
        message = textwrap.shorten(self.message, _MESSAGE_LETTERS, placeholder=" …")
        return f"Run {self.run.id}: {as_markdown(message)}. {more}"


def publish(
    prefix: str,
    history: History,
    run_id: int,
    message: str,
    head: str | None,
    look: Callable[[], VaultState] | None = None,
) -> None:
    """A run's artifacts: `payloads`, `samples`, `speedups`, `races` and `verdicts`, where there are any, and `report`.

    A run on a vault has `vault` too.

    Args:
        prefix: the flow's name, with which the keys begin
        history: the record that has the run
        run_id: the run, closed
        message: the result of the run, in a line
        head: the ledger's head once the run was sealed
        look: gives the state of the vault that is set in this process, if one is

    Raises:
        RecordError: the record cannot be read.
    """
    run = history.run(run_id)
    assert run is not None  # noqa: S101 - its row was written a moment ago
    payloads = history.payloads(PayloadFilter(run_id=run_id), limit=_READ)
    samples = history.samples(SampleFilter(run_id=run_id), limit=_READ)
    published = _Published(prefix, message, head, history, run, payloads, samples)
    _publish_payloads(published)
    _publish_samples(published)
    _publish_findings(published)
    _publish_verdicts(published)
    if look is not None and "vault" in run.parameters:
        _publish_vault(published, look())
    _publish_report(published)


def _publish_payloads(of: _Published) -> None:
    """Publish the payloads; payloads that need attention come first."""
    counts = of.history.counts(of.run.id)
    faulty: list[PayloadRow] = []
    if any(count.status in PAYLOAD_FAILURES for count in counts):
        faulty = of.history.payloads(PayloadFilter(run_id=of.run.id, failed=True), limit=_ROWS)
    rows = faulty + [row for row in of.payloads[:_ROWS] if row.status not in PAYLOAD_FAILURES]
    total = sum(count.count for count in counts)
    table = PAYLOADS.fill(rows[:_ROWS], without=("run", "started"))
    _publish_table(of, "payloads", table, total, f"history show {of.run.id} --limit {total}")


def _publish_samples(of: _Published) -> None:
    """Publish the samples; samples that show something broken come first."""
    rows = sorted(of.samples, key=lambda row: not Outcome(row.outcome).is_failure)
    table = SAMPLES.fill(rows[:_ROWS], without=("run", "started"))
    _publish_table(of, "samples", table, len(rows), f"history samples --run {of.run.id} --limit {len(rows)}")


def _publish_findings(of: _Published) -> None:
    """Publish the findings from the samples."""
    speedups, races = speedup_findings(of.samples), race_findings(of.samples)
    for what, table, total in (
        ("speedups", SPEEDUPS.fill(speedups[:_ROWS], without=("run",)), len(speedups)),
        ("races", RACES.fill(races[:_ROWS], without=("run",)), len(races)),
    ):
        _publish_table(of, what, table, total, f"history show {of.run.id}")


def _publish_verdicts(of: _Published) -> None:
    """Publish the verdicts; faults come first."""
    total = sum(found.count for found in of.history.verdict_counts(of.run.id))
    if not total:
        return
    faults = of.history.verdicts(VerdictFilter(run_id=of.run.id, faults=True), limit=_ROWS)
    named = {row.ordinal for row in faults}
    rows = of.history.verdicts(VerdictFilter(run_id=of.run.id), limit=_ROWS)
    shown = [*faults, *(row for row in rows if row.ordinal not in named)][:_ROWS]
    table = VERDICTS.fill(shown, without=("run", "vault"))
    _publish_table(of, "verdicts", table, total, f"history show {of.run.id} --limit {total}")


def _publish_vault(of: _Published, state: VaultState) -> None:
    says = of.says("The state of the vault at the end of the run; its state now: `threadmill status`")
    create_table_artifact(key=of.key("vault"), table=artifact_of(vault_table(state)), description=says)


def _publish_table(of: _Published, what: str, table: Table, total: int, command: str) -> None:
    if table.rows:
        number = len(table.rows)
        shown = f"All {total:,}" if number == total else f"The first {number:,} of {total:,}"
        says = of.says(f"{shown} {what}; all by command: `threadmill {command}`")
        create_table_artifact(key=of.key(what), table=artifact_of(table), description=says)


def _publish_report(of: _Published) -> None:
    # Late, because only this task run needs it: with plots it takes a second, for matplotlib.
    from flows.show.record_sections import vault_run_sections
    from flows.show.report import TITLE, contents

    sections = contents(
        [of.run],
        of.payloads,
        of.samples,
        made_at=datetime.now(UTC),
        where=of.history.where,
        one_run=True,
        more=tuple(vault_run_sections(of.history, of.run.id)),
    )
    text = markdown_of(TITLE, sections, most_bytes=_REPORT_BYTES)
    partial = (
        f"From the first {_READ:,} payloads or samples only. " if _READ in {len(of.payloads), len(of.samples)} else ""
    )
    # Prefect keeps it in another database: a rewrite of the whole record contradicts it.
    head = f"Ledger's head: `{of.head}`"
    says = of.says(f"{partial}As a page: `threadmill report --run {of.run.id}`. {head}")
    create_markdown_artifact(key=of.key("report"), markdown=text, description=says)
