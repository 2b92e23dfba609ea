"""Verdicts on single things in a vault."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tasks.crypto.errors import CryptoError
from tasks.vault.errors import ObjectMissing, SnapshotInvalid, VaultChanged, VaultError

VerdictKind = Literal["vault", "snapshot", "object", "file"]
VerdictStatus = Literal[
    "ok", "changed", "missing", "foreign", "unreadable", "invalid", "rolled-back", "not-written", "leftover", "removed"
]

# These are as they may be; all others are faults.
GOOD: frozenset[VerdictStatus] = frozenset(("ok", "leftover", "removed"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a vault, a snapshot, an object or a file.

    `name` is a vault's id, a snapshot's name, an object's 64 hex digits, or the path of a file, relative to the vault
    or, when it was to be restored, to the target. `path` is a file, by its absolute path when it was encrypted, that an
    object belongs to.
    """

    kind: VerdictKind
    name: str
    status: VerdictStatus
    size_bytes: int | None = None
    path: bytes | None = None
    error: str | None = None
    checked_at_ns: int = 0
    wall_ns: int = 0

    @property
    def is_fault(self) -> bool:
        """Whether it needs attention."""
        return self.status not in GOOD


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The verdicts of a step, and the error that ended it before all was done."""

    verdicts: tuple[Verdict, ...]
    error: CryptoError | None = None


def collect(coming: Iterable[Verdict]) -> Verdicts:
    """Take all verdicts; an error that follows some of them is part of the result, so that those are recorded first.

    Raises:
        CryptoError: the error came before any verdict.
    """
    done: list[Verdict] = []
    try:
        for verdict in coming:
            done.append(verdict)  # noqa: PERF402 - those before an error count
    except CryptoError as error:
        if not done:
            raise
        return Verdicts(tuple(done), error)
    return Verdicts(tuple(done))


def judged(
    kind: VerdictKind, name: str, status: VerdictStatus, error: str | None = None, path: bytes | None = None
) -> Verdict:
    """A verdict that took no time to speak of."""
    return Verdict(kind, name, status, path=path, error=error, checked_at_ns=time.time_ns())


def status_of(error: VaultError) -> VerdictStatus:
    """The status of a snapshot or object that could not be read to its end."""
    if isinstance(error, SnapshotInvalid):
        return "invalid"
    if isinstance(error, VaultChanged):
        return "changed"
    return "missing" if isinstance(error, ObjectMissing) else "unreadable"
