"""The control of every round: what N independent processes get out of this host at this moment."""

import json
import os

from .executors import LIFELINE
from .readings import Meter, clock_ns, own_reading, runq_ns, thread_cpu_ns
from .workloads import FACTORS, factors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .readings import Reading

NUMBER = 2139079


class Worker:
    """A forked process that waits to be released, does the fixed work, and writes down what it got."""

    def __init__(self, released: int, release: int, count: int) -> None:
        self.result, result = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            # Whatever happens, the copy of the program must end here.
            try:
                os.close(release)
                LIFELINE.hold_again()
                os.write(result, json.dumps(fixed_work(released, count)).encode())
                os._exit(0)
            finally:
                report()
                os._exit(1)
        os.close(result)

    def end(self) -> "tuple[str, int, Reading]":
        """Wait for the worker: its output, when it ended, its reading."""
        with open(self.result, "rb") as stream:
            text = stream.read()
        os.waitpid(self.pid, 0)
        if not text:
            raise RuntimeError("a process of the ceiling ended without a result")
        output, end_ns, (name, wall, cpu, queued) = json.loads(text.decode())
        return output, end_ns, (name, wall, cpu, queued)


def report() -> None:
    """Write the exception that is being handled to stderr, which this process shares with its parent."""
    import sys
    import traceback

    traceback.print_exc()
    sys.stderr.flush()


def fixed_work(released: int, count: int) -> "tuple[str, int, Reading]":
    """Wait for end-of-file on `released`, then factorize one number `count` times."""
    factors((997, 1))
    os.read(released, 1)
    before = runq_ns()
    start, start_cpu = clock_ns(), thread_cpu_ns()
    output = factors((NUMBER, count))
    name, wall, cpu, queued = own_reading(start, start_cpu)
    queued = None if queued is None or before is None else queued - before
    return output, clock_ns(), (name, wall, cpu, queued)


def measure_ceiling(workers: int, count: int) -> "dict[str, object]":
    """One sample: from the release of all processes to the end of the last one's work."""
    released, release = os.pipe()
    started = [Worker(released, release, count) for _ in range(workers)]
    os.close(released)
    with Meter() as meter:
        start = clock_ns()
        os.close(release)
        ended = [worker.end() for worker in started]
    sample = meter.summary([reading for _, _, reading in ended])
    sample["wall_ns"] = max(end for _, end, _ in ended) - start
    expected = "; ".join([FACTORS[NUMBER]] * workers)
    found = "; ".join(output for output, _, _ in ended)
    sample.update(expected=expected, found=found, outcome="ok" if found == expected else "wrong-output")
    return sample
