"""The folder to restore into, and the folders in it: entered one by one, and never through a link."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tasks.files import FolderIdentity
from tasks.vault.entries import FolderEntry
from tasks.vault.errors import TargetUnusable

# Neither setuid nor setgid: a restored file belongs to the user who restores it.
MODES = 0o1777
# A process may have 1,024 open files as a rule, and a path 2,000 parts.
_OPEN_FOLDERS = 64
_CLOSED = -1
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class _Folder:
    """A folder of the target on the way to the current entry, and the entry that it gets its mode and time from.

    `descriptor` is `_CLOSED` for one far above; `identity` (device, inode) then tells whether it is found again.
    """

    path: bytes
    descriptor: int
    entry: FolderEntry | None
    is_new: bool = False
    identity: tuple[int, int] = (0, 0)


class Target:
    """A folder, and a way through those below it in the order of a snapshot; all paths are relative to it."""

    def __init__(self, folder: FolderIdentity, inside: Sequence[FolderEntry] = ()) -> None:
        """Open the target, and go into folders that an earlier portion has made; raises TargetUnusable."""
        self.path = folder.path
        with on_target(self.path):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._folders = [_Folder(b"", descriptor, None)]
        if not folder.fits(os.fstat(descriptor)):
            os.close(descriptor)
            raise TargetUnusable(self.path, "another folder is there than when this run was planned; start it again")
        # A folder that cannot be entered is reported by each entry below it.
        with suppress(OSError):
            for entry in inside:
                self.enter(entry.path)
                self._folders[-1].entry = entry

    def enter(self, path: bytes) -> int:
        """The descriptor of an entry's folder, after leaving those that it is not in; missing ones are made.

        OSError if there is something else, or if the operating system refuses it.
        """
        while self._folders[-1].path and not (path + b"/").startswith(self._folders[-1].path + b"/"):
            self._leave()
        while (at := self._folders[-1]).path != path:
            start = len(at.path) + 1 if at.path else 0
            end = path.find(b"/", start)
            inner = path if end < 0 else path[:end]
            name = inner[start:]
            self._go_into(inner, at.descriptor, name, 0o777, None)
        return self._folders[-1].descriptor

    @property
    def is_new(self) -> bool:
        """Whether the folder that was entered last was made here, and not before."""
        return self._folders[-1].is_new

    def make(self, entry: FolderEntry, parent: int, name: bytes) -> None:
        """Make a folder, if it is not there, and go into it; `parent` is where `enter` led, `name` its last part."""
        self._go_into(entry.path, parent, name, 0o700, entry)

    def _go_into(self, path: bytes, parent: int, name: bytes, mode: int, entry: FolderEntry | None) -> None:
        is_new = False
        with suppress(FileExistsError):
            os.mkdir(name, mode, dir_fd=parent)
            is_new = True
        self._folders.append(_Folder(path, os.open(name, _FOLDER_FLAGS, dir_fd=parent), entry, is_new))
        if len(self._folders) > _OPEN_FOLDERS:
            above = self._folders[-1 - _OPEN_FOLDERS]
            above.identity = _identity(above.descriptor)
            os.close(above.descriptor)
            above.descriptor = _CLOSED

    def _leave(self) -> None:
        """Set mode and time last: putting a file into a folder changes both."""
        folder = self._folders.pop()
        if folder.descriptor == _CLOSED:
            return
        try:
            if self._folders and self._folders[-1].descriptor == _CLOSED:
                self._find_again(self._folders[-1], folder.descriptor)
            if folder.entry is not None:
                with suppress(OSError):
                    os.fchmod(folder.descriptor, folder.entry.mode & MODES)
                    os.utime(folder.descriptor, ns=(folder.entry.mtime_ns, folder.entry.mtime_ns))
        finally:
            os.close(folder.descriptor)

    @staticmethod
    def _find_again(above: _Folder, below: int) -> None:
        """Open the folder above again; if it is another one by now, it stays closed, and nothing is written there."""
        with suppress(OSError):
            found = os.open(b"..", _FOLDER_FLAGS, dir_fd=below)
            if _identity(found) == above.identity:
                above.descriptor = found
            else:
                os.close(found)

    def close(self, next_path: bytes = b"") -> None:
        """Leave all folders; those on the way to the first entry of the next portion are settled by it."""
        while self._folders and not (next_path + b"/").startswith(self._folders[-1].path + b"/"):
            self._leave()
        for folder in self._folders:
            if folder.descriptor != _CLOSED:
                os.close(folder.descriptor)
        self._folders.clear()


def make_target(path: str) -> FolderIdentity:
    """The folder to restore into; made if it is not there; raises TargetUnusable."""
    with suppress(FileExistsError), on_target(path):
        os.mkdir(path, 0o700)
    with on_target(path):
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        return FolderIdentity.of(os.path.abspath(path))


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


@contextmanager
def on_target(target: str) -> Iterator[None]:
    """Raises TargetUnusable for errors of the operating system, except FileExistsError."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise TargetUnusable(target, f"cannot be used: {error.strerror}") from None
