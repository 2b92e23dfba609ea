"""The `@task`s around the work itself, `plan` and `report`, and the form in which tasks hand on what they come to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

T = TypeVar("T")


class Whole(Generic[T]):
    """What a task came to, as one thing.

    Prefect walks through the collections and dataclasses that a task returns, and remembers their parts by `id` to
    find out who passes them on. The parts of a batch are thousands, and objects that are made later under the same
    `id` got edges in the graph that are none. This it neither walks nor mistakes for another.
    """

    def __init__(self, value: T) -> None:
        self.value = value


@task(name="plan", task_run_name="plan", cache_policy=NO_CACHE)
def plan(make: Callable[[], Whole[T] | State[None]]) -> Whole[T] | State[None]:
    """Settle what there is to do; a failed state where it cannot be done."""
    return make()


@task(name="report", task_run_name="report", cache_policy=NO_CACHE)
def report(publish: Callable[[], None]) -> None:
    """Publish the run's artifacts."""
    publish()
