"""Prefect's tasks: plan, work, record, report; and the form in which they hand on their results."""
# A module of its own: nothing else in `tasks` imports Prefect.

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Failed

from db.errors import ThreadmillError

T = TypeVar("T")


class Whole(Generic[T]):
    """An argument or the result of a task, as one thing.

    Prefect walks through the collections and dataclasses that a task returns, and remembers their parts by `id` to
    find out who passes them on. The parts of a batch are thousands, and objects that were made later under the same
    `id` got edges in the graph that are none. Prefect neither walks this nor mistakes it for another. Unlike Prefect's
    own `quote`, which is a tuple, it reaches another process as it is.
    """

    def __init__(self, value: T) -> None:
        self.value = value


@task(name="plan", task_run_name="plan", cache_policy=NO_CACHE)
def plan(make: Callable[[], Whole[T] | State[None]]) -> Whole[T] | State[None]:
    """Plan the steps of a job; a failed state if the job is refused."""
    return make()


# No retries: a fault of a payload or an object is a result, not an exception, and what may pass is tried again inside.
@task(name="work", cache_policy=NO_CACHE)
def work(do: Whole[Callable[[], T]]) -> Whole[T] | State[None]:
    """Do a step; a failed state, without a traceback in the log, where it cannot go on."""
    try:
        return Whole(do.value())
    except ThreadmillError as error:
        return Failed(message=str(error), data=error)


# No retries either: the store tries again, for runs without Prefect too.
@task(name="record", cache_policy=NO_CACHE)
def record(write: Whole[Callable[[T], object]], done: Whole[T]) -> None:
    """Write a step's rows in one transaction; rows that are there already stay as they are."""
    write.value(done.value)


@task(name="report", task_run_name="report", cache_policy=NO_CACHE)
def report(publish: Callable[[], None]) -> None:
    """Publish the run's artifacts."""
    publish()
