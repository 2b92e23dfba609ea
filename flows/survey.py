"""The flow that runs the whole chapter on this host."""

from __future__ import annotations

from flows.jobs.experiment import survey_job
from flows.jobs.parameters import Survey
from flows.jobs.run import Job
from flows.orchestration.flow_run import job_flow, timed_name
from flows.settings import Settings


@job_flow(Survey, timed_name)
def survey(parameters: Survey, settings: Settings) -> Job:
    """Run the chapter's items 52 to 54 with its own numbers: child processes, threads, locks."""
    return survey_job(parameters, settings)
