"""Reading a file twice: first to find out whether it is authentic, then to use it, with the same bytes both times."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator

PIECE_BYTES = 1 << 20


class ReadFailed(Exception):
    """The operating system does not give the bytes, or not the same ones; tells it from faults of who takes them."""


class ReadTwice:
    """A file whose second reading is held, piece by piece, against the first one.

    Whoever may write to a vault could change a file between its check and its use; 32 bytes for each MiB prevent that
    without keeping the content in memory.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pieces: list[tuple[int, bytes]] = []
        self.size_bytes = 0

    def first(self, take: Callable[[bytes], object]) -> None:
        """Hand over the whole file, piece by piece; raises ReadFailed."""
        while piece := self._read(PIECE_BYTES, self.size_bytes):
            self._pieces.append((len(piece), hashlib.sha256(piece).digest()))
            self.size_bytes += len(piece)
            take(piece)

    def again(self) -> Iterator[bytes]:
        """The same pieces; raises ReadFailed."""
        at = 0
        for length, digest in self._pieces:
            piece = self._read(length, at)
            if hashlib.sha256(piece).digest() != digest:
                raise ReadFailed("changed between two readings")
            at += length
            yield piece

    def _read(self, length: int, at: int) -> bytes:
        try:
            return os.pread(self._descriptor, length, at)
        except OSError as error:
            raise ReadFailed(error.strerror) from None
