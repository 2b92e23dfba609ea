"""The files of a batch: opened below the folders of their run, through no link, and their bytes without holes."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from tasks.cancel import CancelToken
from tasks.crypto.errors import (
    Cancelled,
    CryptoError,
    OddSize,
    SourceChanged,
    SourceReplaced,
    SourceSkipped,
    SourceUnreadable,
)
from tasks.crypto.holes import Extents, extents_of
from tasks.crypto.inputs import LINK, Input, Payload, need_unchanged, piped, regular_status
from tasks.files import PIECE_BYTES, FolderIdentity, open_folder, write_all

# More than any file has that gives nothing to a second read.
_AT_ONCE_BYTES = 64 << 10
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: the planned file may be a FIFO now, and opening one would wait for its writer.
_FILE_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

# A disk that is told of so many files at once reads them in an order of its own: cold files take a third of the time,
# and files in memory take no longer.
_AHEAD = 128
_AHEAD_BYTES = 1 << 20
# Groups hold descriptors: all of them a fourth of those that the process may have.
_groups = threading.Semaphore(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // (4 * _AHEAD))


class Sources:
    """Opens files below the folders that a run was planned for, and follows no link below them.

    A file below none of them is opened by its path. Of `coming` payloads, each of which has another name, the next ones
    are opened ahead, and the kernel reads them meanwhile.
    """

    def __init__(self, folders: Sequence[FolderIdentity] = (), coming: Sequence[tuple[int, Payload]] = ()) -> None:
        self._folders = {os.fsencode(folder.path): folder for folder in folders}
        self._roots: dict[bytes, int] = {}
        # Files come folder by folder.
        self._last = b""
        self._descriptor = -1
        self._coming = coming
        self._next = 0
        self._ahead: dict[bytes, int] = {}
        self._holds = False

    def open(self, payload: Payload) -> int:
        """A descriptor to read a file, which need not be a regular one; raises a CryptoError."""
        if not self._ahead and self._next < len(self._coming) and payload is self._coming[self._next][1]:
            self._open_group()
        descriptor = self._ahead.pop(payload.name, -1)
        return self._open(payload) if descriptor < 0 else descriptor

    def _open_group(self) -> None:
        group = self._coming[self._next : self._next + _AHEAD]
        self._next += len(group)
        self._holds = self._holds or _groups.acquire(blocking=False)
        for _, payload in group if self._holds else ():
            # The attempt at the file itself says what is wrong with it.
            with suppress(CryptoError):
                descriptor = self._ahead[payload.name] = self._open(payload)
                with suppress(OSError):
                    os.posix_fadvise(descriptor, 0, _AHEAD_BYTES, os.POSIX_FADV_WILLNEED)

    def _open(self, payload: Payload) -> int:
        if (fault := payload.fault) is not None:
            raise fault
        folder, _, name = payload.name.rpartition(b"/")
        flags = _FILE_FLAGS if payload.followed else _FILE_FLAGS | os.O_NOFOLLOW
        try:
            if folder != self._last or self._descriptor < 0:
                self._enter(folder)
            return os.open(name or b".", flags, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno == errno.ELOOP and not payload.followed:
                raise SourceSkipped(LINK) from None
            raise SourceUnreadable(error.errno or 0) from None

    def _enter(self, folder: bytes) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        root, below = folder, []
        while root not in self._folders and root:
            root, _, name = root.rpartition(b"/")
            below.append(os.fsdecode(name))
        # The root of the file system is the empty path here, and is `/` as a source.
        if root or b"/" in self._folders:
            self._descriptor = open_folder(self._root(root or b"/"), *reversed(below))
        else:
            self._descriptor = os.open(folder or b"/", _FOLDER_FLAGS)
        self._last = folder

    def _root(self, path: bytes) -> int:
        if path not in self._roots:
            descriptor = os.open(path, _FOLDER_FLAGS)
            self._roots[path] = descriptor
            if not self._folders[path].fits(os.fstat(descriptor)):
                raise SourceReplaced(os.fsdecode(path))
        return self._roots[path]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for descriptor in (self._descriptor, *self._roots.values(), *self._ahead.values()):
            if descriptor >= 0:
                os.close(descriptor)
        if self._holds:
            _groups.release()


@dataclass(slots=True)
class OpenFile:
    """A file that was just opened; its plaintext has `plain_bytes`.

    A change while it is read is an error, unless the file is `tolerant`: then it is the `flaw` of the bytes.
    """

    descriptor: int
    before: os.stat_result
    extents: Extents | None
    plain_bytes: int
    tolerant: bool = False
    flaw: SourceChanged | OddSize | None = None

    @classmethod
    def of(cls, descriptor: int, *, tolerant: bool = False) -> OpenFile:
        """Raises SourceSkipped unless it is a regular file."""
        before = regular_status(descriptor)
        extents = extents_of(descriptor, before)
        plain_bytes = before.st_size if extents is None else sum(length for _, length in extents)
        return cls(descriptor, before, extents, plain_bytes, tolerant)

    def whole(self, most: int) -> bytes:
        """The plaintext in one buffer; at most one byte more than `most`. Raises SourceUnreadable or SourceChanged."""
        size = self.before.st_size
        if self.extents is None:
            # One byte more: a file that has grown says so. Files of /proc/sys give nothing to a second read.
            data = self._next(min(size, most) + 1 if size else _AT_ONCE_BYTES)
            if len(data) != size:
                data = self._odd(data, most)
        else:
            data = b"".join(self.pieces())
        self._note_changes()
        return data

    def _odd(self, data: bytes, most: int) -> bytes:
        """The content of a file that has not given as many bytes as its size says, from its first bytes."""
        size, is_changed = self.before.st_size, self._note_changes()
        pieces, held = [data], len(data)
        end = size if is_changed else most + 1
        while held < end and (piece := self._next(min(PIECE_BYTES, end - held))):
            pieces.append(piece)
            held += len(piece)
        if held != size and not is_changed:
            self.flaw = OddSize(size, held)
        return b"".join(pieces)[:end]

    def pieces(self) -> Iterator[bytes]:
        """The plaintext piece by piece; raises SourceUnreadable, or OddSize or SourceChanged if the file ends before.

        Of a tolerant file zeros are the rest then.
        """
        size = self.before.st_size
        for offset, length in ((0, size),) if self.extents is None else self.extents:
            at, end = offset, offset + length
            while at < end:
                count = min(PIECE_BYTES, end - at)
                try:
                    piece = os.pread(self.descriptor, count, at)
                except OSError as error:
                    raise SourceUnreadable(error.errno or 0) from None
                if not piece:
                    if not self._note_changes():
                        raise OddSize(size, at)
                    piece = bytes(count)
                at += len(piece)
                yield piece

    def rest(self, beginning: bytes) -> Iterator[bytes]:
        """All that a file gives whose size says something else, from its first bytes on; raises SourceUnreadable."""
        at, piece = 0, beginning
        while piece:
            at += len(piece)
            yield piece
            piece = self._next(PIECE_BYTES)
        self.flaw = OddSize(self.before.st_size, at)

    def feed(self, take: Callable[[bytes], object], cancel: CancelToken) -> None:
        """Hand over all pieces; raises as `pieces`, SourceChanged, or Cancelled."""
        for piece in self.pieces():
            if cancel.cancelled:
                raise Cancelled
            take(piece)
        self._note_changes()

    @contextmanager
    def input(
        self,
        change: Callable[[bytes], bytes] | None = None,
        finish: Callable[[], bytes] = bytes,
        beginning: bytes = b"",
    ) -> Iterator[Input]:
        """An input that reads the plaintext, or each piece of it changed, and then what `finish` gives.

        With a `beginning` it is what `rest` gives. An error of a piece, or SourceChanged if the file has changed
        meanwhile, is raised at the end: the reader would take it for the end of its input.
        """
        if self.extents is None and change is None and not (self.tolerant or beginning):
            os.lseek(self.descriptor, 0, os.SEEK_SET)
            yield Input(self.descriptor, self.before)
            return
        failures: list[BaseException] = []

        def feed(write_end: int) -> None:
            try:
                for piece in self.rest(beginning) if beginning else self.pieces():
                    write_all(write_end, piece if change is None else change(piece))
                write_all(write_end, finish())
            except BrokenPipeError:
                # The reader has failed, and says why.
                pass
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for this one
                failures.append(error)

        with piped(feed) as read_end:
            yield Input(read_end, None)
        if failures:
            raise failures[0]
        self._note_changes()

    def _next(self, count: int) -> bytes:
        """The next bytes: some files of /proc cannot be read from a place of one's choice."""
        try:
            return os.read(self.descriptor, count)
        except OSError as error:
            raise SourceUnreadable(error.errno or 0) from None

    def _note_changes(self) -> bool:
        """Whether the file has changed since it was opened; raises SourceChanged unless it is tolerant."""
        try:
            need_unchanged(self.descriptor, self.before)
        except SourceChanged as error:
            if not self.tolerant:
                raise
            self.flaw = error
        return isinstance(self.flaw, SourceChanged)
