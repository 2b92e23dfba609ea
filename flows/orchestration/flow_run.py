"""A job as a Prefect flow: task runs do the work, log and artifacts show it, and the state has the result."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from prefect import Flow, flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from db.errors import ThreadmillError
from db.rows import NewRun
from flows import code_version
from flows.jobs.arguments import JobParameters, defaults, help_of, hints
from flows.jobs.run import LISTENER, Job, MoreDone, PlannedWork, Reporter, Tools
from flows.jobs.vault import look_at_vault
from flows.orchestration.artifacts import publish
from flows.orchestration.log import LogReporter, ProgressArtifact, quiet_tasks
from flows.orchestration.runner import REFUSED, PrefectRunner
from flows.settings import Settings, load_settings
from tasks.cancel import CancelToken

P = TypeVar("P", bound=JobParameters)
MakeJob = Callable[[P, Settings], Job]


def job_flow(
    parameters: type[P], run_name: Callable[[], str], required: tuple[str, ...] = (), **own_defaults: object
) -> Callable[[MakeJob[P]], Flow[..., State[None]]]:
    """Make a flow of a function that gives the job for parameters and settings.

    The function's name and docstring become those of the flow, with a hyphen for each underscore. The form of the flow
    has the fields of the class, in their order.

    Args:
        parameters: the class.
        run_name: gives a flow run its name.
        required: fields that have no default in the form.
        own_defaults: defaults of the form that differ from those of the command.
    """

    def decorate(make_job: MakeJob[P]) -> Flow[..., State[None]]:
        types, values = hints(parameters), defaults(parameters) | own_defaults
        signature = inspect.Signature(
            [
                inspect.Parameter(
                    name,
                    inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    default=inspect.Parameter.empty if name in required else values[name],
                    annotation=hint,
                )
                for name, hint in types.items()
            ],
            return_annotation=State[None],
        )

        def run(*args: Any, **kwargs: Any) -> State[None]:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return run_in_flow(make_job.__name__, partial(make_job, parameters(**bound.arguments)))

        lines = [f"    {name}: {help_of(hint)}" for name, hint in types.items()]
        run.__doc__ = inspect.cleandoc(make_job.__doc__ or "") + "\n\nArgs:\n" + "\n".join(lines)
        run.__name__, run.__qualname__, run.__module__ = make_job.__name__, make_job.__name__, make_job.__module__
        run.__signature__ = signature  # type: ignore[attr-defined]
        return flow(name=make_job.__name__.replace("_", "-"), flow_run_name=run_name)(run)

    return decorate


def now() -> str:
    """The time for the name of a flow run."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M")


def timed_name() -> str:
    """The name of a flow run whose parameters are not in it."""
    return f"{runtime.flow_run.flow_name} {now()}"


def run_in_flow(name: str, make_job: Callable[[Settings], Job]) -> State[None]:
    """Run a job inside a flow run; the flow's final state.

    Args:
        name: the flow's name, for the record.
        make_job: builds the job from the settings of the process that runs the flow; may refuse.
    """
    log = LogReporter()
    with quiet_tasks(str(runtime.flow_run.id)):
        try:
            return _run(name, make_job, log)
        except ThreadmillError as error:
            log.broke_off(error)
            return Failed(name=REFUSED if log.run_id is None else None, message=str(error))


def _run(name: str, make_job: Callable[[Settings], Job], log: LogReporter) -> State[None]:
    settings = load_settings()
    job = make_job(settings)
    store = settings.open_store()
    history = settings.open_history()
    runner = PrefectRunner()
    prefix = name.replace("_", "-")
    progress = ProgressArtifact(f"{prefix}-progress", str(runtime.flow_run.id))
    listener = LISTENER.get()
    reporter = _Tee(log, progress, *([listener] if listener else []))
    attempt = runtime.flow_run.run_count or 1
    run = NewRun(name, "prefect", {}, code_version(), str(runtime.flow_run.id), attempt, runtime.deployment.name)
    done = job(run, Tools(store, history, runner, reporter, CancelToken()))
    progress.end()
    look = partial(look_at_vault, settings.vault, settings.key_file, history) if settings.vault else None
    published = runner.report(partial(publish, prefix, history, done.run_id, done.message, done.head, look))
    log.ended(done, history.where, published)
    return Failed(message=done.message) if done.exit_code else Completed(message=done.message)


class _Tee:
    """A `Reporter` that tells several others."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def planned(self, work: PlannedWork) -> None:
        """See `Reporter`."""
        for one in self._reporters:
            one.planned(work)

    def started(self, run_id: int) -> None:
        """See `Reporter`."""
        for one in self._reporters:
            one.started(run_id)

    def progressed(self, more: MoreDone) -> None:
        """See `Reporter`."""
        for one in self._reporters:
            one.progressed(more)
