"""The command run in this process, with streams, folder and environment of its own, and nothing left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from flows.cli.main import main

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)


def run_in_process(
    arguments: tuple[str | bytes, ...], environment: Mapping[str, str], folder: Path, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Call the command's `main` as the console script does; what it printed and the code that it returned.

    Its streams are descriptors 0 to 2, for a command that writes past Python's and for the children that it starts.

    Args:
        arguments: what follows the command's name.
        environment: all that it sees of it.
        folder: where it runs.
        text: what a pipe on its standard input holds; default: /dev/null is there.
    """
    decoded = [os.fsdecode(argument) for argument in arguments]
    with ExitStack() as stack:
        out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        with _nothing_left_behind(), _environment(environment), _folder(folder), _streams(text, out, err):
            code = main(decoded)
        stdout, stderr = _read(out), _read(err)
    return subprocess.CompletedProcess(["threadmill", *decoded], code, stdout, stderr)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    _set_environment(variables)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
    # The C library reads TZ only when it is told to.
    time.tzset()


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _streams(text: str | None, out: IO[bytes], err: IO[bytes]) -> Iterator[None]:
    """Put descriptors and Python's streams in place of those of the tests, and those back at the end."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = sys.stdin, sys.stdout, sys.stderr
    with _standard_input(text) as source, _descriptors(source, out.fileno(), err.fileno()):
        try:
            with (
                open(0, encoding="utf-8", closefd=False) as sys.stdin,
                open(1, "w", encoding="utf-8", closefd=False) as sys.stdout,
                open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False) as sys.stderr,
            ):
                yield
        finally:
            sys.stdin, sys.stdout, sys.stderr = before


@contextmanager
def _descriptors(*others: int) -> Iterator[None]:
    """Let 0, 1 and 2 be these."""
    kept = [os.dup(number) for number in range(len(others))]
    try:
        for number, other in enumerate(others):
            os.dup2(other, number)
        yield
    finally:
        for number, descriptor in enumerate(kept):
            os.dup2(descriptor, number)
            os.close(descriptor)


@contextmanager
def _standard_input(text: str | None) -> Iterator[int]:
    if text is None:
        with open(os.devnull, "rb") as nothing:
            yield nothing.fileno()
        return
    source, sink = os.pipe()

    def write() -> None:
        with open(sink, "wb") as pipe:
            pipe.write(text.encode())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield source
    finally:
        # A command that did not read all of it must not let the writer wait for ever.
        os.close(source)
        writer.join()


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@contextmanager
def _nothing_left_behind() -> Iterator[None]:
    """Fail if the process is another one afterwards: what is open, what runs, what is set."""
    files, threads, state = _open_files(), _threads(), _state()
    yield
    left = _open_since(files)
    if set(left) == {"anon_inode:[eventfd]"}:
        # A cancel token closes itself, wherever the frame is that an error has kept alive until now.
        gc.collect()
        left = _open_since(files)
    assert not left, f"the command left files open: {dict(left)}"
    threads = _threads() - threads
    assert not threads, f"the command left threads running: {dict(threads)}"
    assert (now := _state()) == state, f"the command changed {state} to {now}"


def _open_since(before: Counter[str]) -> Counter[str]:
    """What is open now, but for a database that the test itself has open: SQLite closes it when all do."""
    left = _open_files() - before
    for path in before.keys() & left.keys():
        if ".sqlite" in path:
            del left[path]
    return left


def _open_files() -> Counter[str]:
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        # The descriptor of the listing itself is gone by now.
        with suppress(FileNotFoundError):
            path = os.readlink(f"/proc/self/fd/{number}")
            # Fonts that matplotlib keeps for later.
            if not path.startswith(sys.prefix):
                found[path] += 1
    return found


def _threads() -> Counter[str]:
    return Counter(thread.name for thread in threading.enumerate())


def _state() -> dict[str, object]:
    """All that one command could change for the next one."""
    umask = os.umask(0o077)
    os.umask(umask)
    return {
        "umask": umask,
        "signals": {number.name: signal.getsignal(number) for number in _SIGNALS},
        "garbage": (gc.isenabled(), gc.get_threshold()),
        "thread switches": sys.getswitchinterval(),
        "modules": tuple(sys.path),
    }
