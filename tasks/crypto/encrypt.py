"""From payloads to results: encrypt each one, and never let one hide the others."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass
from typing import Literal

from tasks.crypto.backend import Backend, Encrypted
from tasks.crypto.cancel import CancelToken
from tasks.crypto.chain import StageResult
from tasks.crypto.choose import Chosen
from tasks.crypto.errors import (
    Cancelled,
    CryptoError,
    LegacySize,
    SourceChanged,
    SourceSkipped,
    StageNotStarted,
    WrongLength,
)
from tasks.crypto.inputs import Payload, open_payload
from tasks.crypto.secret import KeySource, Secret
from tasks.crypto.suites import SALT_BYTES, SUITES, Suite

Status = Literal["ok", "failed", "skipped", "unstable", "unchanged"]

# A chain may take a minute and then a second per megabyte: a thirtieth of what 3DES and Whirlpool do on one core.
_DEADLINE_S = 60.0
_SLOWEST_BYTES_PER_S = 1e6
# How much a pipe will bring is not known beforehand.
_PIPE_DEADLINE_S = 7 * 86400.0
_RETRY_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for each payload; `deadline_s` None: by its size."""

    deadline_s: float | None = None
    allow_legacy_size: bool = False

    def deadline(self, size_bytes: int | None) -> float:
        """Seconds that a payload of that size may take."""
        if self.deadline_s is not None:
            return self.deadline_s
        return _PIPE_DEADLINE_S if size_bytes is None else _DEADLINE_S + size_bytes / _SLOWEST_BYTES_PER_S

    def size(self, suite: Suite) -> int | None:
        """Bytes that a payload of that suite may have, or None."""
        return None if self.allow_legacy_size else suite.limit_bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Payloads worked on one after the other, under one suite and backend; ordinals count from `first_ordinal`."""

    number: int
    first_ordinal: int
    suite: str
    chosen: Chosen
    payloads: tuple[Payload, ...]


@dataclass(frozen=True, slots=True)
class Encryption:
    """What became of one payload.

    `started_at_ns` is UTC since the epoch; `wall_ns` is from the first start to the last reap, key derivation
    included. Sizes, `salt` and `digest` are None unless `status` is ok; `cause` is the short word for `error`.
    """

    ordinal: int
    payload: Payload
    suite: str
    chosen: Chosen
    status: Status
    started_at_ns: int
    wall_ns: int
    size_bytes: int | None = None
    ciphertext_bytes: int | None = None
    salt: bytes | None = None
    digest: bytes | None = None
    stages: tuple[StageResult, ...] = ()
    cause: str | None = None
    error: str | None = None


def encrypt_batch(batch: Batch, key: KeySource, limits: Limits, cancel: CancelToken) -> tuple[Encryption, ...]:
    """Encrypt a batch's payloads; one result for each, in their order, whatever went wrong with it.

    Raises:
        Cancelled: the token was set.
        KeyFileError: the key file is not usable (any more).
        BackendUnavailable: the program is not usable (any more).
    """
    suite = SUITES[batch.suite]
    backend = batch.chosen.open(suite, cancel)
    secret = key.secret()
    results = []
    for ordinal, payload in enumerate(batch.payloads, batch.first_ordinal):
        started_at_ns, start_ns = time.time_ns(), time.perf_counter_ns()
        status, done, salt, error = _outcome(payload, suite, backend, secret, limits, cancel)
        wall_ns = time.perf_counter_ns() - start_ns
        facts = (ordinal, payload, suite.name, batch.chosen, status, started_at_ns, wall_ns)
        if done is not None:
            results.append(Encryption(*facts, done.size_bytes, done.ciphertext_bytes, salt, done.digest, done.stages))
        else:
            cause = error.cause if isinstance(error, CryptoError) else "system"
            results.append(Encryption(*facts, cause=cause, error=str(error)))
    return tuple(results)


_Outcome = tuple[Status, Encrypted | None, bytes, Exception | None]


def _outcome(
    payload: Payload, suite: Suite, backend: Backend, secret: Secret, limits: Limits, cancel: CancelToken
) -> _Outcome:
    """Try a payload, and once more if that can help; every try has a salt of its own.

    Key and IV come from the salt, so that one salt over two versions of a file would be a two-time pad.
    """
    for attempt in (1, 2):
        salt = os.urandom(SALT_BYTES)
        try:
            return "ok", encrypt_payload(payload, suite, backend, secret, salt, limits, cancel), salt, None
        except Cancelled:
            raise
        except SourceSkipped as error:
            return "skipped", None, salt, error
        except (CryptoError, OSError) as error:
            if attempt == 1 and payload.kind != "stdin" and _may_pass(error):
                time.sleep(_RETRY_PAUSE_S)
                continue
            return ("unstable" if isinstance(error, SourceChanged) else "failed"), None, salt, error
    raise AssertionError("the second try always returns")


def _may_pass(error: Exception) -> bool:
    """Whether the same payload may well succeed in a moment."""
    number = getattr(error, "errno", None)
    return isinstance(error, SourceChanged) or (
        isinstance(error, StageNotStarted | OSError)
        and number in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY)
    )


def encrypt_payload(
    payload: Payload,
    suite: Suite,
    backend: Backend,
    secret: Secret,
    salt: bytes,
    limits: Limits,
    cancel: CancelToken,
) -> Encrypted:
    """Encrypt one payload under a given salt, and check all that can be checked about what came out.

    Raises:
        CryptoError: one of its leaves.
    """
    with open_payload(payload) as source:
        limit = limits.size(suite)
        if limit is not None and source.size_bytes is not None and source.size_bytes > limit:
            raise LegacySize(suite.name, source.size_bytes, limit)
        done = backend.encrypt(
            source,
            suite,
            secret,
            salt,
            limit_bytes=limit,
            deadline_s=limits.deadline(source.size_bytes),
            cancel=cancel,
        )
    expected = suite.ciphertext_bytes(done.size_bytes)
    if done.ciphertext_bytes not in (None, expected):
        raise WrongLength("the ciphertext", done.ciphertext_bytes or 0, expected)
    if len(done.digest) != suite.digest_bytes:
        raise WrongLength("the digest", len(done.digest), suite.digest_bytes)
    return Encrypted(done.digest, done.size_bytes, expected, done.stages)
