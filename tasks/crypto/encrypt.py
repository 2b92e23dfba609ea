"""From payloads to results: encrypt each one, and never let one hide the others."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tasks.cancel import CancelToken, wait_readable
from tasks.crypto.chain import Sink, StageResult
from tasks.crypto.errors import (
    Cancelled,
    CryptoError,
    LegacySize,
    SourceChanged,
    SourceChanging,
    SourceReplaced,
    SourceSkipped,
    StageFailed,
    StageNotStarted,
    WrongLength,
)
from tasks.crypto.inputs import Attempt, Backend, Encrypted, Input, Payload, open_payload
from tasks.crypto.probe import Chosen
from tasks.crypto.secret import KeySource, Secret
from tasks.crypto.sources import Sources
from tasks.files import FolderIdentity
from tasks.suites import SALT_BYTES, SUITES, Suite, SuiteName

PayloadStatus = Literal["ok", "failed", "skipped", "unstable", "unchanged", "changing", "carried-over"]
# In a vault, the entries of such files are marked.
MARKED: tuple[PayloadStatus, ...] = ("unstable", "changing", "carried-over")

# A chain may take a minute and then a second per megabyte: a thirtieth of what 3DES and Whirlpool do on one core.
_DEADLINE_S = 60.0
_SLOWEST_BYTES_PER_S = 1e6
# The length of a pipe is not known beforehand.
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
    """Payloads, each with its ordinal in the run, worked on one after the other under one suite and backend.

    `sources` are the folders that the payloads were found in, as they were when the batch was planned.
    """

    number: int
    suite: SuiteName
    chosen: Chosen
    payloads: tuple[tuple[int, Payload], ...]
    sources: tuple[FolderIdentity, ...] = ()


@dataclass(frozen=True, slots=True)
class Encryption:
    """The result of one payload.

    `started_at_ns` is UTC since the epoch; `wall_ns` is from the first start to the last reap, key derivation
    included. Sizes, `salt` and `digest` are None unless there is a ciphertext; `cause` is the short word for `error`.
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


@dataclass(frozen=True, slots=True)
class Cipher:
    """The suite, backend, secret and bounds that payloads are encrypted with."""

    suite: Suite
    backend: Backend
    secret: Secret
    limits: Limits
    cancel: CancelToken

    def encrypt(self, source: Input, salt: bytes, store: Sink | None = None, *, any_salt: bool = False) -> Encrypted:
        """Encrypt an open payload under a given salt, and check the result as far as possible.

        `store` takes each piece of ciphertext, header first; None discards it. With `any_salt` the result may be under
        another salt than the given one. Raises CryptoError.
        """
        suite, limit = self.suite, self.limits.size(self.suite)
        if limit is not None and source.size_bytes is not None and source.size_bytes > limit:
            raise LegacySize(suite.name, source.size_bytes, limit)
        deadline_s = self.limits.deadline(source.size_bytes)
        attempt = Attempt(source, suite, self.secret, salt, limit, deadline_s, self.cancel, store, any_salt)
        done = self.backend.encrypt(attempt)
        expected = suite.ciphertext_bytes(done.size_bytes)
        if done.ciphertext_bytes not in (None, expected):
            raise WrongLength("the ciphertext", done.ciphertext_bytes or 0, expected)
        if len(done.digest) != suite.digest_bytes:
            raise WrongLength("the digest", len(done.digest), suite.digest_bytes)
        return Encrypted(done.digest, done.size_bytes, expected, done.stages, done.salt or salt, source.flaw)


@dataclass(frozen=True, slots=True)
class Workbench:
    """Everything that the payloads of a batch are encrypted with."""

    batch: Batch
    cipher: Cipher
    sources: Sources

    def discard(self, payload: Payload, _last: bool) -> Encrypted:
        """Encrypt a payload under a new salt, and discard the ciphertext.

        Key and IV come from the salt, so that one salt over two versions of a file would be a two-time pad.
        """
        with open_payload(payload, self.sources.open) as source:
            return self.cipher.encrypt(source, os.urandom(SALT_BYTES), any_salt=True)


# An attempt at a payload, which may be the last one.
PayloadAttempt = Callable[[Payload, bool], Encrypted]


