"""The programs that `serve` starts, their logs, and waiting while none of them ends by itself."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from flows.errors import ServeError
from tasks.cancel import CancelToken


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
