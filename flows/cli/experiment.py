"""`threadmill experiment`."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from db.history import SampleFilter
from flows.cli.findings import print_findings
from flows.cli.options import Flag, Json, Names, Via, Whole
from flows.cli.progress import ProgressReporter
from flows.cli.via import by_prefect, exit_code_of, run_by_prefect, run_directly
from flows.errors import RequestRefused
from flows.jobs.measurement import ExperimentRequest, check_selection, measure
from flows.settings import load_settings
from flows.show.terminal import print_json, say

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


def experiment(
    *question: str,
    workload: Names = [],  # noqa: B006 - never changed
    executor: Names = [],  # noqa: B006 - never changed
    shape: Names = [],  # noqa: B006 - never changed
    guard: Names = [],  # noqa: B006 - never changed
    workers: Names = ["2"],  # noqa: B006 - never changed
    python: Names = [],  # noqa: B006 - never changed
    rounds: Whole | None = None,
    seed: Whole | None = None,
    quick: Flag = False,
    via: Via = None,
    json: Json = False,
) -> int:
    """Measure what threads, processes, coroutines and locks do here.

    Sub-interpreters are measured where the interpreter has them. Every sample goes on record. --json prints the run
    with its samples, as history show does.

    Exit codes: 0 done, 1 a sample failed or a guard lost updates, 2 refused before any work.

    Example: threadmill experiment speedup --workload factorize --python 3.11,3.13t --quick

    Args:
        question: speedup, race, ceiling, or all
        workload: of speedup: factorize, digest, wait, wait-book, child (default: all)
        executor: of speedup: serial, thread, thread-pool, process-pool, asyncio, interpreter-pool (default: all)
        shape: of race: augmented, expanded, computed (default: all)
        guard: of race: none, lock, rlock, shard, queue, atomic (default: all)
        workers: of pools and of ceiling, such as 1,2,4
        python: paths or versions (3.12, 3.13t), or all that are found; default: the running one
        rounds: how often every case is measured (default: 20, with --quick 6)
        seed: of the order of cases; drawn and recorded unless given
        quick: lower counts and fewer rounds
    """
    settings = load_settings()
    counts = _numbers(workers)
    selection = check_selection(
        question, workloads=workload, executors=executor, shapes=shape, guards=guard, workers=counts, quick=quick
    )
    request = ExperimentRequest(settings.measuring_lock, selection, tuple(python), rounds, seed)
    if rounds is not None and not 1 <= rounds <= 10_000:
        raise RequestRefused("--rounds is between 1 and 10,000")
    progress = ProgressReporter(quiet=json)
    if by_prefect(via):
        run_id = run_by_prefect(settings, progress, lambda: _call_flow(request)).run_id
    else:
        run_id = run_directly("run_experiments", settings, progress, partial(measure, request)).run_id
    history = settings.open_history()
    if json:
        print_json(history.detail(run_id))
    else:
        print_findings(history.samples(SampleFilter(run_id=run_id), limit=None))
        say(f"recorded as run {run_id} in {history.where}; the samples: threadmill history samples --run {run_id}")
    code = exit_code_of(history, run_id)
    if code and (run := history.run(run_id)) is not None:
        say(f"threadmill: {run.error or run.status}", error=True)
    return code


def _numbers(words: list[str]) -> list[int]:
    if not all(word.isdecimal() and 1 <= int(word) <= 4 * (os.cpu_count() or 1) for word in words):
        raise RequestRefused(f"--workers are numbers from 1 to {4 * (os.cpu_count() or 1)}, such as 1,2,4")
    return [int(word) for word in words]


def _call_flow(request: ExperimentRequest) -> State[None]:
    from flows.experiments import run_experiments

    chosen = request.selection
    # Typed as a state of a state, which it is not at run time.
    return run_experiments(  # type: ignore[return-value]
        experiments=list(chosen.experiments),
        workloads=list(chosen.workloads),
        executors=list(chosen.executors),
        shapes=list(chosen.shapes),
        guards=list(chosen.guards),
        workers=list(chosen.workers),
        pythons=list(request.pythons),
        rounds=request.rounds,
        seed=request.seed,
        quick=chosen.quick,
        return_state=True,
    )
