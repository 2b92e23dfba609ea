"""From a selection to rounds of cases, interleaved and shuffled with a recorded seed."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.axes import Executor, Experiment, Guard, Shape, Workload
from tasks.threads.cases import Case
from tasks.threads.interpreters import Interpreter

# The least number of pairs whose median has a 95 % interval at all: 1 - 2 * 0.5**6 = 0.97.
QUICK_ROUNDS = 6
ROUNDS = 20
RACE_WORKERS = 5
# Five threads at a contended lock take 10 s for the book's five million updates: twice shows that nothing is lost.
BOOK_LOCKED_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class CaseSelection:
    """The choices on each axis; an empty choice means the whole axis.

    `workers` are those of pools and of the ceiling.
    """

    experiments: tuple[Experiment, ...] = ()
    workloads: tuple[Workload, ...] = ()
    executors: tuple[Executor, ...] = ()
    shapes: tuple[Shape, ...] = ()
    guards: tuple[Guard, ...] = ()
    workers: tuple[int, ...] = (2,)
    quick: bool = False

    def asks(self, experiment: Experiment) -> bool:
        """Whether an experiment is chosen."""
        return not self.experiments or experiment in self.experiments


@dataclass(frozen=True, slots=True)
class Measurement:
    """One case to run in one interpreter."""

    case: Case
    interpreter: Interpreter


@dataclass(frozen=True, slots=True)
class Round:
    """One execution of every case in every interpreter, in a drawn order.

    A noisy sample is taken again `retries` times.
    """

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
    if selection.asks(Experiment.SPEEDUP):
        chosen += _speedup_cases(selection)
    if selection.asks(Experiment.RACE):
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
    guards = selection.guards or tuple(Guard)
    for guard in guards:
        count = guard.quick_updates if selection.quick else guard.updates
        shapes = (selection.shapes or tuple(Shape)) if guard.shaped else (None,)
        for shape in shapes:
            yield Case.race(guard, shape, RACE_WORKERS, count)


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
