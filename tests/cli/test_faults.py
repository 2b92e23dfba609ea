"""What becomes of a run that is interrupted, killed, or has nowhere to write."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Command, read_json
from tests.support.processes import GONE_S, alive, children_of, hang_on_payloads_only, make_hanging_openssl, wait_until


@pytest.fixture
def slow_openssl(tmp_path: Path, environment: dict[str, str]) -> Path:
    """An openssl that answers the probe as usual, and never ends `enc` once the file `armed` is there."""
    folder = make_hanging_openssl(tmp_path / "slow")
    environment["PATH"] = f"{folder}:{environment['PATH']}"
    return folder


@pytest.mark.parametrize("whole_group", [True, False], ids=["group", "process"])
@pytest.mark.parametrize(
    ("number", "code", "says"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_signal_ends_the_run_and_its_children(
    threadmill: Command,
    started: Callable[..., subprocess.Popen[str]],
    slow_openssl: Path,
    key_file: Path,
    tmp_path: Path,
    number: int,
    code: int,
    says: str,
    whole_group: bool,
) -> None:
    """Ctrl-C reaches the whole group, `kill` one process: no child is left, and the run says cancelled."""
    process = _start_hanging(started, slow_openssl, tmp_path)
    os.killpg(process.pid, number) if whole_group else os.kill(process.pid, number)
    _, stderr = process.communicate(timeout=GONE_S)
    assert process.returncode == code, stderr
    assert says in stderr.splitlines()[-1]
    assert "Traceback" not in stderr
    wait_until(lambda: not any(map(alive, children_of(slow_openssl))), "a child is left")
    detail = read_json(threadmill("history", "show", "latest", "--json"))
    assert detail["run"]["status"] == "cancelled"
    assert detail["run"]["finished_at"] is not None
    assert {payload["status"] for payload in detail["payloads"]} <= {"ok"}


def test_kill_9_leaves_no_child_and_a_row_that_says_so(
    threadmill: Command,
    started: Callable[..., subprocess.Popen[str]],
    slow_openssl: Path,
    key_file: Path,
    tmp_path: Path,
) -> None:
    """The kernel ends the children; the next run marks the dead one as crashed and is itself unharmed."""
    process = _start_hanging(started, slow_openssl, tmp_path)
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(alive, children_of(slow_openssl))), "a child is left")
    (slow_openssl / "armed").unlink()
    assert threadmill("encrypt", "--random", "100x1").returncode == 0
    statuses = [run["status"] for run in read_json(threadmill("history", "runs", "--json"))]
    assert statuses == ["completed", "crashed"]


def _start_hanging(started: Callable[..., subprocess.Popen[str]], slow: Path, tmp_path: Path) -> subprocess.Popen[str]:
    """A run over 8 files of 2 MiB, stopped in the middle: the probe's three bytes pass, the files do not."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(8):
        (folder / str(number)).write_bytes(random.randbytes(2 << 20))
    hang_on_payloads_only(slow)
    (slow / "armed").touch()
    process = started("encrypt", str(folder), "--backend", "openssl")
    wait_until(lambda: children_of(slow), "no child was started", 60)
    return process


@pytest.mark.slow
def test_hanging_openssl_is_ended_by_the_deadline(
    threadmill: Command, slow_openssl: Path, key_file: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """A payload that takes too long fails with that reason, and the others are done."""
    environment["THREADMILL_CHAIN_TIMEOUT_S"] = "2"
    hang_on_payloads_only(slow_openssl)
    (slow_openssl / "armed").touch()
    (tmp_path / "small").write_bytes(b"small")
    (tmp_path / "large").write_bytes(b"l" * 5000)
    result = threadmill("encrypt", "small", "large", "--backend", "openssl", "--json")
    assert result.returncode == 1
    statuses = {os.path.basename(p["name"]): (p["status"], p["error"]) for p in read_json(result)["payloads"]}
    assert statuses["small"] == ("ok", None)
    assert statuses["large"][0] == "failed"
    assert "not finished after 2 s" in statuses["large"][1]
    assert not any(map(alive, children_of(slow_openssl)))


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 3", "exited with 3"),
        ("echo rubbish; exit 0", "cannot run suite"),
        ("kill -9 $$", "SIGKILL"),
    ],
    ids=["fails", "prints rubbish", "is killed"],
)
def test_broken_openssl(
    threadmill: Command, environment: dict[str, str], tmp_path: Path, script: str, says: str
) -> None:
    """Asked for, a broken openssl is refused with what it did; otherwise native takes over and says why."""
    folder = tmp_path / "broken"
    folder.mkdir()
    program = folder / "openssl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    environment["PATH"] = f"{folder}:{environment['PATH']}"
    asked = threadmill("encrypt", "--random", "100x1", "--backend", "openssl")
    assert (asked.returncode, len(asked.stderr.splitlines())) == (2, 1)
    assert says in asked.stderr
    auto = threadmill("encrypt", "--random", "100x1", "--json")
    assert auto.returncode == 0
    (payload,) = read_json(auto)["payloads"]
    assert payload["backend"] == "native"
    assert "native took over" in payload["backend_reason"]


def test_unreadable_file_is_reported_and_hides_nothing(threadmill: Command, key_file: Path, tmp_path: Path) -> None:
    """Everything readable is done; the exit code is 3, and the row has the reason."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "good").write_bytes(b"good")
    target: Path = folder / "bad"
    target.write_bytes(b"bad")
    options: dict[str, Any] = {}
    if os.geteuid() == 0:
        # Root may read anything, but not the memory of a process from its beginning.
        target = Path("/proc/self/mem")
    else:
        target.chmod(0)
    result = threadmill("encrypt", str(folder), str(target), "--backend", "native", "--json", **options)
    assert result.returncode == 3, result.stderr
    rows = {row["name"]: row for row in read_json(result)["payloads"]}
    assert rows[str(folder / "good")]["status"] == "ok"
    assert rows[str(target)]["cause"] == "unreadable"
    listed = read_json(threadmill("history", "payloads", "--failed", "--json"))
    assert [row["name"] for row in listed] == [str(target)]


def test_locked_record_is_refused_before_any_work(
    threadmill_process: Command, environment: dict[str, str], home: Path
) -> None:
    """A database that somebody else holds is one line, and no payload is worked on."""
    assert threadmill_process("encrypt", "--random", "100x1").returncode == 0
    environment["THREADMILL_DATABASE_TIMEOUT_S"] = "0.5"
    other = sqlite3.connect(home / "history.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    result = threadmill_process("encrypt", "--random", "100x1")
    other.close()
    assert result.returncode == 2
    assert "locked by another process" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert threadmill_process("encrypt", "--random", "100x1").returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for little more than an empty database."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k,mode=700", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_ends_the_run_with_one_line(
    threadmill: Command, environment: dict[str, str], small_disk: Path
) -> None:
    """No room for the record: exit code 1, no half batch; with room again, the next run works and tells of it."""
    environment["THREADMILL_HOME"] = str(small_disk)
    result = threadmill("encrypt", "--random", "1x40000", "--backend", "native")
    assert result.returncode == 1, result.stderr
    assert "disk is full" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert threadmill("encrypt", "--random", "1x3").returncode == 0
    runs = read_json(threadmill("history", "runs", "--json"))
    assert runs[0]["status"] == "completed"
    assert runs[1]["status"] in ("failed", "crashed")
