"""The flow that looks after the record."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.jobs.maintenance import maintain as maintain_job
from flows.jobs.maintenance import maintenance_request
from flows.orchestration import run_in_flow
from flows.settings import KEEP_FORM

Age = Annotated[str, Field(pattern=f"^{KEEP_FORM}$")]


def _run_name() -> str:
    return f"maintain {datetime.now(UTC):%Y-%m-%dT%H:%M}"


@flow(name="maintain", flow_run_name=_run_name)
def maintain(remove_older_than: Age | None = None) -> State[None]:
    """Roll up closed days, check every sealed run against the ledger, remove old runs if asked, optimise the database.

    Args:
        remove_older_than: age in days or weeks, such as 365d; empty for what THREADMILL_KEEP says, and without that
            nothing is removed
    """
    return run_in_flow(
        "maintain", lambda settings: partial(maintain_job, maintenance_request(remove_older_than or settings.keep))
    )
