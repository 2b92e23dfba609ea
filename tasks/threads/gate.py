"""The noise gate: which samples say more about the neighbours than about the case.

Work on one thread that computes all the time must
have had the CPU all the time; work on several must have had either the host to itself or a short run queue.
More threads than CPUs queue behind each other: then the queue says nothing, and only the others' load counts.
"""

import os

from tasks.axes import Executor, Experiment, Workload
from tasks.threads.samples import Sample

SERIAL_MIN_CPU_SHARE = 0.96
MAX_FOREIGN_SHARE = 0.10
MAX_QUEUE_SHARE = 0.05
# Under this a queue is the scheduler's own delay at starting threads: the book's select takes 0.3 ms in all.
LEAST_JUDGED_NS = 50_000_000


def is_noisy(sample: Sample) -> bool:
    """Whether the gate fails; a reading that could not be had fails nothing."""
    if not sample.wall_ns or sample.cpu_ns is None:
        return False
    if _computes_alone(sample):
        return sample.cpu_ns / sample.wall_ns < SERIAL_MIN_CPU_SHARE
    evidence = []
    if sample.foreign_share is not None:
        evidence.append(sample.foreign_share > MAX_FOREIGN_SHARE)
    queue_share = _queue_share(sample)
    if queue_share is not None and (evidence or _threads(sample) <= usable_cpus()):
        evidence.append(queue_share > MAX_QUEUE_SHARE)
    return bool(evidence) and all(evidence)


def _computes_alone(sample: Sample) -> bool:
    case = sample.case
    if case.experiment is Experiment.SPEEDUP:
        return case.cpu_bound and case.executor in {Executor.SERIAL, Executor.ASYNCIO}
    return case.workers == 1


def usable_cpus() -> int:
    """CPUs that this process, and so its children, may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _threads(sample: Sample) -> int:
    """Threads or processes that may want a CPU at once; those of `child` are two stages each."""
    case = sample.case
    if case.workload is not Workload.CHILD:
        return case.workers
    return 2 * (case.workload.items if case.executor is Executor.ASYNCIO else case.workers)


def _queue_share(sample: Sample) -> float | None:
    """Run-queue delay as part of the measuring threads' time; None if there was too little of that."""
    if sample.runq_ns is None or sample.blocked_ns is None:
        return None
    spent = (sample.cpu_ns or 0) + sample.runq_ns + sample.blocked_ns
    return sample.runq_ns / spent if spent >= LEAST_JUDGED_NS else None
