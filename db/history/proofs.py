"""Reads of proofs: when each pack and each large object of a vault was last found whole."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from heapq import merge, nsmallest
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, func, select

from db.answers import ProofRow, ProofTotalsRow
from db.engine import in_portions, streamed
from db.history.reader import at_or_below, equal, unindexed
from db.history.vaults import VaultReads
from db.tables import ENCRYPTION, RUN, VAULT, VERDICT

_NEVER = datetime.min.replace(tzinfo=UTC)
_VAULTS = select(VAULT.c.id, VAULT.c.vault_id, VAULT.c.path).order_by(VAULT.c.id)
_LARGE = ENCRYPTION.c.vault_id.is_not(None) & ENCRYPTION.c.pack.is_(None)
# A verdict that stands for no proof: prune removed it, or it is an object of a pack, which is proven with its pack.
_ENDED = ("removed", "rebuilt")
_NAME = re.compile("[0-9a-f]{64}")


class _Stored(NamedTuple):
    """A pack or an object that is in a vault as far as the record knows, by its name; `vault` is the vault's row."""

    vault: Row[Any]
    kind: str
    name: str
    stored_at: datetime | None
    proven_at: datetime | None

    @property
    def age(self) -> tuple[datetime, datetime, str]:
        """A key for sorting: least recently proven first; what was never proven, by the time of storing."""
        return self.proven_at or _NEVER, self.stored_at or _NEVER, self.name


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
            wanted = (one for one in stored if not (never and one.proven_at))
            if limit is None:
                chosen = sorted(wanted, key=lambda one: one.age)
            else:
                chosen = nsmallest(limit, wanted, key=lambda one: one.age)
            return _described(connection, chosen, asked)

    def proof_totals(self, vault_id: str) -> ProofTotalsRow:
        """Count the packs and objects that `proofs` lists of a vault, in constant memory."""
        counts = {"pack": 0, "object": 0}
        never, oldest = 0, None
        for vault in self._rows(_VAULTS.where(VAULT.c.vault_id == vault_id)):
            with self._reading() as connection:
                for one in _known(connection, vault):
                    counts[one.kind] += 1
                    if one.proven_at is None:
                        never += 1
                    elif oldest is None or one.proven_at < oldest:
                        oldest = one.proven_at
        return ProofTotalsRow(counts["pack"], counts["object"], never, oldest)


def _known(connection: Connection, vault: Row[Any], asked: _Asked | None = None) -> Iterator[_Stored]:
    """The packs, then the objects, that are in a vault as far as the record knows, in the order of their names."""
    if asked is None:
        yield from _merged(vault, "pack", (), streamed(connection, _looked_at(vault, "pack")))
        encrypted = streamed(connection, _encrypted(vault))
        yield from _merged(vault, "object", encrypted, streamed(connection, _looked_at(vault, "object")))
        return
    for kind, wanted in asked.items():
        for names in in_portions(sorted(wanted)):
            looked_at = connection.execute(_looked_at(vault, kind).where(VERDICT.c.name.in_(names)))
            large = _encrypted(vault).where(ENCRYPTION.c.digest.in_(_digests(names)))
            yield from _merged(vault, kind, connection.execute(large) if kind == "object" else (), looked_at)


def _merged(
    vault: Row[Any], kind: str, encrypted: Iterable[Row[Any]], looked_at: Iterable[Row[Any]]
) -> Iterator[_Stored]:
    """Merge two streams in the order of the names; an object may be in either or in both."""
    first = ((row.digest.hex(), row.encrypted_at, None) for row in encrypted)
    second = ((row.name, row.stored_at, row) for row in looked_at)
    for name, rows in groupby(merge(first, second, key=itemgetter(0)), itemgetter(0)):
        # The verdicts come last, and the time of the encryption counts, if there is one.
        (_, stored_at, verdict), *more = rows
        verdict = more[0][2] if more else verdict
        if verdict is None or verdict.ended_at is None or verdict.ended_at < verdict.seen_at:
            yield _Stored(vault, kind, name, stored_at, None if verdict is None else verdict.proven_at)


def _encrypted(vault: Row[Any]) -> Select[Any]:
    return (
        select(ENCRYPTION.c.digest, func.max(ENCRYPTION.c.started_at).label("encrypted_at"))
        .where(_LARGE, ENCRYPTION.c.vault_id == vault.id, ENCRYPTION.c.digest.is_not(None))
        .group_by(ENCRYPTION.c.digest)
        .order_by(ENCRYPTION.c.digest)
    )


