"""One measurement at a time on a host, also between two runs of threadmill."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from tasks.threads.errors import ExperimentCancelledError, HostLockTimeoutError
from tasks.threads.launching import Cancel

POLL_S = 0.1


@contextlib.contextmanager
def host_lock(path: str, *, wait_s: float, cancel: Cancel | None = None) -> Iterator[None]:
    """Hold the measuring lock at `path`, created if need be, waiting at most `wait_s` for others.

    Raises HostLockTimeoutError and ExperimentCancelledError. The kernel frees it with the process, however
    that ends; children do not inherit it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _wait_for(descriptor, path, wait_s, cancel)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, path: str, wait_s: float, cancel: Cancel | None) -> None:
    """Ask again and again instead of blocking, so that a cancel gets through."""
    start = time.monotonic()
    while True:
        if cancel is not None and cancel.is_set():
            raise ExperimentCancelledError(f"waiting for {path}")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited_s = time.monotonic() - start
            if waited_s > wait_s:
                holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip()
                raise HostLockTimeoutError(path, waited_s, holder) from None
            time.sleep(POLL_S)
        else:
            return
