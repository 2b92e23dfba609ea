"""Processes that tests wait for, and an openssl that never ends."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GONE_S = 20


def wait_until(true: Callable[[], Any], what: str, seconds: float = GONE_S) -> None:
    """Poll; `what` is said if it does not become true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether there is such a process, one that waits to be reaped not counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def read_proc(pid: int, what: str) -> bytes:
    """A file of a process in /proc; empty if that is gone."""
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


def make_hanging_openssl(folder: Path) -> Path:
    """An openssl in `folder` that answers the probe as usual, and never ends `enc` once the file `armed` is there."""
    real = shutil.which("openssl")
    if real is None:
        pytest.skip("no openssl on PATH")
    folder.mkdir()
    program = folder / "openssl"
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = enc ] && [ -e {folder}/armed ]; then echo $$ >> {folder}/pids; exec sleep 600; fi\n'
        f'exec {real} "$@"\n'
    )
    program.chmod(0o755)
    return folder


def hang_on_payloads_only(folder: Path) -> None:
    """Let the probe's three bytes pass: what is larger hangs, by the size of the descriptor on standard input."""
    script = folder / "openssl"
    script.write_text(script.read_text().replace("[ -e", '[ "$(stat -L -c %s /dev/stdin)" -gt 1000 ] && [ -e'))


def children_of(folder: Path) -> list[int]:
    """The processes that hang, or did."""
    pids = folder / "pids"
    return [int(line) for line in pids.read_text().split()] if pids.exists() else []
