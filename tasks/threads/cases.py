"""Cases and samples: a case is one cell of an experiment, a sample one timed execution of a case.

The noise gate marks samples that say more about the neighbours than about the case. Work on one thread that computes
all the time must have had the CPU all the time. Work on several must have had the host to itself or a short run queue.
More threads than CPUs queue behind each other: then the queue says nothing, and only the load of others counts.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Self

from tasks.axes import Executor, Experiment, Guard, Outcome, Shape, Workload
from tasks.threads.errors import InvalidCase

MAX_WORKERS = 512
SERIAL_MIN_CPU_SHARE = 0.96
MAX_FOREIGN_SHARE = 0.10
MAX_QUEUE_SHARE = 0.05
# Under this a queue is the scheduler's own delay at starting threads: the book's select takes 0.3 ms in all.
LEAST_JUDGED_NS = 50_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """A cell of an experiment; made by `speedup`, `race` or `ceiling`.

    `count` is the number of times that each item is done (speedup), of updates per thread (race), or of times that
    each process does the fixed work (ceiling).

    Raises:
        InvalidCase: the parts do not go together.
    """

    experiment: Experiment
    workers: int
    count: int
    workload: Workload | None = None
    executor: Executor | None = None
    shape: Shape | None = None
    guard: Guard | None = None

    def __post_init__(self) -> None:
        """Refuse parts that make no cell of any experiment."""
        if not (1 <= self.workers <= MAX_WORKERS and self.count >= 1):
            raise InvalidCase(self.key, f"workers must be 1 to {MAX_WORKERS}, and the count at least 1")
        has = (self.workload, self.executor, self.shape, self.guard)
        wanted = {
            Experiment.SPEEDUP: (True, True, False, False),
            Experiment.RACE: (False, False, bool(self.guard and self.guard.shaped), True),
            Experiment.CEILING: (False, False, False, False),
        }[self.experiment]
        if tuple(part is not None for part in has) != wanted:
            raise InvalidCase(self.key, "these parts do not make a case of this experiment")

    @classmethod
    def speedup(cls, workload: Workload, executor: Executor, workers: int = 1, count: int | None = None) -> Self:
        """A workload under an executor. `workers` is replaced where the executor leaves no choice."""
        if not executor.scales:
            workers = workload.items if executor is Executor.THREAD else 1
        count = workload.repeats if count is None else count
        return cls(Experiment.SPEEDUP, workers, count, workload=workload, executor=executor)

    @classmethod
    def race(cls, guard: Guard, shape: Shape | None = None, workers: int = 5, count: int | None = None) -> Self:
        """Threads that update one count under a guard; the book has five."""
        return cls(Experiment.RACE, workers, guard.updates if count is None else count, shape=shape, guard=guard)

    @classmethod
    def ceiling(cls, workers: int, count: int = 2) -> Self:
        """Independent processes, each with the same fixed work."""
        return cls(Experiment.CEILING, workers, count)

    @property
    def key(self) -> str:
        """A name that only equal cases share, such as `speedup/wait/thread-pool/2x1`."""
        parts = [self.experiment, self.workload, self.executor, self.guard, self.shape]
        return "/".join([*(part for part in parts if part), f"{self.workers}x{self.count}"])

    @property
    def cpu_bound(self) -> bool:
        """Whether the case computes all the time, so that others took all its time off the CPU."""
        return self.workload is None or self.workload.cpu_bound

    def request(self) -> dict[str, str | int | None]:
        """The request that the measured program reads."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Sample:
    """The readings and the checked outcome of one child. Unavailable readings are None, times are nanoseconds.

    `cpu_ns` and `context_switches` cover everything in the measured time; `runq_ns` is how long the measuring
    threads (or processes) were ready but had no CPU, `blocked_ns` the rest of their time: waiting for the GIL,
    a lock, or I/O. `foreign_share` is the part of all usable CPUs that other processes had, 0 to 1.
    """

    case: Case
    interpreter: str
    """Fingerprint."""
    workload_version: str
    """SHA-256 of the measured program's source."""
    round: int
    started_at: datetime
    """UTC."""
    outcome: Outcome
    expected: str | None = None
    found: str | None = None
    error: str | None = None
    wall_ns: int | None = None
    cpu_ns: int | None = None
    runq_ns: int | None = None
    blocked_ns: int | None = None
    context_switches: int | None = None
    gil_on: bool | None = None
    foreign_share: float | None = None
    positive_lost: int | None = None
    """Updates that the positive control in the same child lost; None where it was not needed."""
    negative_lost: int | None = None
    """The same of the control under a lock."""
    noisy: bool = False


def is_noisy(sample: Sample) -> bool:
    """Whether the gate fails; an unavailable reading fails nothing."""
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
    """The CPUs that this process, and so its children, may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _threads(sample: Sample) -> int:
    """Threads or processes that may want a CPU at once; each chain of the workload `child` is two stages."""
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
