"""Waiting for descriptors by poll(2): select(2) refuses numbers from 1024 on, which a long-lived process reaches."""

from __future__ import annotations

import select
from collections.abc import Sequence

# poll(2) takes milliseconds as a C int, which is 24 days; a loop asks again.
LONGEST_S = (2**31 - 1) / 1000


def wait_readable(descriptors: Sequence[int], timeout_s: float | None = None) -> set[int]:
    """Those that can be read (or are at their end), after at most `timeout_s`; empty if none can."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    timeout_ms = None if timeout_s is None else 1000 * min(max(timeout_s, 0.0), LONGEST_S)
    return {ready for ready, _ in poll.poll(timeout_ms)}


def wait_writable(descriptor: int, *, or_readable: int) -> set[int]:
    """Which of the two has become ready: the one for writing (or lost its reader), the other for reading."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    poll.register(or_readable, select.POLLIN)
    return {ready for ready, _ in poll.poll()}
