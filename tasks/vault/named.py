"""The objects that snapshots name, beside those that a vault has: for `verify`, `prune` and `status`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime

from tasks.vault.errors import NoSuchSnapshot, VaultError, VerdictKind
from tasks.vault.format import OBJECTS, PACKS
from tasks.vault.index import FIND, Location, ObjectIndex
from tasks.vault.packs import BLOCK, END, stored
from tasks.vault.snapshots import Snapshot, open_snapshot
from tasks.vault.vault import Vault

# Snapshots of the same tree name mostly the same objects; to remember so many takes 10 MB.
_REMEMBERED = 50_000
_LARGE = -1
_TABLES = (
    "CREATE TABLE named (digest BLOB, length INTEGER, PRIMARY KEY (digest, length)) WITHOUT ROWID",
    "CREATE TABLE stored (name BLOB PRIMARY KEY, packed INTEGER, length INTEGER, proven TEXT, chance INTEGER)",
)
_THERE = "EXISTS (SELECT 1 FROM member WHERE member.digest = named.digest AND member.length = named.length)"
_MISSING = f"SELECT digest, length FROM named WHERE NOT {_THERE} ORDER BY digest"  # noqa: S608 - constants
# A sum of lengths that somebody made up could be too large for SQLite; total() is exact below 2⁵³.
_COUNTS = f"""SELECT count(*) FILTER (WHERE there), CAST(total(length) FILTER (WHERE there) AS INTEGER), count(*)
    FROM (SELECT length, {_THERE} AS there FROM named)"""  # noqa: S608 - constants
_UNNAMED = "FROM member WHERE digest NOT IN (SELECT digest FROM named)"
# A member takes its header, its body and zeros to a whole block.
_LIVING = """SELECT pack, sum(512 + (length + 511) / 512 * 512) FROM named JOIN member USING (digest, length)
    WHERE pack >= 0 GROUP BY pack"""
_ACCOUNTED = "SELECT pack, sum(512 + (length + 511) / 512 * 512) FROM member WHERE pack >= 0 GROUP BY pack"
_MEMBERS = """SELECT digest, block, length FROM named JOIN member USING (digest, length) WHERE pack = ?
    ORDER BY block"""
_TWICE = """SELECT digest, length FROM named JOIN member USING (digest, length) WHERE pack >= 0
    GROUP BY digest, length HAVING count(*) > 1"""
# A small object may be a file of its own, too; it counts where no pack has it.
_NAMED_LARGE = """SELECT digest, 0, length, NULL, random() FROM named JOIN member USING (digest, length) WHERE pack = -1
    AND NOT EXISTS (SELECT 1 FROM member AS other WHERE other.digest = named.digest AND other.pack >= 0)"""
_LEAST_RECENT = "proven IS NOT NULL, proven, chance"

# Digest, block of the header, length of the body.
Member = tuple[bytes, int, int]


class NamedObjects(ObjectIndex):
    """The objects that are there, and those that snapshots name: sets of any size; one thread at a time."""

    def __init__(self, vault: Vault, *, fix: bool = False) -> None:
        super().__init__(vault, fix=fix)
        self._vault = vault
        self._remembered: set[tuple[bytes, int]] = set()
        for statement in _TABLES:
            self._run(statement)

    def name(self, objects: Iterable[tuple[bytes, int]]) -> None:
        """Enter objects that a snapshot names, each with its stored length."""
        self._insert("INSERT OR IGNORE INTO named VALUES (?, ?)", self._unseen(objects))

    def name_snapshots(self, names: Iterable[str]) -> tuple[list[Snapshot], list[str]]:
        """Name the objects of snapshots and partial ones; the good snapshots, and the names of damaged ones of both."""
        good: list[Snapshot] = []
        damaged: list[str] = []
        for name in names:
            try:
                with open_snapshot(self._vault, name) as opened:
                    self.name(opened.named())
            except NoSuchSnapshot:
                # Removed since it was listed: by the run that it is of, or some file systems have no locks.
                continue
            except VaultError:
                damaged.append(name)
            else:
                good += [opened.snapshot] if opened.header.part == 0 else []
        return good, damaged

    def is_named(self, digest: bytes) -> bool:
        """Whether a snapshot names an object."""
        return bool(self._query("SELECT 1 FROM named WHERE digest = ?", digest))

    def unnamed_of(self, objects: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
        """Those of the objects that no snapshot has named so far."""
        return (one for one in objects if one not in self._remembered and not self.is_named(one[0]))

    def list_all(self) -> None:
        """Enter the packs that were added since, and the large objects: after the snapshots, which come last."""
        self.refresh()
        large = ((bytes.fromhex(name), length) for name, length in stored(self._root, OBJECTS))
        self._insert(f"INSERT OR IGNORE INTO member VALUES (?, {_LARGE}, 0, ?)", large)  # noqa: S608 - a number

    def missing(self) -> Iterator[tuple[bytes, int]]:
        """The objects that are named, and of which no copy is there; after `list_all`."""
        # Before anything counts as lost: a sidecar can be forged, the headers of packs stand beside the bytes.
        if any(self._rows(f"{_MISSING} LIMIT 1")) and self.rescan():
            self.list_all()
        yield from self._rows(_MISSING)

    def counts(self) -> tuple[int, int, int]:
        """The number of objects that are named and there, the sum of their lengths, and the number of all named ones.

        After `list_all`.
        """
        ((there, length, named),) = self._rows(_COUNTS)
        return there, length, named

    def unnamed(self) -> tuple[int, int]:
        """The number of objects that no snapshot names, and the sum of their lengths; after `list_all`."""
        ((count, length),) = self._rows(f"SELECT count(*), CAST(total(length) AS INTEGER) {_UNNAMED}")
        return count, length

    def unnamed_large(self) -> Iterator[tuple[bytes, int]]:
        """The large objects that no snapshot names, with their length; after `list_all`."""
        yield from self._rows(f"SELECT digest, length {_UNNAMED} AND pack = {_LARGE}")

    def list_stored(self, proofs: Iterable[tuple[str, datetime]]) -> None:
        """Enter packs, and the large objects that are named, with the time of their last proof, for `to_check`."""
        packs = ((bytes.fromhex(name), length) for name, length in self._sizes.items())
        self._insert("INSERT OR IGNORE INTO stored VALUES (?, 1, ?, NULL, random())", packs)
        self._run(f"INSERT OR IGNORE INTO stored {_NAMED_LARGE}")
        proven = ((time.isoformat(), bytes.fromhex(name)) for name, time in proofs)
        self._insert("UPDATE stored SET proven = ? WHERE name = ?", proven)

    def unproven(self) -> tuple[list[str], datetime | None]:
        """The packs and large objects that were never proven, by their paths in the vault; and the oldest proof.

        The last proof of each counts. After `list_stored`.
        """
        never = self._rows("SELECT packed, name FROM stored WHERE proven IS NULL")
        paths = [f"{PACKS if packed else OBJECTS}/{name.hex()[:2]}/{name.hex()}" for packed, name in never]
        ((oldest,),) = self._rows("SELECT min(proven) FROM stored")
        return paths, datetime.fromisoformat(oldest) if oldest else None

    @property
    def packs(self) -> int:
        """The number of packs."""
        return len(self._sizes)

    def to_check(self, enough_bytes: int | None = None) -> Iterator[tuple[VerdictKind, str, int]]:
        """Kind, name and length of all packs and large objects, or of those proven least recently, until it is enough.

        Among those that were never proven, or at the same time, chance decides.
        """
        order = "packed DESC, name" if enough_bytes is None else _LEAST_RECENT
        left = enough_bytes
        for packed, name, length in self._rows(f"SELECT packed, name, length FROM stored ORDER BY {order}"):  # noqa: S608
            if left is not None:
                if left <= 0:
                    return
                left -= length
            yield "pack" if packed else "object", name.hex(), length

    def members(self, pack: str) -> Iterator[bytes]:
        """The objects that a pack has."""
        for (digest,) in self._rows("SELECT DISTINCT digest FROM member WHERE pack = ?", (self._numbers.get(pack),)):
            yield digest

    def is_whole(self, digest: bytes) -> bool:
        """Whether a pack has a good copy; each is read."""
        return any(self._body(digest, *place) is not None for place in self._places(digest))

    def choose_copies(self) -> None:
        """Of objects that several packs have, forget all copies but one that is good, if there is one."""
        self._run("CREATE INDEX of_pack ON member (pack, block, length)")
        for digest, length in list(self._rows(_TWICE)):
            places = [place for place in self._places(digest) if place[2] == length]
            kept = next((place for place in places if self._body(digest, *place) is not None), places[0])
            for pack, block, _ in places:
                if (pack, block) != kept[:2]:
                    copy = (digest, pack, block)
                    self._run("DELETE FROM member WHERE digest = ? AND pack = ? AND block = ?", copy)

    def living(self) -> dict[str, tuple[int, int]]:
        """The bytes of each pack that are in use, and its length; after `choose_copies`."""
        used = {self._names[number]: size_bytes + len(END) for number, size_bytes in self._rows(_LIVING)}
        return {name: (used.get(name, 0), length) for name, length in self._sizes.items()}

    def unaccounted(self) -> frozenset[str]:
        """The packs with bytes that are of no known member; before `choose_copies`."""
        known = {self._names[number]: size_bytes + len(END) for number, size_bytes in self._rows(_ACCOUNTED)}
        return frozenset(name for name, length in self._sizes.items() if known.get(name, len(END)) != length)

    def length(self, pack: str) -> int:
        """The length of a pack."""
        return self._sizes[pack]

    def living_members(self, pack: str) -> list[Member]:
        """The members of a pack that are named, in their order; after `choose_copies`."""
        return list(self._rows(_MEMBERS, (self._numbers[pack],)))

    def forget(self, packs: Iterable[str]) -> None:
        """Leave out packs that were removed, and close them: an open one still takes room."""
        gone = [pack for pack in packs if self._sizes.pop(pack, None) is not None]
        self._insert("DELETE FROM member WHERE pack = ?", ((self._numbers[pack],) for pack in gone))
        self._open.clear()

    def _places(self, digest: bytes) -> list[tuple[int, int, int]]:
        return self._query(FIND, digest)

    def _body(self, digest: bytes, pack: int, block: int, length: int) -> bytes | None:
        with suppress(VaultError):
            body = self.read(Location(self._names[pack], (block + 1) * BLOCK, length))
            if len(body) == length and hashlib.sha256(body).digest() == digest:
                return body
        return None

    def _run(self, statement: str, values: tuple[object, ...] = ()) -> None:
        self._insert(statement, iter((values,)))

    def _unseen(self, objects: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
        seen = self._remembered
        for one in objects:
            if one not in seen:
                if len(seen) == _REMEMBERED:
                    seen.clear()
                seen.add(one)
                yield one
