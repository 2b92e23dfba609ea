"""The flow that runs the whole chapter on this host."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from prefect import flow
from prefect.client.schemas.objects import State

from flows.jobs.survey import survey as survey_job
from flows.jobs.survey import survey_request
from flows.orchestration import run_in_flow


def _run_name() -> str:
    return f"survey {datetime.now(UTC):%Y-%m-%dT%H:%M}"


@flow(name="survey", flow_run_name=_run_name)
def survey() -> State[None]:
    """Run the chapter's items 52 to 54 with its own numbers: child processes, threads, locks."""
    return run_in_flow("survey", lambda settings: partial(survey_job, survey_request(settings)))
