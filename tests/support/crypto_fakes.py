"""Small aids for the tests of the encryption engine: stock openssl, fake programs, what the kernel says of children."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from tasks.cancel import CancelToken
from tasks.crypto.chain import Sink
from tasks.crypto.encrypt import Batch, Encryption, Limits, encrypt_batch
from tasks.crypto.inputs import Attempt, Backend, Encrypted, Input, Payload, memory_input
from tasks.crypto.probe import Chosen, choose_backend
from tasks.crypto.secret import KeySource, Secret, ThrowAway
from tasks.suites import SUITES, SuiteName

ROOT = Path(__file__).parents[2]
VECTORS = ROOT.parent / "shared" / "vectors"

# Generous: a loaded host may be slow, and no test here is about speed.
BOUND_S = 60.0

# Speed is never judged, and a few dozen examples are enough for what is pure arithmetic or one small file.
modest = settings(deadline=None, max_examples=50)

SECRET = Secret(b"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
SALT = bytes.fromhex("0123456789abcdef")

OPENSSL = shutil.which("openssl") or ""
needs_openssl = pytest.mark.skipif(not OPENSSL, reason="there is no openssl on PATH")
needs_setpriv = pytest.mark.skipif(shutil.which("setpriv") is None, reason="there is no setpriv on PATH")
BACKENDS = [pytest.param("openssl", marks=needs_openssl), pytest.param("native")]

# What a reader of openssl's manual would type for each suite: written here anew, not taken from the engine.
CLI_ENC: dict[SuiteName, tuple[str, ...]] = {
    "modern": ("-aes-256-ctr", "-pbkdf2", "-iter", "1", "-md", "sha256"),
    "modern-blake2": ("-aes-256-ctr", "-pbkdf2", "-iter", "1", "-md", "sha256"),
    "chacha": ("-chacha20", "-pbkdf2", "-iter", "1", "-md", "sha256"),
    "cbc": ("-aes-256-cbc", "-pbkdf2", "-iter", "1", "-md", "sha256"),
    "classic": ("-des-ede3-cbc", "-md", "sha256"),
}
CLI_DGST: dict[SuiteName, str] = {
    "modern": "-sha256",
    "modern-blake2": "-blake2b512",
    "chacha": "-sha256",
    "cbc": "-sha256",
    "classic": "-whirlpool",
}


def openssl(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run stock openssl to its end."""
    return subprocess.run([OPENSSL, *arguments], input=stdin, capture_output=True, timeout=BOUND_S, check=False)


def stock_digest(suite: SuiteName, path: Path) -> bytes | None:
    """The digest of a file by `openssl dgst`; None where this openssl cannot compute it."""
    for providers in ((), ("-provider", "legacy", "-provider", "default")):
        hashed = openssl("dgst", *providers, CLI_DGST[suite], "-binary", str(path))
        if hashed.returncode == 0:
            return hashed.stdout
    return None


def vectors(name: str) -> Path:
    """A file of known answers; the test is skipped where there is none."""
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"the folder of known answers ../shared/vectors has no {name} here")
    return path


def chosen(backend: str, suite: SuiteName = "modern", program: str = "openssl") -> Chosen:
    """What `choose_backend` takes when it is asked for that backend."""
    return choose_backend("openssl" if backend == "openssl" else "native", SUITES[suite], program, CancelToken())


def opened(backend: str, suite: SuiteName = "modern") -> Backend:
    """A backend that is ready to run the suite."""
    return chosen(backend, suite).open(SUITES[suite], CancelToken())


def encrypt_input(
    backend: Backend,
    suite: SuiteName,
    source: Input,
    *,
    secret: Secret = SECRET,
    salt: bytes = SALT,
    limit_bytes: int | None = None,
    deadline_s: float = BOUND_S,
    cancel: CancelToken | None = None,
    store: Sink | None = None,
) -> Encrypted:
    """`Backend.encrypt` with everything filled in that a test does not care about."""
    cancel = cancel or CancelToken()
    return backend.encrypt(Attempt(source, SUITES[suite], secret, salt, limit_bytes, deadline_s, cancel, store))


def encrypt_bytes(
    backend: Backend,
    suite: SuiteName,
    data: bytes,
    *,
    secret: Secret = SECRET,
    salt: bytes = SALT,
    store: Sink | None = None,
) -> Encrypted:
    """Encrypt bytes that are in no file."""
    with memory_input([data]) as source:
        return encrypt_input(backend, suite, source, secret=secret, salt=salt, store=store)


@contextmanager
def file_input(path: Path, flags: int = os.O_RDONLY) -> Iterator[Input]:
    """An open file as a backend gets it."""
    descriptor = os.open(path, flags)
    try:
        yield Input(descriptor, os.fstat(descriptor))
    finally:
        os.close(descriptor)


@contextmanager
def standard_input(descriptor: int) -> Iterator[None]:
    """Put a descriptor in the place of this process's standard input."""
    kept = os.dup(0)
    try:
        os.dup2(descriptor, 0)
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def file_payload(path: Path) -> Payload:
    """A regular file as `scan` gives it."""
    return Payload("file", os.fsencode(path), path.stat().st_size)


def run_batch(
    choice: Chosen,
    payloads: Sequence[Payload],
    *,
    suite: SuiteName = "modern",
    key: KeySource | None = None,
    limits: Limits | None = None,
    cancel: CancelToken | None = None,
) -> tuple[Encryption, ...]:
    """Encrypt a batch of payloads that are numbered from 0."""
    batch = Batch(1, suite, choice, tuple(enumerate(payloads)))
    return encrypt_batch(batch, key or ThrowAway(), limits or Limits(deadline_s=BOUND_S), cancel or CancelToken())


def script(folder: Path, body: str, name: str = "openssl") -> str:
    """Write an executable shell script; its path."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def run_python(code: str, *arguments: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[bytes]:
    """Run Python source in a process of its own, in which the project can be imported."""
    return subprocess.run(
        [*before, sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=2 * BOUND_S,
        check=False,
    )


def without_root_rights() -> tuple[str, ...]:
    """What to put before an argv so that file modes hold for it, for root too; skips the test where that fails."""
    if os.geteuid() != 0:
        return ()
    before = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    try:
        tried = subprocess.run([*before, "true"], capture_output=True, timeout=BOUND_S, check=False)
    except OSError:
        pytest.skip("root reads everything, and there is no setpriv to give that right up")
    if tried.returncode:
        pytest.skip("root reads everything, and may not give that right up here")
    return before


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Poll until something holds; fail with `what` when it never does."""
    end = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def state(pid: int) -> tuple[str, int]:
    """A process's state letter and its parent; `("gone", 0)` when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "gone", 0
    return fields[0], int(fields[1])


def is_gone(pid: int) -> bool:
    """Whether a process has ended; orphans that init has not reaped yet count as ended."""
    return state(pid)[0] in ("gone", "Z", "X")


def children(pid: int) -> list[int]:
    """The child processes of a process, zombies included."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and state(int(name))[1] == pid]


def descriptors() -> list[str]:
    """This process's open descriptors, without those of cancel tokens that only a caught error's frames still hold."""
    gc.collect()
    return sorted(os.listdir("/proc/self/fd"))


def peak_bytes(pid: int | str = "self") -> int:
    """The most memory that a process has had resident since its exec (getrusage inherits the parent's)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))
