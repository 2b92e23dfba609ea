"""The `@task` over the encrypt→hash engine."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Failed

from tasks.cancel import CancelToken
from tasks.crypto import encrypt
from tasks.crypto.encrypt import Batch, Encryption, Limits
from tasks.crypto.secret import KeySource
from tasks.steps import Whole
from tasks.vault.adding import Addition
from tasks.vault.errors import VaultUnwritable


def _name(parameters: dict[str, Any]) -> str:
    """In ASCII: the graph's font has little else."""
    batch: Batch = parameters["batch"]
    return f"encrypt batch {batch.number}: {len(batch.payloads)} x {batch.suite} on {batch.chosen.backend}"


# No retries: whatever is wrong with a payload is a result, not an exception, and what may pass is tried again inside.
# Prefect's protocol for a function that names a run asks for more than is called.
@task(name="encrypt-batch", task_run_name=_name, cache_policy=NO_CACHE)  # type: ignore[arg-type]
def encrypt_batch(
    batch: Batch, key: KeySource, limits: Limits, cancel: CancelToken, keep: Addition | None
) -> Whole[tuple[Encryption, ...]] | State[None]:
    """Encrypt and hash the payloads of a batch, one after the other; a failed state where a vault takes no more."""
    try:
        work = keep.encrypt if keep else encrypt.encrypt_batch
        return Whole(work(batch, key, limits, cancel))
    except VaultUnwritable as error:
        return Failed(message=str(error), data=error)
