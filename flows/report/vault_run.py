"""What one run did in a vault: its snapshot, or what it found, by kind and, where something is wrong, by name."""

from __future__ import annotations

from collections.abc import Iterator

from db.history import History, SnapshotFilter, VerdictFilter
from db.rows import SnapshotRow, VerdictRow
from flows.report.blocks import Block, Section, Table, columns
from flows.report.failures import LISTED
from flows.report.vaults import SNAPSHOT_HEADS, faults, snapshot_cells
from flows.text import megabytes, utc


def vault_run_sections(history: History, run_id: int) -> Iterator[Section]:
    """One section, from the record alone; none where the run has nothing to do with a vault."""
    blocks = tuple(_blocks(history, run_id))
    if blocks:
        yield Section("Vault", blocks)


def _blocks(history: History, run_id: int) -> Iterator[Block]:
    snapshots = history.snapshots(SnapshotFilter(run_id=run_id))
    verdicts = history.verdicts(VerdictFilter(run_id=run_id), limit=1)
    rows: list[SnapshotRow | VerdictRow] = [*snapshots, *verdicts]
    if not rows:
        return
    vault = rows[0]
    totals = history.proof_totals(vault.vault_id)
    oldest = utc(totals.oldest_proof) if totals.oldest_proof else "none"
    yield Table(
        "The vault, as far as the record knows",
        columns("vault", "id", "#objects", "#never proven", "oldest proof"),
        ((vault.vault_path, vault.vault_id, totals.objects, totals.never, oldest),),
    )
    if snapshots:
        yield Table("Snapshot of this run", columns(*SNAPSHOT_HEADS), tuple(map(snapshot_cells, snapshots)))
    if verdicts:
        yield Table(
            "What this run found",
            columns("what", "status", "#how many", "#MB"),
            tuple(
                (one.kind, one.status, one.count, megabytes(one.size_bytes) if one.size_bytes else None)
                for one in history.verdict_counts(run_id)
            ),
        )
        yield from faults(history.verdicts(VerdictFilter(run_id=run_id, faults=True), limit=LISTED))
