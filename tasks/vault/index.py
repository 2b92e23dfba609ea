"""The index of a vault: the place of each object, in a temporary SQLite database.

It is loaded from the sidecars of all packs. A sidecar has no MAC, so a place is a hint: the bytes there decide.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from typing import Any, NamedTuple, Self

from tasks.vault.errors import ScratchFull, VaultChanged, VaultError
from tasks.vault.format import OBJECTS, PACKED_BYTES, PACKS
from tasks.vault.packs import BLOCK, RECORD, open_stored, opened_stored, read_sidecar, scan_pack, stored, write_sidecar
from tasks.vault.vault import Vault

# Rows go to SQLite so many at a time.
_AT_ONCE = 10_000
# A vault has hundreds of packs, and a process may have 256 descriptors.
_OPEN_PACKS = 64
# Neighbours are read together; what a forged sidecar asks for beyond this is refused.
_LONGEST_READ = 4 * PACKED_BYTES
_PIECE_BYTES = 1 << 20
# A large object is a member of pack -1. What a forged sidecar names beyond the longest member is left out. Sidecars are
# sorted, so that each fills the tree from left to right.
_MEMBERS = f"""CREATE TABLE member (digest BLOB, pack INTEGER, block INTEGER, length INTEGER,
    PRIMARY KEY (digest, pack, block), CHECK (pack < 0 OR length <= {PACKED_BYTES})) WITHOUT ROWID"""
FIND = "SELECT pack, block, length FROM member WHERE digest = ? AND pack >= 0"
_FIRST = "SELECT digest, min(pack), block, length FROM member WHERE pack >= 0 AND digest IN"
_HAS = "SELECT 1 FROM member WHERE digest = ? AND length = ? LIMIT 1"


class Location(NamedTuple):
    """A stretch of a pack: the body of a member, or several members that lie side by side."""

    pack: str
    offset: int
    length: int


class _Open:
    """An open file, closed with the last user: a thread may still read when the index lets go of it."""

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


class ObjectIndex:
    """The objects of a vault by their digests of 32 bytes; any thread may use it.

    Each method raises ScratchFull where there is no room. SQLite keeps a small index in memory, and a large one in a
    file without a name, which no other process can open.
    """

    def __init__(self, vault: Vault, *, fix: bool = False) -> None:
        self.rebuilt: list[str] = []
        """The packs whose sidecar was missing or wrong; with `fix` it is there again, if the disk takes it."""
        self._root = vault.root
        self._lock = threading.RLock()
        self._sizes: dict[str, int] = {}
        self._names: list[str] = []
        # The number of each pack: the last one, if it was there before.
        self._numbers: dict[str, int] = {}
        self._open: dict[str, _Open] = {}
        self._readers = 0
        # Whether a pack without a sidecar was left so.
        self._bare = self._scanned = False
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        with _explained():
            for statement in ("PRAGMA journal_mode=OFF", "PRAGMA cache_size=-2000", _MEMBERS):
                self._connection.execute(statement)
        self.refresh(fix=fix)

    def refresh(self, *, fix: bool = False) -> None:
        """Take in the packs that were added since; if one is gone or has another length, load all anew."""
        with self._lock:
            # A pack may have been put back from a copy.
            self._open.clear()
            self._scanned = False
            there = dict(stored(self._root, PACKS))
            if not self._sizes.items() <= there.items() or (fix and self._bare):
                self._forget()
            self._load([one for one in there.items() if one[0] not in self._sizes], fix=fix)

    def rescan(self) -> bool:
        """Load all packs anew by their headers, which no forged sidecar can hide; False if that was done already."""
        with self._lock:
            if self._scanned:
                return False
            self._scanned = True
            packs, rebuilt = list(self._sizes.items()), list(self.rebuilt)
            self._forget()
            self._load(packs, fix=False)
            self.rebuilt[:] = rebuilt
            return True

    def find(self, digest: bytes) -> list[Location]:
        """The copies of an object in packs."""
        with self._lock:
            rows = self._query(FIND, digest)
            return [Location(self._names[pack], (block + 1) * BLOCK, length) for pack, block, length in rows]

    def first_copies(self, digests: Sequence[bytes]) -> list[tuple[Location, bytes]]:
        """A copy in a pack of each of some hundred objects that has one, in the order in which they lie there."""
        with self._lock:
            marks = ",".join("?" * len(digests))
            rows = self._query(f"{_FIRST} ({marks}) GROUP BY digest", *digests)
            return sorted(
                (Location(self._names[pack], (block + 1) * BLOCK, length), digest)
                for digest, pack, block, length in rows
            )

    def has(self, digest: bytes, stored_bytes: int) -> bool:
        """Whether there is an object of that length, in a pack or as a file of its own."""
        if self._query(_HAS, digest, stored_bytes):
            return True
        with suppress(VaultError), opened_stored(self._root, OBJECTS, digest.hex()) as (_, length):
            return length == stored_bytes
        return False

    def same(self, digest: bytes, body: memoryview) -> bool:
        """Whether an object is stored that has just these bytes."""
        for location in self.find(digest):
            if location.length == len(body):
                with suppress(VaultError):
                    if self.read(location) == bytes(body):
                        return True
        if len(body) > PACKED_BYTES:
            with suppress(OSError, VaultError), opened_stored(self._root, OBJECTS, digest.hex()) as (file, length):
                pieces = range(0, length, _PIECE_BYTES)
                return length == len(body) and all(
                    os.pread(file, _PIECE_BYTES, at) == bytes(body[at : at + _PIECE_BYTES]) for at in pieces
                )
        return False

    def read(self, location: Location) -> bytes:
        """A stretch of a pack, as far as the pack goes; nothing is checked. Raises VaultError."""
        if location.length > _LONGEST_READ:
            raise VaultChanged(self._root, f"the index of pack {location.pack} names {location.length:,} bytes at once")
        try:
            # By a name, so that it stays open meanwhile.
            opened = self._pack(location.pack)
            return os.pread(opened.descriptor, location.length, location.offset)
        except OSError as error:
            raise VaultError(self._root, f"pack {location.pack} cannot be read: {error.strerror}") from None
        finally:
            self._close_packs()

    @contextmanager
    def kept_open(self) -> Iterator[Self]:
        """Keep packs open from one reading to the next, and no longer: one that is removed meanwhile takes room."""
        with self._lock:
            self._readers += 1
        try:
            yield self
        finally:
            with self._lock:
                self._readers -= 1
            self._close_packs()

    def _close_packs(self) -> None:
        with self._lock:
            if not self._readers:
                self._open.clear()

    def close(self) -> None:
        """Free the database and the open packs."""
        self._open.clear()
        self._connection.close()

    def __enter__(self) -> Self:
        self._readers += 1
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _load(self, packs: Iterable[tuple[str, int]], *, fix: bool) -> None:
        for name, length in packs:
            records = None if self._scanned else read_sidecar(self._root, name, length)
            if records is None:
                records = self._rebuild(name, length, fix=fix)
            number = self._numbers[name] = len(self._names)
            self._sizes[name] = length
            self._names.append(name)
            statement = f"INSERT OR IGNORE INTO member VALUES (?, {number}, ?, ?)"  # noqa: S608 - a number
            self._insert(statement, RECORD.iter_unpack(records))

    def _rebuild(self, name: str, length: int, *, fix: bool) -> bytes:
        self.rebuilt.append(name)
        self._bare |= not fix
        found = scan_pack(self._root, name, length)
        if fix:
            with suppress(OSError):
                write_sidecar(self._root, name, length, found)
        return b"".join(found)

    def _forget(self) -> None:
        with _explained():
            self._connection.execute("DELETE FROM member")
        for each in (self._sizes, self._names, self._numbers, self._open, self.rebuilt):
            each.clear()
        self._bare = False

    def _pack(self, name: str) -> _Open:
        with self._lock:
            if name not in self._open:
                if len(self._open) >= _OPEN_PACKS:
                    self._open.clear()
                try:
                    opened = open_stored(self._root, PACKS, name)
                except VaultError:
                    # The process may have no more descriptors.
                    if not self._open:
                        raise
                    self._open.clear()
                    opened = open_stored(self._root, PACKS, name)
                self._open[name] = _Open(opened[0])
            return self._open[name]

    def _query(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise ScratchFull(str(error)) from None

    def _insert(self, statement: str, rows: Iterator[tuple[object, ...]]) -> None:
        # An error of a snapshot that is read meanwhile must not leave a transaction open.
        while some := list(islice(rows, _AT_ONCE)):
            with self._lock, _explained():
                self._connection.execute("BEGIN")
                self._connection.executemany(statement, some)
                self._connection.execute("COMMIT")

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        with _explained(), closing(self._connection.execute(query, values)) as rows:
            yield from rows


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ScratchFull(str(error)) from None


_shared: dict[tuple[int, str, str], ObjectIndex] = {}
_jobs: Counter[tuple[int, str, str]] = Counter()
_sharing = threading.Lock()


def shared_index(vault: Vault, *, fix: bool = False) -> ObjectIndex:
    """The index that the steps of this process share, up to date; with `fix` missing sidecars are written again.

    The caller holds a lock of the vault, so that no pack goes before its work is done.
    """
    # A forked child must not use its parent's database.
    key = os.getpid(), vault.root, vault.id
    with _sharing:
        index = _shared.get(key)
        if index is None:
            index = _shared[key] = ObjectIndex(vault, fix=fix)
        else:
            index.refresh(fix=fix)
        return index


@contextmanager
def index_shared(vault: Vault) -> Iterator[None]:
    """Free the index that is shared, with the packs that it holds open, at the end of the last job with the vault."""
    key = os.getpid(), vault.root, vault.id
    with _sharing:
        _jobs[key] += 1
    try:
        yield
    finally:
        with _sharing:
            _jobs[key] -= 1
            if not _jobs[key] and (index := _shared.pop(key, None)) is not None:
                index.close()
