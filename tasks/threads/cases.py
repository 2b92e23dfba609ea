"""Cases, samples and rounds.

A case is one cell of an experiment, a sample one timed execution of a case. A round is every case of a selection in
every interpreter, in an order that is drawn with a recorded seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from tasks.axes import Executor, Experiment, Guard, Outcome, Shape, Workload
from tasks.threads.errors import InvalidCase
from tasks.threads.interpreters import Interpreter

MAX_WORKERS = 512
# The least number of pairs whose median has a 95 % interval at all: 1 - 2 * 0.5**6 = 0.97.
QUICK_ROUNDS = 6
ROUNDS = 20
# Five threads at a contended lock take 10 s for the book's five million updates: twice shows that nothing is lost.
BOOK_LOCKED_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Case:
    """A cell of an experiment; made by `speedup`, `race` or `ceiling`. InvalidCase if the parts do not go together.

    `count` is the number of times that each item is done (speedup), of updates per thread (race), or of times that
    each process does the fixed work (ceiling).
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
    throttled_ns: int | None = None
    """For how long a cgroup's quota held back its processes."""
    stolen_ns: int | None = None
    """CPU time that the hypervisor gave to others, on the usable CPUs."""
    context_switches: int | None = None
    gil_on: bool | None = None
    foreign_share: float | None = None
    positive_lost: int | None = None
    """Updates that the positive control in the same child lost; None where it was not needed."""
    negative_lost: int | None = None
    """Updates that the control under a lock lost."""
    noise: str | None = None
    """Why the sample says more about the host than about the case; None if it does not."""

    @property
    def noisy(self) -> bool:
        """Whether no figure may rest on the sample."""
        return self.noise is not None


@dataclass(frozen=True, slots=True)
class CaseSelection:
    """The choices on each axis; an empty one means the whole axis. `workers` are those of pools and of the ceiling."""

    experiments: tuple[Experiment, ...] = ()
    workloads: tuple[Workload, ...] = ()
    executors: tuple[Executor, ...] = ()
    shapes: tuple[Shape, ...] = ()
    guards: tuple[Guard, ...] = ()
    workers: tuple[int, ...] = (2,)
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Measurement:
    """One case to run in one interpreter."""

    case: Case
    interpreter: Interpreter


@dataclass(frozen=True, slots=True)
class Round:
    """Every case in every interpreter once, in a drawn order; a noisy sample is taken again `retries` times."""

    number: int
    steps: tuple[Measurement, ...]
    retries: int = 1

    @property
    def interpreters(self) -> dict[str, Interpreter]:
        """The interpreters of the round, by fingerprint."""
        return {step.interpreter.fingerprint: step.interpreter for step in self.steps}


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """All rounds, and the seed that gives the same order again."""

    seed: int
    rounds: tuple[Round, ...]


def plan(selection: CaseSelection, interpreters: Iterable[Interpreter], rounds: int, seed: int) -> RoundPlan:
    """Every case of the selection in every interpreter, `rounds` times over.

    The order is drawn anew for each round, so that a slow minute of the host does not fall on one case. Cases that an
    interpreter cannot run are in the first round only, to be recorded as skipped. The warm-up is inside each child.
    """
    order = random.Random(seed)  # noqa: S311  # an order, not a secret
    pairs = [Measurement(case, one) for one in interpreters for case in cases_of(selection)]
    drawn = []
    for number in range(rounds):
        steps = [step for step in pairs if not number or not step.interpreter.reason_against(step.case.executor)]
        order.shuffle(steps)
        drawn.append(Round(number, tuple(steps), retries=0 if selection.quick else 1))
    return RoundPlan(seed, tuple(drawn))


def cases_of(selection: CaseSelection) -> tuple[Case, ...]:
    """All cases of a selection, each once; `ceiling` is always among them."""
    chosen: list[Case] = []
    experiments = selection.experiments or tuple(Experiment)
    if Experiment.SPEEDUP in experiments:
        chosen += _speedup_cases(selection)
    if Experiment.RACE in experiments:
        chosen += _race_cases(selection)
    chosen += [Case.ceiling(workers) for workers in (1, *selection.workers)]
    return tuple(dict.fromkeys(chosen))


def _speedup_cases(selection: CaseSelection) -> Iterator[Case]:
    executors = selection.executors or tuple(Executor)
    # A speed-up is a ratio to serial, asked for or not.
    for workload in selection.workloads or Workload:
        count = workload.quick_repeats if selection.quick else workload.repeats
        for executor in dict.fromkeys([Executor.SERIAL, *executors]):
            for workers in selection.workers:
                yield Case.speedup(workload, executor, workers, count)


def _race_cases(selection: CaseSelection) -> Iterator[Case]:
    for guard in selection.guards or Guard:
        count = guard.quick_updates if selection.quick else guard.updates
        for shape in (selection.shapes or tuple(Shape)) if guard.shaped else (None,):
            yield Case.race(guard, shape, count=count)


def book_plan(interpreter: Interpreter, rounds: int) -> RoundPlan:
    """Items 53 and 54 with the chapter's own numbers, in the chapter's order; the locked counter in a few rounds."""
    steps = tuple(Measurement(case, interpreter) for case in book_cases())
    short = tuple(step for step in steps if step.case.guard is not Guard.LOCK)
    return RoundPlan(
        0, tuple(Round(number, steps if number < BOOK_LOCKED_ROUNDS else short) for number in range(rounds))
    )


def book_cases() -> tuple[Case, ...]:
    """Items 53 and 54 with the chapter's own numbers, and the ceiling."""
    return (
        Case.ceiling(1),
        Case.ceiling(2),
        Case.speedup(Workload.FACTORIZE, Executor.SERIAL),
        Case.speedup(Workload.FACTORIZE, Executor.THREAD),
        Case.speedup(Workload.WAIT_BOOK, Executor.SERIAL),
        Case.speedup(Workload.WAIT_BOOK, Executor.THREAD),
        Case.race(Guard.NONE, Shape.AUGMENTED, 5, 1_000_000),
        Case.race(Guard.LOCK, Shape.AUGMENTED, 5, 1_000_000),
    )
