"""The `@task`s over the record."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from db.errors import RecordUnusable
from db.store import Store
from tasks.crypto.encrypt import Encryption
from tasks.crypto.summary import Summary, summarise
from tasks.steps import Whole
from tasks.threads.planning import Round
from tasks.threads.samples import Sample
from tasks.vault.vault import Vault

T = TypeVar("T")


def _may_pass(_task: Task[..., object], _run: TaskRun, state: State[object]) -> bool:
    """A lock is let go of one day; a full or read-only disk is not mended by trying again."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, RecordUnusable) and error.transient


@task(
    name="record-batch",
    task_run_name="record batch {number}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[1, 10],
    retry_condition_fn=_may_pass,
)
def record_batch(
    store: Store, run_id: int, number: int, encryptions: Whole[tuple[Encryption, ...]], vault: Vault | None
) -> Whole[Summary]:
    """Write a batch's rows in one transaction; a batch that is recorded already stays as it is."""
    del number
    store.record_encryptions(run_id, encryptions.value, vault)
    return Whole(summarise(encryptions.value))


@task(
    name="record-round",
    task_run_name="record round {one.number}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[1, 10],
    retry_condition_fn=_may_pass,
)
def record_round(
    store: Store, run_id: int, one: Round, first_ordinal: int, samples: Whole[tuple[Sample, ...]]
) -> Whole[tuple[Sample, ...]]:
    """Write a round's samples in one transaction; those that are recorded already stay as they are."""
    store.record_samples(run_id, first_ordinal, samples.value, one.interpreters)
    return samples


@task(
    name="record-verdicts",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=[1, 10],
    retry_condition_fn=_may_pass,
)
def record_verdicts(write: Callable[[T], object], done: Whole[T]) -> Whole[T]:
    """Write what was found in a vault in one transaction; what is recorded already stays as it is."""
    write(done.value)
    return done
