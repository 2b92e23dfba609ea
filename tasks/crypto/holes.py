"""Holes of sparse files: the plaintext of a file is the bytes of its extents, and is put back between the holes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

from tasks.files import PIECE_BYTES, write_all

Extents = tuple[tuple[int, int], ...]
# Is given plaintext piece by piece; each is gone when it returns.
Take = Callable[[memoryview], object]

# An entry lists the extents in its line, which has a bound; smaller holes beyond this number are read as zeros.
_MOST_EXTENTS = 1000


def extents_of(descriptor: int, status: os.stat_result) -> Extents | None:
    """Offset and length of each part of a file that is no hole; None if it has no holes.

    A file system that compresses takes fewer blocks too, and then says that there is one extent. The file is read from
    its beginning afterwards.
    """
    size = status.st_size
    if status.st_blocks * 512 >= size:
        return None
    try:
        extents = [(begin, end - begin) for begin, end in _data_ranges(descriptor, 0, size)]
    except OSError:
        return None
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return None if extents == [(0, size)] else _fewer(extents)


def _fewer(extents: list[tuple[int, int]]) -> Extents:
    if len(extents) <= _MOST_EXTENTS:
        return tuple(extents)
    ends = [offset + length for offset, length in extents]
    holes = [(extents[at + 1][0] - ends[at], at) for at in range(len(extents) - 1)]
    cuts = sorted(at for _, at in sorted(holes)[-(_MOST_EXTENTS - 1) :])
    begins = [extents[0][0], *(extents[at + 1][0] for at in cuts)]
    return tuple((begin, ends[at] - begin) for begin, at in zip(begins, [*cuts, len(extents) - 1], strict=True))


def _data_ranges(descriptor: int, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Where a file has data between two offsets, as begin and end of each range; the rest are holes. Raises OSError.

    All of it where the file system knows no holes.
    """
    while begin < end:
        try:
            begin = os.lseek(descriptor, begin, os.SEEK_DATA)
            hole = os.lseek(descriptor, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            if error.errno != errno.EINVAL:
                raise
            hole = end
        if begin < end:
            yield begin, min(hole, end)
        begin = hole


def placed(extents: Extents | None, size_bytes: int, put: Callable[[memoryview, int], object]) -> Take:
    """A `take` for the plaintext of a file, which calls `put` with each piece and its offset in the file."""
    ranges = iter(extents or ((0, size_bytes),))
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


def written(descriptor: int, extents: Extents | None, size_bytes: int) -> Take:
    """A `take` that writes the plaintext of a file to where it belongs; holes stay holes."""
    if extents is None:
        return lambda piece: write_all(descriptor, piece)

    def write(piece: memoryview, at: int) -> None:
        os.lseek(descriptor, at, os.SEEK_SET)
        write_all(descriptor, piece)

    return placed(extents, size_bytes, write)


def filled(extents: Extents | None, size_bytes: int, write: Take) -> tuple[Take, Callable[[], None]]:
    """A `take` that writes a file to its end, with zeros in the place of holes, and a call that writes the last one."""
    written_bytes = 0

    def put(piece: memoryview, at: int) -> None:
        nonlocal written_bytes
        for begin in range(written_bytes, at, PIECE_BYTES):
            write(memoryview(bytes(min(PIECE_BYTES, at - begin))))
        write(piece)
        written_bytes = at + len(piece)

    return placed(extents, size_bytes, put), lambda: put(memoryview(b""), size_bytes)


def has_holes(descriptor: int, extents: Extents | None, size_bytes: int) -> bool:
    """Whether a file of that size has nothing but zeros outside of the extents."""
    if extents is None:
        return True
    ends = [0, *(end for offset, length in extents for end in (offset, offset + length)), size_bytes]
    for gap, gap_end in zip(ends[::2], ends[1::2], strict=True):
        for begin, end in _data_ranges(descriptor, gap, gap_end):
            for at in range(begin, end, PIECE_BYTES):
                if any(os.pread(descriptor, min(PIECE_BYTES, end - at), at)):
                    return False
    return True
