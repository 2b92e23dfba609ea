"""Writing and reading files: whole or not at all, never through a link, and the same bytes twice."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import secrets
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

# Files with ciphertext, secrets or plaintext are for their owner only, and so are the folders of a vault.
FILE_MODE = 0o600
FOLDER_MODE = 0o700
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# An ACL is a word, and eight bytes for each entry: its tag, its permissions, and a user or group.
ACCESS_ACL = "system.posix_acl_access"
DEFAULT_ACL = "system.posix_acl_default"
_GROUP_OBJ = 4

# Errors of file systems that lack an operation.
_CANNOT = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)
PIECE_BYTES = 1 << 20
# Small enough for the caches of a processor.
_HASHED_BYTES = 256 << 10


def _renameat2(*_arguments: object) -> int:
    ctypes.set_errno(errno.ENOSYS)
    return -1


# A C library may be older than it.
_renameat2 = getattr(_libc, "renameat2", _renameat2)
_fallocate = getattr(_libc, "fallocate64", _libc.fallocate)


def absolute(path: str) -> bytes:
    """The absolute path as the kernel finds it; only links before a `..` are resolved."""
    name = os.fsencode(path)
    if b".." not in name.split(b"/"):
        return os.path.abspath(name)
    # `link/..` is not the folder that the link lies in.
    folder, last = os.path.split(os.path.join(os.getcwdb(), name))
    return os.path.realpath(name) if last in {b"..", b"."} else os.path.join(os.path.realpath(folder), last)


@contextmanager
def closed_after(descriptor: int) -> Iterator[int]:
    """Close a descriptor on every way out."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_folder(root: str | int, *parts: str, make: bool = False) -> int:
    """A descriptor of the folder `parts` below `root`, a path or a descriptor that stays open.

    No part may be a link, so that nobody who writes to `root` can lead out of it: OSError, ENOTDIR. `make` makes the
    parts that are missing.
    """
    here = os.dup(root) if isinstance(root, int) else os.open(root, _FOLDER_FLAGS)
    for part in parts:
        try:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, FOLDER_MODE, dir_fd=here)
            below = os.open(part, _FOLDER_FLAGS, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here


def open_regular(path: str | bytes, folder: int | None = None) -> tuple[int, int]:
    """A descriptor to read a file, and the file's length; a relative path starts from the descriptor `folder`.

    A link, FIFO or device in its place is refused and not waited for: OSError, EINVAL.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file", os.fsdecode(path))
    return descriptor, status.st_size


def open_new(path: str | bytes, folder: int | None = None) -> int:
    """A descriptor to write a file that is not there yet; a relative path starts from the descriptor `folder`."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, FILE_MODE, dir_fd=folder)


def mode_without_acl(file: bytes | int, mode: int) -> int:
    """The permissions of a file or folder but for its ACL; where it has one, the group's bits in `mode` are its mask.

    As permissions of the group, a mask would open the file to a group that the ACL keeps out.
    """
    if mode & stat.S_IRWXG:
        with suppress(OSError):
            acl = os.getxattr(file, ACCESS_ACL)
            permissions: int
            for tag, permissions, _ in struct.iter_unpack("<HHI", acl[4:] if len(acl) % 8 == 4 else b""):
                if tag == _GROUP_OBJ:
                    return mode & ~stat.S_IRWXG | mode & permissions << 3
    return mode


@contextmanager
def new_file(folder: int) -> Iterator[tuple[str, int]]:
    """A new file in a folder, to be written and then renamed: its name (16 hex digits), and a descriptor to write it.

    The name is removed after an error.
    """
    name = secrets.token_hex(8)
    with closed_after(open_new(name, folder)) as descriptor:
        try:
            yield name, descriptor
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)
            raise


