"""The `@task` over the encrypt→hash engine."""

from __future__ import annotations

from prefect import runtime, task
from prefect.cache_policies import NO_CACHE

from tasks.crypto import encrypt
from tasks.crypto.cancel import CancelToken
from tasks.crypto.encrypt import Batch, Encryption, Limits
from tasks.crypto.secret import KeySource


def _name() -> str:
    batch: Batch = runtime.task_run.parameters["batch"]
    return f"encrypt batch {batch.number}: {len(batch.payloads)} × {batch.suite} on {batch.chosen.backend}"


# No retries: whatever is wrong with a payload is a result, not an exception, and what may pass is tried again inside.
@task(name="encrypt-batch", task_run_name=_name, cache_policy=NO_CACHE)
def encrypt_batch(batch: Batch, key: KeySource, limits: Limits, cancel: CancelToken) -> tuple[Encryption, ...]:
    """Encrypt and hash the payloads of a batch, one after the other."""
    return encrypt.encrypt_batch(batch, key, limits, cancel)
