"""The census of a vault: its snapshots, the objects that they name, and when these were verified."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.suites import HEADER_BYTES
from tasks.vault.errors import NoSuchSnapshot, VaultError
from tasks.vault.format import object_path
from tasks.vault.index import ObjectIndex
from tasks.vault.lookup import snapshot_names
from tasks.vault.snapshots import OpenSnapshot, Snapshot, open_snapshot
from tasks.vault.vault import Vault

# Decoding every entry takes ten times as long, and all that counts here is that it names an object.
_OBJECT = re.compile(rb'"size":(\d+),"object":"([0-9a-f]{64})"\}\n\Z')
# Snapshots of the same tree name mostly the same objects; to remember so many takes 30 MB.
_REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class Census:
    """The content of a vault; `damaged` are snapshots that are not authentic or break the format.

    `newest` is of the good snapshots. `objects` are named by a snapshot and there, `missing` are named and not there.
    `oldest_proof` is the time of the oldest verification. `unproven_since` is when the first object that was never
    verified was stored.
    """

    snapshots: int
    newest: Snapshot | None
    damaged: tuple[str, ...]
    objects: int
    stored_bytes: int
    missing: int
    never_proven: int
    oldest_proof: datetime | None
    unproven_since: datetime | None


def take_census(vault: Vault, proofs: Iterable[tuple[str, datetime]]) -> Census:
    """Read the snapshots and list the objects, in bounded memory; the caller sees to it that nothing is removed.

    Without the vault's key, no MAC is checked. `proofs` are the times when objects were last found whole.
    """
    with ObjectIndex(vault) as index:
        good, damaged = _read_snapshots(vault, index)
        # Afterwards, as objects are there before the snapshot that names them.
        index.list_all()
        index.prove(proofs)
        objects, size_bytes = index.counts()
        never, oldest = index.oldest_proof()
        return Census(
            snapshots=len(good) + len(damaged),
            newest=max(good, key=lambda one: one.header.sequence, default=None),
            damaged=tuple(damaged),
            objects=objects,
            stored_bytes=size_bytes + HEADER_BYTES * objects,
            missing=sum(1 for _ in index.missing()),
            never_proven=never,
            oldest_proof=datetime.fromisoformat(oldest) if oldest else None,
            unproven_since=_first_stored(vault, index.unproven()),
        )


def _read_snapshots(vault: Vault, index: ObjectIndex) -> tuple[list[Snapshot], list[str]]:
    good: list[Snapshot] = []
    damaged: list[str] = []
    seen: set[bytes] = set()
    for name in snapshot_names(vault.root):
        try:
            with open_snapshot(vault, name) as opened:
                index.name(_objects(opened, seen))
                good.append(opened.snapshot)
        except NoSuchSnapshot:
            # Removed since it was listed: some file systems have no locks.
            continue
        except VaultError:
            damaged.append(name)
    return good, damaged


def _objects(opened: OpenSnapshot, seen: set[bytes]) -> Iterator[tuple[str, int]]:
    """The objects of a snapshot, without most of those that an earlier snapshot named."""
    for line in opened.lines():
        found = _OBJECT.search(line)
        if found is None or found[2] in seen:
            continue
        if len(seen) == _REMEMBERED:
            seen.clear()
        seen.add(found[2])
        yield found[2].decode(), int(found[1])


def _first_stored(vault: Vault, digests: Iterable[str]) -> datetime | None:
    first_s: float | None = None
    for digest in digests:
        with suppress(FileNotFoundError):
            stored_s = os.lstat(object_path(vault.root, digest)).st_mtime
            first_s = stored_s if first_s is None else min(first_s, stored_s)
    return None if first_s is None else datetime.fromtimestamp(first_s, UTC)
