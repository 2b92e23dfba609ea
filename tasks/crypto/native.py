"""The native backend: `cryptography` and hashlib, in this process, bit for bit what `openssl enc` writes."""

from __future__ import annotations

import errno
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

import cryptography
from cryptography.hazmat.backends.openssl import backend as library

from tasks.cancel import CancelToken, wait_readable
from tasks.crypto.ciphers import ENCRYPTORS, HASHES, derive
from tasks.crypto.errors import Cancelled, DeadlineExceeded, LegacySize, SourceUnreadable
from tasks.crypto.inputs import Attempt, Encrypted, Input
from tasks.suites import MAGIC

_PIECE_BYTES = 256 << 10
_BUFFERS = 4
# Below this a second thread costs more than it brings.
_OVERLAP_BYTES = 4 << 20


class NativeBackend:
    """Runs every suite in this process, in constant memory; the calls into OpenSSL drop the GIL."""

    def __init__(self, *, overlap: bool = True) -> None:
        self._overlap = overlap

    @staticmethod
    def detail() -> str:
        """Versions of the package and of the OpenSSL inside it."""
        return f"cryptography {cryptography.__version__} ({library.openssl_version_text()})"

    def encrypt(self, attempt: Attempt) -> Encrypted:
        """See `Backend.encrypt`."""
        source, suite, store = attempt.source, attempt.suite, attempt.store
        encryptor = ENCRYPTORS[suite.cipher](*derive(suite, attempt.secret, attempt.salt))
        hasher = HASHES[suite.digest]()
        written = 0

        def consume(piece: memoryview | bytes) -> None:
            nonlocal written
            hasher.update(piece)
            written += len(piece)
            if store is not None:
                store(piece)

        size = source.size_bytes
        piece_bytes = min(_PIECE_BYTES, size + 1) if size else _PIECE_BYTES
        overlap = self._overlap and (size is None or size >= _OVERLAP_BYTES)
        block = suite.spec.block_bytes
        # The header goes out with the first piece: a small file is one write and one hash.
        header = MAGIC + attempt.salt
        buffers = (_Behind if overlap else _Direct)(consume, len(header) + piece_bytes + 2 * block)

        def encrypt(piece: bytes | memoryview) -> None:
            nonlocal header
            buffer = buffers.empty()
            start = len(header)
            buffer[:start] = header
            header = b""
            buffers.full(buffer, start + encryptor.update_into(piece, memoryview(buffer)[start:]))

        with buffers:
            read = 0
            for piece in _pieces(source, piece_bytes, attempt.deadline_s, attempt.cancel):
                read += len(piece)
                if attempt.limit_bytes is not None and read > attempt.limit_bytes:
                    raise LegacySize(suite.name, read, attempt.limit_bytes)
                encrypt(piece)
            if block > 1:
                padding = block - read % block
                encrypt(bytes([padding]) * padding)
            elif not read:
                encrypt(b"")
        return Encrypted(hasher.digest(), source.check(), written)


def _pieces(source: Input, piece_bytes: int, deadline_s: float, cancel: CancelToken) -> Iterator[bytes | memoryview]:
    """The input piece by piece; a memoryview is good until the next one is asked for."""
    deadline = time.monotonic() + deadline_s
    view = memoryview(bytearray(piece_bytes))
    piece: bytes | memoryview
    read = 0
    # A file of that size is at its end; whether it has grown meanwhile `check` asks. One of size 0 may have content
    # all the same (those of /proc).
    while not read or read != source.size_bytes:
        left_s = deadline - time.monotonic()
        if cancel.cancelled:
            raise Cancelled
        if left_s <= 0:
            raise DeadlineExceeded(deadline_s)
        if source.size_bytes is None:
            # A pipe may have nothing to say for long, and must not keep a cancelled run.
            if source.descriptor not in wait_readable([source.descriptor, cancel.fileno()], left_s):
                continue
            piece = source.take(piece_bytes)
        else:
            try:
                piece = view[: os.readv(source.descriptor, [view])]
            except OSError as error:
                raise SourceUnreadable(error.errno or 0) from None
        if not piece:
            return
        read += len(piece)
        yield piece


class _Direct:
    """Hands each full buffer to `consume` at once."""

    def __init__(self, consume: Callable[[memoryview], None], size_bytes: int) -> None:
        self._consume = consume
        self._only = bytearray(size_bytes)

    def empty(self) -> bytearray:
        """A buffer to fill."""
        return self._only

    def full(self, buffer: bytearray, count: int) -> None:
        """Hand over the first `count` bytes of a buffer."""
        self._consume(memoryview(buffer)[:count])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing is waiting."""


class _Behind(threading.Thread):
    """Hands full buffers to `consume` in a second thread: hashing one piece runs beside encrypting the next."""

    def __init__(self, consume: Callable[[memoryview], None], size_bytes: int) -> None:
        super().__init__(name="hash")
        self._consume = consume
        self._empty: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[bytearray, int] | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        for _ in range(_BUFFERS):
            self._empty.put(bytearray(size_bytes))

    def run(self) -> None:
        """Consume until told to end; after a failure only give the buffers back."""
        while (entry := self._full.get()) is not None:
            buffer, count = entry
            try:
                if self._failure is None:
                    self._consume(memoryview(buffer)[:count])
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for this one
                self._failure = error
            self._empty.put(buffer)

    def empty(self) -> bytearray:
        """A buffer to fill, as soon as there is one."""
        if self._failure is not None:
            raise self._failure
        return self._empty.get()

    def full(self, buffer: bytearray, count: int) -> None:
        """Hand over the first `count` bytes of a buffer."""
        self._full.put((buffer, count))

    def __enter__(self) -> Self:
        try:
            self.start()
        except RuntimeError as error:
            # The process may have no more threads; this payload fails, the others go on.
            raise OSError(errno.EAGAIN, str(error)) from None
        return self

    def __exit__(self, kind: object, *_error: object) -> None:
        self._full.put(None)
        self.join()
        if self._failure is not None and kind is None:
            raise self._failure
