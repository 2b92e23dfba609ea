"""The measuring lock: one measurement at a time on a host, whoever measures, and nobody who holds it stays unnamed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import time
from collections.abc import Callable, Iterator

from tasks.cancel import CancelToken
from tasks.threads.errors import HostBusy, MeasuringCancelled, MeasuringLockUnusable

POLL_S = 0.1


@contextlib.contextmanager
def host_lock(
    path: str, *, wait_s: float, cancel: CancelToken | None = None, tell: Callable[[str], object] = str
) -> Iterator[None]:
    """Hold the measuring lock, so that one measurement at a time runs on a host, whoever measures.

    It is an advisory lock on the folder or file at `path`, which every user can open and nobody can replace: nothing
    is made there or written. The kernel frees it when the process ends, however it ends; children do not inherit it.
    Whoever holds it is told at once. Raises MeasuringLockUnusable, or HostBusy if others held it for longer than
    `wait_s`.
    """
    descriptor = _open_lock(path)
    try:
        _wait_for(descriptor, path, wait_s, cancel, tell)
        yield
    finally:
        os.close(descriptor)


def check_lock(path: str) -> str:
    """The path, if the measuring lock can be opened there; raises MeasuringLockUnusable."""
    os.close(_open_lock(path))
    return path


def _open_lock(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise MeasuringLockUnusable(path, str(error.strerror)) from None


def _wait_for(
    descriptor: int, path: str, wait_s: float, cancel: CancelToken | None, tell: Callable[[str], object]
) -> None:
    """Poll instead of blocking, so that a cancel gets through."""
    start, told = time.monotonic(), False
    while True:
        if cancel is not None and cancel.cancelled:
            raise MeasuringCancelled(f"waiting for {path}")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited_s = time.monotonic() - start
            if waited_s > wait_s:
                raise HostBusy(path, waited_s, _holder(descriptor)) from None
            if not told:
                told = True
                tell(f"{_holder(descriptor)} holds the measuring lock {path}: waiting for at most {wait_s:.0f} s")
            time.sleep(POLL_S)
        except OSError as error:
            raise MeasuringLockUnusable(path, str(error.strerror)) from None
        else:
            return


def _holder(descriptor: int) -> str:
    """The process that holds a lock, as the kernel tells every user: `process 12 (python3) of user ada`."""
    status = os.fstat(descriptor)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError), open("/proc/locks", encoding="ascii") as locks:
        cells = [line.split() for line in locks]
        # Some file systems have another device number there.
        of_file = [own for own in cells if own[1] == "FLOCK" and own[5].endswith(f":{status.st_ino}")]
        for own in sorted(of_file, key=lambda own: own[5] != place):
            return f"process {own[4]}{_about(own[4])}"
    return "a process that cannot be seen from here"


def _about(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            facts = {name: value.strip() for name, _, value in (line.partition(":") for line in file)}
        uid = int(facts["Uid"].split()[0])
    except (OSError, KeyError, ValueError):
        return ""
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    return f" ({facts['Name']}) of user {user}"
