"""A chain: child processes joined by pipes, good only if every one of them is.

The loop below polls exits (pidfd), standard error, the last stage's output and the cancel token, in the thread that
started the children. Children stay in this process's group, so that a signal to the group reaches them, and get
none of its three streams.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import functools
import os
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from tasks.cancel import LONGEST_S, CancelToken, foreign_environment, wait_readable
from tasks.crypto.errors import Cancelled, DeadlineExceeded, StageNotStarted

Sink = Callable[[bytes | memoryview], object]

_libc = ctypes.CDLL(None, use_errno=True)
_COMPLAINT_BYTES = 4096
_ACCOUNTS_BYTES = 4096
_READ_BYTES = 256 << 10
_TERMINATE_S = 0.5
_PEEK_S = 0.001
# For hosts without setpriv. A parent that died before prctl ran would leave the child waiting for a signal that
# never comes, hence the look at the parent. -B: the wrapper must not write byte code, its writes are counted.
_WRAPPER = """
import ctypes, os, sys
ctypes.CDLL(None, use_errno=True).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """One program to start. `header` is put into its output pipe before it starts (at most 4096 bytes).

    The first `peek_bytes` of its output are copied on their way to the next stage, which starts only then. `started` is
    called once what the stage writes is counted; a stage that ends before that may go uncounted.
    """

    argv: tuple[str, ...]
    pass_fds: tuple[int, ...] = ()
    started: Callable[[], object] | None = None
    header: bytes = b""
    peek_bytes: int = 0

    @property
    def program(self) -> str:
        """`openssl enc` for `/usr/bin/openssl enc -aes-256-ctr …`."""
        return " ".join((os.path.basename(self.argv[0]), *self.argv[1:2]))


@dataclass(frozen=True, slots=True)
class StageResult:
    """The end of one stage.

    `exit_code` is negative for a signal. `written_bytes` is what the stage wrote to its output as the kernel
    counted it (None where the kernel does not say). `complaint` is the tail of its standard error, `beginning` the
    peeked bytes of its output (fewer if it wrote fewer).
    """

    program: str
    exit_code: int
    wall_ns: int
    cpu_ns: int
    written_bytes: int | None = None
    complaint: str = ""
    beginning: bytes = b""


@dataclass(slots=True)
class _RunningStage:
    stage: Stage
    process: subprocess.Popen[bytes]
    pidfd: int
    stderr: int
    accounts: int | None
    started_ns: int
    tail: bytearray = field(default_factory=bytearray)
    stderr_bytes: int = 0
    beginning: bytes = b""
    result: StageResult | None = None

    def hear(self) -> bool:
        """Read what is on standard error now; False at its end."""
        try:
            data = os.read(self.stderr, _READ_BYTES)
        except BlockingIOError:
            return False
        self.stderr_bytes += len(data)
        self.tail += data
        del self.tail[:-_COMPLAINT_BYTES]
        return bool(data)

    def reap(self) -> bool:
        """Collect exit code and accounts of a child that has ended; False, for there is no more to come."""
        written = None if self.accounts is None else _written_bytes(self.accounts)
        _, status, usage = os.wait4(self.process.pid, 0)
        ended_ns = time.monotonic_ns()
        # Popen must not wait for a process that is gone.
        self.process.returncode = os.waitstatus_to_exitcode(status)
        while self.hear():
            pass
        self.result = StageResult(
            program=self.stage.program,
            exit_code=self.process.returncode,
            wall_ns=ended_ns - self.started_ns,
            cpu_ns=round((usage.ru_utime + usage.ru_stime) * 1e9),
            written_bytes=None if written is None else written - self.stderr_bytes,
            complaint=self.tail.decode(errors="replace").strip(),
            beginning=self.beginning,
        )
        return False

    def close(self) -> None:
        os.close(self.pidfd)
        os.close(self.stderr)
        if self.accounts is not None:
            os.close(self.accounts)


def run_chain(
    stages: Sequence[Stage], *, stdin: int, sink: Sink, cancel: CancelToken, deadline_s: float, guarded: bool
) -> tuple[StageResult, ...]:
    """Start the stages, join them, wait for all of them; one result per stage, in their order.

    The descriptor `stdin` stays the caller's. `sink` is called with each piece that the last stage writes; an error
    that it raises ends the chain. `guarded` has the kernel kill the stages if this process dies (for stages that would
    run on for long).

    On every way out each stage has ended and has been reaped, and no descriptor is left open. Raises StageNotStarted,
    DeadlineExceeded or Cancelled.
    """
    deadline_ns = time.monotonic_ns() + int(deadline_s * 1e9)
    children: list[_RunningStage] = []
    with ExitStack() as stack:
        stack.callback(_end, children)

        def go_on() -> None:
            if cancel.cancelled:
                raise Cancelled
            if time.monotonic_ns() > deadline_ns:
                raise DeadlineExceeded(deadline_s)

        output = _start(stages, stdin, death_signal_argv() if guarded else (), children, go_on)
        stack.callback(os.close, output)
        if not _drive(children, output, sink, cancel, deadline_ns):
            raise DeadlineExceeded(deadline_s)
    return tuple(child.result for child in children if child.result is not None)


def _start(
    stages: Sequence[Stage],
    stdin: int,
    guard: tuple[str, ...],
    children: list[_RunningStage],
    go_on: Callable[[], None],
) -> int:
    """Start every stage, closing this process's copies of the pipes at once; the last one's read end."""
    source, environment = stdin, foreign_environment()
    for stage in stages:
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        try:
            if stage.header:
                os.write(write_end, stage.header)
            children.append(_spawn(stage, guard, source, write_end, environment))
            if stage.started is not None:
                stage.started()
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
            if source != stdin:
                os.close(source)
        source = read_end
        if stage.peek_bytes:
            try:
                children[-1].beginning = _peek(read_end, stage.peek_bytes, go_on)
            except BaseException:
                os.close(read_end)
                raise
    return source


