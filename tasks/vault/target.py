"""The folder to restore into, and the folders in it: entered one by one, and never through a link below a source."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from tasks.files import ACCESS_ACL, DEFAULT_ACL, FolderIdentity, closed_after
from tasks.vault.entries import FolderEntry
from tasks.vault.errors import TargetUnusable
from tasks.vault.portions import RestorePortion

# Neither setuid nor setgid: a restored file belongs to the user who restores it.
MODES = 0o1777
# The mode of a folder from its making to the moment in which it is left: nobody else enters it, and a restore that
# takes up an interrupted one knows it by that. No folder that was there before is changed.
_IN_WORK = 0o1700
# A process may have 1,024 open files as a rule, and a path 2,000 parts.
_OPEN_FOLDERS = 64
_CLOSED = -1
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class _Folder:
    """A folder of the target on the way to the current entry; `is_new` says that it was made now, and not before.

    A file that is made in it gets an ACL if that is `inherited`, which may open it to more users. When it is left it
    gets `mode` and `mtime_ns`, if they are not None. `lent` says that the mode is its own, and that its owner was let
    in for the meantime. `descriptor` is `_CLOSED` for one far above, found again by `identity` (device, inode).
    """

    path: bytes
    descriptor: int
    mode: int | None = None
    mtime_ns: int | None = None
    lent: bool = False
    is_new: bool = False
    inherited: bool = False
    identity: tuple[int, int] = (0, 0)

    def settle(self) -> None:
        """Give it its mode and time."""
        with suppress(OSError):
            if self.mode is not None:
                os.fchmod(self.descriptor, self.mode)
            if self.mtime_ns is not None:
                os.utime(self.descriptor, ns=(self.mtime_ns, self.mtime_ns))


class Target:
    """A folder, and a way through those below it in the order of a snapshot; all paths are relative to it."""

    def __init__(self, folder: FolderIdentity, portion: RestorePortion, *, overwrite: bool) -> None:
        """Open the target, and go into folders that an earlier portion has made; raises TargetUnusable.

        With `overwrite` folders that were there before get the modes and times of their entries, too. Where files go
        back to their own places, links in the paths of the sources are followed, as they were by reading.
        """
        self.path = folder.path
        self._overwrite = overwrite
        in_place = not self.path.strip("/")
        self.followed = (
            frozenset(path for source in portion.sources for path in _on_the_way(source)) if in_place else ()
        )
        with on_target(self.path):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._folders = [_Folder(b"", descriptor, inherited=_has_default_acl(descriptor))]
        status = os.fstat(descriptor)
        # A server may give everything that this user makes to another one, as NFS does with all_squash.
        self._users = os.geteuid(), status.st_uid
        if not folder.fits(status):
            os.close(descriptor)
            raise TargetUnusable(self.path, "another folder is there than when this run was planned; start it again")
        # A folder that cannot be entered is reported by each entry below it.
        with suppress(OSError):
            for entry in portion.inside:
                above, _, name = entry.path.rpartition(b"/")
                self.make(entry, self.enter(above), name)

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
            self._go_into(inner, at.descriptor, inner[start:], None)
        return self._folders[-1].descriptor

    @property
    def at(self) -> _Folder:
        """The folder that was entered last."""
        return self._folders[-1]

    def make(self, entry: FolderEntry, parent: int, name: bytes) -> None:
        """Make a folder, if it is not there, and go into it; `parent` is where `enter` led, `name` its last part."""
        self._go_into(entry.path, parent, name, entry)

    def _go_into(self, path: bytes, parent: int, name: bytes, entry: FolderEntry | None) -> None:
        is_new = False
        with suppress(FileExistsError):
            os.mkdir(name, _IN_WORK, dir_fd=parent)
            is_new = True
        descriptor, mode = self._open(path, parent, name)
        if not _lock(descriptor):
            os.close(descriptor)
            raise OSError(errno.EBUSY, "another restore is writing to its folder")
        folder = _Folder(path, descriptor, is_new=is_new, inherited=_has_default_acl(descriptor))
        status = os.fstat(descriptor)
        is_ours = is_new or (stat.S_IMODE(status.st_mode) == _IN_WORK and status.st_uid in self._users)
        if is_ours and folder.inherited:
            drop_acl(descriptor)
            folder.inherited = False
        folder.mode = 0o700 if is_ours else _let_in(descriptor, status) if mode is None else mode
        folder.lent = folder.mode is not None and not is_ours
        if entry is not None and (is_ours or self._overwrite):
            folder.mode, folder.mtime_ns = entry.mode & MODES, entry.mtime_ns
        self._folders.append(folder)
        # The folder above one behind a link is not found again by `..`.
        if len(self._folders) > _OPEN_FOLDERS and self._folders[-1 - _OPEN_FOLDERS].path not in self.followed:
            above = self._folders[-1 - _OPEN_FOLDERS]
            above.identity = _identity(above.descriptor)
            os.close(above.descriptor)
            above.descriptor = _CLOSED

    def _open(self, path: bytes, parent: int, name: bytes) -> tuple[int, int | None]:
        """A descriptor of a folder, and the mode that it had if its owner had to be let in."""
        try:
            return os.open(name, _FOLDER_FLAGS, dir_fd=parent), None
        except PermissionError:
            return open_own(name, parent, _FOLDER_FLAGS)
        except OSError:
            if path not in self.followed:
                raise
        with resolved(name, parent) as (folder, last):
            return os.open(last, _FOLDER_FLAGS, dir_fd=folder), None

    def _leave(self) -> None:
        """Set mode and time last: putting a file into a folder changes both."""
        folder = self._folders.pop()
        if folder.descriptor == _CLOSED:
            return
        try:
            if self._folders and self._folders[-1].descriptor == _CLOSED:
                self._find_again(self._folders[-1], folder.descriptor)
            folder.settle()
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

    def close(self, next_path: bytes | None = None) -> None:
        """Leave all folders; those on the way to the first entry of the next portion are settled by it.

        Without a path the restore has ended early: no folder is settled, so that doing it again finishes them.
        """
        while (
            next_path is not None and self._folders and not (next_path + b"/").startswith(self._folders[-1].path + b"/")
        ):
            self._leave()
        for folder in self._folders:
            if folder.descriptor != _CLOSED:
                if folder.lent:
                    folder.settle()
                os.close(folder.descriptor)
        self._folders.clear()


def make_target(path: str) -> FolderIdentity:
    """The folder to restore into; made if it is not there; raises TargetUnusable."""
    with suppress(FileExistsError), on_target(path):
        os.mkdir(path, 0o700)
    with on_target(path):
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        return FolderIdentity.of(os.path.abspath(path))


@contextmanager
def locked_target(folder: FolderIdentity) -> Iterator[None]:
    """Keep other restores out of a target; raises TargetUnusable if one is at work there."""
    with on_target(folder.path):
        descriptor = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with closed_after(descriptor):
        if not _lock(descriptor):
            raise TargetUnusable(folder.path, "another restore is writing to it; try again when that has ended")
        yield


def open_own(name: bytes, parent: int, flags: int) -> tuple[int, int]:
    """Open a folder or file of this user whose mode keeps its owner out, and let him in; a descriptor, and the mode.

    PermissionError if it is another user's, or of another kind.
    """
    with closed_after(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)) as place:
        status = os.fstat(place)
        if status.st_uid != os.geteuid() or not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        mode = stat.S_IMODE(status.st_mode)
        # By the descriptor, since nothing else changes the mode of just what was looked at.
        os.chmod(f"/proc/self/fd/{place}", mode | 0o700)
        return os.open(f"/proc/self/fd/{place}", flags & ~os.O_NOFOLLOW), mode


def drop_acl(descriptor: int) -> None:
    """Remove the ACL that a new file or folder has from the folder that it was made in."""
    for name in (ACCESS_ACL, DEFAULT_ACL):
        with suppress(OSError):
            os.removexattr(descriptor, name)


def _has_default_acl(descriptor: int) -> bool:
    with suppress(OSError):
        os.getxattr(descriptor, DEFAULT_ACL)
        return True
    return False


def _let_in(descriptor: int, status: os.stat_result) -> int | None:
    """Let the owner of a folder write to it for a while, if its mode keeps him out; the mode, to be set again."""
    if status.st_uid != os.geteuid() or os.access(b".", os.W_OK | os.X_OK, dir_fd=descriptor, effective_ids=True):
        return None
    mode = stat.S_IMODE(status.st_mode)
    os.fchmod(descriptor, mode | 0o700)
    return mode


def _lock(descriptor: int) -> bool:
    """Take a folder for this restore; False if another one has it. Some file systems have no locks on folders."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _on_the_way(source: bytes) -> Iterator[bytes]:
    """The relative paths of a source and of all folders above it."""
    parts = source.strip(b"/").split(b"/")
    return (b"/".join(parts[:number]) for number in range(len(parts) + 1))


