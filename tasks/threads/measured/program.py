"""One JSON request in on stdin, one JSON line out on stdout, under a life-line.

A child imports only what its case needs: with everything it would start 50 ms later, and a full matrix
starts hundreds.
"""

import json
import sys

from .executors import EXECUTORS
from .lifeline import LIFELINE
from .readings import Meter, Skip, look_up

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


def main(descriptor: int) -> None:
    """Answer one request: a case, or `null` for what this interpreter is."""
    LIFELINE.hold(descriptor)
    request = json.load(sys.stdin)
    if request is None:
        from .identity import identify

        answer = identify()
    else:
        answer = measure(request)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
