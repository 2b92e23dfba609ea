"""`threadmill serve`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flows.option_types import Whole
from flows.settings import Settings, load_settings
from flows.show.tables import UPCOMING
from flows.show.terminal import print_table, say

if TYPE_CHECKING:
    from flows.serving.serve import Serving


def serve(*, port: Whole = 4200, limit: Whole | None = None) -> int:
    """Run Prefect's server, the deployments and a worker on this machine.

    The deployments are those of prefect.yaml. Ctrl-C ends all of it.

    Exit codes: 0 ended by a signal, 1 a part of it failed or ended by itself, 2 refused before any work.

    Example: threadmill serve --limit 2

    Args:
        port: of the server and its UI, on the loopback address
        limit: flow runs at once (default: as many as are due)
    """
    from flows.serving.serve import serve as run

    settings = load_settings()
    run(settings, os.environ, port=port, limit=limit, tell=_tell, ready=lambda serving: _show(settings, serving))
    _tell("ended, no process is left")
    return 0


def _tell(line: str) -> None:
    # At once, also into a pipe or a journal.
    say(line, flush=True)


def _show(settings: Settings, serving: Serving) -> None:
    print_table(UPCOMING.fill(serving.upcoming))
    _tell(f"UI      {serving.url}")
    _tell(f"record  {settings.shown_url}")
    _tell(f"logs    {serving.logs}/server.log and worker.log")
    _tell("running; Ctrl-C ends it")
