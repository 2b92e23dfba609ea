"""Opening the files of a batch: below the folders of their run, through no link, and a group of them ahead."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from tasks.crypto.errors import CryptoError, SourceReplaced, SourceSkipped, SourceUnreadable
from tasks.crypto.inputs import LINK, Payload
from tasks.files import FolderIdentity, open_folder

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

    A file below none of them is opened by its path.
    """

    def __init__(self, folders: Sequence[FolderIdentity] = ()) -> None:
        self._folders = {os.fsencode(folder.path): folder for folder in folders}
        self._roots: dict[bytes, int] = {}
        # Files come folder by folder.
        self._last = b""
        self._descriptor = -1

    def open(self, payload: Payload) -> int:
        """A descriptor to read a file, which need not be a regular one; raises a CryptoError."""
        if payload.skip is not None:
            raise SourceSkipped(payload.skip)
        if payload.errno is not None:
            raise SourceUnreadable(payload.errno)
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
        for descriptor in (self._descriptor, *self._roots.values()):
            if descriptor >= 0:
                os.close(descriptor)


class Ahead:
    """Opens the files of a batch in its order, and has the kernel read the next ones meanwhile."""

    def __init__(self, sources: Sources, payloads: Sequence[tuple[int, Payload]]) -> None:
        self._sources = sources
        self._payloads = payloads
        self._opened: dict[int, int] = {}
        self._next = 0
        self._holds = False

    def open(self, ordinal: int, payload: Payload) -> int:
        """See `Sources.open`."""
        if not self._opened and self._next < len(self._payloads) and ordinal == self._payloads[self._next][0]:
            self._open_group()
        descriptor = self._opened.pop(ordinal, -1)
        return self._sources.open(payload) if descriptor < 0 else descriptor

    def _open_group(self) -> None:
        group = self._payloads[self._next : self._next + _AHEAD]
        self._next += len(group)
        self._holds = self._holds or _groups.acquire(blocking=False)
        for ordinal, payload in group if self._holds else ():
            # The attempt at the file itself says what is wrong with it.
            with suppress(CryptoError):
                descriptor = self._opened[ordinal] = self._sources.open(payload)
                with suppress(OSError):
                    os.posix_fadvise(descriptor, 0, _AHEAD_BYTES, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """Close the files that nobody asked for."""
        for descriptor in self._opened.values():
            os.close(descriptor)
        self._opened.clear()
        if self._holds:
            _groups.release()
            self._holds = False
