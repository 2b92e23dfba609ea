"""Locks of a vault: many processes add and read at once, or one removes."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from tasks.cancel import CancelToken, wait_readable
from tasks.crypto.errors import Cancelled
from tasks.files import FILE_MODE, closed_after, open_folder, open_new, open_regular
from tasks.vault.errors import VaultBusy, VaultChanged, VaultUnwritable, on_disk
from tasks.vault.format import LOCK, PACKS, SNAPSHOTS, TEMPORARY, TEMPORARY_NAME

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
    with _locked(descriptor, fcntl.LOCK_SH, root, cancel):
        yield


@contextmanager
def writing(root: str, cancel: CancelToken) -> Iterator[None]:
    """Keep others from removing anything while this process adds; raises VaultBusy or VaultUnwritable.

    If this process is alone at first, it empties `tmp/`.
    """
    with closed_after(_open(root, os.O_RDWR)) as descriptor:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sweep(root)
        _lock(descriptor, fcntl.LOCK_SH, root, cancel)
        yield


def alone(root: str, cancel: CancelToken) -> AbstractContextManager[None]:
    """Keep all others out of the vault; raises VaultBusy or VaultUnwritable."""
    return _locked(_open(root, os.O_RDWR), fcntl.LOCK_EX, root, cancel)


def numbering(root: str, cancel: CancelToken) -> AbstractContextManager[None]:
    """Keep others from adding a snapshot, so that each gets its own number; raises VaultBusy or VaultUnwritable."""
    return _locked(_folder(root, SNAPSHOTS), fcntl.LOCK_EX, root, cancel)


def pruning(root: str, cancel: CancelToken) -> AbstractContextManager[None]:
    """Keep others from pruning, which adds and removes by turns; raises VaultBusy or VaultUnwritable."""
    return _locked(_folder(root, PACKS), fcntl.LOCK_EX, root, cancel)


@contextmanager
def running(root: str, run: str) -> Iterator[None]:
    """Have others see that a run (16 hex digits) is alive, as long as it has the `writing` lock."""
    with on_disk(root), closed_after(open_folder(root, TEMPORARY)) as folder:
        descriptor = open_new(run, folder)
    with closed_after(descriptor):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError), closed_after(open_folder(root, TEMPORARY)) as folder:
                os.unlink(run, dir_fd=folder)


def is_running(root: str, run: str) -> bool:
    """Whether a run is alive."""
    try:
        with closed_after(open_folder(root, TEMPORARY)) as folder, closed_after(open_regular(run, folder)[0]) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def sweep(root: str) -> int:
    """Remove the files that runs have left in `tmp/`; how many. The caller is alone in the vault."""
    removed = 0
    # A program that copied the vault may have left the folder out: it is empty as a rule.
    with on_disk(root), closed_after(open_folder(root, TEMPORARY, make=True)) as folder:
        for name in os.listdir(folder):
            # Anything else stays, for `verify` to report.
            if TEMPORARY_NAME.fullmatch(name):
                with suppress(IsADirectoryError, PermissionError):
                    os.unlink(name, dir_fd=folder)
                    removed += 1
    return removed


def _open(root: str, access: int) -> int:
    # O_NONBLOCK: opening a FIFO in its place would wait for a writer.
    flags = access | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with on_disk(root), closed_after(open_folder(root)) as folder:
        descriptor = os.open(LOCK, flags, FILE_MODE, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise VaultChanged(root, f"its file {LOCK} is no file; remove it")
    return descriptor


def _folder(root: str, name: str) -> int:
    # A program that copied the vault may have left an empty folder out.
    with on_disk(root):
        return open_folder(root, name, make=True)


@contextmanager
def _locked(descriptor: int, how: int, root: str, cancel: CancelToken) -> Iterator[None]:
    with closed_after(descriptor):
        _lock(descriptor, how, root, cancel)
        yield


def _lock(descriptor: int, how: int, root: str, cancel: CancelToken) -> None:
    waited_s = 0.0
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if waited_s >= WAIT_S:
                reason = f"is in use by another threadmill, for {WAIT_S:.0f} s now; try again when it has ended"
                raise VaultBusy(root, reason) from None
        else:
            return
        if wait_readable([cancel.fileno()], _POLL_S):
            raise Cancelled
        waited_s += _POLL_S
