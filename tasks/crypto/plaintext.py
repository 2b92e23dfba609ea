"""The plaintext of a file: its bytes without holes, read at once, piece by piece or through a pipe, and put back."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled, SourceChanged, SourceUnreadable
from tasks.crypto.inputs import Input, regular_status
from tasks.files import write_all

Extents = tuple[tuple[int, int], ...]
# Is given plaintext piece by piece; each is gone when it returns.
Take = Callable[[memoryview], object]

# An entry lists the extents in its line, which has a bound; smaller holes beyond this number are read as zeros.
_MOST_EXTENTS = 1000
_PIECE_BYTES = 1 << 20


def extents_of(descriptor: int, status: os.stat_result) -> Extents | None:
    """Offset and length of each part of a file that is no hole; None if it has no holes.

    A file system that compresses takes fewer blocks too, and then says that there is one extent.
    """
    size = status.st_size
    if status.st_blocks * 512 >= size:
        return None
    try:
        extents = [(begin, end - begin) for begin, end in _data_ranges(descriptor, 0, size)]
    except OSError:
        return None
    return None if extents == [(0, size)] else _fewer(extents)


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


def _fewer(extents: list[tuple[int, int]]) -> Extents:
    if len(extents) <= _MOST_EXTENTS:
        return tuple(extents)
    ends = [offset + length for offset, length in extents]
    holes = [(extents[at + 1][0] - ends[at], at) for at in range(len(extents) - 1)]
    cuts = sorted(at for _, at in sorted(holes)[-(_MOST_EXTENTS - 1) :])
    begins = [extents[0][0], *(extents[at + 1][0] for at in cuts)]
    return tuple((begin, ends[at] - begin) for begin, at in zip(begins, [*cuts, len(extents) - 1], strict=True))


def length_of(extents: Extents | None, size_bytes: int) -> int:
    """The length of the plaintext."""
    return size_bytes if extents is None else sum(length for _, length in extents)


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that was just opened; its plaintext has `plain_bytes`."""

    descriptor: int
    before: os.stat_result
    extents: Extents | None
    plain_bytes: int

    @classmethod
    def of(cls, descriptor: int) -> OpenFile:
        """Raises SourceSkipped unless it is a regular file."""
        before = regular_status(descriptor)
        extents = extents_of(descriptor, before)
        return cls(descriptor, before, extents, length_of(extents, before.st_size))

    def whole(self) -> bytes:
        """The plaintext in one buffer; raises SourceUnreadable or SourceChanged."""
        size = self.before.st_size
        data = b""
        if self.extents is None:
            try:
                # One byte more: a file that has grown says so.
                data = os.read(self.descriptor, size + 1)
            except OSError as error:
                raise SourceUnreadable(error.errno or 0) from None
        if self.extents is not None or len(data) < size:
            data = b"".join(self.pieces())
        elif len(data) > size:
            raise SourceChanged(f"{size} bytes became at least {len(data)}")
        need_unchanged(self.descriptor, self.before)
        return data

    def pieces(self) -> Iterator[bytes]:
        """The plaintext piece by piece; raises SourceUnreadable, or SourceChanged if the file ends before."""
        size = self.before.st_size
        for offset, length in ((0, size),) if self.extents is None else self.extents:
            at, end = offset, offset + length
            while at < end:
                try:
                    piece = os.pread(self.descriptor, min(_PIECE_BYTES, end - at), at)
                except OSError as error:
                    raise SourceUnreadable(error.errno or 0) from None
                if not piece:
                    raise SourceChanged(f"{size} bytes became {at}")
                at += len(piece)
                yield piece

    def feed(self, take: Callable[[bytes], object], cancel: CancelToken) -> None:
        """Hand over all pieces; raises as `pieces`, SourceChanged, or Cancelled."""
        for piece in self.pieces():
            if cancel.cancelled:
                raise Cancelled
            take(piece)
        need_unchanged(self.descriptor, self.before)

    @contextmanager
    def input(self) -> Iterator[Input]:
        """An input that reads the plaintext; raises SourceChanged at the end if the file has changed meanwhile."""
        if self.extents is None:
            os.lseek(self.descriptor, 0, os.SEEK_SET)
            yield Input(self.descriptor, self.before)
        else:
            with piped(self.pieces(), bytes, bytes) as source:
                yield source
            need_unchanged(self.descriptor, self.before)


def need_unchanged(descriptor: int, before: os.stat_result) -> None:
    """Raises SourceChanged unless a file has still the size and times of before."""
    after = os.fstat(descriptor)
    if after.st_size != before.st_size:
        raise SourceChanged(f"{before.st_size} bytes became {after.st_size}")
    if (after.st_mtime_ns, after.st_ctime_ns) != (before.st_mtime_ns, before.st_ctime_ns):
        raise SourceChanged("it was written to")


@contextmanager
def piped(pieces: Iterator[bytes], change: Callable[[bytes], bytes], finish: Callable[[], bytes]) -> Iterator[Input]:
    """An input that is a pipe, into which a thread writes the pieces, each changed, and then what `finish` gives.

    An error of a piece is raised at the end: the reader would take it for the end of its input.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    failures: list[BaseException] = []

    def feed() -> None:
        try:
            for piece in pieces:
                write_all(write_end, change(piece))
            write_all(write_end, finish())
        except BrokenPipeError:
            # The reader has failed, and says why.
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for this one
            failures.append(error)
        finally:
            os.close(write_end)

    thread = threading.Thread(target=feed, name="plaintext")
    try:
        thread.start()
    except RuntimeError:
        os.close(read_end)
        os.close(write_end)
        # The process may have no more threads; this payload fails, the others go on.
        raise SourceUnreadable(errno.EAGAIN) from None
    try:
        yield Input(read_end, None)
    finally:
        os.close(read_end)
        thread.join()
    if failures:
        raise failures[0]


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
        for begin in range(written_bytes, at, _PIECE_BYTES):
            write(memoryview(bytes(min(_PIECE_BYTES, at - begin))))
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
            for at in range(begin, end, _PIECE_BYTES):
                if any(os.pread(descriptor, min(_PIECE_BYTES, end - at), at)):
                    return False
    return True
