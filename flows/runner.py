"""Task runs of a flow run, joined by futures, so that the UI draws plan → batches → record → report."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Failed
from prefect.utilities.annotations import opaque, quote

from flows.jobs.names import RequestRefused
from flows.jobs.runner import BatchContext, RoundContext, Step
from tasks import steps
from tasks.crypto.encrypt import Batch
from tasks.crypto.errors import CryptoError
from tasks.crypto.summary import Summary
from tasks.encryption import encrypt_batch
from tasks.experiments import measure_round
from tasks.recording import record_batch, record_round, record_verdicts
from tasks.steps import Whole
from tasks.threads.errors import ExperimentError
from tasks.threads.planning import Round
from tasks.threads.samples import Sample
from tasks.vault_steps import work_on_vault

# The name of the state of what was refused before any work; the command line turns a flow run's into exit code 2.
REFUSED = "Refused"

# Edges into the report. A run has some 64 batches per suite and backend; of a tree of 10**8 files, which has ten
# thousand, the last ones have to do, because an event of Prefect holds them all.
_RECORDS_KEPT = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Recorded(Generic[T]):
    """What was worked on in one task run and recorded in the next."""

    worked: PrefectFuture[Any]
    recorded: PrefectFuture[Whole[T]]

    def result(self) -> T:
        """Wait for both; raises what either raised."""
        # First, because the task run that waits for it in vain only knows that it failed.
        self.worked.result()
        return self.recorded.result().value

    def add_done_callback(self, fn: Callable[[object], None]) -> None:
        """Call `fn` when it is recorded, or could not be."""
        self.recorded.add_done_callback(fn)


class PrefectRunner:
    """The `Runner` of one flow run.

    Arguments are quoted, so that Prefect does not search thousands of payloads for futures; those that are futures
    are opaque, so that it waits for them, but neither walks their results nor asks its server for their state.
    """

    def __init__(self) -> None:
        self._planned: State[Any] | None = None
        self._records: deque[PrefectFuture[Any]] = deque(maxlen=_RECORDS_KEPT)
        self._last_round: PrefectFuture[Any] | None = None

    def plan(self, make: Callable[[], T]) -> T:
        """See `flows.jobs.runner.Runner`. What is refused fails the task run without a traceback in the log."""
        refused: list[Exception] = []

        def attempt() -> Whole[T] | State[None]:
            try:
                return Whole(make())
            except (RequestRefused, CryptoError, ExperimentError) as error:
                refused.append(error)
                return Failed(name=REFUSED, message=str(error))

        # In this thread, which is the one that a cancel interrupts.
        state: State[Any] = steps.plan(quote(attempt), return_state=True)
        if refused:
            raise refused[0]
        whole: Whole[T] = state.result()
        self._planned = state
        return whole.value

    def start(self, batch: Batch, context: BatchContext) -> Recorded[Summary]:
        """See `flows.jobs.runner.Runner`."""
        worked = encrypt_batch.submit(
            *map(quote, (batch, context.key, context.limits, context.cancel, context.keep)),
            return_state=False,
            wait_for=self._after_plan(),
        )
        recorded = record_batch.submit(
            quote(context.store),
            context.run_id,
            batch.number,
            opaque(worked),
            quote(context.keep.vault if context.keep else None),
            return_state=False,
        )
        self._records.append(recorded)
        return Recorded(worked, recorded)

    def start_round(self, one: Round, first_ordinal: int, context: RoundContext) -> Recorded[tuple[Sample, ...]]:
        """See `flows.jobs.runner.Runner`. Rounds follow each other: the last one stands for all before it."""
        before = [self._last_round] if self._last_round else self._after_plan()
        worked = measure_round.submit(
            *map(quote, (one, context.lock, context.lock_wait_s, context.cancel, context.tell)),
            return_state=False,
            wait_for=before,
        )
        recorded = record_round.submit(
            *map(quote, (context.store, context.run_id, one, first_ordinal)), opaque(worked), return_state=False
        )
        self._last_round = recorded
        return Recorded(worked, recorded)

    def start_step(self, step: Step[T]) -> Recorded[T]:
        """See `flows.jobs.runner.Runner`."""
        done = work_on_vault.with_options(name=f"{step.kind}-batch", task_run_name=step.name).submit(
            quote(step.work), return_state=False, wait_for=self._after_plan()
        )
        # `with_options` forgets the task's type.
        recorded: PrefectFuture[Whole[T]] = record_verdicts.with_options(task_run_name=f"record {step.name}").submit(
            quote(step.record), opaque(done), return_state=False
        )  # type: ignore[assignment]
        self._records.append(recorded)
        return Recorded(done, recorded)

    def report(self, publish: Callable[[], None]) -> State[None]:
        """Run `publish` as the last task run; its state, whatever became of it."""
        last = [self._last_round] if self._last_round else []
        after = [*self._records, *last] or self._after_plan()
        return steps.report(quote(publish), wait_for=after, return_state=True)

    def _after_plan(self) -> list[State[Any]]:
        return [] if self._planned is None else [self._planned]
