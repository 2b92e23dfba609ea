"""One JSON request in on stdin, one JSON line out on stdout, under a life-line.

A child imports only what its case needs: with everything it would start 50 ms later, and a full matrix
starts hundreds.
"""

import json
import os
import sys

from .executors import EXECUTORS, LIFELINE, cannot
from .readings import Meter, Skip, gil_on, look_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def measure_speedup(workload: str, executor: str, workers: int, count: int) -> "dict[str, object]":
    """One sample of a workload under an executor, after a warm-up of the same on one small item."""
    from .workloads import WORKLOADS

    execute = look_up(EXECUTORS, executor, "executor")
    job = look_up(WORKLOADS, workload, "workload")(count)
    execute(job, [job.warm], 1)
    with Meter() as meter:
        outputs, readings = execute(job, job.items, workers)
    sample = meter.summary(readings)
    expected, found = "; ".join(job.expected), "; ".join(map(str, outputs))
    sample.update(expected=expected, found=found, outcome="ok" if found == expected else "wrong-output")
    return sample


def measure(case: "Any") -> "dict[str, object]":
    """The sample of one case, or the reason why it cannot be had here."""
    workers, count = case["workers"], case["count"]
    try:
        if case["experiment"] == "speedup":
            return measure_speedup(case["workload"], case["executor"], workers, count)
        if case["experiment"] == "race":
            from .race import measure_race

            return measure_race(case["guard"], case["shape"] or "", workers, count)
        from .ceiling import measure_ceiling

        return measure_ceiling(workers, count)
    except Skip as skip:
        return {"outcome": "skipped", "error": str(skip)}


def facts() -> "dict[str, str]":
    """What makes two interpreters the same one; nothing that changes while it is installed."""
    import hashlib
    import platform
    import struct
    import sysconfig

    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[3] != "final":
        version += f"{sys.version_info[3]}{sys.version_info[4]}"
    return {
        "implementation": sys.implementation.name,
        "version": version,
        "implementation_version": ".".join(map(str, sys.implementation.version[:3])),
        "build": " ".join(platform.python_build()),
        "compiler": platform.python_compiler(),
        "configure": str(sysconfig.get_config_var("CONFIG_ARGS") or ""),
        # Whether the build has a GIL that cannot be switched off.
        "gil_build": str(not sysconfig.get_config_var("Py_GIL_DISABLED")),
        "machine": platform.machine(),
        # Without OpenSSL, versions before 3.12 hash ten times slower and keep the GIL.
        "sha256": hashlib.sha256.__name__,
        "pointer_bits": str(8 * struct.calcsize("P")),
    }


def identify() -> "dict[str, object]":
    """The answer to the parent's probe."""
    executable = os.path.realpath(sys.executable)
    return {"executable": executable, "facts": facts(), "gil_now": gil_on(), "cannot": cannot()}


def main(descriptor: int) -> None:
    """Answer one request: a case, or `null` for what this interpreter is."""
    LIFELINE.hold(descriptor)
    request = json.load(sys.stdin)
    if request is not None:
        Meter.cpu_stats = request.get("cpu_stats", ())
    answer = identify() if request is None else measure(request)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
