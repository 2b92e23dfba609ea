"""The processes of one `threadmill serve`: how they are started, watched, found by their mark, and ended.

Process groups would not do: Prefect's worker gives every flow run a session of its own, and a worker that is killed
leaves its flow runs behind. Every process carries the mark in its environment instead, whoever started it. This module
imports neither Prefect nor the record, because the warden runs it too.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from flows.errors import ServeError
from tasks.cancel import CancelToken

MARK = "THREADMILL_SERVE"
_FLOW_RUN = b"PREFECT__FLOW_RUN_ID="
_POLL_S = 0.1

# A flow run that is asked to end closes its row, ends its children and tells the server, which takes about two seconds.
RUN_GRACE_S = 12.0
GRACE_S = 10.0
# A signal that comes just before a thread begins to wait for a lock does not wake it; another one does.
_AGAIN_S = 4.0
# Ctrl-C under `make` or another wrapper may come twice.
_ONE_PRESS_S = 1.0


def new_token() -> str:
    """The mark's value for one `serve`."""
    return uuid.uuid4().hex


class Interrupted(Exception):  # a way out, not a fault
    """`serve` was told to end."""


@dataclass(frozen=True, slots=True)
class Child:
    """A program that is running, or did; `name` is for people."""

    name: str
    process: subprocess.Popen[bytes]
    log: str

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def end(self, grace_s: float) -> None:
        """Ask it to end, then make it."""
        if not self.running:
            return
        self.process.terminate()
        try:
            self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def open_log(path: str) -> Iterator[int]:
    """A descriptor to append to a new log; the log of the start before is kept beside it."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    if os.path.exists(path):
        os.replace(path, f"{path}.1")
    # Names of files and of hosts may be in it.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def start_prefect(name: str, arguments: Sequence[str], environment: Mapping[str, str], log: str, cwd: str) -> Child:
    """Start Prefect's program, its output in a log of its own.

    In a session of its own, so that Ctrl-C on the terminal does not reach it: `serve` ends it when its turn comes.
    """
    with open_log(log) as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Child(name, process, log)


class Watch:
    """Waits, and says when a child has ended that should not, or when `serve` is told to end."""

    def __init__(self, stop: CancelToken) -> None:
        self._stop = stop
        self._poll = select.poll()
        self._poll.register(stop.fileno(), select.POLLIN)
        self._children: list[Child] = []

    def add(self, child: Child) -> Child:
        """Watch this one too."""
        self._poll.register(os.pidfd_open(child.process.pid), select.POLLIN)
        self._children.append(child)
        return child

    def pause(self, seconds: float) -> None:
        """Wait that long.

        Raises:
            Interrupted: `serve` is told to end.
            ServeError: a child has ended by itself.
        """
        self._poll.poll(seconds * 1000)
        if self._stop.cancelled:
            raise Interrupted
        for child in self._children:
            if not child.running:
                raise ServeError(f"{child.name} has ended by itself ({_how(child.process)}); see {child.log}")

    def finish(self, child: Child, timeout_s: float) -> None:
        """Wait for a child that ends when its work is done.

        Raises:
            ServeError: it did not do its work, or another child has ended by itself.
            Interrupted: `serve` is told to end.
        """
        give_up = time.monotonic() + timeout_s
        try:
            while child.running:
                if time.monotonic() > give_up:
                    raise ServeError(f"{child.name} was not done after {timeout_s:.0f} s; see {child.log}")
                self.pause(0.1)
        finally:
            child.end(1)
        if child.process.returncode:
            raise ServeError(f"{child.name} failed ({_how(child.process)}); see {child.log}")


def _how(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


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
