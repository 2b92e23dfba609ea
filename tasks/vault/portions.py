"""Portions of a snapshot to restore, as values: planned while it is authentic, proven when they are read again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.files import closed_after, open_regular
from tasks.vault.entries import Entry, FileEntry, FolderEntry, decode_entry
from tasks.vault.errors import VaultChanged, VaultError
from tasks.vault.format import snapshot_path
from tasks.vault.snapshots import OpenSnapshot

# A portion should take about a second, and its lines are in memory.
PORTION_ENTRIES = 5_000
PORTION_BYTES = 256 << 20
PORTION_LINES_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """The entries to restore: all, or those at or below some paths, with the folders on the way to them."""

    paths: tuple[bytes, ...] = ()

    @classmethod
    def below(cls, paths: Sequence[bytes]) -> Wanted:
        """Paths as a snapshot has them, relative, or with a slash before them as they were on disk."""
        stripped = tuple(path.strip(b"/") for path in paths)
        return cls(() if b"" in stripped else stripped)

    def __contains__(self, entry: Entry) -> bool:
        if not self.paths:
            return True
        below = any(entry.path == path or entry.path.startswith(path + b"/") for path in self.paths)
        return below or (
            isinstance(entry, FolderEntry) and any(path.startswith(entry.path + b"/") for path in self.paths)
        )


@dataclass(frozen=True, slots=True)
class RestorePortion:
    """A stretch of lines in a snapshot, `entries` of which are wanted.

    `sha256` was taken when the snapshot was authentic, and proves the lines when they are read again.
    """

    snapshot: str
    offset: int
    length: int
    sha256: bytes
    entries: int
    inside: tuple[FolderEntry, ...]
    """Folders that the portions before it have made and left open, outermost first."""
    next_path: bytes = b""
    """The first wanted entry after it; empty at the end. Folders on the way to it are not settled."""


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """Everything to restore; `missing` are wanted paths at which the snapshot has nothing."""

    wanted: Wanted
    portions: tuple[RestorePortion, ...]
    missing: tuple[bytes, ...]
    files: int
    size_bytes: int


def plan_restore(opened: OpenSnapshot, wanted: Wanted) -> RestorePlan:
    """Read the whole snapshot, so that a bad one is refused before anything is restored, and cut it into portions."""
    left = set(wanted.paths)
    files = size_bytes = 0
    cut = _Cut(opened)
    for line, entry in opened.lines_and_entries():
        left.discard(entry.path)
        is_wanted = entry in wanted
        cut.add(line, entry, wanted=is_wanted)
        if is_wanted and isinstance(entry, FileEntry):
            files += 1
            size_bytes += entry.facts.size_bytes
    cut.end()
    return RestorePlan(wanted, tuple(cut.portions), tuple(sorted(left)), files, size_bytes)


class _Cut:
    """Cuts a snapshot into portions; a long stretch without wanted entries is in none."""

    def __init__(self, opened: OpenSnapshot) -> None:
        self.portions: list[RestorePortion] = []
        self._name = opened.snapshot.name
        self._at = opened.entries_at
        self._open: list[FolderEntry] = []
        self._entries = 0

    def add(self, line: bytes, entry: Entry, *, wanted: bool) -> None:
        """Take the next line."""
        if wanted:
            while self._open and not entry.path.startswith(self._open[-1].path + b"/"):
                self._open.pop()
            if not self._entries:
                self._begin(entry)
            self._entries += 1
            if isinstance(entry, FolderEntry):
                self._open.append(entry)
            elif isinstance(entry, FileEntry):
                self._content_bytes += entry.facts.size_bytes
        self._at += len(line)
        if self._entries:
            self._hash.update(line)
            if (
                self._entries >= PORTION_ENTRIES
                or self._content_bytes >= PORTION_BYTES
                or self._at - self._offset >= PORTION_LINES_BYTES
            ):
                self.end()

    def _begin(self, entry: Entry) -> None:
        if self.portions:
            self.portions[-1] = replace(self.portions[-1], next_path=entry.path)
        self._offset = self._at
        self._hash = hashlib.sha256()
        self._content_bytes = 0
        self._inside = tuple(self._open)

    def end(self) -> None:
        """End the portion at hand, if there is one."""
        if self._entries:
            lines = self._offset, self._at - self._offset, self._hash.digest()
            self.portions.append(RestorePortion(self._name, *lines, self._entries, self._inside))
        self._entries = 0


def read_portion(root: str, portion: RestorePortion) -> list[Entry]:
    """The entries of a portion, as they were when the snapshot was authentic; raises VaultChanged or VaultError."""
    try:
        descriptor, _ = open_regular(snapshot_path(root, portion.snapshot))
        with closed_after(descriptor):
            raw = os.pread(descriptor, portion.length, portion.offset)
    except OSError as error:
        raise VaultError(root, f"snapshot {portion.snapshot} cannot be read: {error.strerror}") from None
    if hashlib.sha256(raw).digest() != portion.sha256:
        raise VaultChanged(root, f"snapshot {portion.snapshot}: it changed while it was restored")
    return [decode_entry(line) for line in raw.split(b"\n")[:-1]]
