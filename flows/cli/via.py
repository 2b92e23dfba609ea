"""`--via`: the same job as a Prefect flow run, or directly in this process."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING

from db.errors import RecordError
from db.facts import NewRun
from db.history import History
from db.store import Store
from flows.cli.exits import REFUSED, Exit
from flows.cli.progress import ProgressReporter
from flows.jobs.names import RequestRefused
from flows.jobs.reporter import LISTENER
from flows.jobs.run import Job, Tools
from flows.jobs.runner import DirectRunner
from flows.settings import Settings
from flows.version import code_version
from tasks.crypto.cancel import CancelToken
from tasks.threads.errors import ExperimentError

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

_HEALTH_TIMEOUT_S = 10.0


def by_prefect(via: str | None) -> bool:
    """Whether Prefect runs the job; by default where the user has set up a server.

    Raises:
        RequestRefused: not a known way.
    """
    if via not in (None, "prefect", "direct"):
        raise RequestRefused(f"--via is prefect or direct, not {via!r}")
    return via == "prefect" or (via is None and bool(os.environ.get("PREFECT_API_URL")))


def run_directly(flow: str, settings: Settings, progress: ProgressReporter, job: Job) -> int:
    """Run the job in this process; the run's number."""
    store = Store(settings.history_url, timeout_s=settings.database_timeout_s)
    history = History(settings.history_url, timeout_s=settings.database_timeout_s)
    tools = Tools(store, history, DirectRunner(settings.usable_jobs), progress, CancelToken())
    try:
        with progress:
            return job(NewRun(flow, "direct", {}, code_version()), tools).run_id
    except (RecordError, ExperimentError) as error:
        if progress.run_id is None:
            raise
        # Not refused: it had begun.
        raise Exit(1, str(error)) from error


def run_by_prefect(settings: Settings, progress: ProgressReporter, call: Callable[[], State[None]]) -> int:
    """Run a flow in this process, on the server that the user has set or on one of our own; the run's number.

    `call` imports the flow and calls it: importing Prefect costs more than a second, and its settings are read then.

    Raises:
        Exit: the server cannot be reached, or the flow refused the request.
    """
    with progress:
        _prepare_prefect(settings, progress)
        listening = LISTENER.set(progress)
        try:
            state = call()
        finally:
            LISTENER.reset(listening)
    if progress.run_id is None:
        raise Exit(REFUSED, state.message or "the flow run was refused")
    if state.type.value not in ("COMPLETED", "FAILED"):
        raise Exit(1, f"the flow run ended {state.name}: {state.message or ''}")
    return progress.run_id


def exit_code_of(history: History, run_id: int) -> int:
    """What a run's rows mean for the exit code: 1 something failed, 3 a source was unreadable or unstable, 0 done."""
    counts = history.counts(run_id)
    if history.failed_samples(run_id) or any(c.status == "failed" and c.cause != "unreadable" for c in counts):
        return 1
    return 3 if any(count.status in ("failed", "unstable") for count in counts) else 0


def _prepare_prefect(settings: Settings, progress: ProgressReporter) -> None:
    """Put Prefect's settings in place before it is imported; see what the server says, where there is one."""
    # The flow's state is reported by the command itself; a fault in the flow's code comes as an exception.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    api = os.environ.get("PREFECT_API_URL")
    if api:
        _check_server(api)
        return
    progress.say("starting Prefect's embedded server (about 10 s)")
    os.makedirs(settings.home, mode=0o700, exist_ok=True)
    # Prefect's own files in a folder of ours: the user's profile is left alone.
    embedded = {
        "PREFECT_HOME": os.path.join(os.path.abspath(settings.home), "prefect"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        # The default of 20 s is too short for a first start on a busy host.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # Without these the embedded server loses task runs when it ends, and takes three times the CPU per task run.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1.0",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    }
    for name, value in embedded.items():
        os.environ.setdefault(name, value)


def _check_server(api: str) -> None:
    try:
        # The scheme is the user's own choice, in the user's own environment.
        with urllib.request.urlopen(f"{api.rstrip('/')}/health", timeout=_HEALTH_TIMEOUT_S):  # noqa: S310
            return
    except urllib.error.HTTPError:
        # It answers, if not to this question (Prefect Cloud).
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Exit(
            REFUSED,
            f"Prefect's server at PREFECT_API_URL={api} cannot be reached ({reason}); "
            "start it, unset PREFECT_API_URL, or use --via direct",
        ) from None
