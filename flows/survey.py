"""The flow that shows the whole: the chapter's item 52 as it is in the book, beside the same done the modern way."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import flow
from prefect.client.schemas.objects import State

from flows.jobs.survey import survey_request
from flows.orchestration import run_encryption


def _run_name() -> str:
    return f"survey {datetime.now(UTC):%Y-%m-%dT%H:%M}"


@flow(name="survey", flow_run_name=_run_name)
def survey() -> State[None]:
    """Encrypt and hash three times 100 random bytes, with the book's suite (classic) and with the modern one."""
    return run_encryption("survey", survey_request)
