"""What child processes need: a token that cancels them, their environment, and waiting for descriptors by poll(2).

select(2) refuses numbers from 1024 on, which a long-lived process reaches.
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence


class CancelToken:
    """Set once, from any thread or signal handler; readable for ever after.

    An event descriptor that is never read: each of any number of chains that poll it sees it.
    """

    def __init__(self) -> None:
        self._set = False
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._descriptor

    def cancel(self) -> None:
        """Ask everything that polls this to end."""
        self._set = True
        os.eventfd_write(self._descriptor, 1)

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._set

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


_DATABASE_PASSWORDS = ("THREADMILL_DATABASE_URL", "PGPASSWORD")
# By it the processes of a flow run are found; everything else of Prefect is for its own programs.
_FLOW_RUN = "PREFECT__FLOW_RUN_ID"


def foreign_environment() -> dict[str, str]:
    """The environment for programs that are neither Prefect's nor threadmill's: this process's, without any secret.

    Prefect's worker exports its settings into its flow runs, the server's password among them.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name == _FLOW_RUN or not name.startswith(("PREFECT_", *_DATABASE_PASSWORDS))
    }


# poll(2) takes milliseconds as a C int, which is 24 days; a loop asks again.
LONGEST_S = (2**31 - 1) / 1000


def wait_readable(descriptors: Sequence[int], timeout_s: float | None = None) -> set[int]:
    """The descriptors that can be read (or are at their end), after at most `timeout_s`."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    timeout_ms = None if timeout_s is None else 1000 * min(max(timeout_s, 0.0), LONGEST_S)
    return {ready for ready, _ in poll.poll(timeout_ms)}


def wait_writable(descriptor: int, *, or_readable: int) -> set[int]:
    """The descriptors that have become ready: one to be written (or without its reader), the other to be read."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.register(or_readable, select.POLLIN)
    return {ready for ready, _ in poll.poll()}
