"""Reads of proofs: when each pack and each large object of a vault was last found whole."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from heapq import nsmallest
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, func, select

from db.answers import ProofRow, ProofTotalsRow
from db.engine import in_portions, streamed
from db.history.reader import at_or_below, equal, unindexed
from db.history.vaults import VaultReads
from db.tables import ENCRYPTION, RUN, VAULT, VERDICT
from db.tables.base import columns

_VAULTS = select(VAULT.c.id, VAULT.c.vault_id, VAULT.c.path).order_by(VAULT.c.id)
# A verdict that stands for no proof: prune removed it, or it is an object of a pack, which is proven with its pack.
_ENDED = ("removed", "rebuilt")
_NAME = re.compile("[0-9a-f]{64}")


class _Stored(NamedTuple):
    """A pack or an object that is in a vault as far as the record knows, by its name; `vault` is the vault's row.

    `stored` and `proven` are the last verdicts that say so, by their ids: a clock may have been wrong.
    """

    vault: Row[Any]
    kind: str
    name: str
    stored: int | None
    proven: int | None

    @property
    def age(self) -> tuple[int, int, str]:
        """A key for sorting: least recently proven first; what was never proven, by the order of storing."""
        return self.proven or 0, self.stored or 0, self.name


# The names of packs and of objects, each with a path that was asked for.
_Asked = dict[str, dict[str, str | None]]


class ProofReads(VaultReads):
    """When each pack and each large object was last proven."""

    def proofs(
        self, *, path: bytes | None = None, vault_id: str | None = None, never: bool = False, limit: int | None = 20
    ) -> list[ProofRow]:
        """List when each pack and large object in a vault was last found whole: never proven ones first.

        The record knows what a run stored or looked at; what was removed is left out. An object of a pack is listed
        only while its newest verdict is a fault. `path` leaves only what this file, or everything below this folder,
        was put into; what prune wrote into other packs is followed, and a pack stays listed if only an older version of
        the file was in it. `never` leaves only what was never proven. Takes the memory of the answer, however many
        there are.
        """
        if self.empty:
            return []
        with self._reading() as connection:
            vaults = connection.execute(_VAULTS.where(*equal(VAULT.c.vault_id, vault_id))).all()
            asked = {vault: None if path is None else _asked_for(connection, vault, path) for vault in vaults}
            stored = (one for vault in vaults for one in _known(connection, vault, asked[vault]))
            wanted = (one for one in stored if not (never and one.proven))
            if limit is None:
                chosen = sorted(wanted, key=lambda one: one.age)
            else:
                chosen = nsmallest(limit, wanted, key=lambda one: one.age)
            return _described(connection, chosen, asked)

    def proof_totals(self, vault_id: str) -> ProofTotalsRow:
        """Count the packs and objects that `proofs` lists of a vault, in constant memory."""
        counts = {"pack": 0, "object": 0}
        never, proven = 0, set[int]()
        for vault in self._rows(_VAULTS.where(VAULT.c.vault_id == vault_id)):
            with self._reading() as connection:
                for one in _known(connection, vault):
                    counts[one.kind] += 1
                    if one.proven is None:
                        never += 1
                    elif not proven or one.proven < min(proven):
                        proven = {one.proven}
        oldest = self._rows(select(VERDICT.c.checked_at).where(VERDICT.c.id.in_(proven)))
        return ProofTotalsRow(counts["pack"], counts["object"], never, next((row[0] for row in oldest), None))


def _known(connection: Connection, vault: Row[Any], asked: _Asked | None = None) -> Iterator[_Stored]:
    """The packs, then the objects, that are in a vault as far as the record knows, in the order of their names."""
    for kind in ("pack", "object"):
        query = _looked_at(vault, kind)
        queries: Iterable[Select[Any]] = (query,)
        if asked is not None:
            queries = (query.where(VERDICT.c.name.in_(names)) for names in in_portions(sorted(asked[kind])))
        for row in chain.from_iterable(streamed(connection, each) for each in queries):
            if row.ended is None or row.ended < row.seen:
                yield _Stored(vault, kind, row.name, row.stored, row.proven)


def _looked_at(vault: Row[Any], kind: str) -> Select[Any]:
    newest = func.max(VERDICT.c.id)
    return (
        select(
            VERDICT.c.name,
            newest.label("seen"),
            newest.filter(VERDICT.c.status == "stored").label("stored"),
            newest.filter(VERDICT.c.status == "ok").label("proven"),
            newest.filter(VERDICT.c.status.in_(_ENDED)).label("ended"),
        )
        .where(VERDICT.c.vault_id == vault.id, VERDICT.c.kind == kind)
        .group_by(VERDICT.c.name)
        .order_by(VERDICT.c.name)
    )


def _asked_for(connection: Connection, vault: Row[Any], path: bytes) -> _Asked:
    """The packs and objects that a path, or a path below it, was put into, or for which a verdict names such a path."""
    packs: dict[str, str | None] = {}
    objects: dict[str, str | None] = {}
    for named in at_or_below(VERDICT.c.path, path):
        looked_at = select(VERDICT.c.name).where(named, unindexed(VERDICT.c.vault_id) == vault.id)
        names = connection.execute(looked_at.where(unindexed(VERDICT.c.kind) == "object").distinct()).scalars()
        objects |= dict.fromkeys(names)
    for named in at_or_below(ENCRYPTION.c.name, path):
        for found, column, condition in (
            (packs, ENCRYPTION.c.pack, ENCRYPTION.c.pack.is_not(None)),
            (objects, ENCRYPTION.c.digest, ENCRYPTION.c.digest.is_not(None) & ENCRYPTION.c.pack.is_(None)),
        ):
            put = select(column, func.max(ENCRYPTION.c.name)).group_by(column)
            rows = connection.execute(put.where(named, unindexed(ENCRYPTION.c.vault_id) == vault.id, condition))
            found |= {name.hex(): file for name, file in rows}
    return {"pack": _followed(connection, vault, packs), "object": objects}


def _followed(connection: Connection, vault: Row[Any], packs: dict[str, str | None]) -> dict[str, str | None]:
    """The packs, and those that prune wrote their objects into, as its verdicts say."""
    found = dict(packs)
    new: Collection[str] = packs
    while new:
        successors: dict[str, str | None] = {}
        for names in in_portions(sorted(new)):
            of_packs = VERDICT.c.vault_id == vault.id, VERDICT.c.kind == "pack", VERDICT.c.name.in_(names)
            query = select(VERDICT.c.name, VERDICT.c.error).where(*of_packs, VERDICT.c.status == "removed")
            for name, told in connection.execute(query):
                successors |= dict.fromkeys(_NAME.findall(told or ""), found[name])
        new = successors.keys() - found.keys()
        found = successors | found
    return found


def _described(
    connection: Connection, chosen: Sequence[_Stored], asked: dict[Row[Any], _Asked | None]
) -> list[ProofRow]:
    rows: dict[_Stored, ProofRow] = {}
    for vault, kind in {(one.vault, one.kind) for one in chosen}:
        for some in in_portions([one for one in chosen if (one.vault, one.kind) == (vault, kind)]):
            names = [one.name for one in some]
            paths = (asked[vault] or {}).get(kind, {})
            verdicts = _verdicts(connection, vault, kind, names)
            rows |= {one: _proof(one, paths.get(one.name), verdicts[one.name]) for one in some}
    return [rows[one] for one in chosen]


def _verdicts(connection: Connection, vault: Row[Any], kind: str, names: Sequence[str]) -> dict[str, list[Row[Any]]]:
    """Oldest first."""
    query = (
        select(*columns(VERDICT, "id name status path run_id checked_at"), RUN.c.flow)
        .outerjoin(RUN)
        .where(VERDICT.c.vault_id == vault.id, VERDICT.c.kind == kind, VERDICT.c.name.in_(names))
    )
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(query.order_by(VERDICT.c.name, VERDICT.c.id)):
        found[row.name].append(row)
    return found


def _proof(one: _Stored, path: str | None, verdicts: Sequence[Row[Any]]) -> ProofRow:
    by_id = {row.id: row for row in verdicts}
    stored, proven = by_id.get(one.stored or 0), by_id.get(one.proven or 0)
    told = next((row.path for row in reversed(verdicts) if row.path), None)
    return ProofRow(
        vault_id=one.vault.vault_id,
        vault_path=one.vault.path,
        kind=one.kind,
        name=one.name,
        path=path or told,
        stored_at=stored.checked_at if stored else None,
        proven_at=proven.checked_at if proven else None,
        run_id=proven.run_id if proven else None,
        flow=proven.flow if proven else None,
        status=verdicts[-1].status,
    )
