"""Portions of a snapshot to restore, as values, cut while all of it is checked, before anything is restored."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Self

from tasks.vault.entries import Entry, FileEntry, FolderEntry, begin_file, decode_entry, end_file, path_field
from tasks.vault.errors import ScratchFull
from tasks.vault.snapshots import OpenSnapshot

# A portion should take about a second, and its lines are in memory.
PORTION_ENTRIES = 5_000
PORTION_BYTES = 256 << 20
PORTION_LINES_BYTES = 4 << 20
# All of them: threadmill snapshots show NAME --marked.
_MARKED_NAMED = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """The entries to restore: all, or those at or below some paths, with the folders on the way to them.

    With `last_good` files that are marked come back with their last good content, where that is known.
    """

    paths: tuple[bytes, ...] = ()
    last_good: bool = False

    @classmethod
    def below(cls, paths: Sequence[bytes]) -> Wanted:
        """Paths as a snapshot has them, relative, or with a slash before them as they were on disk."""
        stripped = tuple(path.strip(b"/") for path in paths)
        return cls(() if b"" in stripped else stripped)

    def __contains__(self, entry: Entry) -> bool:
        if not self.paths:
            return True
        return any(_is_below(entry.path, path) for path in self.paths) or (
            isinstance(entry, FolderEntry) and any(path.startswith(entry.path + b"/") for path in self.paths)
        )


@dataclass(frozen=True, slots=True)
class RestorePortion:
    """The lines of wanted entries that follow each other in a snapshot."""

    snapshot: str
    lines: bytes
    entries: int
    inside: tuple[FolderEntry, ...]
    """Folders that the portions before it have made and left open, outermost first."""
    next_path: bytes
    """The first entry after it; empty at the end. Folders on the way to it are not settled."""
    sources: tuple[bytes, ...]
    """The absolute paths that the snapshot is of."""


class RestorePlan:
    """Everything to restore; `missing` are wanted paths at and below which the snapshot has nothing.

    `marked` entries come back as they are, the first of them at `marked_paths`, and files that are `good` with their
    last good content.

    The wanted lines of the snapshot lie in a file without a name, so that a million entries take no memory.
    """

    def __init__(self, opened: OpenSnapshot, wanted: Wanted) -> None:
        """Read the whole snapshot, so that a bad one is refused before anything is restored."""
        self.files = self.size_bytes = self.marked = self.good = 0
        self.marked_paths: list[bytes] = []
        self.snapshot = opened.header.name
        self.wanted = wanted
        self._sources = opened.header.sources
        self._cuts: list[_Cut] = []
        left = set(wanted.paths)
        # Open until the plan is closed.
        self._lines: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            open_folders: list[FolderEntry] = []
            for line, entry in opened.lines_and_entries():
                if left:
                    left -= {path for path in left if _is_below(entry.path, path)}
                if entry in wanted:
                    if entry.mark is not None:
                        line, entry = self._marked(line, entry, last_good=wanted.last_good)  # noqa: PLW2901
                    while open_folders and not entry.path.startswith(open_folders[-1].path + b"/"):
                        open_folders.pop()
                    self._add(line, entry, open_folders)
                    if isinstance(entry, FolderEntry):
                        open_folders.append(entry)
            self._lines.flush()
            self.totals = opened.totals
        except OSError as error:
            self.close()
            raise ScratchFull(error.strerror or str(error)) from None
        except BaseException:
            self.close()
            raise
        self.missing = tuple(sorted(left))

    def portions(self) -> Iterator[RestorePortion]:
        """The portions, in the order in which they are to be restored."""
        following = [*self._cuts[1:], None]
        for cut, after in zip(self._cuts, following, strict=True):
            lines = os.pread(self._lines.fileno(), cut.lines_bytes, cut.offset)
            yield RestorePortion(
                self.snapshot, lines, cut.entries, cut.inside, after.first if after else b"", self._sources
            )

    def close(self) -> None:
        """Remove the lines."""
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _marked(self, line: bytes, entry: Entry, *, last_good: bool) -> tuple[bytes, Entry]:
        if last_good and isinstance(entry, FileEntry) and entry.good is not None:
            self.good += 1
            facts = entry.facts._replace(size_bytes=entry.good.size_bytes)
            line = begin_file(path_field(b"/" + entry.path), facts) + end_file(entry.good)
            return line, decode_entry(line)
        self.marked += 1
        if len(self.marked_paths) < _MARKED_NAMED:
            self.marked_paths.append(entry.path)
        return line, entry

    def _add(self, line: bytes, entry: Entry, open_folders: Sequence[FolderEntry]) -> None:
        cut = self._cuts[-1] if self._cuts else None
        if cut is None or cut.is_full:
            cut = _Cut(self._lines.tell(), entry.path, tuple(open_folders))
            self._cuts.append(cut)
        self._lines.write(line)
        cut.entries += 1
        cut.lines_bytes += len(line)
        if isinstance(entry, FileEntry):
            cut.content_bytes += entry.content.plain_bytes
            self.files += 1
            self.size_bytes += entry.facts.size_bytes


def shown_alike(
    opened: OpenSnapshot, typed: Collection[bytes], show: Callable[[bytes], str]
) -> dict[bytes, tuple[bytes, ...]]:
    r"""For paths that were typed as a listing shows them (`b\xe4r`), the paths of the snapshot that are shown so."""
    found: dict[bytes, dict[bytes, None]] = {}
    wanted = [(path, path.count(b"/") + 1, show(path)) for path in typed]
    for entry in opened.entries():
        for path, depth, shown in wanted:
            above = b"/".join(entry.path.split(b"/", depth)[:depth])
            if show(above) == shown:
                found.setdefault(path, {})[above] = None
    return {path: tuple(paths) for path, paths in found.items()}


def _is_below(path: bytes, above: bytes) -> bool:
    """Whether a path is the other one, or is below it."""
    return path == above or path.startswith(above + b"/")


@dataclass(slots=True)
class _Cut:
    """A portion in the making; `first` is the path of its first entry."""

    offset: int
    first: bytes
    inside: tuple[FolderEntry, ...]
    entries: int = 0
    lines_bytes: int = 0
    content_bytes: int = 0

    @property
    def is_full(self) -> bool:
        return (
            self.entries >= PORTION_ENTRIES
            or self.content_bytes >= PORTION_BYTES
            or self.lines_bytes >= PORTION_LINES_BYTES
        )
