"""A job as a Prefect flow: task runs do the work, log and artifacts show it, and the state has the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from inspect import Parameter, Signature, cleandoc
from typing import Any, TypeVar

from prefect import Flow, flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from db.errors import ThreadmillError
from db.rows import NewRun
from flows import code_version
from flows.jobs.arguments import JobParameters, help_of, hints
from flows.jobs.run import Job, Tools
from flows.jobs.vault_state import look_at_vault
from flows.orchestration.artifacts import publish
from flows.orchestration.log import FlowReporter, ProgressArtifact, quiet_tasks
from flows.orchestration.runner import REFUSED, PrefectRunner
from flows.settings import Settings, load_settings, records_closed_at_the_end
from flows.text import parse_percentage
from tasks.cancel import CancelToken

P = TypeVar("P", bound=JobParameters)
MakeJob = Callable[[P, Settings], Job]


def job_flow(
    parameters: type[P], run_name: Callable[[], str], required: tuple[str, ...] = (), **own_defaults: object
) -> Callable[[MakeJob[P]], Flow[..., State[None]]]:
    """Make a flow of a function that gives the job for parameters and settings.

    The function's name and docstring become those of the flow, with a hyphen for each underscore. The form of the flow
    has the fields of the class, in their order; `required` ones have no default in it, and `own_defaults` are others
    than those of the command.
    """

    def decorate(make_job: MakeJob[P]) -> Flow[..., State[None]]:
        types = hints(parameters)
        values = {one.name: one.default for one in fields(parameters)} | own_defaults
        values |= dict.fromkeys(required, Parameter.empty)
        form = [
            Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=values[name], annotation=hint)
            for name, hint in types.items()
        ]
        signature = Signature(form, return_annotation=State[None])

        def run(*args: Any, **kwargs: Any) -> State[None]:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return run_in_flow(make_job.__name__, partial(make_job, parameters(**bound.arguments)))

        lines = [f"    {name}: {help_of(hint)}" for name, hint in types.items()]
        run.__doc__ = cleandoc(make_job.__doc__ or "") + "\n\nArgs:\n" + "\n".join(lines)
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
    """Run a job inside a flow run, with the settings of this process; the flow's final state."""
    flow_run_id = str(runtime.flow_run.id)
    # Not the flow's own name: a user may give it another one, which need not be of the form of a key.
    prefix = name.replace("_", "-")
    reporter = FlowReporter(ProgressArtifact(f"{prefix}-progress", flow_run_id))
    with quiet_tasks(flow_run_id):
        try:
            with records_closed_at_the_end():
                return _run(name, prefix, make_job, reporter)
        except ThreadmillError as error:
            reporter.broke_off(error)
            return Failed(name=REFUSED if reporter.run_id is None else None, message=str(error))


def _run(name: str, prefix: str, make_job: Callable[[Settings], Job], reporter: FlowReporter) -> State[None]:
    settings = load_settings()
    job = make_job(settings)
    store = settings.open_store()
    history = settings.open_history()
    runner = PrefectRunner()
    attempt = runtime.flow_run.run_count or 1
    run = NewRun(name, "prefect", {}, code_version(), str(runtime.flow_run.id), attempt, runtime.deployment.name)
    done = job(run, Tools(store, history, runner, reporter, CancelToken()))
    reporter.worked()
    most = parse_percentage(settings.most_faulty)
    look = partial(look_at_vault, settings.vault, settings.key_file, history, most) if settings.vault else None
    published = runner.report(partial(publish, prefix, history, done, look))
    reporter.ended(done, history.where, published)
    return Failed(message=done.message) if done.exit_code else Completed(message=done.message)
