"""`threadmill maintain`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from flows.cli.done import print_done
from flows.cli.options import Json, Via
from flows.cli.progress import ProgressReporter
from flows.cli.via import by_prefect, run_by_prefect, run_directly
from flows.jobs.maintenance import MaintenanceRequest, maintenance_request
from flows.jobs.maintenance import maintain as maintain_job
from flows.settings import load_settings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


def maintain(*, remove_older_than: str | None = None, via: Via = None, json: Json = False) -> int:
    """Roll up closed days, check every sealed run against the ledger, remove old runs if asked, optimise the database.

    Exit code 1 if a run is not as it was sealed. What was summed up of removed runs stays, and so does their ledger.

    Args:
        remove_older_than: age in days or weeks, such as 365d (default: THREADMILL_KEEP; without it nothing is removed)
        via: how to run
        json: print the run and what it came to
    """
    settings = load_settings()
    request = maintenance_request(remove_older_than or settings.keep)
    progress = ProgressReporter(quiet=json)
    if by_prefect(via):
        done = run_by_prefect(settings, progress, partial(_call_flow, request))
    else:
        done = run_directly("maintain", settings, progress, partial(maintain_job, request))
    return print_done(settings.open_history(), done, json=json)


def _call_flow(request: MaintenanceRequest) -> State[None]:
    from flows.maintain import maintain as flow

    # Typed as a state of a state, which it is not at run time.
    return flow(request.keep, return_state=True)  # type: ignore[return-value]