def _peek(pipe: int, count: int, go_on: Callable[[], None]) -> bytes:
    """The first bytes of a pipe, which stay in it: tee(2) copies them, so that the pages of the pipe stay whole.

    Fewer if it ends before. `go_on` is called while nothing has come yet, and may raise.
    """
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    waiting = array.array("i", [0])
    while waiting[0] < count:
        go_on()
        ended = any(events & select.POLLHUP for _, events in poll.poll(1))
        fcntl.ioctl(pipe, termios.FIONREAD, waiting)
        if ended:
            break
        if waiting[0] < count:
            time.sleep(_PEEK_S)
    return _tee(pipe, min(count, waiting[0]))


def _tee(pipe: int, count: int) -> bytes:
    if not count:
        return b""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        if _libc.tee(pipe, write_end, count, 0) != count:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return os.read(read_end, count)
    finally:
        os.close(read_end)
        os.close(write_end)


@functools.cache
def can_peek() -> bool:
    """Whether this kernel copies from pipe to pipe."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        os.write(write_end, b"x")
        return _tee(read_end, 1) == b"x"
    except (OSError, AttributeError):
        return False
    finally:
        os.close(read_end)
        os.close(write_end)


def _spawn(
    stage: Stage, guard: tuple[str, ...], stdin: int, stdout: int, environment: Mapping[str, str]
) -> _RunningStage:
    if guard and shutil.which(stage.argv[0]) is None:
        # The guard would be started in its place, and complain in its own way.
        missing = not os.path.exists(stage.argv[0])
        raise StageNotStarted(stage.program, errno.ENOENT if missing else errno.EACCES)
    stderr_read, stderr_write = os.pipe2(os.O_CLOEXEC)
    started_ns = time.monotonic_ns()
    try:
        os.set_blocking(stderr_read, False)
        process = subprocess.Popen(
            [*guard, *stage.argv],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr_write,
            pass_fds=stage.pass_fds,
            env=environment,
        )
    except OSError as error:
        os.close(stderr_read)
        raise StageNotStarted(stage.program, error.errno or 0) from None
    finally:
        os.close(stderr_write)
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError as error:
        os.close(stderr_read)
        process.kill()
        process.wait()
        raise StageNotStarted(stage.program, error.errno or 0) from None
    return _RunningStage(stage, process, pidfd, stderr_read, _open_accounts(process.pid), started_ns)


def _drive(children: Sequence[_RunningStage], output: int, sink: Sink, cancel: CancelToken, deadline_ns: int) -> bool:
    """Poll until every stage has been reaped and the output has ended; False if the deadline came first."""

    def take() -> bool:
        data = os.read(output, _READ_BYTES)
        if data:
            sink(data)
        return bool(data)

    def stop() -> bool:
        raise Cancelled

    actions: dict[int, Callable[[], bool]] = {cancel.fileno(): stop, output: take}
    for child in children:
        actions[child.stderr] = child.hear
        actions[child.pidfd] = child.reap
    awaited = {output, *(child.pidfd for child in children)}

    poll = select.poll()
    for descriptor in actions:
        poll.register(descriptor, select.POLLIN)
    while awaited:
        left_ms = (deadline_ns - time.monotonic_ns()) / 1e6
        if left_ms <= 0:
            return False
        for descriptor, _ in poll.poll(min(left_ms, 1000 * LONGEST_S)):
            if not actions[descriptor]():
                poll.unregister(descriptor)
                awaited.discard(descriptor)
    return True


def _end(children: Sequence[_RunningStage]) -> None:
    """End what still runs: terminate, a moment's grace, kill; reap it, close its descriptors."""
    alive = [child for child in children if child.result is None]
    for child in alive:
        signal.pidfd_send_signal(child.pidfd, signal.SIGTERM)
    grace_ends = time.monotonic() + _TERMINATE_S
    for child in alive:
        if not wait_readable([child.pidfd], grace_ends - time.monotonic()):
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        child.reap()
    for child in children:
        child.close()


def _open_accounts(pid: int) -> int | None:
    """The file that counts what a process writes, open from the start: once it has ended, only root can open it."""
    try:
        return os.open(f"/proc/{pid}/io", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _written_bytes(accounts: int) -> int | None:
    """Bytes that a process (ended, not yet reaped) gave to write(2), its own reaped children included."""
    try:
        text = os.read(accounts, _ACCOUNTS_BYTES)
    except OSError:
        return None
    return int(text.split(b"wchar:", 1)[1].split(b"\n", 1)[0])


def death_signal_argv() -> tuple[str, ...]:
    """The words before an argv that have the kernel kill the program when the thread that started it ends.

    Hence `run_chain` starts and waits in one thread. The signal has to be asked for in the child: a `preexec_fn` costs
    11 ms a child and is unsafe in threads, `setpriv` (util-linux) about 1.5 ms, a small Python about 15 ms.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is not None and _supports_death_signal(setpriv):
        return (setpriv, "--pdeathsig", "KILL")
    return (sys.executable, "-I", "-S", "-B", "-c", _WRAPPER, str(os.getpid()))


@functools.cache
def _supports_death_signal(setpriv: str) -> bool:
    """Not every setpriv has the option (BusyBox), so try it once per process."""
    try:
        tried = subprocess.run(
            [setpriv, "--pdeathsig", "KILL", "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=foreign_environment(),
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0
