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
    """Roll up, verify and optimise the record, and remove old runs if asked.

    Closed days are summed up, and every sealed run is checked against the ledger. The summaries of removed runs stay on
    record, and so does their ledger. --json prints the run and what it came to.

    Exit codes: 0 done, 1 a run is not as it was sealed, 2 refused before any work.

    Example: threadmill maintain --remove-older-than 365d

    Args:
        remove_older_than: age in days or weeks, such as 365d (default: THREADMILL_KEEP; without it nothing is removed)
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
