"""From payloads to results: encrypt each one, and never let one hide the others."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from tasks.cancel import CancelToken, wait_readable
from tasks.crypto.backend import Backend, Encrypted
from tasks.crypto.chain import Sink, StageResult
from tasks.crypto.errors import (
    Cancelled,
    CryptoError,
    LegacySize,
    SourceChanged,
    SourceSkipped,
    StageFailed,
    StageNotStarted,
    WrongLength,
)
from tasks.crypto.inputs import Payload, open_payload
from tasks.crypto.probe import Chosen
from tasks.crypto.secret import KeySource, Secret
from tasks.crypto.suites import SALT_BYTES, SUITES, Suite, SuiteName

PayloadStatus = Literal["ok", "failed", "skipped", "unstable", "unchanged"]

# A chain may take a minute and then a second per megabyte: a thirtieth of what 3DES and Whirlpool do on one core.
_DEADLINE_S = 60.0
_SLOWEST_BYTES_PER_S = 1e6
# How much a pipe will bring is not known beforehand.
_PIPE_DEADLINE_S = 7 * 86400.0
_RETRY_PAUSE_S = 0.1
_SIGNAL_WAIT_S = 1.0


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
    """Payloads, each with its ordinal in the run, worked on one after the other under one suite and backend."""

    number: int
    suite: SuiteName
    chosen: Chosen
    payloads: tuple[tuple[int, Payload], ...]


@dataclass(frozen=True, slots=True)
class Encryption:
    """What became of one payload.

    `started_at_ns` is UTC since the epoch; `wall_ns` is from the first start to the last reap, key derivation
    included. Sizes, `salt` and `digest` are None unless `status` is ok; `cause` is the short word for `error`.
    """

    ordinal: int
    payload: Payload
    suite: Suite
    chosen: Chosen
    status: PayloadStatus
    started_at_ns: int
    wall_ns: int
    size_bytes: int | None = None
    ciphertext_bytes: int | None = None
    salt: bytes | None = None
    digest: bytes | None = None
    stages: tuple[StageResult, ...] = ()
    cause: str | None = None
    error: str | None = None


class Keeper(Protocol):
    """Keeps the ciphertext of a batch; an error of it that `ends_run` ends the batch."""

    def salt_of(self, known: str) -> bytes | None:
        """The salt of kept ciphertext, by its digest (hex); None unless it is there and whole."""

    def same(self, number: int, known: str, done: Encrypted) -> None:
        """The payload of that ordinal still is what that ciphertext is of."""

    def store(self, number: int, encrypt: Callable[[Sink], Encrypted]) -> Encrypted:
        """Have the payload of that ordinal encrypted into new ciphertext."""


def encrypt_batch(
    batch: Batch, key: KeySource, limits: Limits, cancel: CancelToken, keeper: Keeper | None = None
) -> tuple[Encryption, ...]:
    """Encrypt a batch's payloads; one result for each, in their order, whatever went wrong with it.

    When the token is set, the results are those of the payloads that were done by then. Without a `keeper` the
    ciphertext is discarded.

    Raises:
        CryptoError: the keeper cannot go on.
    """
    suite = SUITES[batch.suite]
    try:
        backend = batch.chosen.open(suite, cancel)
        secret = key.secret()
    except Cancelled:
        return ()
    except (CryptoError, OSError) as error:
        # Good when the run was planned, and gone bad since: every payload says so.
        fault = _Outcome("failed", error=error)
        return tuple(
            _encryption(batch, suite, ordinal, payload, time.time_ns(), 0, fault) for ordinal, payload in batch.payloads
        )
    way = _Way(suite, backend, secret, limits, cancel)
    results: list[Encryption] = []
    for ordinal, payload in batch.payloads:
        started_at_ns, start_ns = time.time_ns(), time.perf_counter_ns()
        try:
            outcome = _outcome(ordinal, payload, way, keeper)
        except Cancelled:
            break
        wall_ns = time.perf_counter_ns() - start_ns
        results.append(_encryption(batch, suite, ordinal, payload, started_at_ns, wall_ns, outcome))
    return tuple(results)


@dataclass(frozen=True, slots=True)
class _Outcome:
    status: PayloadStatus
    salt: bytes | None = None
    done: Encrypted | None = None
    error: Exception | None = None


def _encryption(
    batch: Batch, suite: Suite, ordinal: int, payload: Payload, started_at_ns: int, wall_ns: int, outcome: _Outcome
) -> Encryption:
    done, error = outcome.done, outcome.error
    facts = (ordinal, payload, suite, batch.chosen, outcome.status, started_at_ns, wall_ns)
    if done is not None:
        return Encryption(*facts, done.size_bytes, done.ciphertext_bytes, outcome.salt, done.digest, done.stages)
    if isinstance(error, CryptoError):
        return Encryption(*facts, stages=error.stages, cause=error.cause, error=str(error))
    return Encryption(*facts, cause="system", error=str(error))


@dataclass(frozen=True, slots=True)
class _Way:
    """How the payloads of a batch are encrypted."""

    suite: Suite
    backend: Backend
    secret: Secret
    limits: Limits
    cancel: CancelToken

    def encrypt(self, payload: Payload, salt: bytes, store: Sink | None = None) -> Encrypted:
        """See `encrypt_payload`."""
        return encrypt_payload(
            payload, self.suite, self.backend, self.secret, salt, self.limits, self.cancel, store=store
        )


def _outcome(ordinal: int, payload: Payload, way: _Way, keeper: Keeper | None) -> _Outcome:
    """Try a payload, and once more if that can help.

    Raises:
        CryptoError: the run cannot go on; Cancelled where the token was set.
    """
    attempts_left = 1 if payload.kind == "stdin" else 2
    while True:
        if way.cancel.cancelled:
            raise Cancelled
        attempts_left -= 1
        try:
            return _attempt(ordinal, payload, way, keeper)
        except SourceSkipped as error:
            return _Outcome("skipped", error=error)
        except (CryptoError, OSError) as error:
            if isinstance(error, CryptoError) and error.ends_run:
                raise
            if _ended_with_us(error, way.cancel):
                raise Cancelled from error
            if not (attempts_left and _may_pass(error)):
                return _Outcome("unstable" if isinstance(error, SourceChanged) else "failed", error=error)
        time.sleep(_RETRY_PAUSE_S)


def _attempt(ordinal: int, payload: Payload, way: _Way, keeper: Keeper | None) -> _Outcome:
    """Encrypt a payload under a salt of its own.

    Key and IV come from it, so that one salt over two versions of a file would be a two-time pad. Only to find out
    whether a file is what an old object is of, the old salt is used again, and what comes out goes nowhere.
    """
    if keeper is not None and payload.known is not None and (old := keeper.salt_of(payload.known)):
        compared = way.encrypt(payload, old)
        if compared.digest.hex() == payload.known:
            keeper.same(ordinal, payload.known, compared)
            return _Outcome("unchanged", old, compared)
    salt = os.urandom(SALT_BYTES)
    if keeper is None:
        return _Outcome("ok", salt, way.encrypt(payload, salt))
    return _Outcome("ok", salt, keeper.store(ordinal, lambda store: way.encrypt(payload, salt, store)))


def _ended_with_us(error: Exception, cancel: CancelToken) -> bool:
    """Whether a stage died of a signal that was meant for all of us.

    Ctrl-C and a worker's cancel go to the whole process group: the children may be gone before this process has
    dealt with its own.
    """
    if not (isinstance(error, StageFailed) and -error.ended_with in (signal.SIGINT, signal.SIGTERM)):
        return False
    return bool(wait_readable([cancel.fileno()], _SIGNAL_WAIT_S))


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
    store: Sink | None = None,
) -> Encrypted:
    """Encrypt one payload under a given salt, and check all that can be checked about what came out.

    `store` takes each piece of ciphertext, header first; None discards it.

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
            store=store,
        )
    expected = suite.ciphertext_bytes(done.size_bytes)
    if done.ciphertext_bytes not in (None, expected):
        raise WrongLength("the ciphertext", done.ciphertext_bytes or 0, expected)
    if len(done.digest) != suite.digest_bytes:
        raise WrongLength("the digest", len(done.digest), suite.digest_bytes)
    return Encrypted(done.digest, done.size_bytes, expected, done.stages, source.status)
