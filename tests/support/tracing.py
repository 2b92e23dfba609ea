"""Whom a program and its children connect to, and what they do when the kernel says no."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

# Of what a resolver does, connect(2) is the first call.
_STRACE = ("strace", "-D", "-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-e", "trace=connect,sendmmsg", "-o")
_LOCAL = re.compile(r"sa_family=AF_(UNIX|NETLINK|UNSPEC)|127\.0\.0\.\d+|inet_pton\(AF_INET6, \"::1\"")


def tracing(trace: Path) -> tuple[str, ...]:
    """What to put before a command to have its connections in a file. It runs beside: signals go to the command."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    tried = subprocess.run([*_STRACE, trace, "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace may not trace here: {tried.stderr.decode(errors='replace').strip()}")
    return (*_STRACE, str(trace))


def failing(**errors: str) -> tuple[str, ...]:
    """What to put before a command to have system calls fail: their names, with commas, by the name of the error."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("there is no strace on PATH")
    traced = ",".join(errors.values())
    injected = [part for error, calls in errors.items() for part in ("-e", f"inject={calls}:error={error}")]
    command = (strace, "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={traced}", *injected)
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace cannot inject errors here")
    return command


def outside(trace: Path) -> list[str]:
    """Calls that reach for another machine, or for a resolver, on this one or elsewhere."""
    calls = [line for line in trace.read_text().splitlines() if "sa_family=" in line]
    assert any("127.0.0.1" in call for call in calls)
    return [call for call in calls if not _LOCAL.search(call) or "htons(53)" in call]
