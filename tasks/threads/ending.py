"""End every process of a case, also those that lost their parent.

Each child carries a token in its environment, which all its descendants inherit. Process groups cannot be
used: a cancel by Prefect's worker must reach the child, so it stays in ours. The life-line has ended almost
everything by the time this looks.
"""

import contextlib
import os
import signal
import time
import uuid

from tasks.threads.errors import DescendantsRemainError

TOKEN_VARIABLE = "THREADMILL_CASE"  # noqa: S105  # a mark, not a secret
GIVE_UP_S = 5.0


def new_token() -> str:
    """A mark for one child: always as long, since the size of the environment can shift timings."""
    return f"{os.getpid():010d}-{uuid.uuid4().hex}"


def marked_with(token: str) -> list[int]:
    """The processes whose environment holds the token (none where there is no /proc)."""
    mark = f"{TOKEN_VARIABLE}={token}".encode()
    try:
        names = os.listdir("/proc")
    except FileNotFoundError:
        return []
    return [int(name) for name in names if name.isdigit() and mark in _environment(name)]


def _environment(pid: str) -> bytes:
    """The environment a process was started with; nothing for zombies and for other users' processes."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def end_marked(token: str) -> None:
    """Kill all processes that carry the token; DescendantsRemainError if some survive that."""
    give_up = time.monotonic() + GIVE_UP_S
    # Again until none is left: one that was just being forked is not seen the first time.
    while remaining := marked_with(token):
        if time.monotonic() > give_up:
            raise DescendantsRemainError(remaining)
        for pid in remaining:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
