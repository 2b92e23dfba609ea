"""Task runs of a flow run, joined by futures, so that the UI draws plan → steps → records → report."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Failed
from prefect.utilities.annotations import opaque, quote

from db.errors import ThreadmillError
from flows.jobs.run import Here, Pending, Step
from tasks import steps
from tasks.steps import Whole

if TYPE_CHECKING:
    from db.store import Store

# The state of a flow run that was refused before any work; the command line turns it into exit code 2.
REFUSED = "Refused"

# Edges into the report. A run has some 64 batches per suite and backend; of a tree of 10**8 files, which has ten
# thousand, the last ones have to do, because an event of Prefect holds them all.
_RECORDS_KEPT = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class _Recorded(Generic[T]):
    """A step's work in one task run, and its record in the next."""

    worked: PrefectFuture[Whole[T] | State[None]]
    recorded: PrefectFuture[Any]

    def result(self) -> T:
        """Wait for both; raises any error of either."""
        # The work first: the task run that records it would only say that the work failed.
        whole = self.worked.result()
        self.recorded.result()
        assert isinstance(whole, Whole)  # noqa: S101 - a failed state has raised
        return whole.value

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """See `Pending`."""
        self.recorded.add_done_callback(lambda _: fn(self))


class PrefectRunner:
    """The `Runner` of one flow run.

    Arguments are whole, so that Prefect does not search thousands of payloads for futures; futures are opaque, so
    that Prefect waits for them, but neither walks their results nor asks its server for their state. For the edges
    into the report only the record of each step is kept, which has no result: results go when the job lets them go.
    """

    def __init__(self) -> None:
        self._planned: list[State[Any]] = []
        self._records: deque[PrefectFuture[Any]] = deque(maxlen=_RECORDS_KEPT)

    def plan(self, make: Callable[[], T]) -> T:
        """See `flows.jobs.run.Runner`. A refusal fails the task run without a traceback in the log."""
        refused: list[Exception] = []

        def attempt() -> Whole[T] | State[None]:
            try:
                return Whole(make())
            except ThreadmillError as error:
                refused.append(error)
                return Failed(name=REFUSED, message=str(error))

        # In this thread, because a cancel interrupts it.
        state: State[Any] = steps.plan(quote(attempt), return_state=True)
        if refused:
            raise refused[0]
        whole: Whole[T] = state.result()
        self._planned = [state]
        return whole.value

    def start(
        self, step: Step[T], store: Store, run_id: int, here: Here, after: Pending[object] | None = None
    ) -> _Recorded[T]:
        """See `flows.jobs.run.Runner`."""
        before: list[Any] = list(self._planned)
        if isinstance(after, _Recorded):
            # This edge stands for all before it, and into the report too.
            before = [after.recorded]
            with suppress(ValueError):
                self._records.remove(after.recorded)
        # `with_options` forgets the tasks' types.
        worked: PrefectFuture[Whole[T] | State[None]] = steps.work.with_options(
            name=step.kind, task_run_name=_literal(step.name)
        ).submit(Whole(partial(step.work, here)), return_state=False, wait_for=before)  # type: ignore[assignment]
        recorded: PrefectFuture[Any] = steps.record.with_options(
            name=f"record-{step.kind.rpartition('-')[2]}", task_run_name=_literal(step.recorded_as)
        ).submit(Whole(partial(step.record, store, run_id)), opaque(worked), return_state=False)
        self._records.append(recorded)
        return _Recorded(worked, recorded)

    def report(self, publish: Callable[[], None]) -> State[None]:
        """Run `publish` as the last task run; its state, whatever became of it."""
        after = [*self._records] or self._planned
        return steps.report(quote(publish), wait_for=after, return_state=True)


def _literal(name: str) -> str:
    """Prefect takes a task run's name for a format string."""
    return name.replace("{", "{{").replace("}", "}}")
