"""What runs a batch: the interface, and a thread pool for `--via direct`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from db.store import Store
from tasks.crypto.cancel import CancelToken
from tasks.crypto.encrypt import Batch, Limits, encrypt_batch
from tasks.crypto.secret import KeySource
from tasks.crypto.summary import Summary, summarise


@dataclass(frozen=True, slots=True)
class BatchContext:
    """What every batch of a run shares."""

    store: Store
    run_id: int
    key: KeySource
    limits: Limits
    cancel: CancelToken


class Pending(Protocol):
    """A batch that is being encrypted and recorded."""

    def result(self) -> Summary:
        """Wait for it; raises what recording raised."""

    def add_done_callback(self, fn: Callable[[object], None], /) -> None:
        """Call `fn` when it is recorded, or could not be."""


class Runner(Protocol):
    """Starts batches; the job bounds how many at once."""

    def start(self, batch: Batch, context: BatchContext) -> Pending:
        """Encrypt a batch, then record it, without waiting."""


class DirectRunner:
    """Threads of this process."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="batch")

    def start(self, batch: Batch, context: BatchContext) -> Future[Summary]:
        """See `Runner.start`."""
        return self._pool.submit(encrypt_and_record, batch, context)


def encrypt_and_record(batch: Batch, context: BatchContext) -> Summary:
    """One batch from payloads to rows."""
    encryptions = encrypt_batch(batch, context.key, context.limits, context.cancel)
    context.store.record_encryptions(context.run_id, encryptions)
    return summarise(encryptions)
