"""The `@task` over the experiments engine."""

from __future__ import annotations

from collections.abc import Callable

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.cancel import CancelToken
from tasks.steps import Whole
from tasks.threads import measuring
from tasks.threads.planning import Round
from tasks.threads.samples import Sample


@task(name="measure-round", task_run_name="measure round {one.number}", cache_policy=NO_CACHE)
def measure_round(
    one: Round, lock: str, lock_wait_s: float, cancel: CancelToken, tell: Callable[[Sample], None]
) -> Whole[tuple[Sample, ...]]:
    """Measure every case of a round once, each in a fresh child interpreter, under the host's measuring lock."""
    return Whole(measuring.measure_round(one, lock_path=lock, lock_wait_s=lock_wait_s, cancel=cancel, tell=tell))
