"""Objects: written to `tmp/`, put on disk batch by batch, and only then given their names."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from tasks.files import open_new, sync_file_system, sync_folder, write_all
from tasks.vault.errors import VaultUnwritable
from tasks.vault.layout import FOLDER_MODE, OBJECT_NAME, OBJECTS, TEMPORARY, object_path

# Of more objects than this the file system is told to write everything down at once: one wait instead of thousands.
_ONE_BY_ONE = 8


class NewObject:
    """Ciphertext on its way into the vault; `write` is what a backend's `store` takes."""

    __slots__ = ("_descriptor", "_root", "path")

    def __init__(self, root: str, path: str) -> None:
        """Raises VaultUnwritable."""
        self._root = root
        self.path = path
        try:
            self._descriptor = open_new(path)
        except OSError as error:
            raise VaultUnwritable(root, error.errno or 0) from None

    def write(self, piece: bytes | memoryview) -> None:
        """The next piece; raises VaultUnwritable."""
        try:
            write_all(self._descriptor, piece)
        except OSError as error:
            raise VaultUnwritable(self._root, error.errno or 0) from None

    def close(self) -> None:
        """There is no more; raises VaultUnwritable."""
        try:
            os.close(self._descriptor)
        except OSError as error:
            raise VaultUnwritable(self._root, error.errno or 0) from None


class ObjectBatch:
    """The objects of one batch: none has its name before all of them are on disk.

    Leaving it without `commit` removes what was written.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._prefix = f"{root}/{TEMPORARY}/{secrets.token_hex(8)}"
        self._made = 0
        self._waiting: dict[str, str] = {}

    def new(self) -> NewObject:
        """A new object, to be written and closed, then kept or dropped; raises VaultUnwritable."""
        self._made += 1
        return NewObject(self._root, f"{self._prefix}-{self._made}")

    def keep(self, made: NewObject, digest: str) -> None:
        """It is whole, and will have this name (64 hex digits)."""
        self._waiting[made.path] = digest

    @staticmethod
    def drop(made: NewObject) -> None:
        """It is good for nothing."""
        with suppress(OSError):
            os.unlink(made.path)

    def commit(self) -> None:
        """Data on disk, then names, then the folders of the names on disk.

        Raises:
            VaultUnwritable: the disk did not take all of it; what has no name yet gets none.
        """
        if not self._waiting:
            return
        try:
            self._sync()
            folders = {f"{self._root}/{OBJECTS}/{digest[:2]}" for digest in self._waiting.values()}
            for path, digest in tuple(self._waiting.items()):
                _move(path, object_path(self._root, digest))
                del self._waiting[path]
            if len(folders) > _ONE_BY_ONE:
                sync_file_system(self._root)
            else:
                for folder in (*sorted(folders), f"{self._root}/{OBJECTS}"):
                    sync_folder(folder)
        except OSError as error:
            raise VaultUnwritable(self._root, error.errno or 0) from None

    def _sync(self) -> None:
        if len(self._waiting) > _ONE_BY_ONE:
            sync_file_system(self._root)
            return
        for path in self._waiting:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for path in self._waiting:
            with suppress(OSError):
                os.unlink(path)


def _move(path: str, new: str) -> None:
    try:
        os.rename(path, new)
    except FileNotFoundError:
        # The folder of the first object that begins like this.
        with suppress(FileExistsError):
            os.mkdir(os.path.dirname(new), FOLDER_MODE)
        os.rename(path, new)


def object_names(root: str) -> Iterator[str]:
    """The digests of all objects that are there, sorted; a folder of them at a time is in memory.

    What cannot be listed is not there; `verify` says why.
    """
    objects = f"{root}/{OBJECTS}"
    for folder in _listed(objects, folders=True):
        for name in _listed(f"{objects}/{folder}", folders=False):
            if name[:2] == folder and OBJECT_NAME.fullmatch(name):
                yield name


def _listed(folder: str, *, folders: bool) -> list[str]:
    """The names of folders, or of files, sorted; links are neither, and not followed."""
    with suppress(OSError):
        if stat.S_ISDIR(os.lstat(folder).st_mode):
            with os.scandir(folder) as listing:
                kept = (one for one in listing if (one.is_dir if folders else one.is_file)(follow_symlinks=False))
                return sorted(one.name for one in kept)
    return []


def digest_of(descriptor: int, size_bytes: int, buffer: bytearray) -> str:
    """SHA-256 of the first bytes of an open file, of as many as there are; `buffer` is what it is read into.

    Raises:
        OSError: reading failed.
    """
    hasher = hashlib.sha256()
    view = memoryview(buffer)
    left = size_bytes
    while left > 0 and (count := os.readv(descriptor, [view[:left]])):
        hasher.update(view[:count])
        left -= count
    return hasher.hexdigest()
