"""Locks of a vault: many processes add and read at once, or one removes."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tasks.cancel import CancelToken, wait_readable
from tasks.crypto.errors import Cancelled
from tasks.files import FILE_MODE, FOLDER_MODE, closed_after
from tasks.vault.errors import VaultBusy, VaultChanged, VaultUnwritable, on_disk
from tasks.vault.format import LOCK, SNAPSHOTS, TEMPORARY

# The longest wait for another process, and the time between two looks.
WAIT_S = 60.0
_POLL_S = 0.1


@contextmanager
def reading(root: str, cancel: CancelToken) -> Iterator[None]:
    """Keep others from removing anything; raises VaultBusy.

    A read-only file system needs no lock: nothing can be removed there.
    """
    try:
        descriptor = _open(root, os.O_RDONLY)
    except VaultUnwritable as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        yield
        return
    with closed_after(descriptor):
        _lock(descriptor, fcntl.LOCK_SH, root, cancel)
        yield


@contextmanager
def writing(root: str, cancel: CancelToken) -> Iterator[None]:
    """Keep others from removing anything while this process adds; raises VaultBusy or VaultUnwritable.

    If this process is alone at first, it empties `tmp/`.
    """
    with closed_after(_open(root, os.O_RDWR)) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            sweep(root)
        _lock(descriptor, fcntl.LOCK_SH, root, cancel)
        yield


@contextmanager
def alone(root: str, cancel: CancelToken) -> Iterator[None]:
    """Keep all others out of the vault; raises VaultBusy or VaultUnwritable."""
    with closed_after(_open(root, os.O_RDWR)) as descriptor:
        _lock(descriptor, fcntl.LOCK_EX, root, cancel)
        yield


@contextmanager
def numbering(root: str, cancel: CancelToken) -> Iterator[None]:
    """Keep others from adding a snapshot, so that each gets its own number; raises VaultBusy or VaultUnwritable."""
    with on_disk(root):
        descriptor = os.open(f"{root}/{SNAPSHOTS}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with closed_after(descriptor):
        _lock(descriptor, fcntl.LOCK_EX, root, cancel)
        yield


def sweep(root: str) -> int:
    """Remove the files in `tmp/`; how many. The caller is alone in the vault."""
    folder = f"{root}/{TEMPORARY}"
    with on_disk(root):
        # A program that copied the vault may have left it out: it is empty as a rule.
        with suppress(FileExistsError):
            os.mkdir(folder, FOLDER_MODE)
        names = os.listdir(folder)
        for name in names:
            # Anything but a file stays, for `verify` to report.
            with suppress(IsADirectoryError, PermissionError):
                os.unlink(f"{folder}/{name}")
    return len(names)


def _open(root: str, access: int) -> int:
    # O_NONBLOCK: opening a FIFO in its place would wait for a writer.
    flags = access | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with on_disk(root):
        descriptor = os.open(f"{root}/{LOCK}", flags, FILE_MODE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise VaultChanged(root, f"its file {LOCK} is no file; remove it")
    return descriptor


def _lock(descriptor: int, how: int, root: str, cancel: CancelToken) -> None:
    waited_s = 0.0
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if waited_s >= WAIT_S:
                raise VaultBusy(
                    root, f"is in use by another threadmill, for {WAIT_S:.0f} s now; try again when it has ended"
                ) from None
        else:
            return
        if wait_readable([cancel.fileno()], _POLL_S):
            raise Cancelled
        waited_s += _POLL_S
