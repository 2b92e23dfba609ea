"""Ctrl-C and its like: the first asks `serve` to end in order, another one later makes it end at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from flows.serving.processes import kill_all
from tasks.cancel import CancelToken

# Ctrl-C under `make` or another wrapper may come twice.
_ONE_PRESS_S = 1.0


@contextmanager
def told_to_end(token: str) -> Iterator[CancelToken]:
    """Set by SIGINT, SIGTERM and SIGHUP; a second one kills every process with the mark.

    Python's own handlers also make sure that no child inherits an ignored SIGINT, as from `sh -c 'threadmill serve &'`:
    Prefect's worker ends itself by one.
    """
    stop = CancelToken()
    since = 0.0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal since
        if not stop.cancelled:
            since = time.monotonic()
            stop.cancel()
        elif time.monotonic() - since > _ONE_PRESS_S:
            kill_all(token)

    numbers = [signal.SIGINT, signal.SIGTERM]
    # Under nohup it stays ignored.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
