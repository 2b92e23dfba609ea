"""`threadmill maintain`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from db.facts import NewRun
from db.history import History
from db.rows import RunRow
from flows.cli.options import Json, Via
from flows.cli.output import print_json
from flows.cli.progress import ProgressReporter
from flows.cli.via import by_prefect, run_by_prefect, run_directly
from flows.jobs.maintenance import MaintenanceRequest, maintenance_request
from flows.jobs.maintenance import maintain as maintain_job
from flows.jobs.run import OpenRun, Tools
from flows.settings import load_settings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


@dataclass(frozen=True, slots=True)
class Report:
    """What `--json` prints."""

    run: RunRow | None
    message: str


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
    said: list[str] = []
    if by_prefect(via):
        run_id = run_by_prefect(settings, progress, partial(_call_flow, request, said))
    else:
        run_id = run_directly("maintain", settings, progress, partial(_run_job, request, said))
    run = History(settings.history_url).run(run_id)
    if json:
        print_json(Report(run, said[0]))
    else:
        print(f"run {run_id}: {said[0]}")
    return 0 if run is not None and run.status == "completed" else 1


def _run_job(request: MaintenanceRequest, said: list[str], run: NewRun, tools: Tools) -> OpenRun:
    """The row of a run that is completed has no message."""
    opened = maintain_job(request, run, tools)
    said.append(opened.message)
    return opened


def _call_flow(request: MaintenanceRequest, said: list[str]) -> State[None]:
    from flows.maintain import maintain as flow

    # Typed as a state of a state, which it is not at run time.
    state: State[None] = flow(request.keep, return_state=True)  # type: ignore[assignment]
    said.append(state.message or "")
    return state
