"""Parameters of the experiments; apart from the others, because their choices are the engine's own tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval, MinLen
from cyclopts import Parameter

from flows.cli.options import NAMES, Flag, Whole
from flows.jobs.parameters import JobParameters
from tasks.threads.choices import Executor, Experiment, Guard, Shape, Workload

Workers = Annotated[int, Interval(ge=1, le=512)]


@dataclass(frozen=True, kw_only=True)
class RunExperiments(JobParameters):
    """Measure the chosen cases in the chosen interpreters; an empty choice stands for all."""

    experiments: Annotated[
        tuple[Experiment, ...],
        Parameter(parse=False, help="the questions: speedup, race; ceiling is part of every round; empty for all"),
    ] = ()
    workloads: Annotated[
        tuple[Workload, ...],
        NAMES,
        Parameter(name="--workload", help="of speedup: factorize, digest, wait, wait-book, child (default: all)"),
    ] = ()
    executors: Annotated[
        tuple[Executor, ...],
        NAMES,
        Parameter(
            name="--executor",
            help="of speedup: serial, thread, thread-pool, process-pool, asyncio, interpreter-pool (default: all); "
            "serial is always there to compare with",
        ),
    ] = ()
    shapes: Annotated[
        tuple[Shape, ...],
        NAMES,
        Parameter(name="--shape", help="of race: augmented, expanded, computed (default: all)"),
    ] = ()
    guards: Annotated[
        tuple[Guard, ...],
        NAMES,
        Parameter(name="--guard", help="of race: none, lock, rlock, shard, queue, atomic (default: all)"),
    ] = ()
    workers: Annotated[
        tuple[Workers, ...],
        MinLen(1),
        Parameter(parse=False, help="of pools and of ceiling, 1 to 512 each"),
    ] = (2,)
    pythons: Annotated[
        tuple[str, ...],
        NAMES,
        Parameter(
            name="--python",
            help="paths or versions (3.12, 3.13t) on the machine that measures, or all that are found "
            "(default: the running one)",
        ),
    ] = ()
    rounds: Annotated[
        Annotated[Whole, Interval(ge=1, le=10_000)] | None,
        Parameter(help="how often every case is measured, 1 to 10,000 (default: 20, with quick 6)"),
    ] = None
    seed: Annotated[
        Whole | None, Parameter(help="of the order of cases, any number; drawn and recorded unless given")
    ] = None
    quick: Annotated[Flag, Parameter(help="lower counts and fewer rounds")] = False
