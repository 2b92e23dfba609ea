"""The facts of a host, from kept `/proc` and `/sys` of hosts of all kinds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from db.host import HostLimits, interference, readings, this_limits

HOSTS = Path(__file__).parents[1] / "data" / "hosts"
ABOUT = ("governor", "frequency_mhz", "virtualisation", "container", "memory_limit_bytes")


@pytest.fixture(autouse=True)
def first_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kept hosts have it, whatever the tests may use."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})


def tree(host: str, root: Path) -> str:
    """The files of a kept host, each of which follows a line `== path`."""
    for part in (HOSTS / f"{host}.txt").read_text().split("== ")[1:]:
        name, _, text = part.partition("\n")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


@pytest.mark.parametrize(
    ("host", "quota", "smt", "about"),
    [
        ("bare-metal", None, True, ("powersave", "400 to 4700", "none", None, None)),
        # The service may use 3.5 CPUs of the 2 that its slice has.
        ("vm", 2.0, True, (None, None, "amazon", None, 8 << 30)),
        ("container-v1", 1.5, False, (None, None, "qemu", "docker", 512 << 20)),
        ("container-v2", 0.5, None, (None, None, None, "podman", 256 << 20)),
        # The limit is the parent's; a controller of version 1 is not one of version 2.
        ("hybrid-v1", 0.5, None, (None, None, "vm", None, None)),
    ],
)
def test_limits_and_conditions_of_a_host(
    host: str, quota: float | None, smt: bool | None, about: tuple[object, ...], tmp_path: Path
) -> None:
    """The tightest cgroup counts, and a fact that the host does not tell is None."""
    root = tree(host, tmp_path)
    assert this_limits(root) == HostLimits(1, quota, smt)
    found = readings(root)
    assert tuple(found[name] for name in ABOUT) == about


@pytest.mark.parametrize(
    ("host", "throttled_ns", "periods", "stolen"),
    [
        ("bare-metal", 0, 0, 0),
        ("vm", 1_000_000, 10, 300),
        ("container-v1", 123_456_789, 5, 0),
        ("hybrid-v1", None, 0, 0),
    ],
)
def test_counters_of_a_host(host: str, throttled_ns: int | None, periods: int, stolen: int, tmp_path: Path) -> None:
    """Throttling counts in every cgroup around the process, in nanoseconds; steal on the CPUs that it may use."""
    found = interference(tree(host, tmp_path))
    assert (found.throttled_ns, found.throttled_periods, found.stolen_ticks) == (throttled_ns, periods, stolen)


def test_interference_is_the_difference_of_two_moments(tmp_path: Path) -> None:
    """Shares are of the time between them."""
    before = interference(tree("vm", tmp_path))
    (tmp_path / "proc/stat").write_text("cpu0 460 0 230 9000 50 0 10 310 0 0\n")
    (tmp_path / "sys/fs/cgroup/system.slice/cpu.stat").write_text("nr_throttled 8\nthrottled_usec 1900\n")
    found = interference(str(tmp_path)).since(before)
    assert (found["throttled_ns"], found["throttled_periods"], found["stolen_share"]) == (1_000_000, 1, 0.1)


def test_a_host_without_files_tells_nothing(tmp_path: Path) -> None:
    """No `/proc`, no `/sys`: nothing fails."""
    assert this_limits(str(tmp_path)) == HostLimits(1, None, None)
    assert {readings(str(tmp_path))[name] for name in ABOUT} == {None}
    assert interference(str(tmp_path)).since(interference(str(tmp_path))) == {}


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (HostLimits(1, None, None), "1 CPU"),
        (HostLimits(4, 1.5, True), "4 CPUs, quota 1.5, SMT on"),
        (HostLimits(2, 2.0, False), "2 CPUs, quota 2, SMT off"),
    ],
)
def test_limits_for_people(limits: HostLimits, words: str) -> None:
    """What is not known is not said."""
    assert str(limits) == words
