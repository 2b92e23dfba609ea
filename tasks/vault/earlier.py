"""The lines of the snapshots before, in their common order and in constant memory, held against a walk."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from tasks.vault.entries import Entry, FileEntry, begin_file, decode_entry, end_file, path_field
from tasks.vault.errors import SnapshotInvalid
from tasks.vault.format import BadLine
from tasks.vault.header import order_key
from tasks.vault.snapshots import OpenSnapshot

_NO_LINE = b"", 0, False
_PLAIN_PATH = re.compile(rb'\{"path":"([ !#-\[\]-~]+)"')
# Quotation marks in a path have a backslash before them.
_FILE = b'"type":"file"'


class EarlierLines:
    """The lines, one at a time: `line` is the next one, empty at the end, of a run that began at `began_ns`.

    Of the files in the `basis`, one of the snapshots, `kept` were found again, and `gone` were not.
    """

    def __init__(self, root: str, snapshots: Sequence[OpenSnapshot], basis: OpenSnapshot | None = None) -> None:
        self._root = root
        self._lines = merged(root, snapshots, basis)
        self.kept = self.gone = 0
        self._next()

    def _next(self) -> None:
        self.line, self.began_ns, self._expected = next(self._lines, _NO_LINE)
        self._found = False

    def advance(self) -> None:
        """Go on to the next line."""
        if self._expected and not self._found:
            self.gone += 1
        self._next()

    def go_to(self, path: bytes) -> None:
        """Go on to the line of a path, or to the first one that comes after it."""
        wanted = order_key(path[1:])
        while self.line and key_of(self._root, self.line) < wanted:
            self.advance()

    def keep(self) -> bytes:
        """Note that the file of the line is there still; the line."""
        self._found = True
        self.kept += self._expected
        return self.line

    def carry(self) -> tuple[bytes, int | None]:
        """Keep the line although its path could not be read: the line, marked so, and the size of a file.

        The last good content of a file stays named. Raises SnapshotInvalid.
        """
        self.keep()
        entry = entry_of(self._root, self.line)
        if isinstance(entry, FileEntry):
            begin = begin_file(path_field(b"/" + entry.path), entry.facts)
            return begin + end_file(entry.content, "unreadable", entry.last_good), entry.facts.size_bytes
        return self.line if entry.mark else self.line[:-2] + b',"mark":"unreadable"}\n', None

    def below(self, path: bytes, *, itself: bool = True) -> Iterator[bytes]:
        """The lines of everything below a path, and of the path `itself`; each is the next line meanwhile.

        No file or link among them has another one below it, which lines of several snapshots may have.
        """
        self.go_to(path)
        own, barrier = order_key(path[1:]), b""
        while self.line:
            key = key_of(self._root, self.line)
            if own and key != own and not key.startswith(own + b"\0"):
                return
            if (itself or key != own) and not (barrier and key.startswith(barrier)):
                barrier = b"" if b'"type":"folder"' in self.line else key + b"\0"
                yield self.line
            self.advance()


def merged(
    root: str, snapshots: Sequence[OpenSnapshot], basis: OpenSnapshot | None = None
) -> Iterator[tuple[bytes, int, bool]]:
    """The lines of snapshots in their order, each with the time when its run began; of a path that of the latest run.

    Also whether the path is a file in the `basis`. Raises SnapshotInvalid or VaultError.
    """
    if len(snapshots) == 1:
        created_ns, expected = snapshots[0].header.created_ns, snapshots[0] is basis
        yield from ((line, created_ns, expected and _FILE in line) for line in snapshots[0].lines())
        return
    together = heapq.merge(*(_keyed(root, one, one is basis) for one in snapshots))
    for _, same in groupby(together, itemgetter(0)):
        lines = list(same)
        _, created_ns, line, _ = lines[0]
        yield line, -created_ns, any(expected for *_, expected in lines)


def _keyed(root: str, opened: OpenSnapshot, expected: bool) -> Iterator[tuple[bytes, int, bytes, bool]]:
    created_ns = opened.header.created_ns
    return ((key_of(root, line), -created_ns, line, expected and _FILE in line) for line in opened.lines())


def key_of(root: str, line: bytes) -> bytes:
    """The `order_key` of a line's path; raises SnapshotInvalid."""
    found = _PLAIN_PATH.match(line)
    return order_key(entry_of(root, line).path if found is None else found[1])


def entry_of(root: str, line: bytes) -> Entry:
    """The entry of a line; raises SnapshotInvalid."""
    try:
        return decode_entry(line)
    except BadLine as error:
        raise SnapshotInvalid(root, f"a line of the snapshot before {error}") from None
