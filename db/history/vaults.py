"""Reads of vaults, of the snapshots that runs added to them, and of the verdicts on them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Literal

from sqlalchemy import Row, func, or_, select

from db.answers import VerdictCount
from db.engine import streamed
from db.history.reader import (
    RecordReader,
    SnapshotFilter,
    VerdictFilter,
    at_or_below,
    counted,
    equal,
    failed,
    one_of,
    unindexed,
    within,
)
from db.host import CLOCKS_DIFFER
from db.rows import SnapshotRow, VaultRow, VerdictRow
from db.tables import SNAPSHOT, VAULT, VERDICT
from db.tables.base import shared_columns
from db.words import VERDICT_FAULTS, VERDICT_KINDS


class VaultReads(RecordReader):
    """Vaults, snapshots and verdicts."""

    def vault(self, vault_id: str) -> VaultRow | None:
        """A vault with its high-water mark; None if no run has recorded anything of it."""
        return next((VaultRow(*row) for row in self._rows(_VAULTS.where(VAULT.c.vault_id == vault_id))), None)

    def vaults(self) -> list[VaultRow]:
        """All vaults on record, in the order in which they were first seen."""
        return [VaultRow(*row) for row in self._rows(_VAULTS.order_by(VAULT.c.id))]

    def snapshots(self, which: SnapshotFilter, *, limit: int | None = 20) -> list[SnapshotRow]:
        """Snapshots that runs added to vaults, the last recorded one first; those of one vault by their numbers."""
        query = _SNAPSHOTS.where(
            *within(SNAPSHOT.c.created_at, which),
            *equal(SNAPSHOT.c.run_id, which.run_id),
            *equal(VAULT.c.vault_id, which.vault_id),
        )
        rows = self._newest([query], SNAPSHOT.c.sequence if which.vault_id else SNAPSHOT.c.id, limit)
        # Runs that end at the same time may record their snapshots in another order than that of the numbers.
        numbered = sorted(rows, key=attrgetter("sequence"), reverse=True)
        vaults = {row.vault_id for row in rows}
        of_vault = {vault: iter([one for one in numbered if one.vault_id == vault]) for vault in vaults}
        in_order = (next(of_vault[row.vault_id]) for row in rows)
        return [SnapshotRow(**row._asdict() | {"sources": tuple(row.sources)}) for row in in_order]

    def verdicts(self, which: VerdictFilter, *, limit: int | None = 20) -> list[VerdictRow]:
        """Verdicts on vaults, newest first; the verdicts of one run in their order."""
        of_vault = tuple(equal(VAULT.c.vault_id, which.vault_id))
        kinds = one_of(unindexed(VERDICT.c.kind), which.kinds)
        query = _VERDICTS.where(*within(VERDICT.c.checked_at, which), *kinds)
        if which.faults:
            query = query.where(failed(VERDICT.c.status, VERDICT_FAULTS))
        if which.run_id is not None:
            query = query.where(VERDICT.c.run_id == which.run_id, *of_vault)
            query = query.where(*equal(unindexed(VERDICT.c.name), which.name))
            if which.path is not None:
                query = query.where(or_(*at_or_below(VERDICT.c.path, which.path)))
            return [_verdict_row(row) for row in self._rows(query.order_by(VERDICT.c.ordinal).limit(limit))]
        if which.name is not None:
            # The index begins with vault and kind.
            vaults = select(VAULT.c.id).where(*of_vault)
            query = query.where(
                VERDICT.c.vault_id.in_(vaults), VERDICT.c.kind.in_(VERDICT_KINDS), VERDICT.c.name == which.name
            )
        else:
            query = query.where(*of_vault)
        queries = [query]
        if which.path is not None:
            queries = [query.where(one) for one in at_or_below(VERDICT.c.path, which.path)]
        return [_verdict_row(row) for row in self._newest(queries, VERDICT.c.checked_at, limit)]

    def verdict_counts(self, run_id: int) -> list[VerdictCount]:
        """The verdicts of a run, counted by kind and status."""
        query = counted(VERDICT.c.kind, VERDICT.c.status, size_bytes=VERDICT.c.size_bytes)
        rows = self._rows(query.where(VERDICT.c.run_id == run_id))
        return [VerdictCount(kind, status, count, int(size)) for kind, status, count, size in rows]

    def proven(self, vault_id: str) -> Iterator[tuple[str, datetime]]:
        """Each pack and large object (64 hex digits) of a vault that was ever found whole, and when last.

        A proof that seems to be of a time after now is none: by it, nothing would ever be verified least recently.
        In constant memory. A read transaction is open until the last one is taken, or the iterator is closed.
        """
        if self.empty:
            return
        with self._reading() as connection:
            past = VERDICT.c.checked_at <= datetime.now(UTC) + CLOCKS_DIFFER
            row_id = connection.execute(select(VAULT.c.id).where(VAULT.c.vault_id == vault_id)).scalar()
            for kind in ("pack", "object"):
                of_kind = VERDICT.c.vault_id == (row_id or 0), VERDICT.c.kind == kind, VERDICT.c.status == "ok", past
                query = select(VERDICT.c.name, func.max(VERDICT.c.checked_at).label("proven_at")).where(*of_kind)
                for row in streamed(connection, query.group_by(VERDICT.c.name).order_by(VERDICT.c.name)):
                    yield row[0], row[1]

    def damaged(self, vault_id: str, kind: Literal["object", "pack"] = "object") -> frozenset[str]:
        """Objects (64 hex digits) of a vault, packed or large, or its packs, whose newest verdict is a fault."""
        # By the order of recording: a clock may have been set back.
        newest = func.max(VERDICT.c.id)
        at_fault = failed(VERDICT.c.status, VERDICT_FAULTS)
        ever = select(VERDICT.c.name).where(at_fault, unindexed(VERDICT.c.kind) == kind).distinct()
        query = (
            select(VERDICT.c.name)
            .join(VAULT)
            .where(VAULT.c.vault_id == vault_id, VERDICT.c.kind == kind, VERDICT.c.name.in_(ever))
            .group_by(VERDICT.c.name)
            .having(newest == newest.filter(at_fault))
        )
        return frozenset(row.name for row in self._rows(query))

    def accepted(self, vault_id: str) -> frozenset[str]:
        """The names of a vault's snapshots that a user has accepted, although many files are gone."""
        of_vault = VAULT.c.vault_id == vault_id, VERDICT.c.kind == "snapshot", VERDICT.c.status == "accepted"
        return frozenset(row.name for row in self._rows(select(VERDICT.c.name).join(VAULT).where(*of_vault)))


_VAULTS = select(*shared_columns(VAULT, VaultRow))
_VAULT = (VAULT.c.vault_id, VAULT.c.path.label("vault_path"))
_SNAPSHOTS = select(*shared_columns(SNAPSHOT, SnapshotRow, but="vault_id"), *_VAULT).select_from(SNAPSHOT).join(VAULT)
_VERDICTS = (
    select(VERDICT.c.id, *shared_columns(VERDICT, VerdictRow, but="vault_id"), *_VAULT).select_from(VERDICT).join(VAULT)
)


def _verdict_row(row: Row[Any]) -> VerdictRow:
    values = row._asdict()
    del values["id"]
    return VerdictRow(**values)
