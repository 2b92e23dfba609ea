"""Experiments that go wrong, or are ended from outside, as the command's user sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.threads.child import marked_with
from tests.support.commands import Command, read_json

PATIENCE_S = 60


@pytest.fixture
def lying(tmp_path: Path) -> Path:
    """An interpreter whose samples say something else than `ok`: what, is in the file `says` beside it."""
    path = tmp_path / "lying-python"
    path.write_text(
        "#!/bin/sh\n"
        f'"{sys.executable}" "$@" | sed -e \'s#"executable": "[^"]*"#"executable": "{path}"#\' '
        f'-e "s#\\"outcome\\": \\"ok\\"#\\"outcome\\": \\"$(cat \'{tmp_path}/says\')\\"#"\n'
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        (("race", "--guard", "shard"), "broken"),
        (("speedup", "--workload", "wait-book", "--executor", "serial"), "wrong-output"),
    ],
)
def test_what_is_broken_is_exit_code_1(
    threadmill: Command, lying: Path, tmp_path: Path, arguments: tuple[str, ...], outcome: str
) -> None:
    """A guard that leaks, or an output that is wrong, fails the command and the run, and is named in both."""
    (tmp_path / "says").write_text(outcome)
    command = ("experiment", *arguments, "--python", str(lying), "--rounds", "1", "--quick")
    result = threadmill(*command)
    assert result.returncode == 1, result.stderr
    assert "FAILED" in result.stdout
    assert result.stderr.splitlines()[-1].startswith("threadmill: ")
    assert outcome in result.stderr.splitlines()[-1]
    (run,) = read_json(threadmill("history", "runs", "--json"))
    assert run["status"] == "failed"
    assert outcome in run["error"]


@pytest.mark.parametrize(
    ("number", "code", "status"),
    [(signal.SIGINT, 130, "cancelled"), (signal.SIGTERM, 143, "cancelled"), (signal.SIGKILL, -9, "crashed")],
)
def test_no_pool_worker_outlives_the_command(
    threadmill: Command, started: Callable[..., subprocess.Popen[str]], number: int, code: int, status: str
) -> None:
    """Ended in the middle of `process-pool`, it leaves no process, and a row that says how it ended."""
    chosen = ("speedup", "--workload", "wait", "--executor", "process-pool")
    process = started("experiment", *chosen, "--via", "direct")
    mark = f"{process.pid:010d}"
    # The child itself and two workers.
    wait_for(lambda: len(marked_with(mark)) == 3)
    os.kill(process.pid, number)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code
    assert "Traceback" not in stderr
    wait_for(lambda: marked_with(mark) == [])
    # The next writer closes what the killed one left open.
    assert threadmill("experiment", "ceiling", "--rounds", "1").returncode == 0
    statuses = [run["status"] for run in read_json(threadmill("history", "runs", "--json"))]
    assert statuses == ["completed", status]


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll, with patience."""
    give_up = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)
