"""The parent-death signal, with and without setpriv, and what becomes of children after `kill -9`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.crypto.chain import death_signal_argv
from tests.support.crypto_fakes import (
    BOUND_S,
    OPENSSL,
    ROOT,
    children,
    is_gone,
    needs_openssl,
    needs_setpriv,
    script,
    wait_until,
)

# Asks the kernel which signal this very process gets when its parent dies, then shows its arguments.
ASK = """
import ctypes, sys
number = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(number))
print(number.value, sys.argv[1:])
"""

# Keeps a chain busy for minutes: 1 TiB of nothing, or a pipe that never ends.
BUSY = """
import sys
from tasks.cancel import CancelToken
from tasks.crypto.probe import choose_backend
from tasks.crypto.encrypt import Batch, Limits, encrypt_batch
from tasks.crypto.inputs import Payload
from tasks.crypto.secret import ThrowAway
from tasks.suites import SUITES

token = CancelToken()
kind, path, size = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
chosen = choose_backend("openssl", SUITES["cbc"], sys.argv[4], token)
print("chosen", flush=True)
payload = Payload("stdin", b"-", None) if kind == "stdin" else Payload("file", path, size)
print(encrypt_batch(Batch(1, "cbc", chosen, ((0, payload),)), ThrowAway(), Limits(), token))
"""


@pytest.fixture(params=[pytest.param("setpriv", marks=needs_setpriv), "wrapper"])
def wrapper(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two ways; for the second, a `PATH` on which there is no setpriv."""
    if request.param == "wrapper":
        hide_setpriv(tmp_path, monkeypatch)
    return str(request.param)


def hide_setpriv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))


def ask(*arguments: str) -> str:
    argv = [*death_signal_argv(), sys.executable, "-I", "-c", ASK, *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=BOUND_S, check=True).stdout.strip()


def test_the_kernel_knows_the_signal(wrapper: str) -> None:
    """The program that runs in the end gets SIGKILL when its parent dies, and its arguments unchanged."""
    arguments = ["two words", "-x", "", "new\nline", "$HOME"]
    assert ask(*arguments) == f"9 {arguments}"
    assert death_signal_argv()[0].endswith("setpriv") == (wrapper == "setpriv")


def test_the_wrapper_hands_on_exit_code_and_streams(wrapper: str) -> None:
    """Exit code, output and standard error are the program's own, and nothing is added to them."""
    argv = [*death_signal_argv(), "/bin/sh", "-c", "read word; echo $word; echo bad >&2; exit 7"]
    ended = subprocess.run(argv, input=b"in\n", capture_output=True, timeout=BOUND_S, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, b"in\n", b"bad\n")


def test_an_orphan_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python wrapper starts nothing when its parent is not the one that wanted it."""
    hide_setpriv(tmp_path, monkeypatch)
    argv = list(death_signal_argv())
    argv[-1] = str(os.getppid())
    ended = subprocess.run(
        [*argv, "/bin/echo", "started"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=BOUND_S, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, b"")


@pytest.mark.parametrize(
    "body",
    ["echo 'unrecognized option: pdeathsig' >&2; exit 1", "kill -9 $$"],
    ids=["without the option", "dying"],
)
def test_a_setpriv_that_cannot_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """A setpriv without the option (BusyBox), or a broken one, gives way to the Python wrapper."""
    script(tmp_path, body, "setpriv")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert death_signal_argv()[0] == sys.executable
    assert ask() == "9 []"


@needs_openssl
@pytest.mark.parametrize("kind", ["file", "stdin"])
def test_no_child_outlives_a_killed_parent(wrapper: str, tmp_path: Path, kind: str) -> None:
    """After `kill -9` of the parent both openssl children end by themselves, though their work would go on."""
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(1 << 40)
    read_end, write_end = os.pipe()
    parent = subprocess.Popen(
        [sys.executable, "-c", BUSY, kind, str(big), str(1 << 40), OPENSSL],
        cwd=ROOT,
        stdin=read_end,
        stdout=subprocess.PIPE,
    )
    os.close(read_end)
    ours: list[int] = []
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"chosen\n"
        wait_until(lambda: openssl_children(parent.pid) == 2, "the chain did not start")
        ours = children(parent.pid)
        parent.kill()
        parent.wait(BOUND_S)
        wait_until(lambda: all(map(is_gone, ours)), "a child lives on after its parent was killed")
    finally:
        parent.kill()
        parent.wait(BOUND_S)
        os.close(write_end)
        if parent.stdout is not None:
            parent.stdout.close()
        for pid in ours:
            if not is_gone(pid):
                os.kill(pid, signal.SIGKILL)


def openssl_children(pid: int) -> int:
    return sum(program_of(child) == "openssl" for child in children(pid))


def program_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