def encrypt_batch(
    batch: Batch,
    key: KeySource,
    limits: Limits,
    cancel: CancelToken,
    attempt_on: Callable[[Workbench], PayloadAttempt] | None = None,
) -> tuple[Encryption, ...]:
    """Encrypt a batch's payloads; one result for each, in their order, whatever went wrong with it.

    When the token is set, the results are those of the payloads that were done by then. `attempt_on` gives the attempt,
    which may be made twice at a payload; without it the ciphertext is discarded. Raises SourceReplaced, or a
    CryptoError of an attempt after which the run cannot go on.
    """
    for folder in batch.sources:
        if folder.was_replaced():
            raise SourceReplaced(folder.path)
    suite = SUITES[batch.suite]
    try:
        backend = batch.chosen.open(suite, cancel)
        secret = key.secret()
    except Cancelled:
        return ()
    except (CryptoError, OSError) as error:
        # The key file or program has gone bad since the run was planned: every payload says so.
        return tuple(_fault(batch, ordinal, payload, time.time_ns(), 0, error) for ordinal, payload in batch.payloads)

    results: list[Encryption] = []
    with Sources(batch.sources, batch.payloads if attempt_on else ()) as sources:
        bench = Workbench(batch, Cipher(suite, backend, secret, limits, cancel), sources)
        attempt = bench.discard if attempt_on is None else attempt_on(bench)
        for ordinal, payload in batch.payloads:
            try:
                results.append(_encryption(bench, attempt, ordinal, payload))
            except Cancelled:
                break
    return tuple(results)


def _encryption(bench: Workbench, attempt: PayloadAttempt, ordinal: int, payload: Payload) -> Encryption:
    """Encrypt one payload; raises only errors that end the run."""
    started_at_ns, start_ns = time.time_ns(), time.perf_counter_ns()
    try:
        done = _try(bench.cipher.cancel, attempt, payload)
    except (CryptoError, OSError) as error:
        if isinstance(error, CryptoError) and error.ends_run:
            raise
        return _fault(bench.batch, ordinal, payload, started_at_ns, time.perf_counter_ns() - start_ns, error)
    wall_ns = time.perf_counter_ns() - start_ns
    status: PayloadStatus = "unchanged" if done.salt is None else "ok"
    flaw = done.flaw
    if isinstance(flaw, SourceChanged):
        status = "changing" if isinstance(flaw, SourceChanging) else "unstable"
    facts = ordinal, payload, bench.cipher.suite, bench.batch.chosen, status, started_at_ns, wall_ns
    results = done.size_bytes, done.ciphertext_bytes, done.salt, done.digest, done.stages
    return Encryption(*facts, *results, *((flaw.cause, str(flaw)) if flaw else (None, None)))


def _try(cancel: CancelToken, attempt: PayloadAttempt, payload: Payload) -> Encrypted:
    """Try a payload, and once more if that can help."""
    attempts_left = 1 if payload.kind == "stdin" else 2
    while True:
        if cancel.cancelled:
            raise Cancelled
        attempts_left -= 1
        try:
            return attempt(payload, not attempts_left)
        except (CryptoError, OSError) as error:
            if _ended_with_us(error, cancel):
                raise Cancelled from error
            if not (attempts_left and _may_pass(error)):
                raise
        time.sleep(_RETRY_PAUSE_S)


def _fault(
    batch: Batch, ordinal: int, payload: Payload, started_at_ns: int, wall_ns: int, error: CryptoError | OSError
) -> Encryption:
    status: PayloadStatus = "failed"
    if isinstance(error, SourceSkipped):
        status = "skipped"
    elif isinstance(error, SourceChanged):
        status = "unstable"
    elif payload.carried:
        status = "carried-over"
    facts = ordinal, payload, SUITES[batch.suite], batch.chosen, status, started_at_ns, wall_ns
    if isinstance(error, CryptoError):
        return Encryption(*facts, stages=error.stages, cause=error.cause, error=str(error))
    return Encryption(*facts, cause="system", error=str(error))


def _ended_with_us(error: Exception, cancel: CancelToken) -> bool:
    """Whether a stage died of a signal to the whole process group, as Ctrl-C and a worker's cancel are.

    The children may be gone before this process has dealt with its own signal.
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
