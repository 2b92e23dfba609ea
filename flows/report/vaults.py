"""Vaults over a time: what went into them, when they were last verified, how old their proofs are, what is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from db.history import VERDICT_FAULTS, History, SnapshotFilter, VerdictFilter
from db.rows import RunRow, SnapshotRow, VaultRow, VerdictRow
from flows.report.blocks import Block, Cell, Paragraph, Plot, Section, Table, columns
from flows.report.charts import Line, LineChart, LinePanel, Moment
from flows.report.failures import LISTED
from flows.text import megabytes, utc

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
            _newest(history, vaults, until),
            _proofs(history, vaults, runs, made_at),
            *_over_time(vaults, taken),
            *faults(history.verdicts(VerdictFilter(faults=True, since=since, until=until), limit=LISTED)),
        ),
    )


def faults(rows: Sequence[VerdictRow]) -> Iterator[Block]:
    """What is wrong, newest first."""
    if not rows:
        yield Paragraph("No fault of a vault is on record for this.")
        return
    heads = ("#run", "looked at", "vault", "what", "status", "path", "error", "name")
    yield Table(f"Faults of vaults: {len(rows):,}", columns(*heads), tuple(map(_fault, rows)))
    if len(rows) == LISTED:
        yield Paragraph(f"The first {LISTED}; `threadmill history failures --kind verdict` lists all.")


def snapshot_cells(row: SnapshotRow) -> tuple[Cell, ...]:
    """Under `SNAPSHOT_HEADS`."""
    return (
        row.name, row.sequence, utc(row.created_at), row.files, _mb(row.size_bytes), row.new, row.unchanged,
        row.unstable, row.skipped, row.failed, _mb(row.stored_bytes),
    )  # fmt: skip


def _mb(size_bytes: int) -> str | None:
    return megabytes(size_bytes)


SNAPSHOT_HEADS = (
    "snapshot", "#number", "taken", "#files", "#MB", "#new", "#unchanged", "#unstable", "#skipped", "#failed",
    "#MB added",
)  # fmt: skip


def _newest(history: History, vaults: Sequence[VaultRow], until: datetime | None) -> Table:
    lines = []
    for vault in vaults:
        row = next(iter(history.snapshots(SnapshotFilter(vault_id=vault.vault_id, until=until), limit=1)), None)
        cells = snapshot_cells(row) if row else ("none on record", *([None] * (len(SNAPSHOT_HEADS) - 1)))
        lines.append((vault.path, vault.vault_id[:8], *cells))
    return Table("Newest snapshots", columns("vault", "id", *SNAPSHOT_HEADS), tuple(lines))


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
                last.id if last else None,
                utc(last.started_at) if last else "none in this time",
                sum(one.count for one in found if (one.kind, one.status) == ("object", "ok")) if last else None,
                sum(one.count for one in found if one.status in VERDICT_FAULTS) if last else None,
                totals.objects,
                totals.never,
                utc(totals.oldest_proof) if totals.oldest_proof else "none",
                max(0, (made_at - totals.oldest_proof).days) if totals.oldest_proof else None,
            )
        )
    heads = ("vault", "id", "#run", "last verified", "#proven", "#faults", "#objects", "#never proven", "oldest proof",
             "#days ago")  # fmt: skip
    return Table("Proofs", columns(*heads), tuple(lines))


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
        yield Table(
            f"{title}: {len(rows):,}", columns(*SNAPSHOT_HEADS), tuple(map(snapshot_cells, reversed(rows))), folded=True
        )


def _panels(rows: Sequence[SnapshotRow]) -> Iterator[LinePanel]:
    """What is zero all the time is not drawn."""
    for what, values in (
        ("files that were new or changed", [float(row.new) for row in rows]),
        ("MB added to the vault", [row.stored_bytes / 1e6 for row in rows]),
    ):
        if any(values):
            moments = tuple(Moment(row.created_at, value) for row, value in zip(rows, values, strict=True))
            yield LinePanel(what, (Line("snapshots", moments),))


def _fault(row: VerdictRow) -> tuple[Cell, ...]:
    return row.run_id, utc(row.checked_at), row.vault_path, row.kind, row.status, row.path, row.error, row.name


_HOW_TO_READ = (
    "As far as the record knows: it is not looked into the vaults for this, `threadmill status` does that. MB of a "
    "snapshot are its files' own size, MB added the ciphertext that was new. An object is proven when all of it was "
    "hashed and found to be what its name says; objects, those never proven and the oldest proof are of now, "
    "everything else is of this time."
)
