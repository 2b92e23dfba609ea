"""The one place that starts children: with a life-line, a deadline, a cancel token and bounded output."""

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Literal, Protocol

from tasks.threads.ending import TOKEN_VARIABLE, end_marked, new_token
from tasks.threads.errors import ExperimentCancelledError, InterpreterUnusableError
from tasks.threads.program import MEASURED, Program

STDOUT_LIMIT_BYTES = 256 * 1024
STDERR_TAIL_BYTES = 8 * 1024
# How soon a cancel is noticed, and a dead child whose workers keep its pipes open. Each look costs some
# microseconds of a CPU that the measured code may want.
TICK_S = 0.1
# Environment that an interpreter may need to start; more would only make timings depend on the caller's.
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")

Fate = Literal["exited", "timed-out", "flooded"]


class Cancel(Protocol):
    """A cancel token: `threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether to stop."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended. `exit_code` is negative for a signal, and our own kill's unless it `exited`."""

    fate: Fate
    exit_code: int
    stdout: str
    stderr_tail: str


class _Child:
    """A running child, its output so far, and the only write end of its life-line."""

    def __init__(self, python: Sequence[str], program: Program) -> None:
        self.token = new_token()
        self.output = {"stdout": b"", "stderr": b""}
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        held, self.lifeline = os.pipe()
        try:
            # No new session: a cancel by Prefect's worker goes to our process group and must reach it.
            self.process = subprocess.Popen(
                [*python, *program.arguments(held)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[held],
                env={**environment, TOKEN_VARIABLE: self.token},
            )
        except OSError as error:
            os.close(self.lifeline)
            raise InterpreterUnusableError(python[0], str(error)) from error
        finally:
            os.close(held)
        self.selector = selectors.DefaultSelector()
        for name, stream in (("stdout", self.process.stdout), ("stderr", self.process.stderr)):
            assert stream is not None  # noqa: S101  # for mypy: PIPE was asked for
            os.set_blocking(stream.fileno(), False)
            self.selector.register(stream, selectors.EVENT_READ, name)

    def ask(self, request: str) -> None:
        """Write the request, far smaller than a pipe, and close stdin."""
        assert self.process.stdin is not None  # noqa: S101  # for mypy
        # A child that has died does not read; its exit code tells that better than this would.
        with contextlib.suppress(BrokenPipeError), self.process.stdin as stdin:
            stdin.write(request.encode())

    def watch(self, give_up: float, cancel: Cancel | None) -> Fate | Literal["cancelled"]:
        """Read until the child has exited, or one of the bounds is reached."""
        while True:
            self.read(TICK_S)
            if len(self.output["stdout"]) > STDOUT_LIMIT_BYTES:
                return "flooded"
            if self.process.poll() is not None:
                return "exited"
            if cancel is not None and cancel.is_set():
                return "cancelled"
            if time.monotonic() > give_up:
                return "timed-out"

    def read(self, timeout_s: float) -> bool:
        """Take what is there, for at most `timeout_s`; whether anything may follow."""
        if not self.selector.get_map():
            # Both ends are closed, so the child is about to exit.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout_s)
            return False
        ready = self.selector.select(timeout_s)
        for key, _ in ready:
            data = os.read(key.fd, 65536)
            if not data:
                self.selector.unregister(key.fileobj)
            kept = self.output[key.data] + data
            self.output[key.data] = kept if key.data == "stdout" else kept[-STDERR_TAIL_BYTES:]
        return bool(ready)

    def end(self) -> None:
        """Leave no process: the kernel kills all holders of the life-line, the token finds the rest."""
        os.close(self.lifeline)
        self.process.kill()
        self.process.wait()
        end_marked(self.token)
        while len(self.output["stdout"]) <= STDOUT_LIMIT_BYTES and self.selector.get_map() and self.read(0):
            pass
        self.selector.close()
        _close(self.process.stdin, self.process.stdout, self.process.stderr)


def _close(*streams: IO[bytes] | None) -> None:
    for stream in streams:
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def run_program(
    python: Sequence[str],
    request: str,
    *,
    deadline_s: float,
    cancel: Cancel | None = None,
    program: Program = MEASURED,
) -> Ended:
    """Put one request to the measured program under `python` (path and options).

    When this returns or raises, the child and all its descendants are gone. Raises
    InterpreterUnusableError if it cannot be started, ExperimentCancelledError after a cancel.
    """
    give_up = time.monotonic() + deadline_s
    child = _Child(python, program)
    try:
        child.ask(request)
        fate = child.watch(give_up, cancel)
    finally:
        child.end()
    if fate == "cancelled":
        raise ExperimentCancelledError(" ".join(python))
    stdout = child.output["stdout"][:STDOUT_LIMIT_BYTES].decode(errors="replace")
    return Ended(fate, child.process.returncode, stdout, child.output["stderr"].decode(errors="replace"))
