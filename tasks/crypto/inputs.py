"""Payloads, the open descriptor that a backend reads one from, and what a backend is.

Everything is read through a descriptor: a file's own, a memory file for random bytes, a pipe for standard input.
The parent keeps it, a child shares its offset, and so the parent can tell afterwards how far it was read.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

from tasks.cancel import CancelToken, wait_readable, wait_writable
from tasks.crypto.chain import Sink, StageResult
from tasks.crypto.errors import (
    CryptoError,
    InputNotRead,
    OddSize,
    SourceChanged,
    SourceNoFile,
    SourceSkipped,
    SourceTooLarge,
    SourceUnreadable,
)
from tasks.crypto.secret import Secret
from tasks.files import PIECE_BYTES, closed_after, write_all
from tasks.suites import Suite

PayloadKind = Literal["random", "file", "stdin"]
BackendName = Literal["openssl", "native"]

LINK = "symbolic link (not followed)"
TOO_LARGE = "larger than --max-size"


@dataclass(frozen=True, slots=True)
class Payload:
    """One thing to encrypt.

    `name` is a file's absolute path, as the bytes that the file system knows, or a label for the other kinds.
    `size_bytes` is what it had when it was planned; None for standard input. `skip` says why there is nothing to
    encrypt (a FIFO, say), and `errno` why it cannot be read, when planning found that out; it is `refused` if it is a
    path that a user named. `known` is the line of an entry before that may have just this content; `moved` says that it
    was another file's. `followed` says that the name is a link that a user named, `carried` that the snapshot has what
    was before at and below a name that cannot be read.
    """

    kind: PayloadKind
    name: bytes
    size_bytes: int | None
    skip: str | None = None
    errno: int | None = None
    known: bytes | None = None
    followed: bool = False
    moved: bool = False
    refused: bool = False
    carried: bool = False

    @property
    def fault(self) -> CryptoError | None:
        """The reason to read nothing of it, if planning found one."""
        if self.skip is not None:
            if self.skip == TOO_LARGE:
                return SourceTooLarge(self.skip)
            return SourceNoFile(self.skip) if self.refused else SourceSkipped(self.skip)
        return None if self.errno is None else SourceUnreadable(self.errno)


class Input:
    """An open payload: `descriptor` to read from `start` on, `size_bytes` from there to its end (None: a pipe)."""

    __slots__ = ("descriptor", "errno", "flaw", "pumped_bytes", "size_bytes", "start", "status")

    def __init__(self, descriptor: int, status: os.stat_result | None, start: int = 0) -> None:
        """Without the `status` of a file when it was opened, the input is a pipe."""
        self.descriptor = descriptor
        self.start = start
        self.status = status
        self.size_bytes = None if status is None else max(0, status.st_size - start)
        self.pumped_bytes = 0
        self.errno: int | None = None
        self.flaw: OddSize | None = None

    def take(self, count: int) -> bytes:
        """The next bytes of a pipe, at most `count`, counted for `check`; empty at its end; raises SourceUnreadable."""
        try:
            data = os.read(self.descriptor, count)
        except OSError as error:
            self.errno = error.errno
            raise SourceUnreadable(error.errno or 0) from None
        self.pumped_bytes += len(data)
        return data

    def check(self) -> int:
        """The number of bytes read, after a backend has read this input to its end.

        `flaw` says if they are not as many as the size of the file. Raises SourceUnreadable, SourceChanged for a file
        that changed since it was opened, or InputNotRead if the reader stopped early (`openssl enc` exits 0 after a
        read error).
        """
        if self.errno is not None:
            raise SourceUnreadable(self.errno)
        if self.status is None:
            return self.pumped_bytes
        need_unchanged(self.descriptor, self.status)
        read, size = os.lseek(self.descriptor, 0, os.SEEK_CUR), self.status.st_size
        if read != size:
            if not self._ends_at(read):
                raise InputNotRead(read - self.start, size - self.start)
            self.flaw = OddSize(size, read)
        return read - self.start

    def _ends_at(self, offset: int) -> bool:
        with suppress(OSError):
            return not os.pread(self.descriptor, 1, offset)
        return False


def need_unchanged(descriptor: int, before: os.stat_result) -> None:
    """Raises SourceChanged unless a file still has the size and times of before."""
    after = os.fstat(descriptor)
    if after.st_size != before.st_size:
        raise SourceChanged(f"{before.st_size} bytes became {after.st_size}")
    if (after.st_mtime_ns, after.st_ctime_ns) != (before.st_mtime_ns, before.st_ctime_ns):
        raise SourceChanged("it was written to")


@contextmanager
def open_payload(payload: Payload, open_file: Callable[[Payload], int]) -> Iterator[Input]:
    """The payload's input, open from its first byte; raises SourceUnreadable, SourceSkipped or SourceReplaced."""
    if payload.kind == "stdin":
        status = os.fstat(0)
        regular = stat.S_ISREG(status.st_mode)
        yield Input(0, status, os.lseek(0, 0, os.SEEK_CUR)) if regular else Input(0, None)
    elif payload.kind == "random":
        with memory_input(_random_pieces(payload.size_bytes or 0)) as source:
            yield source
    else:
        with closed_after(open_file(payload)) as descriptor:
            yield Input(descriptor, regular_status(descriptor))