def _looked_at(vault: Row[Any], kind: str) -> Select[Any]:
    newest = func.max(VERDICT.c.checked_at)
    return (
        select(
            VERDICT.c.name,
            newest.label("seen_at"),
            newest.filter(VERDICT.c.status == "stored").label("stored_at"),
            newest.filter(VERDICT.c.status == "ok").label("proven_at"),
            newest.filter(VERDICT.c.status.in_(_ENDED)).label("ended_at"),
        )
        .where(VERDICT.c.vault_id == vault.id, VERDICT.c.kind == kind)
        .group_by(VERDICT.c.name)
        .order_by(VERDICT.c.name)
    )


def _asked_for(connection: Connection, vault: Row[Any], path: bytes) -> _Asked:
    """The packs and objects that a path, or a path below it, was put into, or for which a verdict names such a path."""
    packs: dict[str, str | None] = {}
    objects: dict[str, str | None] = {}
    for named in at_or_below(ENCRYPTION.c.name, path):
        of_vault = (named, unindexed(ENCRYPTION.c.vault_id) == vault.id)
        put = select(ENCRYPTION.c.pack, func.max(ENCRYPTION.c.name)).where(*of_vault, ENCRYPTION.c.pack.is_not(None))
        packs |= {pack.hex(): name for pack, name in connection.execute(put.group_by(ENCRYPTION.c.pack))}
        large = select(ENCRYPTION.c.digest).where(*of_vault, ENCRYPTION.c.pack.is_(None))
        objects |= {row.digest.hex(): None for row in connection.execute(large) if row.digest}
    for named in at_or_below(VERDICT.c.path, path):
        looked_at = select(VERDICT.c.name).where(named, unindexed(VERDICT.c.vault_id) == vault.id)
        names = connection.execute(looked_at.where(unindexed(VERDICT.c.kind) == "object").distinct()).scalars()
        objects |= dict.fromkeys(names)
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


def _digests(names: Sequence[str]) -> list[bytes]:
    """The names as bytes, without names that are no digests: another program has given them."""
    return [bytes.fromhex(name) for name in names if re.fullmatch("(?:[0-9a-f]{2})+", name)]


def _described(
    connection: Connection, chosen: Sequence[_Stored], asked: dict[Row[Any], _Asked | None]
) -> list[ProofRow]:
    rows: dict[_Stored, ProofRow] = {}
    for vault, kind in {(one.vault, one.kind) for one in chosen}:
        for some in in_portions([one for one in chosen if (one.vault, one.kind) == (vault, kind)]):
            names = [one.name for one in some]
            paths = (asked[vault] or {}).get(kind, {})
            if kind == "object":
                paths = paths | _paths(connection, vault, names)
            verdicts = _verdicts(connection, vault, kind, names)
            rows |= {one: _proof(one, paths.get(one.name), verdicts[one.name]) for one in some}
    return [rows[one] for one in chosen]


def _paths(connection: Connection, vault: Row[Any], names: Sequence[str]) -> dict[str, str | None]:
    query = select(ENCRYPTION.c.digest, ENCRYPTION.c.name).where(
        _LARGE, ENCRYPTION.c.vault_id == vault.id, ENCRYPTION.c.digest.in_(_digests(names))
    )
    found = connection.execute(query.order_by(ENCRYPTION.c.digest, ENCRYPTION.c.started_at))
    # The newest row comes last, and replaces the others.
    return {row.digest.hex(): row.name for row in found}


def _verdicts(connection: Connection, vault: Row[Any], kind: str, names: Sequence[str]) -> dict[str, list[Row[Any]]]:
    """Oldest first."""
    query = (
        select(VERDICT.c.name, VERDICT.c.status, VERDICT.c.path, VERDICT.c.run_id, RUN.c.flow)
        .join(RUN)
        .where(VERDICT.c.vault_id == vault.id, VERDICT.c.kind == kind, VERDICT.c.name.in_(names))
    )
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(query.order_by(VERDICT.c.name, VERDICT.c.checked_at)):
        found[row.name].append(row)
    return found


def _proof(one: _Stored, path: str | None, verdicts: Sequence[Row[Any]]) -> ProofRow:
    newest = next(reversed(verdicts), None)
    proven = next((row for row in reversed(verdicts) if row.status == "ok"), None)
    told = next((row.path for row in reversed(verdicts) if row.path), None)
    return ProofRow(
        vault_id=one.vault.vault_id,
        vault_path=one.vault.path,
        kind=one.kind,
        name=one.name,
        path=path or told,
        stored_at=one.stored_at,
        proven_at=one.proven_at,
        run_id=proven and proven.run_id,
        flow=proven and proven.flow,
        status=newest and newest.status,
    )
