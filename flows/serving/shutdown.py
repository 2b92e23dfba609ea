"""The end of `serve`: flow runs are cancelled, then the worker ends, then the server; whatever is left is killed."""

from __future__ import annotations

import time
from contextlib import suppress

from flows.errors import ApiError
from flows.serving.api import Api
from flows.serving.children import Child
from flows.serving.preparation import settle
from flows.serving.processes import end_flow_runs, marked

# A run that is cancelled closes its row and ends in about two seconds; more is one that does not listen.
_CANCEL_S = 20.0
_GRACE_S = 10.0
_POLL_S = 0.25
_ENDED = "threadmill serve was ended"


def take_down(api: Api, token: str, server: Child | None, worker: Child | None) -> None:
    """End everything in order, within about a minute at worst.

    Never the worker before its flow runs: it kills them, and their rows would stay open.
    """
    serving = server is not None and server.running and worker is not None
    if serving and worker is not None and worker.running:
        # Where the server no longer answers, what follows needs none.
        with suppress(ApiError):
            _cancel_flow_runs(api, token)
    end_flow_runs(token)
    if worker is not None:
        worker.end(_GRACE_S)
    if serving:
        with suppress(ApiError):
            settle(api, "CANCELLED", _ENDED)
    if server is not None:
        server.end(_GRACE_S)


def _cancel_flow_runs(api: Api, token: str) -> None:
    """As from the UI: the worker is told, and ends each run."""
    asked: set[str] = set()
    give_up = time.monotonic() + _CANCEL_S
    while time.monotonic() < give_up:
        running = {process.flow_run for process in marked(token) if process.flow_run}
        if not running:
            return
        for flow_run in running - asked:
            # The server says no to one that is done already, which is as good.
            api.ask("POST", f"flow_runs/{flow_run}/set_state", {"state": {"type": "CANCELLING", "message": _ENDED}})
        asked |= running
        time.sleep(_POLL_S)
