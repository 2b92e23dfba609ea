"""A case: one cell of an experiment."""

from dataclasses import asdict, dataclass
from typing import Self

from tasks.axes import Executor, Experiment, Guard, Shape, Workload
from tasks.threads.errors import InvalidCaseError

MAX_WORKERS = 512


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured; build it with `speedup`, `race` or `ceiling`.

    `count` is how often each item is done (speedup), the updates per thread (race), or how often each
    process does the fixed work (ceiling). Raises InvalidCaseError where the parts do not go together.
    """

    experiment: Experiment
    workers: int
    count: int
    workload: Workload | None = None
    executor: Executor | None = None
    shape: Shape | None = None
    guard: Guard | None = None

    def __post_init__(self) -> None:
        """Refuse what is no cell of any experiment."""
        if not (1 <= self.workers <= MAX_WORKERS and self.count >= 1):
            raise InvalidCaseError(self.key, f"workers must be 1 to {MAX_WORKERS}, and the count at least 1")
        has = (self.workload, self.executor, self.shape, self.guard)
        wanted = {
            Experiment.SPEEDUP: (True, True, False, False),
            Experiment.RACE: (False, False, bool(self.guard and self.guard.shaped), True),
            Experiment.CEILING: (False, False, False, False),
        }[self.experiment]
        if tuple(part is not None for part in has) != wanted:
            raise InvalidCaseError(self.key, "these parts do not make a case of this experiment")

    @classmethod
    def speedup(cls, workload: Workload, executor: Executor, workers: int = 1, count: int | None = None) -> Self:
        """A workload under an executor; `workers` is set for executors where it is no choice."""
        if not executor.scales:
            workers = workload.items if executor is Executor.THREAD else 1
        count = workload.repeats if count is None else count
        return cls(Experiment.SPEEDUP, workers, count, workload=workload, executor=executor)

    @classmethod
    def race(cls, guard: Guard, shape: Shape | None = None, workers: int = 5, count: int | None = None) -> Self:
        """Threads that count together under a guard; the book has five."""
        return cls(Experiment.RACE, workers, guard.updates if count is None else count, shape=shape, guard=guard)

    @classmethod
    def ceiling(cls, workers: int, count: int = 2) -> Self:
        """So many independent processes, each with the same fixed work."""
        return cls(Experiment.CEILING, workers, count)

    @property
    def key(self) -> str:
        """A name that only equal cases share, such as `speedup/wait/thread-pool/2x1`."""
        parts = [self.experiment, self.workload, self.executor, self.guard, self.shape]
        return "/".join([*(part for part in parts if part), f"{self.workers}x{self.count}"])

    @property
    def cpu_bound(self) -> bool:
        """Whether it computes all the time, so that time off the CPU is not its own."""
        return self.workload is None or self.workload.cpu_bound

    def request(self) -> dict[str, str | int | None]:
        """What the measured program reads."""
        return asdict(self)
