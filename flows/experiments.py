"""The flows that measure threads, processes and locks on this host, and that run the whole chapter."""

from __future__ import annotations

from prefect import runtime

from flows.jobs.experiment import experiment_job, survey_job
from flows.jobs.parameters import RunExperiments, Survey
from flows.jobs.run import Job
from flows.orchestration.flow_run import job_flow, now, timed_name
from flows.settings import Settings


def _run_name() -> str:
    asked = runtime.flow_run.parameters.get("experiments") or ["all"]
    return f"run-experiments {', '.join(map(str, asked))} {now()}"


@job_flow(RunExperiments, _run_name)
def run_experiments(parameters: RunExperiments, settings: Settings) -> Job:
    """Measure every chosen case in every chosen interpreter, in shuffled rounds, and record every sample."""
    return experiment_job(parameters, settings)


@job_flow(Survey, timed_name)
def survey(parameters: Survey, settings: Settings) -> Job:
    """Run the chapter's items 52 to 54 with its own numbers: child processes, threads, locks."""
    return survey_job(parameters, settings)
