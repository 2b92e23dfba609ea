"""The flow that measures what threads, processes and locks do on this host."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.jobs.measurement import ExperimentRequest, check_selection, measure
from flows.jobs.run import Job
from flows.orchestration import run_in_flow
from flows.settings import Settings
from tasks.axes import Executor, Experiment, Guard, Shape, Workload

Workers = Annotated[int, Field(ge=1, le=512)]


def _run_name() -> str:
    asked = runtime.flow_run.parameters.get("experiments") or ["all"]
    return f"run-experiments {', '.join(map(str, asked))} {datetime.now(UTC):%Y-%m-%dT%H:%M}"


# Lists are the defaults that the UI's form shows; Prefect copies them for every run.
@flow(name="run-experiments", flow_run_name=_run_name)
def run_experiments(
    experiments: list[Experiment] = [],  # noqa: B006
    workloads: list[Workload] = [],  # noqa: B006
    executors: list[Executor] = [],  # noqa: B006
    shapes: list[Shape] = [],  # noqa: B006
    guards: list[Guard] = [],  # noqa: B006
    workers: Annotated[list[Workers], Field(min_length=1)] = [2],  # noqa: B006
    pythons: list[str] = [],  # noqa: B006
    rounds: Annotated[int, Field(ge=1, le=10_000)] | None = None,
    seed: int | None = None,
    quick: bool = False,
) -> State[None]:
    """Measure every chosen case in every chosen interpreter, in shuffled rounds, and record every sample.

    Args:
        experiments: the questions: speedup, race; ceiling is part of every round; empty for all
        workloads: of speedup; empty for all
        executors: of speedup; serial is always there to compare with; empty for all
        shapes: of race, how the update is written; empty for all
        guards: of race, what keeps the updates apart; empty for all
        workers: of pools and of ceiling, 1 to 512 each
        pythons: paths or versions (3.12, 3.13t) on the machine that runs the flow, or all; empty for the running one
        rounds: how often every case is measured, 1 to 10,000; empty for 20, or 6 when quick
        seed: of the order of cases, any number; drawn and recorded if empty
        quick: lower counts and fewer rounds
    """

    def job(settings: Settings) -> Job:
        selection = check_selection(
            experiments,
            workloads=workloads,
            executors=executors,
            shapes=shapes,
            guards=guards,
            workers=workers,
            quick=quick,
        )
        return partial(measure, ExperimentRequest(settings.measuring_lock, selection, tuple(pythons), rounds, seed))

    return run_in_flow("run_experiments", job)
