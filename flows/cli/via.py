"""`--via`: the same job as a Prefect flow run, or directly in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from db.errors import ThreadmillError
from db.history import History
from db.rows import NewRun
from db.words import PAYLOAD_FAILURES, VERDICT_FAULTS
from flows.cli.progress import ProgressReporter
from flows.errors import CommandFailed, RequestRefused
from flows.jobs.run import LISTENER, Job, Tools
from flows.jobs.runner import DirectRunner
from flows.serving import server
from flows.serving.api import Api
from flows.settings import Settings
from flows.version import code_version
from tasks.cancel import CancelToken

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


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
    except ThreadmillError as error:
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
    if any(count.status in PAYLOAD_FAILURES for count in counts):
        return 3
    run = history.run(run_id)
    return 0 if run is not None and run.status == "completed" else 1


def _prepare_prefect(settings: Settings, progress: ProgressReporter) -> None:
    """Put Prefect's settings in place before it is imported; see what the server says, where there is one."""
    # The flow's state is reported by the command itself; a fault in the flow's code comes as an exception.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    if server.wait_for_server(settings.home, progress.say):
        server.check(Api(os.environ))
        return
    progress.say("starting Prefect's embedded server (about 10 s)")
    os.environ.update(server.prefect_environment(settings.home, os.environ))
