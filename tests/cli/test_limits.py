"""A host as it is: pinned, under a quota, under another name, measured by two at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.commands import BIN, Command, read_json
from tests.support.limits import on_one_cpu, under_quota

PAYLOADS = ("encrypt", "--random", "100x3", "--backend", "native")
SAMPLES = ("experiment", "speedup", "--workload", "digest", "--executor", "thread-pool", "--rounds", "1", "--quick")


def limited(before: list[str], *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command under a limit."""
    command = [*before, str(BIN / "threadmill"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU is all that there is")
@pytest.mark.parametrize("measured", [PAYLOADS, SAMPLES], ids=["payloads", "samples"])
def test_a_pinned_run_is_another_series(
    measured: tuple[str, ...], threadmill: Command, environment: dict[str, str]
) -> None:
    """Its times are not compared with those of all CPUs, and the refusal says why."""
    assert threadmill(*measured).returncode == 0
    assert limited(on_one_cpu(), *measured, environment=environment).returncode == 0
    pinned, free = read_json(threadmill("history", "runs", "--json"))
    assert (pinned["usable_cpus"], free["usable_cpus"]) == (1, len(os.sched_getaffinity(0)))
    assert pinned["covariates"]["cpus"] == str(min(os.sched_getaffinity(0)))
    compared = threadmill("history", "compare", "1", "2")
    assert (compared.returncode, compared.stdout) == (2, "")
    assert f"run 1 had {free['usable_cpus']} CPUs" in compared.stderr
    assert "run 2 1 CPU" in compared.stderr
    assert "times under different limits are not compared" in compared.stderr
    assert {row["series"]["usable_cpus"] for row in read_json(threadmill("history", "trend", "--json"))} == {
        1, free["usable_cpus"],
    }  # fmt: skip
    assert ", SMT" in threadmill("history", "show", "2").stdout.partition("host:")[2] or pinned["smt"] is None


def test_a_throttled_sample_is_noisy_and_says_why(threadmill: Command, environment: dict[str, str]) -> None:
    """So little that even a busy host has more to give."""
    with under_quota(0.1) as before:
        assert limited(before, "experiment", "ceiling", "--rounds", "1", environment=environment).returncode == 0
    (run,) = read_json(threadmill("history", "runs", "--json"))
    assert run["quota_cpus"] == 0.1
    assert run["covariates"]["throttled_ns"] > 0
    samples = read_json(threadmill("history", "samples", "--json"))
    assert all(row["noisy"] and "throttled by the CPU quota for " in row["noise"] for row in samples)
    assert all(row["throttled_ns"] > 0 for row in samples)


def test_two_homes_measure_one_after_the_other(environment: dict[str, str], tmp_path: Path) -> None:
    """The lock is the host's: no sample of one lies within the time of another's, and who waits says for whom."""
    command = [str(BIN / "threadmill"), "experiment", "ceiling", "--rounds", "3", "--json"]
    homes = [environment | {"THREADMILL_HOME": str(tmp_path / name)} for name in ("one", "two")]
    both = [
        subprocess.Popen(command, env=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for home in homes
    ]
    ended = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [0, 0]
    spans = []
    for out, _ in ended:
        for sample in json.loads(out)["samples"]:
            start = datetime.fromisoformat(sample["started_at"])
            spans.append((start, start + timedelta(microseconds=sample["wall_ns"] // 1000)))
    spans.sort()
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert any(re.search(r"process \d+ \(\S+\) of user \S+ holds the measuring lock", errors) for _, errors in ended)


def test_the_lock_is_the_same_for_all_homes(threadmill: Command, environment: dict[str, str]) -> None:
    """A folder of the system."""
    del environment["THREADMILL_MEASURING_LOCK"]
    assert read_json(threadmill("settings", "--json"))["measuring_lock"] == "/dev/shm"
    assert Path("/dev/shm").stat().st_uid == 0


def test_a_host_has_the_name_that_it_is_given(threadmill: Command, environment: dict[str, str]) -> None:
    """Containers of a day continue one series."""
    environment["THREADMILL_HOST"] = "nightly"
    assert threadmill(*PAYLOADS).returncode == 0
    (run,) = read_json(threadmill("history", "runs", "--host", "nightly", "--json"))
    assert run["host"] == "nightly"
    assert "nightly" in threadmill("settings").stdout
    environment["THREADMILL_HOST"] = "two\nlines"
    assert threadmill(*PAYLOADS).returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["one CPU of affinity", "a quota of one CPU"])
def test_the_engine_keeps_its_promises_under_a_limit(limit: str, tmp_path: Path) -> None:
    """The tests that measure pass under `taskset`, and under a cgroup's quota, where this host lets us set one."""
    tests = [f"tests/threads/{name}.py" for name in ("test_execution", "test_readings", "test_planning")]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist", "-p", "no:cacheprovider"]
    command += ["--basetemp", str(tmp_path / "inner"), *tests]
    if limit.startswith("one"):
        run = subprocess.run([*on_one_cpu(), *command], capture_output=True, text=True, check=False)
    else:
        with under_quota(1) as before:
            run = subprocess.run([*before, *command], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:]
