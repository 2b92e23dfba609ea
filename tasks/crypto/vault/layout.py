"""Where things are in a vault, and what they are called."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat

PARAMETERS = "vault.json"
OBJECTS = "objects"
SNAPSHOTS = "snapshots"
TEMPORARY = "tmp"
LOCK = "lock"

OBJECT_NAME = re.compile(r"[0-9a-f]{64}")
SNAPSHOT_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}")

# Everything in a vault is for its owner: snapshots have names in clear.
FOLDER_MODE = 0o700
FILE_MODE = 0o600

_libc = ctypes.CDLL(None, use_errno=True)


def object_path(root: str, digest: str) -> str:
    """The file of an object, by the 64 hex digits of its digest."""
    return f"{root}/{OBJECTS}/{digest[:2]}/{digest}"


def snapshot_path(root: str, name: str) -> str:
    """The file of a snapshot."""
    return f"{root}/{SNAPSHOTS}/{name}"


def sync_folder(path: str) -> None:
    """Have names that were given or taken in a folder survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_regular(path: str) -> tuple[int, int]:
    """A descriptor to read a file of a vault, and how many bytes that has.

    A link, FIFO or device in its place is refused and not waited for.

    Raises:
        OSError: it is not there, cannot be read, or is no regular file (EINVAL).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file", path)
    return descriptor, status.st_size


def open_new(path: str) -> int:
    """A descriptor to write a file that is not there yet, for its owner only.

    Raises:
        OSError: it is there, or cannot be made.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, FILE_MODE)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of it: a short write is no error to write(2), and the next one then tells why it was short.

    Raises:
        OSError: the disk is full, or fails.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_file_system(folder: str) -> None:
    """Put everything that was written to a folder's file system on disk, in one wait.

    Raises:
        OSError: some of it could not be.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), folder)
    finally:
        os.close(descriptor)