def write_file(path: str, content: bytes, *, replace: bool) -> None:
    """Write a file whole or not at all, mode 0600, on disk before this returns; a link in its place is not followed.

    Without `replace`, FileExistsError if anything is in its place.
    """
    folder, name = os.path.split(os.path.abspath(path))
    with closed_after(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as at:
        with new_file(at) as (part, descriptor):
            # Whatever the umask is.
            os.fchmod(descriptor, FILE_MODE)
            write_all(descriptor, content)
            os.fsync(descriptor)
            if replace:
                os.rename(part, name, src_dir_fd=at, dst_dir_fd=at)
            else:
                rename_new(part, name, at)
        os.fsync(at)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of it: a short write is no error to write(2), and the next one then tells why it was short."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def rename_new(part: str | bytes, name: str | bytes, folder: int | None = None) -> None:
    """Rename a file or link to a name that nothing has: unlike rename(2), this replaces nothing.

    Where the kernel cannot do it in one step (NFS), a hard link does: that takes a fourth longer. Where there are none
    either (some of FUSE), the name is looked up first: a file that is made at the same moment is then replaced.
    Relative names start from the descriptor `folder`. After FileExistsError, or another OSError, `part` is still there.
    """
    at = _AT_FDCWD if folder is None else folder
    if b"\0" in os.fsencode(name):
        raise ValueError("embedded null byte")
    if not _renameat2(at, os.fsencode(part), at, os.fsencode(name), _RENAME_NOREPLACE):
        return
    number = ctypes.get_errno()
    if number not in _CANNOT:
        raise OSError(number, os.strerror(number), os.fsdecode(name))
    try:
        os.link(part, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    else:
        with suppress(OSError):
            os.unlink(part, dir_fd=folder)
        return
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(name))


@dataclass(frozen=True, slots=True)
class FolderIdentity:
    """A folder as it was when a run was planned, so that a step in another process finds the same one or refuses."""

    path: str
    device: int
    inode: int

    @classmethod
    def of(cls, path: str | bytes) -> FolderIdentity:
        """The folder at a path; raises OSError."""
        status = os.stat(path)
        return cls(os.fsdecode(path), status.st_dev, status.st_ino)

    def fits(self, status: os.stat_result) -> bool:
        """Whether that is the same folder."""
        return (status.st_dev, status.st_ino) == (self.device, self.inode)

    def was_replaced(self) -> bool:
        """Whether another folder is at the path by now; False if none is, or it cannot be read."""
        with suppress(OSError):
            return not self.fits(os.stat(self.path))
        return False


def sync_folder(path: str) -> None:
    """Put the names in a folder on disk, so that they survive a loss of power."""
    with closed_after(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as descriptor:
        os.fsync(descriptor)


def sync_file_system(folder: str) -> None:
    """Put everything that was written to a folder's file system on disk, in one wait."""
    with closed_after(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as descriptor:
        if _libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), folder)


def reserve(descriptor: int, length: int) -> None:
    """Have the disk keep room for the first bytes of a file, which then has that length; raises OSError.

    Nothing happens where the file system cannot: what the C library does instead writes to every block.
    """
    if _fallocate(descriptor, 0, ctypes.c_longlong(0), ctypes.c_longlong(length)):
        number = ctypes.get_errno()
        if number not in _CANNOT:
            raise OSError(number, os.strerror(number))


class ReadFailed(Exception):
    """A file cannot be read, or has other bytes at the second reading."""


class ReadTwice:
    """A file whose second reading is compared, piece by piece, with the first one.

    An attacker who writes to a vault could change a file between its check and its use; 32 bytes a MiB prevent that
    without keeping the content in memory.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pieces: list[tuple[int, bytes]] = []
        self.size_bytes = 0

    def first(self, take: Callable[[bytes], object]) -> None:
        """Hand over the whole file, piece by piece; raises ReadFailed."""
        while piece := self._read(PIECE_BYTES, self.size_bytes):
            self._pieces.append((len(piece), hashlib.sha256(piece).digest()))
            self.size_bytes += len(piece)
            take(piece)

    def again(self) -> Iterator[bytes]:
        """The same pieces; raises ReadFailed."""
        at = 0
        for length, digest in self._pieces:
            piece = self._read(length, at)
            if hashlib.sha256(piece).digest() != digest:
                raise ReadFailed("changed between two readings")
            at += length
            yield piece

    def _read(self, length: int, at: int) -> bytes:
        try:
            return os.pread(self._descriptor, length, at)
        except OSError as error:
            raise ReadFailed(error.strerror) from None


def hashed(descriptor: int, length: int, update: Callable[[memoryview], object]) -> Iterator[memoryview]:
    """The pieces of a file up to a length, each hashed, and gone with the next; raises ReadFailed."""
    room = memoryview(bytearray(_HASHED_BYTES))
    try:
        while length and (count := os.readv(descriptor, [room[:length]])):
            length -= count
            update(room[:count])
            yield room[:count]
    except OSError as error:
        raise ReadFailed(error.strerror) from None
