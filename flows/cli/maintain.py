"""`threadmill maintain`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from flows.jobs.parameters import Maintain
from flows.option_types import Json, Via
from flows.settings import load_settings

_DEFAULTS = Maintain()


def maintain(
    *, options: Annotated[Maintain, Parameter(name="*")] = _DEFAULTS, via: Via = None, json: Json = False
) -> int:
    """Roll up, verify and optimise the record, and remove old runs if asked.

    Closed days are summed up, and every sealed run is checked against the ledger. The summaries of removed runs stay on
    record, and so does their ledger. --json prints the run and its result.

    Exit codes: 0 done, 1 a run is not as it was sealed, 2 refused before any work.

    Example: threadmill maintain --remove-older-than 365d
    """
    settings = load_settings()
    # Late, so that a command line is refused before engines and the record are loaded.
    from flows.cli.run import print_done, run_job
    from flows.jobs.maintain import maintenance_job

    done = run_job("flows.maintain:maintain", options, maintenance_job, settings, via, quiet=json)
    return print_done(settings.open_history(), done, json=json)
