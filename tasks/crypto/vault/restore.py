"""Bringing files back: nothing outside the target, nothing over anything else, nothing under its name before proof."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from tasks.crypto.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.crypto.files import open_new, rename_new, sync_file_system, write_all
from tasks.crypto.vault.decrypt import Take, decrypt_once
from tasks.crypto.vault.entries import Entry, FileEntry, FolderEntry, LinkEntry
from tasks.crypto.vault.errors import TargetUnusable, VaultChanged, VaultError
from tasks.crypto.vault.snapshots import OpenSnapshot
from tasks.crypto.vault.vault import Vault
from tasks.crypto.vault.verdicts import Status, Verdict, judged

# Neither setuid nor setgid: a file comes back as one of whoever restores it.
_MODES = 0o1777
# Then none of the files that are still to come would fare better.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# A process may have 1,024 open files as a rule, and a path 2,000 parts.
_OPEN_FOLDERS = 64
_CLOSED = -1
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Wanted:
    """Which entries are to be restored: all, or those at or below some paths, with the folders on the way to them."""

    def __init__(self, paths: Sequence[bytes] = ()) -> None:
        """Paths as a snapshot has them, relative, or with a slash before them as they were on disk."""
        stripped = tuple(path.strip(b"/") for path in paths)
        self._paths = () if b"" in stripped else stripped

    def __contains__(self, entry: Entry) -> bool:
        if not self._paths:
            return True
        below = any(entry.path == path or entry.path.startswith(path + b"/") for path in self._paths)
        return below or (
            isinstance(entry, FolderEntry) and any(path.startswith(entry.path + b"/") for path in self._paths)
        )

    def missing(self, opened: OpenSnapshot) -> tuple[list[bytes], int, int]:
        """Those paths at which the snapshot has nothing; and how many files, with how many bytes, are wanted.

        Reads all of it, so that a snapshot which is not as it must be is refused before anything is restored.

        Raises:
            SnapshotInvalid: an entry is not what an entry may be.
        """
        left = set(self._paths)
        files = size_bytes = 0
        for entry in opened.entries():
            left.discard(entry.path)
            if isinstance(entry, FileEntry) and entry in self:
                files += 1
                size_bytes += entry.facts.size_bytes
        return sorted(left), files, size_bytes


@dataclass(slots=True)
class _Folder:
    """A folder of the target on the way to the entry at hand, and what it is to be like in the end.

    `descriptor` is `_CLOSED` for one far above; `identity` (device, inode) then tells whether it is found again.
    """

    path: bytes
    descriptor: int
    entry: FolderEntry | None
    identity: tuple[int, int] = (0, 0)


class Restoration:
    """Restores entry after entry; a verdict for each file, and for whatever else could not be restored."""

    def __init__(self, vault: Vault, target: str, *, overwrite: bool, cancel: CancelToken) -> None:
        """`target` is a folder, made if it is not there; `overwrite` lets files and links be replaced.

        Raises:
            TargetUnusable: it is no folder, or cannot be made.
        """
        self._vault = vault
        self._target = target
        self._overwrite = overwrite
        self._cancel = cancel
        self._name = b""
        self.restored = self.same = self.links = 0
        with suppress(FileExistsError), _on_target(target):
            os.mkdir(target, 0o700)
        with _on_target(target):
            self._folders = [_Folder(b"", os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), None)]

    def restore(self, opened: OpenSnapshot, wanted: Wanted) -> Generator[Verdict]:
        """Go through the snapshot.

        Raises:
            TargetUnusable: the target takes no more.
            VaultError: the snapshot cannot be read any more.
        """
        self._name = opened.snapshot.name.encode()
        try:
            for entry in opened.entries():
                if entry in wanted:
                    if self._cancel.cancelled:
                        raise Cancelled
                    yield from self._restore(entry)
        finally:
            while self._folders:
                self._leave()
        with _on_target(self._target):
            sync_file_system(self._target)

    def _restore(self, entry: Entry) -> Iterator[Verdict]:
        begin, started_ns = time.time_ns(), time.perf_counter_ns()
        verdict: Verdict | None = None
        try:
            parent = self._enter(entry.path.rpartition(b"/")[0])
            name = entry.path.rpartition(b"/")[2]
            if isinstance(entry, FolderEntry):
                self._folder(entry, parent, name)
            elif isinstance(entry, LinkEntry):
                self._link(entry, parent, name)
            else:
                self._file(entry, parent, name)
                verdict = Verdict("object", entry.object, "ok", entry.facts.size_bytes, b"/" + entry.path)
        except VaultError as error:
            assert isinstance(entry, FileEntry)  # noqa: S101 - nothing else has an object
            status: Status = "changed" if isinstance(error, VaultChanged) else "unreadable"
            verdict = Verdict("object", entry.object, status, entry.facts.size_bytes, b"/" + entry.path, error.reason)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise TargetUnusable(self._target, f"cannot be written: {error.strerror}") from None
            shown = entry.path.decode(errors="backslashreplace")
            verdict = judged("file", shown, "not-written", _reason(error), b"/" + entry.path)
        if verdict is not None:
            yield replace(verdict, checked_at_ns=begin, wall_ns=time.perf_counter_ns() - started_ns)

    def _enter(self, path: bytes) -> int:
        """The descriptor of an entry's folder, after leaving those that it is not in; missing ones are made."""
        while self._folders[-1].path and not (path + b"/").startswith(self._folders[-1].path + b"/"):
            self._leave()
        while (at := self._folders[-1]).path != path:
            start = len(at.path) + 1 if at.path else 0
            end = path.find(b"/", start)
            inner = path if end < 0 else path[:end]
            name = inner[start:]
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=at.descriptor)
            self._go_into(_Folder(inner, os.open(name, _FOLDER_FLAGS, dir_fd=at.descriptor), None))
        return self._folders[-1].descriptor

    def _folder(self, entry: FolderEntry, parent: int, name: bytes) -> None:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        self._go_into(_Folder(entry.path, os.open(name, _FOLDER_FLAGS, dir_fd=parent), entry))

    def _go_into(self, folder: _Folder) -> None:
        self._folders.append(folder)
        if len(self._folders) > _OPEN_FOLDERS:
            above = self._folders[-1 - _OPEN_FOLDERS]
            above.identity = _identity(above.descriptor)
            os.close(above.descriptor)
            above.descriptor = _CLOSED

    def _leave(self) -> None:
        """Its own mode and time come last: what is put into a folder changes both."""
        folder = self._folders.pop()
        if folder.descriptor == _CLOSED:
            return
        try:
            if self._folders and self._folders[-1].descriptor == _CLOSED:
                self._find_again(self._folders[-1], folder.descriptor)
            if folder.entry is not None:
                with suppress(OSError):
                    os.fchmod(folder.descriptor, folder.entry.mode & _MODES)
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

    def _link(self, entry: LinkEntry, parent: int, name: bytes) -> None:
        with suppress(FileNotFoundError, OSError):
            if os.readlink(name, dir_fd=parent) == entry.target:
                self.same += 1
                return
        part = self._part_name(name)
        with suppress(FileNotFoundError):
            os.unlink(part, dir_fd=parent)
        os.symlink(entry.target, part, dir_fd=parent)
        os.utime(part, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)
        self._give_name(part, name, parent)
        self.links += 1

    def _file(self, entry: FileEntry, parent: int, name: bytes) -> None:
        part = self._part_name(name)
        # One that was interrupted left it.
        with suppress(FileNotFoundError):
            os.unlink(part, dir_fd=parent)
        if self._is_there(entry, parent, name):
            self.same += 1
            return
        descriptor = open_new(part, parent)
        try:
            self._decrypt(entry, lambda piece: write_all(descriptor, piece))
            _settle(entry, descriptor)
            self._give_name(part, name, parent)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(part, dir_fd=parent)
            raise
        finally:
            os.close(descriptor)
        self.restored += 1

    def _is_there(self, entry: FileEntry, parent: int, name: bytes) -> bool:
        """Whether the target has the very file already: an interrupted restore is taken up by doing it again."""
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        except OSError:
            return False
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size != entry.facts.size_bytes:
                return False
            same = True

            def compare(piece: memoryview) -> None:
                nonlocal same
                same = same and file.read(len(piece)) == piece

            self._decrypt(entry, compare)
            if same:
                _settle(entry, descriptor)
            return same

    def _decrypt(self, entry: FileEntry, take: Take) -> None:
        decrypt_once(self._vault, entry.object, entry.facts.size_bytes, take, self._cancel)

    def _part_name(self, name: bytes) -> bytes:
        """The same for the same name, so that a further try removes what an interrupted one left.

        Another one for each snapshot: what was left in a tree that is encrypted again is a file like any other.
        """
        return b".threadmill-" + hashlib.sha256(self._name + b"/" + name).hexdigest()[:16].encode() + b".part"

    def _give_name(self, part: bytes, name: bytes, parent: int) -> None:
        try:
            if self._overwrite:
                os.rename(part, name, src_dir_fd=parent, dst_dir_fd=parent)
            else:
                rename_new(part, name, parent)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(part, dir_fd=parent)


def _settle(entry: FileEntry, descriptor: int) -> None:
    os.fchmod(descriptor, entry.facts.mode & _MODES)
    os.utime(descriptor, ns=(entry.facts.mtime_ns, entry.facts.mtime_ns))


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _reason(error: OSError) -> str:
    if isinstance(error, FileExistsError):
        return "something else is there already; --overwrite replaces files and links"
    return error.strerror or str(error)


@contextmanager
def _on_target(target: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise TargetUnusable(target, f"cannot be used: {error.strerror}") from None
