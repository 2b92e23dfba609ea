"""The files at and below the paths that a user named, one by one, in a stable order and in bounded memory.

Below a source every folder is opened from the one above, and no link is followed: a folder that somebody swaps for a
link in the middle of a walk leads nowhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from tasks.crypto.inputs import LINK, Payload, file_type
from tasks.files import FolderIdentity, absolute, open_folder

# Tells whether to leave out a path below a source, which may be a folder.
LeaveOut = Callable[[bytes, bytes, bool], bool]

# Linux opens no longer path, and nothing reads such a file by its name.
_LONGEST_PATH = 4095
# Folders of one branch that are open at once: trees can be deeper than a process may have files.
_OPEN_LEVELS = 64


def missing_paths(paths: Iterable[str]) -> list[str]:
    """The paths at which there is nothing at all, not even a dangling link."""
    return [path for path in paths if not os.path.lexists(path)]


class Walked(NamedTuple):
    """A file, folder, link or other thing: `path` is absolute; without `status` it is unreadable, and `errno` tells.

    `skip` says why nothing is kept of it. `target` is that of a link, which is not followed; `followed` says that the
    path itself is a link that a user named, and `refused` that a user named it and it is nothing to be read.
    """

    path: bytes
    status: os.stat_result | None
    errno: int = 0
    skip: str | None = None
    target: bytes = b""
    followed: bool = False
    refused: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder that can be looked at."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    def payload(self) -> Payload:
        """The payload of anything but a folder."""
        if self.skip is not None or self.status is None:
            return Payload("file", self.path, 0, skip=self.skip, errno=self.errno or None, refused=self.refused)
        what = file_type(self.status.st_mode)
        if what == "file":
            return Payload("file", self.path, self.status.st_size, followed=self.followed)
        return Payload("file", self.path, 0, skip=LINK if what == "symbolic link" else what, refused=self.refused)


def scan(paths: Sequence[str]) -> Iterator[Payload]:
    """Every file at or below the paths, in the order of a walk, each once.

    A thing without content (FIFO, socket, device, link) comes as a payload with `skip`, an unreadable folder as one
    with `errno`. A link that is itself a path named by the user is followed, one below it is not. A path named by the
    user that is no file or folder, or that cannot be read, comes as a payload that is `refused`.
    """
    sources = outermost(paths)
    found = chain(walk(sources), walk(refused_inside(paths, sources)))
    return (one.payload() for one in found if not one.is_folder)


def refused_inside(paths: Sequence[str], sources: Sequence[bytes]) -> list[bytes]:
    """The paths inside one of the sources that are neither file nor folder: its walk would pass over them."""
    inside = (path for path in dict.fromkeys(map(absolute, paths)) if path not in sources)
    return [path for path in inside if not (os.path.isfile(path) or os.path.isdir(path))]


def walk(
    sources: Sequence[bytes], leave_out: LeaveOut | None = None, vault: tuple[int, int] | None = None
) -> Iterator[Walked]:
    """Every file, folder and link; a source that is a link is followed, one below it is not.

    `vault` is device and inode of the vault itself, which is never part of a snapshot in it.
    """
    for source in sources:
        try:
            status = os.stat(source)
        except OSError as error:
            dangling = isinstance(error, FileNotFoundError) and os.path.islink(source)
            skip = "dangling symbolic link" if dangling else None
            yield Walked(source, None, error.errno or errno.EIO, skip, refused=True)
        else:
            if stat.S_ISDIR(status.st_mode):
                yield from _Tree(source, leave_out, vault).walk(status)
            elif stat.S_ISREG(status.st_mode) and not os.access(source, os.R_OK, effective_ids=True):
                yield Walked(source, None, errno.EACCES, refused=True)
            else:
                refused = not stat.S_ISREG(status.st_mode)
                yield Walked(source, status, followed=os.path.islink(source), refused=refused)


@dataclass(slots=True)
class _Level:
    """A folder whose content is being walked; its descriptor is -1 while it is closed."""

    name: str
    base: bytes
    names: Iterator[bytes]
    descriptor: int


class _Tree:
    """Walks all that is below one source."""

    def __init__(self, source: bytes, leave_out: LeaveOut | None, vault: tuple[int, int] | None) -> None:
        self._source = source
        self._leave_out = leave_out
        self._vault = vault
        # A stack and not recursion: trees can be deeper than Python's own.
        self._levels: list[_Level] = []
        self._root = -1

    def walk(self, status: os.stat_result) -> Iterator[Walked]:
        """The source, a folder, and all that is below it."""
        try:
            yield from self._enter("", Walked(self._source, status))
            self._root = os.dup(self._levels[0].descriptor) if self._levels else -1
            while self._levels:
                level = self._levels[-1]
                name = next(level.names, None)
                if name is None:
                    self._leave()
                elif (found := self._look(level, name)) is not None:
                    if found.is_folder:
                        yield from self._enter(os.fsdecode(name), found)
                    else:
                        yield found
        finally:
            while self._levels:
                self._leave()
            if self._root >= 0:
                os.close(self._root)

    def _enter(self, name: str, found: Walked) -> Iterator[Walked]:
        """A folder, and what is wrong if it cannot be listed; or its content comes next."""
        assert found.status is not None  # noqa: S101 - a folder has one
        if (found.status.st_dev, found.status.st_ino) == self._vault:
            yield Walked(found.path, found.status, skip="the vault itself")
            return
        # First the folder, even if it cannot be listed: its content follows.
        yield found
        try:
            if self._levels:
                descriptor = open_folder(self._open(self._levels[-1]), name)
            else:
                descriptor = os.open(found.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                names = sorted(map(os.fsencode, os.listdir(descriptor)))
            except OSError:
                os.close(descriptor)
                raise
        except OSError as error:
            yield Walked(found.path, None, error.errno or errno.EIO, refused=not self._levels)
            return
        base = found.path if found.path.endswith(b"/") else found.path + b"/"
        self._levels.append(_Level(name, base, iter(names), descriptor))
        if len(self._levels) > _OPEN_LEVELS and (far := self._levels[-_OPEN_LEVELS - 1]).descriptor >= 0:
            os.close(far.descriptor)
            far.descriptor = -1

    def _open(self, level: _Level) -> int:
        """The descriptor of a level, which may have been closed on the way down."""
        if level.descriptor < 0:
            level.descriptor = open_folder(self._root, *(one.name for one in self._levels[1:]))
        return level.descriptor

    def _leave(self) -> None:
        if (level := self._levels.pop()).descriptor >= 0:
            os.close(level.descriptor)

    def _look(self, level: _Level, name: bytes) -> Walked | None:
        """A thing in a folder; None if it is left out, or is gone."""
        path = level.base + name
        if len(path) > _LONGEST_PATH:
            return Walked(path, None, errno.ENAMETOOLONG)
        target = b""
        try:
            folder = self._open(level)
            status = os.lstat(name, dir_fd=folder)
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(name, dir_fd=folder)
            found = Walked(path, status, target=target)
        except FileNotFoundError:
            # Removed since the folder was listed: then it is not below the source any more.
            return None
        except OSError as error:
            found = Walked(path, None, error.errno or errno.EIO)
        if self._leave_out is not None and self._leave_out(self._source, path, found.is_folder):
            return None
        return found


def source_folders(paths: Sequence[str]) -> tuple[FolderIdentity, ...]:
    """The folders that the files at and below the paths are found in, each once; without those that cannot be read."""
    folders = dict.fromkeys(root if os.path.isdir(root) else os.path.dirname(root) for root in outermost(paths))
    found = []
    for folder in folders:
        with suppress(OSError):
            found.append(FolderIdentity.of(folder))
    return tuple(found)


def outermost(paths: Sequence[str]) -> list[bytes]:
    """Absolute paths in the order given, without paths that the walk of another one comes to."""
    roots = list(dict.fromkeys(absolute(path) for path in paths))
    folders = {root for root in roots if os.path.isdir(root)}
    return [root for root in roots if not _is_met(root, folders)]


def _is_met(root: bytes, folders: set[bytes]) -> bool:
    """Whether the walk of one of the folders comes to this path: it follows no link on the way, nor at its end."""
    path = root
    for parent in parents(root):
        if os.path.islink(path):
            return False
        if parent in folders:
            return True
        path = parent
    return False


def parents(path: bytes) -> Iterator[bytes]:
    """The folders that a path lies in, the nearest first."""
    parent = os.path.dirname(path)
    while parent != path:
        yield parent
        path, parent = parent, os.path.dirname(parent)
