"""Reads of proofs: when each object of a vault was last found whole."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from heapq import nsmallest
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, func, select

from db.answers import ProofRow, ProofTotalsRow
from db.engine import in_portions, streamed
from db.history.reader import at_or_below, equal, unindexed
from db.history.vaults import VaultReads
from db.tables import ENCRYPTION, RUN, VAULT, VERDICT

_NEVER = datetime.min.replace(tzinfo=UTC)
_VAULTS = select(VAULT.c.id, VAULT.c.vault_id, VAULT.c.path).order_by(VAULT.c.id)


class _Object(NamedTuple):
    """An object that is in a vault as far as the record knows, by its name; `vault` is the vault's row."""

    vault: Row[Any]
    name: str
    encrypted_at: datetime | None
    proven_at: datetime | None

    @property
    def age(self) -> tuple[datetime, datetime, str]:
        """A key for sorting: least recently proven first; objects that were never proven by the time of encryption."""
        return self.proven_at or _NEVER, self.encrypted_at or _NEVER, self.name


class ProofReads(VaultReads):
    """When each object was last proven."""

    def proofs(
        self, *, path: bytes | None = None, vault_id: str | None = None, never: bool = False, limit: int | None = 20
    ) -> list[ProofRow]:
        """List when each object in a vault was last found whole: never proven ones first, then the least recent.

        The record knows the objects that a run encrypted or looked at; objects whose newest verdict is `removed` are
        left out. `path` leaves only objects of this file, or of everything below this folder; `never` only objects
        that were never proven. Takes the memory of the answer, however many objects there are.
        """
        if self.empty:
            return []
        with self._reading() as connection:
            vaults = connection.execute(_VAULTS.where(*equal(VAULT.c.vault_id, vault_id))).all()
            objects = (one for vault in vaults for one in _known_objects(connection, vault, path))
            wanted = (one for one in objects if not (never and one.proven_at))
            if limit is None:
                chosen = sorted(wanted, key=lambda one: one.age)
            else:
                chosen = nsmallest(limit, wanted, key=lambda one: one.age)
            return _described(connection, chosen)

    def proof_totals(self, vault_id: str) -> ProofTotalsRow:
        """Count the objects that `proofs` lists of a vault, in constant memory."""
        objects = never = 0
        oldest = None
        for vault in self._rows(_VAULTS.where(VAULT.c.vault_id == vault_id)):
            with self._reading() as connection:
                for one in _known_objects(connection, vault):
                    objects += 1
                    if one.proven_at is None:
                        never += 1
                    elif oldest is None or one.proven_at < oldest:
                        oldest = one.proven_at
        return ProofTotalsRow(objects, never, oldest)


def _known_objects(connection: Connection, vault: Row[Any], path: bytes | None = None) -> Iterator[_Object]:
    """The objects that are in a vault as far as the record knows, in the order of their names."""
    if path is None:
        yield from _merged(vault, streamed(connection, _encrypted(vault)), streamed(connection, _looked_at(vault)))
        return
    for names in in_portions(sorted(_names_of(connection, vault, path))):
        encrypted = connection.execute(_encrypted(vault).where(ENCRYPTION.c.digest.in_(_digests(names))))
        yield from _merged(vault, encrypted, connection.execute(_looked_at(vault).where(VERDICT.c.name.in_(names))))


def _merged(vault: Row[Any], encrypted: Iterable[Row[Any]], looked_at: Iterable[Row[Any]]) -> Iterator[_Object]:
    """Merge two streams in the order of the names; an object may be in either or in both."""
    verdicts = iter(looked_at)
    verdict = next(verdicts, None)
    for row in encrypted:
        name = row.digest.hex()
        while verdict is not None and verdict.name < name:
            yield from _seen(vault, verdict, None)
            verdict = next(verdicts, None)
        if verdict is not None and verdict.name == name:
            yield from _seen(vault, verdict, row.encrypted_at)
            verdict = next(verdicts, None)
        else:
            yield _Object(vault, name, row.encrypted_at, None)
    while verdict is not None:
        yield from _seen(vault, verdict, None)
        verdict = next(verdicts, None)


def _seen(vault: Row[Any], verdict: Row[Any], encrypted_at: datetime | None) -> Iterator[_Object]:
    if verdict.removed_at is None or verdict.removed_at < verdict.seen_at:
        yield _Object(vault, verdict.name, encrypted_at, verdict.proven_at)


