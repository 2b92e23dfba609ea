"""Failures, changes and vaults in the report: what went wrong, steps in repeated measurements, and proofs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar

from db.answers import FailureRow, ProofTotalsRow, TrendRow
from db.history import History, SeriesFilter, SnapshotFilter, VerdictFilter
from db.rows import PayloadRow, RunRow, SampleRow, SnapshotRow, VaultRow, VerdictRow
from db.words import PAYLOAD_FAILURES, RUN_FAILURES, SAMPLE_FAILURES, VERDICT_FAULTS
from flows.analysis.changes import MOST_RUNS, Change, find_changes
from flows.analysis.intervals import MIN_PAIRS
from flows.errors import NumpyMissing
from flows.show.plots.lines import Line, LineChart, LinePanel, Moment
from flows.show.series_tables import CHANGES, said_once
from flows.show.table import Block, Cell, Paragraph, Plot, Section, Table, TableOf, table_of
from flows.show.tables import FAILURES, PAYLOADS, RUNS, SAMPLES, SNAPSHOTS, VERDICT_COUNTS, VERDICTS

Row = TypeVar("Row")

# A page lists this many for people; a query gives all.
LISTED: Final = 200
_CHANGES_LISTED = 100
_VERIFICATION = "verify_vault"
_PROVEN = ("pack", "object")
_MOST_CHARTS = 4


def failures_section(runs: Sequence[RunRow], payloads: Sequence[PayloadRow], samples: Sequence[SampleRow]) -> Section:
    """A table for each kind of failure that there is, newest first."""
    failed_payloads = [row for row in payloads if row.status in PAYLOAD_FAILURES]
    failed_samples = [row for row in samples if row.outcome in SAMPLE_FAILURES]
    failed_runs = [run for run in runs if run.status in RUN_FAILURES]
    failed_payloads.sort(key=lambda row: (-row.run_id, row.ordinal))
    failed_samples.sort(key=lambda row: (-row.run_id, row.ordinal))
    failed_runs.sort(key=lambda run: run.id, reverse=True)
    blocks = (
        *_listed(PAYLOADS, "Payloads that failed", failed_payloads, ("started", "bytes", "stages", "time")),
        *_listed(SAMPLES, "Samples that failed", failed_samples, ("started", "time", "noisy", "why noisy")),
        *_listed(RUNS, "Runs that did not complete", failed_runs, ("via", "deployment", "took")),
    )
    return Section("Failures", blocks or (Paragraph("None among the runs, payloads and samples of this report."),))


def _listed(table: TableOf[Row], title: str, rows: Sequence[Row], without: Sequence[str]) -> Iterator[Block]:
    if rows:
        yield table.fill(rows[:LISTED], f"{title}: {len(rows):,}", without=without)
    if len(rows) > LISTED:
        yield Paragraph(f"The newest {LISTED} of {len(rows):,}; `threadmill history` lists all.")


def failures_over_time(rows: Sequence[FailureRow], counts: str) -> Section:
    """The failures of all kinds, newest first; `counts` says how many there were, listed or not."""
    if not rows:
        return Section("Failures", (Paragraph(f"{counts} None is on record by name."),))
    more = f" Listed are the newest {LISTED}; `threadmill history failures` lists all." if len(rows) == LISTED else ""
    table = FAILURES.fill(rows, f"Failures, newest first: {len(rows):,}")
    return Section("Failures", (Paragraph(counts + more), table))


def look_for_changes(
    history: History, which: SeriesFilter, rows: Sequence[TrendRow]
) -> tuple[Sequence[Change], Section]:
    """The steps of all series, newest first, and the section about them; `rows` has the series by day.

    The section is a table, with everything that changed at that point as far as the record knows.
    """
    title = "Changes"
    try:
        changes = find_changes(history, which)
    except NumpyMissing as missing:
        return (), Section(title, (Paragraph(f"Not looked for: {str(missing).replace(chr(39), '`')}."),))
    runs: Counter[str] = Counter()
    for row in rows:
        if row.median_ns:
            runs[row.series.track] += row.runs
    looked = (
        f"Looked at are the medians, run by run, of {sum(count >= 2 * MIN_PAIRS for count in runs.values()):,} series "
        f"with at least {2 * MIN_PAIRS} runs, the newest {MOST_RUNS:,} runs of each."
    )
    if not changes:
        return changes, Section(title, (Paragraph(f"{looked} No step of more than 5 % is shown."),))
    shown = changes[:_CHANGES_LISTED]
    more = f" Listed are the newest {_CHANGES_LISTED}." if len(changes) > _CHANGES_LISTED else ""
    without = said_once(one.series for one in shown)
    table = CHANGES.fill(shown, f"Steps, newest first: {len(changes):,}", without=without)
    return changes, Section(title, (Paragraph(f"{looked} {_ABOUT_CHANGES}{more}"), table))


def vault_sections(
    history: History, runs: Sequence[RunRow], since: datetime | None, until: datetime | None, *, made_at: datetime
) -> Iterator[Section]:
    """One section about `runs` and their time, from the record alone; none if no run ever used a vault."""
    vaults = history.vaults()
    if not vaults:
        return
    taken: dict[str, list[SnapshotRow]] = defaultdict(list)
    for row in history.snapshots(SnapshotFilter(since=since, until=until), limit=None):
        taken[row.vault_id].append(row)
    yield Section(
        "Vault",
        (
            Paragraph(_HOW_TO_READ_VAULTS),
            *_newest(history, vaults, until),
            _proofs(history, vaults, runs, made_at),
            *_over_time(vaults, taken),
            *_faults(history.verdicts(VerdictFilter(faults=True, since=since, until=until), limit=LISTED)),
        ),
    )


def vault_run_sections(history: History, run_id: int) -> Iterator[Section]:
    """One section about one run, from the record alone; none if the run did not use a vault."""
    snapshots = history.snapshots(SnapshotFilter(run_id=run_id))
    verdicts = history.verdicts(VerdictFilter(run_id=run_id), limit=1)
    rows: list[SnapshotRow | VerdictRow] = [*snapshots, *verdicts]
    if rows:
        yield Section("Vault", tuple(_of_run(history, run_id, rows[0], snapshots, found=bool(verdicts))))


def _of_run(
    history: History, run_id: int, vault: SnapshotRow | VerdictRow, snapshots: Sequence[SnapshotRow], *, found: bool
) -> Iterator[Block]:
    row = vault.vault_path, vault.vault_id, *_totals(history.proof_totals(vault.vault_id))
    yield table_of("The vault, as far as the record knows", ("vault", "id", *_TOTALS), (row,))
    if snapshots:
        yield SNAPSHOTS.fill(snapshots, "Snapshot of this run", without=("run", "vault"))
    if found:
        yield VERDICT_COUNTS.fill(history.verdict_counts(run_id), "What this run found")
        yield from _faults(history.verdicts(VerdictFilter(run_id=run_id, faults=True), limit=LISTED))


def _faults(rows: Sequence[VerdictRow]) -> Iterator[Block]:
    """The faults, newest first."""
    if not rows:
        yield Paragraph("No fault of a vault is on record for this.")
        return
    yield VERDICTS.fill(rows, f"Faults of vaults: {len(rows):,}", without=("bytes", "time"))
    if len(rows) == LISTED:
        yield Paragraph(f"The first {LISTED}; `threadmill history failures --kind verdict` lists all.")


def _newest(history: History, vaults: Sequence[VaultRow], until: datetime | None) -> Iterator[Block]:
    """The newest snapshot of each vault."""
    rows = []
    for vault in vaults:
        newest = history.snapshots(SnapshotFilter(vault_id=vault.vault_id, until=until), limit=1)
        rows += newest
        if not newest:
            yield Paragraph(f"No snapshot of {vault.path} is on record.")
    if rows:
        yield SNAPSHOTS.fill(rows, "Newest snapshots")


def _proofs(history: History, vaults: Sequence[VaultRow], runs: Sequence[RunRow], made_at: datetime) -> Table:
    newest_first = sorted((run for run in runs if run.flow == _VERIFICATION), key=lambda run: run.id, reverse=True)
    lines = []
    for vault in vaults:
        of_vault = VerdictFilter(vault_id=vault.vault_id)
        looked_at = (run for run in newest_first if history.verdicts(replace(of_vault, run_id=run.id), limit=1))
        last = next(looked_at, None)
        found = history.verdict_counts(last.id) if last else []
        totals = history.proof_totals(vault.vault_id)
        lines.append(
            (
                vault.path,
                vault.vault_id[:8],
                str(last.id) if last else None,
                last.started_at if last else "none in this time",
                sum(one.count for one in found if one.status == "ok" and one.kind in _PROVEN) if last else None,
                sum(one.count for one in found if one.status in VERDICT_FAULTS) if last else None,
                *_totals(totals),
                max(0, (made_at - totals.oldest_proof).days) if totals.oldest_proof else None,
            )
        )
    heads = ("vault", "id", "#run", "last verified", "#proven", "#faults", *_TOTALS, "#days ago")
    return table_of("Proofs", heads, lines)


_TOTALS = ("#packs", "#large objects", "#never proven", "oldest proof")


def _totals(known: ProofTotalsRow) -> tuple[Cell, ...]:
    return known.packs, known.objects, known.never, known.oldest_proof or "none"


def _over_time(vaults: Sequence[VaultRow], taken: dict[str, list[SnapshotRow]]) -> Iterator[Block]:
    """A plot of each vault that has several snapshots, and below it the snapshots of the time."""
    for number, vault in enumerate(one for one in vaults if taken[one.vault_id]):
        rows = sorted(taken[vault.vault_id], key=lambda row: row.sequence)
        title = f"Snapshots of {vault.path}"
        panels = tuple(_panels(rows)) if len(rows) > 1 and number < _MOST_CHARTS else ()
        if panels:
            yield Plot(LineChart(title, "by snapshot", panels))
        yield SNAPSHOTS.fill(reversed(rows), f"{title}: {len(rows):,}", without=("vault",), folded=True)


def _panels(rows: Sequence[SnapshotRow]) -> Iterator[LinePanel]:
    """Values that are always zero are not drawn."""
    for what, values in (
        ("files that were new or changed", [float(row.new) for row in rows]),
        ("MB added to the vault", [row.stored_bytes / 1e6 for row in rows]),
    ):
        if any(values):
            moments = tuple(Moment(row.created_at, value) for row, value in zip(rows, values, strict=True))
            yield LinePanel(what, (Line("snapshots", moments),))


_ABOUT_CHANGES = (
    "A step is a change of level of more than 5 %, with at least six runs on either side and the whole interval beyond "
    "5 %. What changed at that point is what the record knows to differ; it need not be the cause."
)
_HOW_TO_READ_VAULTS = (
    "From the record alone: the vaults themselves are not read for this; `threadmill status` reads them. MB of a "
    "snapshot are its files' own size, MB added the ciphertext that was new. Marked entries changed while they were "
    "read, or could not be read and are as in the snapshot before; missed files could not be read and are in neither. "
    "A pack or large object is proven when "
    "all of it was hashed and found to be what its name says. Packs, large objects, those never proven and the oldest "
    "proof are as of now; everything else is about this time."
)
