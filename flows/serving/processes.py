"""The processes of one `threadmill serve`, found by the mark in their environment, and their end.

Process groups would not do: Prefect's worker gives every flow run a session of its own, and a worker that is killed
leaves its flow runs behind. Standard library only: the warden runs this too.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flows.serving.mark import MARK

_FLOW_RUN = b"PREFECT__FLOW_RUN_ID="
_POLL_S = 0.1

# A flow run that is asked to end closes its row, ends its children and tells the server, which takes about two seconds.
RUN_GRACE_S = 12.0
GRACE_S = 10.0
# A signal that comes just before a thread begins to wait for a lock does not wake it; another one does.
_AGAIN_S = 4.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process with the mark; `flow_run` is the id of the flow run that it, or an ancestor of it, runs."""

    pid: int
    flow_run: str | None


def marked(token: str) -> list[Process]:
    """All processes that carry the mark; one that waits to be reaped has no environment any more."""
    mark = f"{MARK}={token}".encode()
    found = []
    for name in os.listdir("/proc"):
        entries = _environment(name) if name.isdigit() else []
        if mark in entries:
            flow_run = next((entry for entry in entries if entry.startswith(_FLOW_RUN)), None)
            found.append(Process(int(name), flow_run.removeprefix(_FLOW_RUN).decode() if flow_run else None))
    return found


def running_flow_runs() -> set[str]:
    """Ids of all flow runs that have a process on this host, whoever started it."""
    entries = (entry for name in os.listdir("/proc") if name.isdigit() for entry in _environment(name))
    return {entry.removeprefix(_FLOW_RUN).decode() for entry in entries if entry.startswith(_FLOW_RUN)}


def end_flow_runs(token: str, *, grace_s: float = RUN_GRACE_S) -> None:
    """Ask every flow run to end, as Prefect's worker would, and wait for it; some may be left after `grace_s`."""
    _ask_to_end(lambda: [process for process in marked(token) if process.flow_run], grace_s, again_s=_AGAIN_S)


def end_all(token: str, *, run_grace_s: float = RUN_GRACE_S, grace_s: float = GRACE_S) -> None:
    """Leave no process with the mark: flow runs first, while there is a server that they can tell.

    A worker must not go first: it kills its flow runs, and their rows would stay open.
    """
    end_flow_runs(token, grace_s=run_grace_s)
    _ask_to_end(lambda: marked(token), grace_s)
    # Again until none is left: one that was just being forked is not seen the first time.
    while kill_all(token):
        time.sleep(_POLL_S)


def kill_all(token: str) -> bool:
    """Kill what has the mark; whether there was anything."""
    left = marked(token)
    _signal(left, signal.SIGKILL)
    return bool(left)


def _ask_to_end(find: Callable[[], Sequence[Process]], grace_s: float, *, again_s: float | None = None) -> None:
    """Ask once, or every `again_s` seconds: Prefect's worker takes a second time for impatience, and kills itself."""
    asked: dict[int, float] = {}
    give_up = time.monotonic() + grace_s
    while (left := find()) and (now := time.monotonic()) < give_up:
        due = [one for one in left if one.pid not in asked or (again_s and now - asked[one.pid] > again_s)]
        _signal(due, signal.SIGTERM)
        asked.update((process.pid, now) for process in due)
        time.sleep(_POLL_S)


def _signal(processes: Sequence[Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            os.kill(process.pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _environment(pid: str) -> list[bytes]:
    """What a process was started with; nothing for those that are gone and for other users' processes."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            return stream.read().split(b"\0")
    except OSError:
        return []