def _encrypted(vault: Row[Any]) -> Select[Any]:
    return (
        select(ENCRYPTION.c.digest, func.max(ENCRYPTION.c.started_at).label("encrypted_at"))
        .where(ENCRYPTION.c.vault_id == vault.id, ENCRYPTION.c.digest.is_not(None))
        .group_by(ENCRYPTION.c.digest)
        .order_by(ENCRYPTION.c.digest)
    )


def _looked_at(vault: Row[Any]) -> Select[Any]:
    newest = func.max(VERDICT.c.checked_at)
    return (
        select(
            VERDICT.c.name,
            newest.label("seen_at"),
            newest.filter(VERDICT.c.status == "ok").label("proven_at"),
            newest.filter(VERDICT.c.status == "removed").label("removed_at"),
        )
        .where(VERDICT.c.vault_id == vault.id, VERDICT.c.kind == "object")
        .group_by(VERDICT.c.name)
        .order_by(VERDICT.c.name)
    )


def _names_of(connection: Connection, vault: Row[Any], path: bytes) -> set[str]:
    """All objects that a path, or a path below it, was encrypted to, or for which a verdict names such a path."""
    names: set[str] = set()
    for named in at_or_below(ENCRYPTION.c.name, path):
        encrypted = select(ENCRYPTION.c.digest).where(named, unindexed(ENCRYPTION.c.vault_id) == vault.id)
        names.update(row.digest.hex() for row in connection.execute(encrypted) if row.digest)
    for named in at_or_below(VERDICT.c.path, path):
        looked_at = select(VERDICT.c.name).where(named, unindexed(VERDICT.c.vault_id) == vault.id)
        names.update(connection.execute(looked_at.where(unindexed(VERDICT.c.kind) == "object").distinct()).scalars())
    return names


def _digests(names: Sequence[str]) -> list[bytes]:
    """The names as bytes, without names that are no digests: another program has given them."""
    return [bytes.fromhex(name) for name in names if re.fullmatch("(?:[0-9a-f]{2})+", name)]


def _described(connection: Connection, chosen: Sequence[_Object]) -> list[ProofRow]:
    rows: dict[_Object, ProofRow] = {}
    for vault in {one.vault for one in chosen}:
        for some in in_portions([one for one in chosen if one.vault == vault]):
            names = [one.name for one in some]
            paths, verdicts = _paths(connection, vault, names), _verdicts(connection, vault, names)
            rows |= {one: _proof(one, paths.get(one.name), verdicts[one.name]) for one in some}
    return [rows[one] for one in chosen]


def _paths(connection: Connection, vault: Row[Any], names: Sequence[str]) -> dict[str, str]:
    query = select(ENCRYPTION.c.digest, ENCRYPTION.c.name).where(
        ENCRYPTION.c.vault_id == vault.id, ENCRYPTION.c.digest.in_(_digests(names))
    )
    found = connection.execute(query.order_by(ENCRYPTION.c.digest, ENCRYPTION.c.started_at))
    # The newest row comes last, and replaces the others.
    return {row.digest.hex(): row.name for row in found}


def _verdicts(connection: Connection, vault: Row[Any], names: Sequence[str]) -> dict[str, list[Row[Any]]]:
    """Oldest first."""
    query = (
        select(VERDICT.c.name, VERDICT.c.status, VERDICT.c.path, VERDICT.c.run_id, RUN.c.flow)
        .join(RUN)
        .where(VERDICT.c.vault_id == vault.id, VERDICT.c.kind == "object", VERDICT.c.name.in_(names))
    )
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(query.order_by(VERDICT.c.name, VERDICT.c.checked_at)):
        found[row.name].append(row)
    return found


def _proof(one: _Object, path: str | None, verdicts: Sequence[Row[Any]]) -> ProofRow:
    newest = next(reversed(verdicts), None)
    proven = next((row for row in reversed(verdicts) if row.status == "ok"), None)
    told = next((row.path for row in reversed(verdicts) if row.path), None)
    return ProofRow(
        vault_id=one.vault.vault_id,
        vault_path=one.vault.path,
        name=one.name,
        path=path or told,
        encrypted_at=one.encrypted_at,
        proven_at=one.proven_at,
        run_id=proven and proven.run_id,
        flow=proven and proven.flow,
        status=newest and newest.status,
    )
