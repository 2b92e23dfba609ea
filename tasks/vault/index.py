"""The objects that a vault has, and those that its snapshots name: sets of any size, in a temporary SQLite database."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Self

from tasks.suites import HEADER_BYTES
from tasks.vault.errors import NoSuchSnapshot, ScratchFull, VaultError
from tasks.vault.format import object_path
from tasks.vault.lookup import snapshot_names
from tasks.vault.objects import object_names
from tasks.vault.snapshots import OpenSnapshot, Snapshot, open_snapshot
from tasks.vault.vault import Vault

_AT_ONCE = 10_000
_NAMED, _THERE = 1, 2
# Decoding every entry takes ten times as long, and all that counts here is that it names an object.
_OBJECT = re.compile(rb'"size":(\d+),"object":"([0-9a-f]{64})"\}\n\Z')
# Snapshots of the same tree name mostly the same objects; to remember so many takes 30 MB.
_REMEMBERED = 200_000


class ObjectIndex:
    """Objects by their 64 hex digits; each method raises ScratchFull where there is no room.

    SQLite keeps a small index in memory, and a large one in a file without a name.
    """

    def __init__(self) -> None:
        # No name: a private file that no other process can open.
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        with _explained():
            self._connection.execute("PRAGMA journal_mode=OFF")
            self._connection.execute(
                "CREATE TABLE object (digest BLOB PRIMARY KEY, state INTEGER, size_bytes INTEGER, proven TEXT)"
                " WITHOUT ROWID"
            )

    def name(self, objects: Iterable[tuple[str, int]]) -> None:
        """Enter objects that a snapshot names, each with the size of its file."""
        self._add(_NAMED, objects)

    def list(self, digests: Iterable[str]) -> None:
        """Enter objects that are there."""
        self._add(_THERE, ((digest, 0) for digest in digests))

    def prove(self, proofs: Iterable[tuple[str, datetime]]) -> None:
        """Enter the times when objects were last found whole; unknown objects are ignored."""
        rows = ((time.isoformat(), bytes.fromhex(digest)) for digest, time in proofs)
        self._many("UPDATE object SET proven = ? WHERE digest = ?", rows)

    def missing(self) -> Iterator[str]:
        """The objects that are named and not there."""
        return self._digests(_NAMED)

    def unnamed(self) -> Iterator[str]:
        """The objects that are there and that no snapshot names."""
        return self._digests(_THERE)

    def whole(self, sample: int | None = None) -> Iterator[tuple[str, int]]:
        """The objects that are named and there, with the size of their file: all, or those verified least recently."""
        query = "SELECT digest, size_bytes FROM object WHERE state = ? ORDER BY "
        query += "digest" if sample is None else "proven IS NOT NULL, proven, digest LIMIT ?"
        values = (_NAMED | _THERE,) if sample is None else (_NAMED | _THERE, sample)
        with _explained(), closing(self._connection.execute(query, values)) as rows:
            for digest, size_bytes in rows:
                yield digest.hex(), size_bytes

    def counts(self, sample: int | None = None) -> tuple[int, int]:
        """The number of objects that `whole` gives, and the sum of their sizes."""
        query = "SELECT count(*), coalesce(sum(size_bytes), 0) FROM object WHERE state = ?"
        if sample is not None:
            sizes = [size for _, size in self.whole(sample)]
            return len(sizes), sum(sizes)
        with _explained():
            count, size_bytes = self._connection.execute(query, (_NAMED | _THERE,)).fetchone()
        return count, size_bytes

    def oldest_proof(self) -> tuple[int, str | None]:
        """Of the objects that `whole` gives: the number never verified, and the oldest time of the others."""
        query = "SELECT count(*) - count(proven), min(proven) FROM object WHERE state = ?"
        with _explained():
            never, oldest = self._connection.execute(query, (_NAMED | _THERE,)).fetchone()
        return never, oldest

    def unproven(self) -> Iterator[str]:
        """The objects that are named, there, and never verified."""
        return self._digests(_NAMED | _THERE, "AND proven IS NULL")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._connection.close()

    def _add(self, state: int, objects: Iterable[tuple[str, int]]) -> None:
        self._many(
            "INSERT INTO object VALUES (?, ?, ?, NULL) ON CONFLICT (digest) DO UPDATE "
            "SET state = state | excluded.state, size_bytes = max(size_bytes, excluded.size_bytes)",
            ((bytes.fromhex(digest), state, size_bytes) for digest, size_bytes in objects),
        )

    def _many(self, statement: str, rows: Iterator[tuple[object, ...]]) -> None:
        while some := list(islice(rows, _AT_ONCE)):
            with _explained():
                self._connection.execute("BEGIN")
                self._connection.executemany(statement, some)
                self._connection.execute("COMMIT")

    def _digests(self, state: int, and_so: str = "") -> Iterator[str]:
        query = f"SELECT digest FROM object WHERE state = ? {and_so} ORDER BY digest"  # noqa: S608 - no value in it
        with _explained(), closing(self._connection.execute(query, (state,))) as rows:
            for (digest,) in rows:
                yield digest.hex()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ScratchFull(str(error)) from None


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
    with ObjectIndex() as index:
        good, damaged = _read_snapshots(vault, index)
        # Afterwards, as objects are there before the snapshot that names them.
        index.list(object_names(vault.root))
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
