"""Files that are always written, and files that cannot be read: what the commands say, and what comes back."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Command, read_json

MIB = 1 << 20
# Writes to a file without a pause, by another process, as a logger and a database do.
WRITER = """
import os, sys
path = sys.argv[1]
print(flush=True)
while True:
    with open(path, "r+b") as file:
        file.write(os.urandom(4096))
    with open(path, "ab") as file:
        file.write(b"line")
"""


@pytest.fixture
def log(threadmill: Command, tmp_path: Path, key_file: Path, environment: dict[str, str]) -> Path:
    """A file so large that it changes while it is read; a vault has it as it was."""
    environment["THREADMILL_VAULT"] = str(tmp_path / "vault")
    assert threadmill("vault", "init", "vault").returncode == 0
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "other").write_text("other")
    path = tmp_path / "tree" / "log"
    path.write_bytes(random.randbytes(32 * MIB))
    assert threadmill("encrypt", "tree").returncode == 0
    return path


@contextmanager
def always_written(path: Path) -> Iterator[None]:
    """A process writes to the file."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        yield
    finally:
        writer.kill()
        writer.communicate()


def caught(threadmill: Command, log: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], bytes]:
    """A run that the file changed under, and its last good content: at times the writer is too slow."""
    good = log.read_bytes()
    for _ in range(20):
        with always_written(log):
            ended = threadmill("encrypt", "tree", *options)
        if "1 marked" in ended.stdout + ended.stderr:
            return ended, good
        shutil.rmtree(log.parent.with_name("good"), ignore_errors=True)
        assert threadmill("restore", "latest", "good", str(log)).returncode == 0
        good = Path(f"{log.parent.with_name('good')}{log}").read_bytes()
    pytest.fail("the file never changed while it was read")


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """A file that nobody may read, not even root."""
    if os.geteuid() != 0:
        path.chmod(0)
        yield
        path.chmod(0o600)
        return
    if subprocess.run(["mount", "--bind", "/proc/sys/vm/compact_memory", path], check=False).returncode:
        pytest.skip("no file can be made unreadable for root here")
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_log_that_is_always_written(
    threadmill: Command, threadmill_process: Command, log: Path, tmp_path: Path
) -> None:
    """It is a fault (3), in the snapshot, named by restore, and comes back as it was read, or as it was last good."""
    ended, good = caught(threadmill, log)
    assert ended.returncode == 3
    assert f"{log} unstable: changed while it was read" in ended.stderr
    assert "1 marked (1 unstable)" in ended.stderr

    shown = threadmill("snapshots", "show", "latest", "--marked")
    assert shown.returncode == 0
    first, last = shown.stdout.splitlines()
    assert first.endswith(f"{log} (changed while it was read)")
    assert last.endswith("1 marked")
    (entry,) = read_json(threadmill("snapshots", "show", "latest", "--marked", "--json"))
    assert (entry["path"], entry["mark"], len(entry["good"])) == (str(log), "changed", 64)
    newest, *_ = read_json(threadmill("snapshots", "--json"))
    assert (newest["marked"], newest["counts"]) == (1, True)

    # All older snapshots may go: the last good content stays.
    assert threadmill("prune", "--keep-last", "1").returncode == 0
    restored = threadmill("restore", "latest", "as-read")
    assert restored.returncode == 0
    assert f"changed while they were read, or could not be read and are older than the snapshot: {log}" in (
        restored.stdout
    )
    assert Path(f"{tmp_path}/as-read{log}").stat().st_size == entry["size_bytes"]
    restored = threadmill("restore", "latest", "last-good", "--last-good")
    assert "of 1 file the last good content" in restored.stdout
    assert Path(f"{tmp_path}/last-good{log}").read_bytes() == good
    written: Any = threadmill_process("cat", "latest", str(log), "--last-good", text=False)
    assert (written.stdout, written.stderr) == (good, b"")
    written = threadmill_process("cat", "latest", str(log), text=False)
    assert b"log: changed while it was read" in written.stderr
    assert len(written.stdout) == entry["size_bytes"]
    assert threadmill("verify").returncode == 0


def test_what_may_change_is_no_fault(threadmill: Command, log: Path, environment: dict[str, str]) -> None:
    """Said once by an option, or by a setting for all runs, in which a pattern may be for other paths."""
    ended, _ = caught(threadmill, log, "--may-change", "*.tmp", "--may-change", "/log")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "1 marked (1 changing)" in ended.stdout
    environment["THREADMILL_MAY_CHANGE"] = f"lo?:{Path(__file__).parent}/x"
    ended, _ = caught(threadmill, log)
    assert ended.returncode == 0
    with always_written(log):
        ended = threadmill("encrypt", "tree", "--quiet")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    (row,) = read_json(threadmill("history", "payloads", "--status", "changing", "--limit", "1", "--json"))
    assert (row["name"], row["cause"]) == (str(log), "changed")
    assert read_json(threadmill("status", "--only-vault", "--json"))["vault"]["complaints"] == []
    assert threadmill("encrypt", "tree").returncode == 0
    assert "marked" not in threadmill("snapshots", "show", "latest").stdout


@pytest.mark.parametrize("command", ["encrypt tree --may-change !", "encrypt tree --discard --may-change x"])
def test_a_pattern_that_is_none_is_refused(threadmill: Command, log: Path, command: str) -> None:
    """As those of --exclude are."""
    assert log.exists()
    assert threadmill(*command.split()).returncode == 2


def test_a_setting_that_is_no_pattern_is_refused(threadmill: Command, log: Path, environment: dict[str, str]) -> None:
    """It names the setting."""
    environment["THREADMILL_MAY_CHANGE"] = "*.log:!"
    ended = threadmill("encrypt", str(log.parent))
    assert ended.returncode == 2
    assert "THREADMILL_MAY_CHANGE" in ended.stderr


def test_a_file_that_cannot_be_read_any_more(threadmill: Command, log: Path, tmp_path: Path) -> None:
    """Its last entry is carried over, which is a fault (3) until it can be read; the record says which."""
    good = log.read_bytes()
    log.chmod(0o640)
    with unreadable(log):
        for _ in range(2):
            ended = threadmill("encrypt", "tree")
            assert ended.returncode == 3
            assert f"{log} carried-over: cannot be read: Permission denied" in ended.stderr
            assert "1 marked (1 carried-over), 0 skipped, 0 missed" in ended.stderr
        (run, *_) = json.loads(threadmill("history", "runs", "--json").stdout)
        listed = threadmill("history", "payloads", "--run", str(run["id"]), "--status", "carried-over", "--json")
        assert [row["name"] for row in read_json(listed)] == [str(log)]
    assert "could not be read: as in an older snapshot" in threadmill("snapshots", "show", "latest").stdout
    assert threadmill("restore", "latest", "target").returncode == 0
    assert Path(f"{tmp_path}/target{log}").read_bytes() == good
    assert threadmill("encrypt", "tree").returncode == 0
    assert "could not be read" not in threadmill("snapshots", "show", "latest").stdout


def test_files_of_the_kernel_are_no_surprise(threadmill: Command, log: Path) -> None:
    """Their size is not the number of their bytes: the run says so each time, and ends well."""
    assert log.exists()
    for _ in range(2):
        ended = threadmill("encrypt", "/proc/version")
        assert ended.returncode == 0
        assert "1 file gave more or fewer bytes than its size says" in ended.stdout
    assert threadmill("check", "/proc/version").returncode == 0
    assert threadmill("cat", "latest", "/proc/version").stdout == Path("/proc/version").read_text()
