"""The draft of a snapshot: the entries that a walk found, and a place for the line of each file to encrypt.

It is kept in files of `tmp/` without a name: a million entries take no memory, batches may end in any order, and nobody
else can open the content that is to be authenticated at the end.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from itertools import repeat

from tasks.crypto.inputs import Payload
from tasks.files import closed_after, open_folder, open_new, reserve, write_all
from tasks.vault.errors import on_disk
from tasks.vault.format import LONGEST_LINE, TEMPORARY, split_lines

# Stands for a file whose line a batch will give.
_OPEN = b"?\n"
_PIECE_BYTES = 256 << 10
# A piece may be of open lines alone, and its results a hundred times as long.
_LINES_AT_ONCE = 1000
_TO_DO_FIELDS = 6
# A line has its path, and about so many bytes more. In a snapshot it takes less than half of that, compressed.
_LINE_BYTES = 384
_LEAST_BYTES = 128 << 10
_FLAGS = {b"%d" % bits: tuple(bool(bits & bit) for bit in (1, 2, 4, 8)) for bits in range(16)}


class _Scratch:
    """A file without a name, to which is added at the end; raises VaultUnwritable."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.size_bytes = 0
        part = secrets.token_hex(8)
        with on_disk(root), closed_after(open_folder(root, TEMPORARY)) as folder:
            self._descriptor = open_new(part, folder)
            os.unlink(part, dir_fd=folder)

    def add(self, data: bytes) -> None:
        """Add to the end; the bytes can be read after the next `flush`."""
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _PIECE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the bytes that are held back."""
        with on_disk(self._root):
            write_all(self._descriptor, b"".join(self._held))
        self.size_bytes += self._held_bytes
        self._held_bytes = 0
        self._held.clear()

    def pieces(self, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes of a stretch."""
        end = self.size_bytes if end is None else end
        while begin < end:
            with on_disk(self._root):
                piece = os.pread(self._descriptor, min(_PIECE_BYTES, end - begin), begin)
            begin += len(piece)
            yield piece

    def reserve(self, length: int) -> None:
        """Have the disk keep so much room for it, or none."""
        with on_disk(self._root):
            if length:
                reserve(self._descriptor, length)
            else:
                os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._descriptor)


@dataclass(frozen=True, slots=True, order=True)
class _Stretch:
    """The place of the lines of a batch, one for each of its payloads, from an ordinal on."""

    first: int
    count: int
    begin: int
    end: int


class Draft:
    """A draft is written once, then read as often as needed, while batches are put from one thread."""

    def __init__(self, root: str) -> None:
        """Raises VaultUnwritable."""
        self.entries = 0
        """The number of entries that are done without a batch."""
        self._count = 0
        with ExitStack() as stack:
            scratch = [stack.enter_context(closing(_Scratch(root))) for _ in range(4)]
            self._lines, self._to_do, self._results, self._room = scratch
            self._files = stack.pop_all()
        self._stretches: list[_Stretch] = []
        self._in_parts = 0

    def add_line(self, line: bytes) -> None:
        """Add an entry that is done; raises VaultUnwritable."""
        self.entries += 1
        self._lines.add(line)

    def add_to_do(self, payload: Payload) -> None:
        """Add a file that is to be encrypted; its ordinal is its place in the order of these calls."""
        self._count += 1
        self._lines.add(_OPEN)
        # NUL is in no path, nor in a line.
        self._to_do.add(
            b"%b\0%d\0%b\0%b\0%d\0%d\0"
            % (
                payload.name,
                payload.size_bytes or 0,
                payload.known or b"",
                (payload.skip or "").encode(),
                payload.errno or 0,
                payload.followed + 2 * payload.moved + 4 * payload.refused + 8 * payload.carried,
            )
        )

    def end(self) -> None:
        """Write down all entries, before the first one is read; raises VaultUnwritable.

        Room is kept for the lines of the files to encrypt, and for the snapshot, should the disk get full meanwhile.
        """
        self._lines.flush()
        self._to_do.flush()
        results = self._to_do.size_bytes + _LINE_BYTES * self._count
        self._results.reserve(results)
        self._room.reserve((self._lines.size_bytes + results) // 2 + _LEAST_BYTES)

    def to_do(self) -> Iterator[Payload]:
        """The files to encrypt, in their order."""
        fields = iter(_split(self._to_do.pieces()))
        for name, size, known, skip, errno, flags in zip(*repeat(fields, _TO_DO_FIELDS), strict=True):
            faults = skip.decode() or None, int(errno) or None
            yield Payload("file", name, int(size), *faults, known or None, *_FLAGS[flags])

    def put(self, first: int, lines: bytes) -> None:
        """Enter a line for each payload of a batch, whose ordinals are in a row; raises VaultUnwritable.

        An empty line leaves the file out of the snapshot.
        """
        begin = self._results.size_bytes
        self._results.add(lines)
        self._results.flush()
        self._stretches.append(_Stretch(first, lines.count(b"\n"), begin, self._results.size_bytes))

    def pieces(self) -> Iterator[bytes]:
        """The lines of the snapshot, many at a time, once all batches are put; its room is free from now on."""
        self._room.reserve(0)
        results = self._result_lines()
        for piece in _whole_lines(self._lines.pieces()):
            if _OPEN not in piece:
                yield piece
                continue
            lines = piece.split(b"\n")[:-1]
            for at in range(0, len(lines), _LINES_AT_ONCE):
                some = lines[at : at + _LINES_AT_ONCE]
                yield b"".join(next(results) if line == b"?" else line + b"\n" for line in some)

    def new_pieces(self) -> Iterator[bytes]:
        """The lines of the batches that were put since this was called before, in the order of a snapshot."""
        new = sorted(self._stretches[self._in_parts :])
        self._in_parts = len(self._stretches)
        for stretch in new:
            for piece in _whole_lines(self._results.pieces(stretch.begin, stretch.end)):
                yield b"".join(line + b"\n" for line in piece.split(b"\n") if line)

    def close(self) -> None:
        """Remove the files."""
        self._files.close()

    def _result_lines(self) -> Iterator[bytes]:
        """The line of each ordinal, empty if there is none, without end."""
        at = 0
        for stretch in sorted(self._stretches):
            yield from repeat(b"", stretch.first - at)
            for line in split_lines(self._results.pieces(stretch.begin, stretch.end), LONGEST_LINE):
                yield b"" if line == b"\n" else line
            at = stretch.first + stretch.count
        yield from repeat(b"")


def _whole_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, cut at the ends of lines."""
    rest = b""
    for piece in pieces:
        lines, newline, rest = (rest + piece).rpartition(b"\n")
        yield lines + newline


def _split(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The fields that end in NULs."""
    rest = b""
    for piece in pieces:
        *fields, rest = (rest + piece).split(b"\0")
        yield from fields
