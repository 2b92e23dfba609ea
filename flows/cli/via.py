"""`--via`: the same job as a Prefect flow run, or directly in this process."""

from __future__ import annotations

import base64
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from db.errors import ThreadmillError
from db.history import VERDICT_FAULTS, History
from db.rows import NewRun
from flows.cli.progress import ProgressReporter
from flows.errors import CommandFailed, RequestRefused
from flows.jobs.run import LISTENER, Job, Tools
from flows.jobs.runner import DirectRunner
from flows.serving import lock
from flows.serving.environment import AUTH, prefect_environment
from flows.settings import Settings
from flows.version import code_version
from tasks.cancel import CancelToken
from tasks.threads.errors import ExperimentError

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

_HEALTH_TIMEOUT_S = 10.0
# How long another process may take to start a server, and how often to look.
_STARTING_S = 180.0
_POLL_S = 0.5


def by_prefect(via: str | None) -> bool:
    """Whether Prefect runs the job; by default where the user has set up a server.

    Raises:
        RequestRefused: not a known way.
    """
    if via not in (None, "prefect", "direct"):
        raise RequestRefused(f"--via is prefect or direct, not {via!r}")
    return via == "prefect" or (via is None and bool(os.environ.get("PREFECT_API_URL")))


@dataclass(frozen=True, slots=True)
class Done:
    """A run that is closed: its number, and what it came to in a line (for one that completed, the only place)."""

    run_id: int
    message: str


def run_directly(flow: str, settings: Settings, progress: ProgressReporter, job: Job) -> Done:
    """Run the job in this process."""
    store = settings.open_store()
    history = settings.open_history()
    try:
        with progress, closing(DirectRunner(settings.usable_jobs)) as runner:
            tools = Tools(store, history, runner, progress, CancelToken())
            opened = job(NewRun(flow, "direct", {}, code_version()), tools)
            return Done(opened.run_id, opened.message)
    except (ThreadmillError, ExperimentError) as error:
        if progress.run_id is None:
            raise
        # Not refused: it had begun.
        raise CommandFailed(str(error)) from error


def run_by_prefect(settings: Settings, progress: ProgressReporter, call: Callable[[], State[None]]) -> Done:
    """Run a flow in this process, on the server that the user has set or on one of our own.

    `call` imports the flow and calls it: importing Prefect costs more than a second, and its settings are read then.

    Raises:
        RequestRefused: the server cannot be reached, or the flow refused the request.
        CommandFailed: the flow run crashed or was cancelled.
    """
    with progress:
        _prepare_prefect(settings, progress)
        listening = LISTENER.set(progress)
        try:
            state = call()
        finally:
            LISTENER.reset(listening)
    if progress.run_id is None:
        raise RequestRefused(state.message or "the flow run was refused")
    if state.type.value not in ("COMPLETED", "FAILED"):
        raise CommandFailed(f"the flow run ended {state.name}: {state.message or ''}")
    return Done(progress.run_id, state.message or "")


def exit_code_of(history: History, run_id: int) -> int:
    """What a run's rows mean for the exit code: 1 something failed, 3 a source was unreadable or unstable, 0 done."""
    counts = history.counts(run_id)
    if history.failed_samples(run_id) or any(c.status == "failed" and c.cause != "unreadable" for c in counts):
        return 1
    if any(found.status in VERDICT_FAULTS for found in history.verdict_counts(run_id)):
        return 1
    if any(count.status in ("failed", "unstable") for count in counts):
        return 3
    run = history.run(run_id)
    return 0 if run is not None and run.status == "completed" else 1


def use_server(settings: Settings) -> bool:
    """Turn Prefect's client to the server that the user has set, or to that of a live `threadmill serve`.

    False if there is neither. To be called before Prefect is imported.
    """
    if os.environ.get("PREFECT_API_URL"):
        return True
    live = lock.find(settings.home)
    if live is None:
        return False
    os.environ.update(prefect_environment(settings.home, os.environ))
    os.environ["PREFECT_API_URL"] = f"{live.url}/api"
    return True


def _prepare_prefect(settings: Settings, progress: ProgressReporter) -> None:
    """Put Prefect's settings in place before it is imported; see what the server says, where there is one."""
    # The flow's state is reported by the command itself; a fault in the flow's code comes as an exception.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    if _find_server(settings, progress):
        _check_server(os.environ["PREFECT_API_URL"])
        return
    progress.say("starting Prefect's embedded server (about 10 s)")
    os.environ.update(prefect_environment(settings.home, os.environ))


def _find_server(settings: Settings, progress: ProgressReporter) -> bool:
    """Whether there is a server to use; where there is none, none is started by `serve` while this process lives."""
    give_up = time.monotonic() + _STARTING_S
    while not use_server(settings):
        if lock.share(settings.home):
            return False
        if time.monotonic() > give_up:
            raise RequestRefused(f"threadmill serve was still starting after {_STARTING_S:.0f} s; try again")
        progress.say("waiting for threadmill serve, which is just starting")
        time.sleep(_POLL_S)
    return True


def _check_server(api: str) -> None:
    try:
        _get(f"{api.rstrip('/')}/health")
        # This one is protected where the server is. Prefect Cloud has other ways, and says what it wants by itself.
        if not os.environ.get("PREFECT_API_KEY"):
            _get(f"{api.rstrip('/')}/admin/version")
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.UNAUTHORIZED:
            raise RequestRefused(
                f"Prefect's server at {api} wants authentication: set PREFECT_API_AUTH_STRING to what it was started "
                "with as PREFECT_SERVER_API_AUTH_STRING"
            ) from None
        # It answers, if not to this question (Prefect Cloud).
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise RequestRefused(
            f"Prefect's server at PREFECT_API_URL={api} cannot be reached ({reason}); "
            "start it, unset PREFECT_API_URL, or use --via direct"
        ) from None


def _get(url: str) -> None:
    # The scheme is the user's own choice, in the user's own environment.
    request = urllib.request.Request(url)  # noqa: S310
    auth = os.environ.get(AUTH)
    if auth:
        request.add_header("Authorization", f"Basic {base64.b64encode(auth.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=_HEALTH_TIMEOUT_S):  # noqa: S310
        pass
