"""The files at and below the paths that a user named, one by one, in a stable order and in bounded memory."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tasks.crypto.inputs import Payload, file_type
from tasks.files import FolderIdentity, absolute

_LINK = "symbolic link (not followed)"
# Tells whether to leave out a path below a source, which may be a folder.
LeaveOut = Callable[[bytes, bytes, bool], bool]


def missing_paths(paths: Iterable[str]) -> list[str]:
    """The paths at which there is nothing at all, not even a dangling link."""
    return [path for path in paths if not os.path.lexists(path)]


@dataclass(frozen=True, slots=True)
class Walked:
    """A file, folder, link or other thing: `path` is absolute; without `status` it is unreadable, and `errno` tells.

    `skip` says why nothing is kept of it.
    """

    path: bytes
    status: os.stat_result | None
    errno: int = 0
    skip: str | None = None

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder that can be looked at."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    def payload(self) -> Payload:
        """The payload of anything but a folder."""
        if self.skip is not None or self.status is None:
            return Payload("file", self.path, 0, skip=self.skip, errno=self.errno or None)
        what = file_type(self.status.st_mode)
        if what == "file":
            return Payload("file", self.path, self.status.st_size)
        return Payload("file", self.path, 0, skip=_LINK if what == "symbolic link" else what)


def scan(paths: Sequence[str]) -> Iterator[Payload]:
    """Every file at or below the paths, in the order of a walk, each once.

    A thing without content (FIFO, socket, device, link) comes as a payload with `skip`, an unreadable folder as one
    with `errno`. A link that is itself a path named by the user is followed, one below it is not.
    """
    return (found.payload() for found in walk(outermost(paths)) if not found.is_folder)


def walk(
    sources: Sequence[bytes], leave_out: LeaveOut | None = None, vault: tuple[int, int] | None = None
) -> Iterator[Walked]:
    """Every file, folder and link; a source that is a link is followed, one below it is not.

    `vault` is device and inode of the vault itself, which is never part of a snapshot in it.
    """
    for source in sources:
        try:
            found = Walked(source, os.stat(source))
        except FileNotFoundError:
            # The command has checked that there is something.
            yield Walked(source, None, skip="dangling symbolic link")
            continue
        except OSError as error:
            yield Walked(source, None, error.errno or errno.EIO)
            continue
        yield from _visit(source, found, leave_out, vault)


def _visit(source: bytes, first: Walked, leave_out: LeaveOut | None, vault: tuple[int, int] | None) -> Iterator[Walked]:
    # A stack and not recursion: trees can be deeper than Python's own.
    stack = [iter([first])]
    while stack:
        found = next(stack[-1], None)
        if found is None:
            stack.pop()
        elif found.status is None or not found.is_folder:
            yield found
        elif (found.status.st_dev, found.status.st_ino) == vault:
            yield Walked(found.path, found.status, skip="the vault itself")
        else:
            # First the folder, even if it cannot be listed: its content follows.
            yield found
            try:
                names = sorted(os.listdir(found.path))
            except OSError as error:
                yield Walked(found.path, None, error.errno or errno.EIO)
            else:
                stack.append(_below(source, found.path, names, leave_out))


def _below(source: bytes, folder: bytes, names: list[bytes], leave_out: LeaveOut | None) -> Iterator[Walked]:
    base = folder if folder.endswith(b"/") else folder + b"/"
    for name in names:
        path = base + name
        try:
            status = os.lstat(path)
            found = Walked(path, status)
        except FileNotFoundError:
            # Removed since the folder was listed: then it is not below the source any more.
            continue
        except OSError as error:
            found = Walked(path, None, error.errno or errno.EIO)
        if leave_out is None or not leave_out(source, path, found.is_folder):
            yield found


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
