"""`threadmill experiment`."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, cast

from cyclopts import Parameter

from db.history import SampleFilter
from flows.cli.findings import print_findings
from flows.cli.options import Json, Names, Via
from flows.cli.via import exit_code_of, run_job
from flows.errors import RequestRefused
from flows.jobs.measurement import experiment_job
from flows.jobs.parameters import RunExperiments
from flows.settings import load_settings
from flows.show.terminal import print_json, say

if TYPE_CHECKING:
    from tasks.axes import Experiment

_DEFAULTS = RunExperiments()


def experiment(
    *question: str,
    workers: Names = ["2"],  # noqa: B006 - never changed
    options: Annotated[RunExperiments, Parameter(name="*")] = _DEFAULTS,
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
        workers: of pools and of ceiling, such as 1,2,4
    """
    # Names until they are checked.
    experiments = () if "all" in question else cast("tuple[Experiment, ...]", question)
    parameters = replace(options, experiments=experiments, workers=_numbers(workers)).check()
    settings = load_settings()
    run_id = run_job("flows.experiments:run_experiments", parameters, experiment_job, settings, via, quiet=json).run_id
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


def _numbers(words: list[str]) -> tuple[int, ...]:
    most = 4 * (os.cpu_count() or 1)
    if not words or not all(word.isdecimal() and 1 <= int(word) <= most for word in words):
        raise RequestRefused(f"--workers are numbers from 1 to {most}, such as 1,2,4")
    return tuple(map(int, words))
