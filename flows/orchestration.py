"""Jobs as Prefect flows: tasks run the batches, the run's logger is told, the outcome becomes the flow's state."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from db.errors import RecordError
from db.facts import NewRun
from db.history import History
from db.store import Store
from flows.artifacts import publish_payloads
from flows.jobs.encryption import encrypt
from flows.jobs.names import RequestRefused
from flows.jobs.plan import Plan
from flows.jobs.reporter import LISTENER, Reporter
from flows.jobs.request import EncryptionRequest
from flows.jobs.runner import BatchContext
from flows.settings import Settings, load_settings
from flows.version import code_version
from tasks.crypto.cancel import CancelToken
from tasks.crypto.encrypt import Batch
from tasks.crypto.errors import CryptoError
from tasks.crypto.summary import Summary
from tasks.encryption import encrypt_batch
from tasks.recording import record_batch

# The name of the state of a flow run that was refused before any work; the command line turns it into exit code 2.
REFUSED = "Refused"


class PrefectRunner:
    """Two task runs a batch, joined by a future, so that the UI draws the edge between them."""

    def start(self, batch: Batch, context: BatchContext) -> PrefectFuture[Summary]:
        """See `flows.jobs.runner.Runner`."""
        encryptions = encrypt_batch.submit(batch, context.key, context.limits, context.cancel)
        # Prefect resolves a future given as an argument; its signatures do not say so.
        return record_batch.submit(context.store, context.run_id, batch.number, encryptions)  # type: ignore[call-overload, no-any-return]


class LogReporter:
    """Tells the run's logger, one line a batch, and whoever listens in this process."""

    def __init__(self, listener: Reporter | None) -> None:
        self._logger = get_run_logger()
        self._listener = listener
        self._since = monotonic()
        self._total = self._done = 0
        self.run_id: int | None = None

    def planned(self, plan: Plan) -> None:
        """See `Reporter`."""
        self._total = plan.total
        self._logger.info(
            "planned %s payloads (%s MB) under %s",
            f"{plan.total:,}",
            f"{plan.size_bytes * len(plan.parts) / 1e6:,.1f}",
            ", ".join(f"{part.suite.name} on {part.chosen.backend} ({part.chosen.reason})" for part in plan.parts),
        )
        if self._listener:
            self._listener.planned(plan)

    def started(self, run_id: int) -> None:
        """See `Reporter`."""
        self.run_id = run_id
        self._logger.info("recording as run %d", run_id)
        if self._listener:
            self._listener.started(run_id)

    def batch_done(self, batch: Batch, summary: Summary) -> None:
        """See `Reporter`."""
        self._done += summary.payloads
        rate = self._done / max(monotonic() - self._since, 1e-9)
        counts = ", ".join(f"{count:,} {status}" for status, count in summary.counts.items())
        self._logger.info(
            "batch %d: %s; %s of %s, %.0f a second", batch.number, counts, f"{self._done:,}", f"{self._total:,}", rate
        )
        for fault in summary.faults:
            self._logger.warning("%s %s: %s", fault.name, fault.status, fault.error)
        if self._listener:
            self._listener.batch_done(batch, summary)


def run_encryption(flow: str, make_request: Callable[[Settings], EncryptionRequest]) -> State[None]:
    """Run the encryption job inside a flow run; the flow's final state.

    A restart of the same flow run from the UI does only what earlier attempts have not done.

    Args:
        flow: the flow's name, for the record.
        make_request: builds the request from the settings of the process that runs the flow.
    """
    reporter = LogReporter(LISTENER.get())
    try:
        settings = load_settings()
        request = make_request(settings)
        store = Store(settings.history_url, timeout_s=settings.database_timeout_s)
        flow_run_id, attempt = str(runtime.flow_run.id), runtime.flow_run.run_count or 1
        history = History(settings.history_url)
        result = encrypt(
            request,
            NewRun(flow, "prefect", {}, code_version(), flow_run_id, attempt, runtime.deployment.name),
            store=store,
            runner=PrefectRunner(),
            reporter=reporter,
            cancel=CancelToken(),
            done_before=history.done_before(flow_run_id) if attempt > 1 else frozenset(),
        )
    except (RequestRefused, CryptoError, RecordError) as error:
        return Failed(name=REFUSED if reporter.run_id is None else None, message=str(error))
    publish_payloads(history, result.run_id, result.message)
    return Failed(message=result.message) if result.exit_code else Completed(message=result.message)