def regular_status(descriptor: int) -> os.stat_result:
    """The status of an open file; raises SourceSkipped unless it is a regular one."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise SourceSkipped(file_type(status.st_mode))
    return status


@contextmanager
def memory_input(pieces: Iterable[bytes]) -> Iterator[Input]:
    """Bytes that are in no file, as a memory file, so that they take the very path that files take."""
    with closed_after(os.memfd_create("payload", os.MFD_CLOEXEC)) as descriptor:
        for piece in pieces:
            write_all(descriptor, piece)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield Input(descriptor, os.fstat(descriptor))


def _random_pieces(size_bytes: int) -> Iterator[bytes]:
    for start in range(0, size_bytes, PIECE_BYTES):
        yield os.urandom(min(PIECE_BYTES, size_bytes - start))


def file_type(mode: int) -> str:
    """The type of a file for people: `file` for a regular one."""
    for test, what in (
        (stat.S_ISREG, "file"),
        (stat.S_ISDIR, "folder"),
        (stat.S_ISLNK, "symbolic link"),
        (stat.S_ISFIFO, "FIFO"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISBLK, "block device"),
        (stat.S_ISCHR, "character device"),
    ):
        if test(mode):
            return what
    return "special file"


def pumped(source: Input, limit_bytes: int | None) -> AbstractContextManager[int]:
    """A descriptor for a child, which a thread feeds from an input that is a pipe, and counts.

    The count is what makes the ciphertext's length checkable. Past `limit_bytes` the pump stops early, one byte
    over, which the caller sees in `source.pumped_bytes`.
    """
    stop = CancelToken()
    return piped(partial(_pump, source, stop, limit_bytes), stop.cancel)


@contextmanager
def piped(feed: Callable[[int], None], stop: Callable[[], object] | None = None) -> Iterator[int]:
    """The end to read of a pipe; a thread has `feed` write to the other end, which is closed afterwards.

    `stop` ends a feed that waits for its own source, once nobody reads any more: a full pipe tells the feed first.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)

    def work() -> None:
        with closed_after(write_end):
            feed(write_end)

    thread = threading.Thread(target=work, name="feeder")
    try:
        thread.start()
    except RuntimeError:
        os.close(read_end)
        os.close(write_end)
        # The process may have no more threads; this payload fails, the others go on.
        raise SourceUnreadable(errno.EAGAIN) from None
    try:
        yield read_end
    finally:
        os.close(read_end)
        if stop is not None:
            stop()
        thread.join()


def _pump(source: Input, stop: CancelToken, limit_bytes: int | None, write_end: int) -> None:
    # If the pump ends early, the child takes that for the proper end of its input. So the input counts as unreadable
    # until its end has been seen.
    source.errno = errno.EIO
    try:
        os.set_blocking(write_end, False)
        while not stop.cancelled:
            if source.descriptor not in wait_readable([stop.fileno(), source.descriptor]):
                return
            piece = source.take(64 << 10)
            if not piece or (limit_bytes is not None and source.pumped_bytes > limit_bytes):
                source.errno = None
                return
            _write_all(write_end, piece, stop)
    except BrokenPipeError:
        # The first stage has ended; its exit code tells the rest.
        source.errno = None
    except SourceUnreadable as error:
        source.errno = error.errno


def _write_all(write_end: int, piece: bytes, stop: CancelToken) -> None:
    view = memoryview(piece)
    while view and not stop.cancelled:
        if write_end in wait_writable(write_end, or_readable=stop.fileno()):
            view = view[os.write(write_end, view) :]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to encrypt a payload; the secret never leaves the process but through a pipe.

    A longer input than `limit_bytes` is refused with `LegacySize`. `store` takes each piece of ciphertext, header
    first; None discards it. `any_salt` lets a program draw a salt itself, where that is faster.
    """

    source: Input
    suite: Suite
    secret: Secret
    salt: bytes
    limit_bytes: int | None
    deadline_s: float
    cancel: CancelToken
    store: Sink | None = None
    any_salt: bool = False


@dataclass(frozen=True, slots=True)
class Encrypted:
    """The result of a backend: the digest of the ciphertext with its header, and the lengths that it counted.

    `ciphertext_bytes` is None where it could not be counted (a kernel without I/O accounts). `stages` is empty where no
    child process ran. `salt` is that of a backend's attempt only where a program drew it; of a payload it is None where
    nothing was encrypted, since its content is unchanged. `flaw` says why these bytes may not be those that the file
    should have.
    """

    digest: bytes
    size_bytes: int
    ciphertext_bytes: int | None
    stages: tuple[StageResult, ...] = ()
    salt: bytes | None = None
    flaw: SourceChanged | OddSize | None = None


class Backend(Protocol):
    """One way to run a suite. Same salt and secret: the same bytes and digest from every backend."""

    def encrypt(self, attempt: Attempt) -> Encrypted:
        """Encrypt the input to its end, and hash the ciphertext in the same pass.

        The input is checked afterwards to have been read to its end, unchanged. Raises leaves of CryptoError.
        """
