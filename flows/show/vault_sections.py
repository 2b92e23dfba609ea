"""Vaults in the report: their snapshots, proofs and faults over a time, and everything that one run did in a vault."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from db.history import History, SnapshotFilter, VerdictFilter
from db.rows import RunRow, SnapshotRow, VaultRow, VerdictRow
from db.words import VERDICT_FAULTS
from flows.show.change_sections import LISTED
from flows.show.plots.lines import Line, LineChart, LinePanel, Moment
from flows.show.table import Block, Paragraph, Plot, Section, Table, table_of
from flows.show.tables import SNAPSHOTS, VERDICT_COUNTS, VERDICTS

VERIFICATION: Final = "verify_vault"
_MOST_CHARTS = 4


def vault_sections(
    history: History, runs: Sequence[RunRow], since: datetime | None, until: datetime | None, *, made_at: datetime
) -> Iterator[Section]:
    """One section, from the record alone; none where no run ever put anything into a vault, or looked at one.

    Args:
        history: where they are on record.
        runs: those that started in the time.
        since: beginning of the time.
        until: its end, not included.
        made_at: now, for ages.
    """
    vaults = history.vaults()
    if not vaults:
        return
    taken: dict[str, list[SnapshotRow]] = defaultdict(list)
    for row in history.snapshots(SnapshotFilter(since=since, until=until), limit=None):
        taken[row.vault_id].append(row)
    yield Section(
        "Vault",
        (
            Paragraph(_HOW_TO_READ),
            *_newest(history, vaults, until),
            _proofs(history, vaults, runs, made_at),
            *_over_time(vaults, taken),
            *_faults(history.verdicts(VerdictFilter(faults=True, since=since, until=until), limit=LISTED)),
        ),
    )


def vault_run_sections(history: History, run_id: int) -> Iterator[Section]:
    """One section about one run, from the record alone; none where the run has nothing to do with a vault."""
    snapshots = history.snapshots(SnapshotFilter(run_id=run_id))
    verdicts = history.verdicts(VerdictFilter(run_id=run_id), limit=1)
    rows: list[SnapshotRow | VerdictRow] = [*snapshots, *verdicts]
    if rows:
        yield Section("Vault", tuple(_of_run(history, run_id, rows[0], snapshots, found=bool(verdicts))))


def _of_run(
    history: History, run_id: int, vault: SnapshotRow | VerdictRow, snapshots: Sequence[SnapshotRow], *, found: bool
) -> Iterator[Block]:
    totals = history.proof_totals(vault.vault_id)
    yield table_of(
        "The vault, as far as the record knows",
        ("vault", "id", "#objects", "#never proven", "oldest proof"),
        ((vault.vault_path, vault.vault_id, totals.objects, totals.never, totals.oldest_proof or "none"),),
    )
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
    verifications = sorted((run for run in runs if run.flow == VERIFICATION), key=lambda run: run.id, reverse=True)
    lines = []
    for vault in vaults:
        last = next((run for run in verifications if _looked_at(history, run.id, vault)), None)
        found = history.verdict_counts(last.id) if last else []
        totals = history.proof_totals(vault.vault_id)
        lines.append(
            (
                vault.path,
                vault.vault_id[:8],
                str(last.id) if last else None,
                last.started_at if last else "none in this time",
                sum(one.count for one in found if (one.kind, one.status) == ("object", "ok")) if last else None,
                sum(one.count for one in found if one.status in VERDICT_FAULTS) if last else None,
                totals.objects,
                totals.never,
                totals.oldest_proof or "none",
                max(0, (made_at - totals.oldest_proof).days) if totals.oldest_proof else None,
            )
        )
    heads = ("vault", "id", "#run", "last verified", "#proven", "#faults", "#objects", "#never proven", "oldest proof",
             "#days ago")  # fmt: skip
    return table_of("Proofs", heads, lines)


def _looked_at(history: History, run_id: int, vault: VaultRow) -> bool:
    return bool(history.verdicts(VerdictFilter(vault_id=vault.vault_id, run_id=run_id), limit=1))


def _over_time(vaults: Sequence[VaultRow], taken: dict[str, list[SnapshotRow]]) -> Iterator[Block]:
    """A plot of each vault with snapshots enough for one, and below it the snapshots of the time."""
    for number, vault in enumerate(one for one in vaults if taken[one.vault_id]):
        rows = sorted(taken[vault.vault_id], key=lambda row: row.sequence)
        title = f"Snapshots of {vault.path}"
        panels = tuple(_panels(rows)) if len(rows) > 1 and number < _MOST_CHARTS else ()
        if panels:
            yield Plot(LineChart(title, "by snapshot", panels))
        yield SNAPSHOTS.fill(reversed(rows), f"{title}: {len(rows):,}", without=("vault",), folded=True)


def _panels(rows: Sequence[SnapshotRow]) -> Iterator[LinePanel]:
    """What is zero all the time is not drawn."""
    for what, values in (
        ("files that were new or changed", [float(row.new) for row in rows]),
        ("MB added to the vault", [row.stored_bytes / 1e6 for row in rows]),
    ):
        if any(values):
            moments = tuple(Moment(row.created_at, value) for row, value in zip(rows, values, strict=True))
            yield LinePanel(what, (Line("snapshots", moments),))


_HOW_TO_READ = (
    "As far as the record knows: it is not looked into the vaults for this, `threadmill status` does that. MB of a "
    "snapshot are its files' own size, MB added the ciphertext that was new. An object is proven when all of it was "
    "hashed and found to be what its name says; objects, those never proven and the oldest proof are of now, "
    "everything else is of this time."
)
