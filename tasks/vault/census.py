"""The census of a vault: its snapshots, the objects that they name, and when packs and large objects were verified."""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.vault.errors import NoSuchSnapshot, ScratchFull, VaultError
from tasks.vault.format import OBJECTS, PACKS
from tasks.vault.header import Header
from tasks.vault.lookup import partial_names, read_snapshot, snapshot_names
from tasks.vault.packs import read_sidecar, scan_pack, stored
from tasks.vault.snapshots import Snapshot, open_snapshot
from tasks.vault.vault import Vault

# To count objects, 8 bytes of a digest tell them apart. As numbers they go into the tree of a table without an index:
# 10⁵ objects take 0.2 s, whole digests 0.6 s.
_RECORD = struct.Struct("<q24x4xI")
_TABLES = ("there", "named")
_SAME = "FROM named JOIN there USING (id, length)"


@dataclass(frozen=True, slots=True)
class Census:
    """The content of a vault; `damaged` are snapshots that are not authentic or break the format.

    `newest` is of the good snapshots, `partial` the number of partial ones. `objects` are named by a snapshot and
    there, `stored_bytes` their length; `missing` are named and not there. `never_proven` counts packs and large
    objects, `oldest_proof` is the time of the oldest verification. `unproven_since` is when the first of those that
    were never verified was stored.
    """

    snapshots: int
    partial: int
    newest: Snapshot | None
    damaged: tuple[str, ...]
    packs: int
    objects: int
    stored_bytes: int
    missing: int
    never_proven: int
    oldest_proof: datetime | None
    unproven_since: datetime | None


def take_census(vault: Vault, proofs: Iterable[tuple[str, datetime]]) -> Census:
    """Read the snapshots and list the objects, in bounded memory; the caller sees to it that nothing is removed.

    Without the vault's key, no MAC is checked. `proofs` are the times when packs and large objects were last found
    whole. Raises VaultError or ScratchFull.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as tables:
            tables.execute("PRAGMA journal_mode=OFF")
            for table in _TABLES:
                tables.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, length INTEGER)")
            headers, damaged = _read_snapshots(vault, tables)
            # Afterwards, as objects are there before the snapshot that names them.
            packs = list(stored(vault.root, PACKS))
            _add(tables, "there", _members(vault, packs))
            large = list(stored(vault.root, OBJECTS))
            _add(tables, "there", ((_number(bytes.fromhex(name)), length) for name, length in large))
            (objects, stored_bytes) = tables.execute(f"SELECT count(*), coalesce(sum(length), 0) {_SAME}").fetchone()
            (named,) = tables.execute("SELECT count(*) FROM named").fetchone()
    except sqlite3.Error as error:
        raise ScratchFull(str(error)) from None
    never, oldest = _proven({name for name, _ in packs + large}, proofs)
    newest = max((one for one in headers if one.part == 0), key=lambda one: one.sequence, default=None)
    return Census(
        snapshots=len(snapshot_names(vault.root)),
        partial=len(partial_names(vault.root)),
        newest=None if newest is None else read_snapshot(vault, newest.name),
        damaged=tuple(damaged),
        packs=len(packs),
        objects=objects,
        stored_bytes=stored_bytes,
        missing=named - objects,
        never_proven=len(never),
        oldest_proof=oldest,
        unproven_since=_first_stored(vault, never, {name for name, _ in packs}),
    )


def _read_snapshots(vault: Vault, tables: sqlite3.Connection) -> tuple[list[Header], list[str]]:
    headers: list[Header] = []
    damaged: list[str] = []
    for name in (*partial_names(vault.root), *snapshot_names(vault.root)):
        try:
            with open_snapshot(vault, name) as opened:
                _add(tables, "named", ((_number(digest), length) for digest, length in opened.named()))
                headers.append(opened.header)
        except NoSuchSnapshot:
            # Removed since it was listed: by the run that it is of, or some file systems have no locks.
            continue
        except VaultError:
            damaged.append(name)
    return headers, damaged


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "little", signed=True)


def _add(tables: sqlite3.Connection, table: str, rows: Iterable[tuple[int, int]]) -> None:
    tables.execute("BEGIN")
    try:
        tables.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", rows)  # noqa: S608 - no value in it
    finally:
        tables.execute("COMMIT")


def _members(vault: Vault, packs: Iterable[tuple[str, int]]) -> Iterator[tuple[int, int]]:
    for name, length in packs:
        records = read_sidecar(vault.root, name, length)
        if records is None:
            records = b"".join(scan_pack(vault.root, name, length))
        yield from _RECORD.iter_unpack(records)


def _proven(names: set[str], proofs: Iterable[tuple[str, datetime]]) -> tuple[set[str], datetime | None]:
    """The names that were never proven, and the oldest of the last proofs of the others."""
    never, oldest = set(names), None
    for name, time in proofs:
        if name in names:
            never.discard(name)
            oldest = time if oldest is None else min(oldest, time)
    return never, oldest


def _first_stored(vault: Vault, names: Iterable[str], packs: set[str]) -> datetime | None:
    times = []
    for name in names:
        kind = PACKS if name in packs else OBJECTS
        with suppress(FileNotFoundError):
            times.append(os.lstat(f"{vault.root}/{kind}/{name[:2]}/{name}").st_mtime)
    return datetime.fromtimestamp(min(times), UTC) if times else None
