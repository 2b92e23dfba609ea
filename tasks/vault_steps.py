"""The `@task` over the work on a vault."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Failed

from tasks.crypto.errors import CryptoError
from tasks.steps import Whole

T = TypeVar("T")


@task(name="vault-batch", cache_policy=NO_CACHE)
def work_on_vault(work: Callable[[], T]) -> Whole[T] | State[None]:
    """Verify, restore or remove some; a failed state where it cannot go on."""
    try:
        return Whole(work())
    except CryptoError as error:
        return Failed(message=str(error), data=error)
