"""Child interpreters: started in this module only, with a life-line, a deadline and bounded output, and ended.

Each child carries a token in its environment, which all its descendants inherit, so that processes that lost their
parent are found too. Process groups cannot be used: a cancel by Prefect's worker must reach the child, so it stays in
ours. The life-line has ended almost everything by the time that the token is looked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NoReturn

from tasks.cancel import CancelToken
from tasks.threads.errors import InterpreterUnusable, MeasuringCancelled, ProcessesRemain

# The folder of the package `measured`.
MEASURED = Path(__file__).resolve().parent
# More than this is no answer, whatever follows. Of standard error only the end is kept.
LIMIT_BYTES = {"stdout": 256 * 1024, "stderr": 16 * 1024 * 1024}
STDERR_TAIL_BYTES = 8 * 1024
# The longest time until a cancel is noticed, or a dead child whose workers keep its pipes open. Each look costs some
# microseconds of a CPU that the measured code may want.
TICK_S = 0.1
# Environment that an interpreter may need to start; more would only make timings depend on the caller's.
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
TOKEN_VARIABLE = "THREADMILL_CASE"  # noqa: S105  # a mark, not a secret
GIVE_UP_S = 5.0
# An interpreter is isolated, without site, and the program never its `__main__`. The program's folder comes last on the
# path, so that nothing in it can hide a standard module.
BOOT = "import sys; sys.path.append(sys.argv[2]); from measured.program import main; main(int(sys.argv[1]))"
Fate = Literal["exited", "timed-out", "flooded"]


@dataclass(frozen=True, slots=True)
class ChildEnd:
    """The end of a child. `exit_code` is negative for a signal, which is our own kill unless the child `exited`.

    `flood` says which output was too much for a child that `flooded`.
    """

    fate: Fate
    exit_code: int
    stdout: str
    stderr_tail: str
    flood: str = ""


def workload_version() -> str:
    """SHA-256 over the names and contents of the measured program's source files, hex."""
    return _source_digest(MEASURED)


@cache
def _source_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted((folder / "measured").glob("*.py")):
        source = path.read_bytes()
        digest.update(f"{path.name} {len(source)}\n".encode() + source)
    return digest.hexdigest()


class _MeasuringChild:
    """A running child, its output so far, and the only write end of its life-line."""

    def __init__(self, python: Sequence[str]) -> None:
        self.token = new_token()
        self.output = {"stdout": b"", "stderr": b""}
        self.written_bytes = dict.fromkeys(LIMIT_BYTES, 0)
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        held, self.lifeline = os.pipe()
        try:
            # No new session: a cancel by Prefect's worker goes to our process group and must reach it.
            self.process = subprocess.Popen(
                [*python, "-I", "-S", "-c", BOOT, str(held), str(MEASURED)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[held],
                env={**environment, TOKEN_VARIABLE: self.token},
                # pyenv's shims choose the interpreter by a file of the current folder, which may be another user's.
                cwd="/",
            )
        except (OSError, ValueError) as error:
            os.close(self.lifeline)
            raise InterpreterUnusable(python[0], str(error)) from error
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

    def watch(self, give_up: float, cancel: CancelToken | None) -> Fate | Literal["cancelled"]:
        """Read until the child has exited, or one of the bounds is reached."""
        while True:
            self.read(TICK_S)
            if self.flood():
                return "flooded"
            if self.process.poll() is not None:
                return "exited"
            if cancel is not None and cancel.cancelled:
                return "cancelled"
            if time.monotonic() > give_up:
                return "timed-out"

    def flood(self) -> str:
        """Which output was too much; nothing if none was."""
        too_much = (name for name, limit in LIMIT_BYTES.items() if self.written_bytes[name] > limit)
        return next((f"more output than {LIMIT_BYTES[name]:,} bytes on {name}" for name in too_much), "")

    def read(self, timeout_s: float) -> bool:
        """Read available output, for at most `timeout_s`, and tell whether more may follow."""
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
            self.written_bytes[key.data] += len(data)
            kept = self.output[key.data] + data
            self.output[key.data] = kept if key.data == "stdout" else kept[-STDERR_TAIL_BYTES:]
        return bool(ready)

    def end(self) -> None:
        """Leave no process: the kernel kills all holders of the life-line, the token finds the rest."""
        os.close(self.lifeline)
        self.process.kill()
        self.process.wait()
        end_marked(self.token)
        while not self.flood() and self.selector.get_map() and self.read(0):
            pass
        self.selector.close()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def run_program(
    python: Sequence[str], request: str, *, deadline_s: float, cancel: CancelToken | None = None
) -> ChildEnd:
    """Put one request to the measured program under `python` (path and options).

    When this returns or raises, the child and all its descendants are gone. Raises InterpreterUnusable if it cannot be
    started, MeasuringCancelled, or ProcessesRemain.
    """
    give_up = time.monotonic() + deadline_s
    child = _MeasuringChild(python)
    try:
        child.ask(request)
        fate = child.watch(give_up, cancel)
    finally:
        child.end()
    if fate == "cancelled":
        raise MeasuringCancelled(" ".join(python))
    stdout, stderr = (child.output[name].decode(errors="replace") for name in LIMIT_BYTES)
    # A child may have exited before all that it had written was read.
    flood = child.flood()
    return ChildEnd("flooded" if flood else fate, child.process.returncode, stdout, stderr, flood)


def parse_answer(stdout: str) -> dict[str, Any]:
    """The one JSON object that a child has printed; ValueError for anything else, such as numbers that are none."""
    try:
        answer = json.loads(stdout, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(answer, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one error for all that is wrong with it
    # No database takes half a character.
    stdout.encode()
    json.dumps(answer, ensure_ascii=False).encode()
    return answer


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


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
    """Kill all processes that carry the token; raises ProcessesRemain if one survives."""
    give_up = time.monotonic() + GIVE_UP_S
    # Again until none is left: one that was just being forked is not seen the first time.
    while remaining := marked_with(token):
        if time.monotonic() > give_up:
            raise ProcessesRemain(", ".join(map(str, remaining)))
        for pid in remaining:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
