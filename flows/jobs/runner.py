"""What runs the steps of a job: the interface, and this process for `--via direct`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from db.store import Store
from tasks.cancel import CancelToken
from tasks.crypto.encrypt import Batch, Limits, encrypt_batch
from tasks.crypto.secret import KeySource
from tasks.crypto.summary import Summary, summarise
from tasks.threads.measuring import measure_round
from tasks.threads.planning import Round
from tasks.threads.samples import Sample

if TYPE_CHECKING:
    from tasks.vault.adding import Addition

T = TypeVar("T")
Result_co = TypeVar("Result_co", covariant=True)


@dataclass(frozen=True, slots=True)
class BatchContext:
    """What every batch of a run shares."""

    store: Store
    run_id: int
    key: KeySource
    limits: Limits
    cancel: CancelToken
    keep: Addition | None = None


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """A piece of work on a vault, and how its outcome is recorded; `kind` and `name` are what the UI calls it."""

    kind: str
    name: str
    work: Callable[[], T]
    record: Callable[[T], object]


@dataclass(frozen=True, slots=True)
class RoundContext:
    """What every round of a run shares. `lock` is the path of the host's measuring lock; `tell` hears each sample."""

    store: Store
    run_id: int
    lock: str
    lock_wait_s: float
    cancel: CancelToken
    tell: Callable[[Sample], None]


class Pending(Protocol[Result_co]):
    """A batch, round or step that is being done and recorded."""

    def result(self) -> Result_co:
        """Wait for it; raises what doing or recording it raised."""

    def add_done_callback(self, fn: Callable[[object], None], /) -> None:
        """Call `fn` when it is recorded, or could not be."""


class Runner(Protocol):
    """Plans, then starts batches, rounds or steps; the job bounds how many at once."""

    def plan(self, make: Callable[[], T]) -> T:
        """What `make` gives or raises; comes before everything that follows from it."""

    def start(self, batch: Batch, context: BatchContext) -> Pending[Summary]:
        """Encrypt a batch, then record it, without waiting."""

    def start_round(self, one: Round, first_ordinal: int, context: RoundContext) -> Pending[Sequence[Sample]]:
        """Measure a round, then record it, without waiting."""

    def start_step(self, step: Step[T]) -> Pending[T]:
        """Do a step, then record it, without waiting."""


class DirectRunner:
    """Threads of this process."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="batch")

    def plan(self, make: Callable[[], T]) -> T:
        """See `Runner.plan`."""
        return make()

    def start(self, batch: Batch, context: BatchContext) -> Future[Summary]:
        """See `Runner.start`."""
        return self._pool.submit(encrypt_and_record, batch, context)

    def start_round(self, one: Round, first_ordinal: int, context: RoundContext) -> Future[tuple[Sample, ...]]:
        """See `Runner.start_round`."""
        return self._pool.submit(measure_and_record, one, first_ordinal, context)

    def start_step(self, step: Step[T]) -> Future[T]:
        """See `Runner.start_step`."""
        return self._pool.submit(_do_and_record, step)


def encrypt_and_record(batch: Batch, context: BatchContext) -> Summary:
    """One batch from payloads to rows."""
    encrypt = context.keep.encrypt if context.keep else encrypt_batch
    encryptions = encrypt(batch, context.key, context.limits, context.cancel)
    context.store.record_encryptions(context.run_id, encryptions, context.keep.vault if context.keep else None)
    return summarise(encryptions)


def _do_and_record(step: Step[T]) -> T:
    done = step.work()
    step.record(done)
    return done


def measure_and_record(one: Round, first_ordinal: int, context: RoundContext) -> tuple[Sample, ...]:
    """One round from cases to rows."""
    samples = measure_round(
        one,
        lock_path=context.lock,
        lock_wait_s=context.lock_wait_s,
        cancel=context.cancel,
        tell=context.tell,
    )
    context.store.record_samples(context.run_id, first_ordinal, samples, one.interpreters)
    return samples
