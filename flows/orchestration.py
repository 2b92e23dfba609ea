"""Jobs as Prefect flows: tasks run the batches, the run's logger is told, the outcome becomes the flow's state."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed

from db.errors import RecordError
from db.facts import NewRun
from db.history import History
from db.store import Store
from flows.artifacts import publish
from flows.jobs.names import RequestRefused
from flows.jobs.reporter import LISTENER
from flows.jobs.run import Job, Tools
from flows.jobs.runner import BatchContext, RoundContext
from flows.logs import LogReporter
from flows.settings import Settings, load_settings
from flows.version import code_version
from tasks.crypto.cancel import CancelToken
from tasks.crypto.encrypt import Batch
from tasks.crypto.errors import CryptoError
from tasks.crypto.summary import Summary
from tasks.encryption import encrypt_batch
from tasks.experiments import measure_round
from tasks.recording import record_batch, record_round
from tasks.threads.errors import ExperimentError
from tasks.threads.planning import Round
from tasks.threads.samples import Sample

# The name of the state of a flow run that was refused before any work; the command line turns it into exit code 2.
REFUSED = "Refused"


class PrefectRunner:
    """Two task runs for a batch or a round, joined by a future, so that the UI draws the edge between them."""

    def start(self, batch: Batch, context: BatchContext) -> PrefectFuture[Summary]:
        """See `flows.jobs.runner.Runner`."""
        encryptions = encrypt_batch.submit(batch, context.key, context.limits, context.cancel)
        # Prefect resolves a future given as an argument; its signatures do not say so.
        return record_batch.submit(context.store, context.run_id, batch.number, encryptions)  # type: ignore[call-overload, no-any-return]

    def start_round(self, one: Round, first_ordinal: int, context: RoundContext) -> PrefectFuture[Sequence[Sample]]:
        """See `flows.jobs.runner.Runner`."""
        samples = measure_round.submit(one, context.lock, context.lock_wait_s, context.cancel, context.tell)
        return record_round.submit(context.store, context.run_id, one, first_ordinal, samples)  # type: ignore[call-overload, no-any-return]


def run_in_flow(flow: str, make_job: Callable[[Settings], Job]) -> State[None]:
    """Run a job inside a flow run; the flow's final state.

    Args:
        flow: the flow's name, for the record.
        make_job: builds the job from the settings of the process that runs the flow; may refuse.
    """
    reporter = LogReporter(LISTENER.get())
    try:
        settings = load_settings()
        job = make_job(settings)
        store = Store(settings.history_url, timeout_s=settings.database_timeout_s)
        history = History(settings.history_url, timeout_s=settings.database_timeout_s)
        attempt = runtime.flow_run.run_count or 1
        run = NewRun(flow, "prefect", {}, code_version(), str(runtime.flow_run.id), attempt, runtime.deployment.name)
        done = job(run, Tools(store, history, PrefectRunner(), reporter, CancelToken()))
    except (RequestRefused, CryptoError, ExperimentError, RecordError) as error:
        return Failed(name=REFUSED if reporter.run_id is None else None, message=str(error))
    publish(history, done.run_id, done.message)
    return Failed(message=done.message) if done.exit_code else Completed(message=done.message)
