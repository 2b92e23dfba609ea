"""Commands under limits of the CPU, where this host lets us set any."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CGROUPS = Path("/sys/fs/cgroup")
ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


def on_one_cpu() -> list[str]:
    """What goes before a command so that it has one CPU."""
    return ["taskset", "-c", str(min(os.sched_getaffinity(0)))]


@contextmanager
def under_quota(cpus: float) -> Iterator[list[str]]:
    """What goes before a command so that it gets so much CPU time per time; skips where there is no way to."""
    version_1 = (CGROUPS / "cpu").is_dir()
    group = CGROUPS / ("cpu" * version_1) / f"threadmill-test-{uuid.uuid4().hex}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        try:
            file, text = ("cpu.cfs_quota_us", "{}") if version_1 else ("cpu.max", "{} 100000")
            (group / file).write_text(text.format(round(100_000 * cpus)))
        except OSError as error:
            pytest.skip(f"no quota can be set here: {error}")
        yield ["sh", "-c", ENTER, str(group)]
    finally:
        group.rmdir()