@contextmanager
def resolved(name: bytes, parent: int) -> Iterator[tuple[int, bytes]]:
    """The folder and name that a link leads to, over links that other users cannot change; its own if it is none."""
    with ExitStack() as opened:
        parts = [name]
        for _ in range(1000):
            name = parts.pop()
            if (target := _own_link(name, parent)) is not None:
                parts += reversed([part for part in target.split(b"/") if part] or [b"."])
                name = b"/" if target.startswith(b"/") else b"."
            elif not parts:
                yield parent, name
                return
            parent = os.open(name, _FOLDER_FLAGS, dir_fd=parent)
            opened.callback(os.close, parent)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _own_link(name: bytes, parent: int) -> bytes | None:
    """The target of a link; None if it is none.

    OSError unless only root and this user can have made that link, or put another one in its place.
    """
    with suppress(FileNotFoundError):
        status, above, users = os.stat(name, dir_fd=parent, follow_symlinks=False), os.fstat(parent), (0, os.geteuid())
        if not stat.S_ISLNK(status.st_mode):
            return None
        own = status.st_uid in users and above.st_uid in users
        if not own or (above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX):
            raise OSError(errno.EPERM, "a link on the way to it can be changed by other users, and is not followed")
        return os.readlink(name, dir_fd=parent)
    return None


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
