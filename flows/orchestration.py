"""Jobs as Prefect flows: task runs do the work, the run's log and artifacts show it, its state says what came of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from db.errors import ThreadmillError
from db.rows import NewRun
from flows.artifacts import publish
from flows.jobs.run import LISTENER, Job, Tee, Tools
from flows.jobs.vault_state import look_at_vault
from flows.logs import LogReporter, quiet_tasks
from flows.progress import ProgressArtifact
from flows.runner import REFUSED, PrefectRunner
from flows.settings import Settings, load_settings
from flows.version import code_version
from tasks.cancel import CancelToken


def run_in_flow(flow: str, make_job: Callable[[Settings], Job]) -> State[None]:
    """Run a job inside a flow run; the flow's final state.

    Args:
        flow: the flow's name, for the record.
        make_job: builds the job from the settings of the process that runs the flow; may refuse.
    """
    log = LogReporter()
    with quiet_tasks(str(runtime.flow_run.id)):
        try:
            return _run(flow, make_job, log)
        except ThreadmillError as error:
            log.broke_off(error)
            return Failed(name=REFUSED if log.run_id is None else None, message=str(error))


def _run(flow: str, make_job: Callable[[Settings], Job], log: LogReporter) -> State[None]:
    settings = load_settings()
    job = make_job(settings)
    store = settings.open_store()
    history = settings.open_history()
    runner = PrefectRunner()
    prefix = flow.replace("_", "-")
    progress = ProgressArtifact(f"{prefix}-progress", str(runtime.flow_run.id))
    listener = LISTENER.get()
    reporter = Tee(log, progress, *([listener] if listener else []))
    attempt = runtime.flow_run.run_count or 1
    run = NewRun(flow, "prefect", {}, code_version(), str(runtime.flow_run.id), attempt, runtime.deployment.name)
    done = job(run, Tools(store, history, runner, reporter, CancelToken()))
    progress.end()
    look = partial(look_at_vault, settings.vault, settings.key_file, history) if settings.vault else None
    published = runner.report(partial(publish, prefix, history, done.run_id, done.message, done.head, look))
    log.ended(done, history.where, published)
    return Failed(message=done.message) if done.exit_code else Completed(message=done.message)
