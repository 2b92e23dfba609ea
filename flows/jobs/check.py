"""The check job: encrypt files again with their recorded salt, and compare the digests."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from db.history import History
from db.rows import PayloadRow
from flows.errors import RequestRefused
from tasks.cancel import CancelToken
from tasks.crypto.encrypt import Limits, encrypt_payload
from tasks.crypto.errors import CryptoError, SourceChanged, SourceSkipped, SourceUnreadable
from tasks.crypto.inputs import Payload
from tasks.crypto.native import NativeBackend
from tasks.crypto.scan import scan
from tasks.crypto.secret import KeyFile, Secret
from tasks.suites import SUITES

Verdict = Literal["same", "differs", "not recorded", "unreadable", "unstable", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdict on one file. `recorded_at` and `run_id` say which record it was compared with."""

    name: str
    verdict: Verdict
    run_id: int | None = None
    recorded_at: datetime | None = None
    suite: str | None = None
    recorded_digest: str | None = None
    digest: str | None = None
    error: str | None = None


def check(
    paths: Sequence[str], key: KeyFile, history: History, *, jobs: int, limits: Limits, cancel: CancelToken
) -> Iterator[Checked]:
    """Compare every file at or below the paths with its newest record, in order, some at once.

    The native backend re-encrypts: it gives the same bytes as openssl, and needs no child processes.
    """
    secret = key.secret()
    waiting: deque[Future[Checked]] = deque()
    with ThreadPoolExecutor(jobs, thread_name_prefix="check") as pool:
        try:
            for payload in scan(paths):
                waiting.append(pool.submit(_check, payload, history, secret, limits, cancel))
                while len(waiting) > 4 * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            cancel.cancel()
            pool.shutdown(cancel_futures=True)
            raise


def _check(payload: Payload, history: History, secret: Secret, limits: Limits, cancel: CancelToken) -> Checked:
    name = payload.name.decode(errors="backslashreplace")
    recorded = history.last_digest(payload.name)
    if payload.skip is not None:
        return Checked(name, "skipped", error=payload.skip)
    if recorded is None:
        return Checked(name, "not recorded")
    try:
        digest = _digest(payload, recorded, secret, limits, cancel)
    except CryptoError as error:
        return _verdict(name, recorded, _fault(error), error=str(error))
    if digest == _hex(recorded.digest):
        return _verdict(name, recorded, "same", digest=digest)
    reason = "its content, or the key file, is not the recorded one"
    return _verdict(name, recorded, "differs", digest=digest, error=reason)


def _digest(payload: Payload, recorded: PayloadRow, secret: Secret, limits: Limits, cancel: CancelToken) -> str:
    suite = next((one for name, one in SUITES.items() if name == recorded.suite), None)
    if suite is None:
        raise RequestRefused(f"unknown suite {recorded.suite!r}; there are: {', '.join(SUITES)}")
    return encrypt_payload(payload, suite, NativeBackend(), secret, recorded.salt or b"", limits, cancel).digest.hex()


def _fault(error: CryptoError) -> Verdict:
    if isinstance(error, SourceUnreadable):
        return "unreadable"
    if isinstance(error, SourceChanged):
        return "unstable"
    return "skipped" if isinstance(error, SourceSkipped) else "failed"


def _verdict(
    name: str, recorded: PayloadRow, verdict: Verdict, *, digest: str | None = None, error: str | None = None
) -> Checked:
    kept = recorded.run_id, recorded.started_at, recorded.suite, _hex(recorded.digest)
    return Checked(name, verdict, *kept, digest, error)


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()
