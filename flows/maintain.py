"""The flow that looks after the record."""

from __future__ import annotations

from flows.jobs.maintain import maintenance_job
from flows.jobs.parameters import Maintain
from flows.jobs.run import Job
from flows.orchestration.flow_run import job_flow, timed_name
from flows.settings import Settings


@job_flow(Maintain, timed_name)
def maintain(parameters: Maintain, settings: Settings) -> Job:
    """Roll up closed days, check sealed runs against the ledger, remove old runs if asked, optimise the database."""
    return maintenance_job(parameters, settings)
