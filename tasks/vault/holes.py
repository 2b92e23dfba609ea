"""Holes of sparse files: the plaintext of an object is that of the extents, and is put back between the holes."""

from __future__ import annotations

import os
from collections.abc import Callable

from tasks.files import data_ranges, write_all
from tasks.vault.entries import Content
from tasks.vault.objects import Take

_PIECE_BYTES = 1 << 20
# Takes a piece of plaintext and its offset in the file.
Put = Callable[[memoryview, int], object]


def placed(content: Content, put: Put) -> Take:
    """A `take` for pieces of plaintext, which calls `put` with each piece and its offset in the file."""
    ranges = iter(content.extents or ((0, content.size_bytes),))
    at, end = 0, 0

    def place(piece: memoryview) -> None:
        nonlocal at, end
        while piece:
            if at == end:
                at, length = next(ranges)
                end = at + length
            part = piece[: end - at]
            put(part, at)
            at += len(part)
            piece = piece[len(part) :]

    return place


def written(descriptor: int, content: Content) -> Take:
    """Writes pieces of plaintext to where they belong; holes stay holes."""
    if content.extents is None:
        return lambda piece: write_all(descriptor, piece)

    def write(piece: memoryview, at: int) -> None:
        os.lseek(descriptor, at, os.SEEK_SET)
        write_all(descriptor, piece)

    return placed(content, write)


def has_holes(descriptor: int, content: Content) -> bool:
    """Whether a file has nothing but zeros outside of the extents."""
    if content.extents is None:
        return True
    ends = [0, *(end for offset, length in content.extents for end in (offset, offset + length)), content.size_bytes]
    for gap, gap_end in zip(ends[::2], ends[1::2], strict=True):
        for begin, end in data_ranges(descriptor, gap, gap_end):
            for at in range(begin, end, _PIECE_BYTES):
                if any(os.pread(descriptor, min(_PIECE_BYTES, end - at), at)):
                    return False
    return True


class Filled:
    """Writes a file to its end, zeros in the place of holes: for output that cannot have any."""

    def __init__(self, content: Content, write: Callable[[memoryview], object]) -> None:
        self._size_bytes = content.size_bytes
        self._write = write
        self._at = 0
        self.take = placed(content, self._put)

    def _put(self, piece: memoryview, at: int) -> None:
        self._zeros(at)
        self._write(piece)
        self._at += len(piece)

    def _zeros(self, end: int) -> None:
        zeros = memoryview(bytes(min(_PIECE_BYTES, end - self._at)))
        while self._at < end:
            count = min(len(zeros), end - self._at)
            self._write(zeros[:count])
            self._at += count

    def end(self) -> None:
        """Write the hole at the end, once all plaintext was taken."""
        self._zeros(self._size_bytes)
