"""The processes of one `threadmill serve`: start them, watch them, find them by their mark, and end them.

Process groups would not do: Prefect's worker gives every flow run a session of its own, and a worker that is killed
leaves its flow runs behind. Every process carries the mark in its environment instead, whoever started it.

Run as a program, this module is the warden: it waits until `serve` is gone, and ends the processes that `kill -9` of
`serve` leaves behind. The parent-death signal would take the server together with the worker, and reach no flow run:
those are the worker's children, in sessions of their own. The module imports neither Prefect nor the record, so that
the warden stays small in memory for as long as `serve` lives.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from flows.errors import ServeError
from tasks.cancel import CancelToken
from tasks.files import open_new

MARK = "THREADMILL_SERVE"
_FLOW_RUN = b"PREFECT__FLOW_RUN_ID="
_POLL_S = 0.1

# A flow run that is asked to end closes its row, ends its children and tells the server, which takes about two seconds.
_RUN_GRACE_S = 12.0
_GRACE_S = 10.0
# How long the warden may take to end everything.
_WARDEN_S = 30.0
# A signal that comes just before a thread begins to wait for a lock does not wake it; another one does.
_AGAIN_S = 4.0
# Ctrl-C under `make` or another wrapper may come twice.
_ONE_PRESS_S = 1.0


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
        self.process.terminate()
        self.wait(grace_s)

    def wait(self, grace_s: float) -> None:
        """Wait until it ends; kill it if that takes longer."""
        try:
            self.process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_module(
    name: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    log: str,
    cwd: str,
    stdin: int = subprocess.DEVNULL,
    *,
    pass_fds: Sequence[int] = (),
    guard: Sequence[str] = (),
) -> Child:
    """Start a module of Python as a program, its output in a new log; the log of the start before is kept beside it.

    In a session of its own, so that Ctrl-C on the terminal does not reach it: `serve` ends it when its turn comes.
    `guard` is a program and its arguments that starts it.
    """
    os.makedirs(os.path.dirname(log), mode=0o700, exist_ok=True)
    with suppress(FileNotFoundError):
        os.replace(log, f"{log}.1")
    # For its owner only, like everything that the program makes: names of files and of hosts may be in it.
    with open(open_new(log), "ab") as output:
        process = subprocess.Popen(
            [*guard, sys.executable, "-m", *arguments],
            env=environment,
            cwd=cwd,
            stdin=stdin,
            stdout=output,
            stderr=output,
            pass_fds=pass_fds,
            start_new_session=True,
            umask=0o077,
        )
    return Child(name, process, log)


@contextmanager
def standing_by(token: str, environment: Mapping[str, str], log: str) -> Iterator[Child]:
    """Have a warden in the body; at the end it makes sure that no process with the mark is left."""
    # Without the mark, or it would end itself.
    unmarked = {name: value for name, value in environment.items() if name != MARK}
    warden = start_module("the warden", [__name__, token], unmarked, log, "/", subprocess.PIPE)
    try:
        yield warden
    finally:
        assert warden.process.stdin is not None  # noqa: S101 - PIPE was asked for
        warden.process.stdin.close()
        warden.wait(_WARDEN_S)


class Watch:
    """Wait, until a child ends by itself or `serve` is told to end."""

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
        """Wait that long. Raises `Interrupted` if `serve` is told to end, and `ServeError` if a child has ended."""
        self._poll.poll(seconds * 1000)
        if self._stop.cancelled:
            raise Interrupted
        for child in self._children:
            if not child.running:
                raise ServeError(f"{child.name} has ended by itself ({_how(child.process)}); see {child.log}")

    def until(self, true: Callable[[], bool], timeout_s: float, every_s: float = _POLL_S) -> bool:
        """Wait until it is true; False if it takes longer than that. Raises what `pause` does."""
        give_up = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > give_up:
                return False
            self.pause(every_s)
        return True

    def finish(self, child: Child, timeout_s: float) -> None:
        """Wait for a child that ends when its work is done. Raises what `pause` does, and `ServeError` if it fails."""
        try:
            if not self.until(lambda: not child.running, timeout_s):
                raise ServeError(f"{child.name} was not done after {timeout_s:.0f} s; see {child.log}")
        finally:
            child.end(1)
        if child.process.returncode:
            raise ServeError(f"{child.name} failed ({_how(child.process)}); see {child.log}")


def _how(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def running_processes(token: str | None = None) -> dict[int, str | None]:
    """The processes of this host by number, or only those with the mark; one that waits to be reaped carries none.

    The value is the id of the flow run that the process, or an ancestor of it, runs.
    """
    mark = f"{MARK}={token}".encode()
    found: dict[int, str | None] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as stream:
                entries = stream.read().split(b"\0")
        except OSError:
            # It is gone, or another user's.
            continue
        if token is None or mark in entries:
            flow_run = next((entry for entry in entries if entry.startswith(_FLOW_RUN)), None)
            found[int(name)] = flow_run.removeprefix(_FLOW_RUN).decode() if flow_run else None
    return found


def end_flow_runs(token: str) -> None:
    """Ask every flow run to end, as Prefect's worker would, and wait for it for a while; some may be left."""
    _ask_to_end(lambda: [pid for pid, run in running_processes(token).items() if run], _RUN_GRACE_S, again_s=_AGAIN_S)


def end_all(token: str) -> None:
    """Leave no process with the mark: flow runs first, while there is a server that they can tell.

    A worker must not go first: it kills its flow runs, and their rows would stay open.
    """
    end_flow_runs(token)
    _ask_to_end(lambda: running_processes(token), _GRACE_S)
    # Again until none is left: one that was just being forked is not seen the first time.
    while left := running_processes(token):
        _signal(left, signal.SIGKILL)
        time.sleep(_POLL_S)


def _ask_to_end(find: Callable[[], Collection[int]], grace_s: float, *, again_s: float | None = None) -> None:
    """Ask once, or every `again_s` seconds: Prefect's worker takes a second time for impatience, and kills itself."""
    asked: dict[int, float] = {}
    give_up = time.monotonic() + grace_s
    while (left := find()) and (now := time.monotonic()) < give_up:
        due = [pid for pid in left if pid not in asked or (again_s and now - asked[pid] > again_s)]
        _signal(due, signal.SIGTERM)
        asked |= dict.fromkeys(due, now)
        time.sleep(_POLL_S)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


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
            _signal(running_processes(token), signal.SIGKILL)

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


if __name__ == "__main__":
    # Standard input ends when `serve` has gone.
    while os.read(0, 4096):
        pass
    end_all(sys.argv[1])
