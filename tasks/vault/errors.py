"""Errors of a vault, whose folder is `where`, and verdicts on single things in it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

from tasks.crypto.errors import CryptoError

# EFBIG: a limit on the size of files (ulimit -f).
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class VaultError(CryptoError):
    """Base of everything that is wrong with a vault and not with one payload; without a leaf: cannot be read."""

    where: str
    reason: str
    hint: str = ""
    """What to do, where that is more than the reason says."""

    def __str__(self) -> str:
        return f"vault {self.where}: {self.reason}{self.hint and '; '}{self.hint}"


class NoVault(VaultError):
    """No vault is at that path, or none can be made there."""


class VaultAbsent(NoVault):
    """No trace of a vault is at that path: it was never made, or is elsewhere."""

    hint: str = "`threadmill vault init DIR` makes one in a folder that is empty or not there"


class UnexpectedVault(VaultError):
    """Another vault is at that path than the record knows, or a copy of one that is elsewhere."""


class VaultBusy(VaultError):
    """Another process works on the vault, and does not end."""


class WrongKey(VaultError):
    """The vault was made with another key file."""


class OtherFormat(VaultError):
    """`vault.json` names a format that this program does not know."""


class VaultChanged(VaultError):
    """A file of the vault (`vault.json`, a snapshot, an object) is not what threadmill wrote."""


class ObjectMissing(VaultError):
    """An object is not there."""


class SnapshotInvalid(VaultChanged):
    """A snapshot breaks the format, although it is authentic (or the key to check that is not given)."""


class NoSuchSnapshot(VaultError):
    """No snapshot has that name, or several have it."""


class VaultUnwritable(VaultError):
    """The disk takes no more, or the vault is gone: the run cannot go on."""

    cause = "store"
    ends_run = True

    def __init__(self, where: str, number: int, name: str = "") -> None:
        super().__init__(where, f"cannot be written: {name and name + ': '}{os.strerror(number)}")
        self.args = (where, number, name)
        self.errno = number


class VaultFull(VaultUnwritable):
    """The disk has no room for this: what needs less may still go in."""

    ends_run = False


@contextmanager
def on_disk(root: str) -> Iterator[None]:
    """Raises VaultUnwritable for errors of the operating system, of which VaultFull is one."""
    try:
        yield
    except OSError as error:
        # One of its folders may be a link, which is not followed.
        name = str(error.filename) if error.errno in (errno.ENOTDIR, errno.ELOOP) else ""
        kind: type[VaultUnwritable] = VaultFull if error.errno in _NO_ROOM else VaultUnwritable
        raise kind(root, error.errno or 0, name) from None


class TargetUnusable(CryptoError):
    """target {target}: {reason}"""

    target: str
    reason: str


class ScratchFull(CryptoError):
    """the list of the vault's objects cannot be kept among temporary files: {reason}; set TMPDIR to a folder with more room"""  # noqa: E501

    reason: str


VerdictKind = Literal["vault", "snapshot", "pack", "object", "file"]
_Good = Literal["ok", "stored", "rebuilt", "leftover", "removed", "accepted"]
_Fault = Literal["changed", "missing", "foreign", "unreadable", "invalid", "rolled-back", "not-written"]
VerdictStatus = Literal[_Good, _Fault]
GOOD: frozenset[VerdictStatus] = frozenset(get_args(_Good))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a vault, a snapshot, a pack, an object or a file.

    `name` is a vault's id, a snapshot's name, the 64 hex digits of a pack or object, or the path of a file, relative to
    the vault or, in a restore, to the target. `path` is the absolute path of a file that an object was made of.
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
    """Take all verdicts; an error after the first is part of the result, so that the verdicts are recorded first."""
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
    kind: VerdictKind,
    name: str,
    status: VerdictStatus,
    error: str | None = None,
    path: bytes | None = None,
    size_bytes: int | None = None,
) -> Verdict:
    """A verdict that took no time to speak of."""
    return Verdict(kind, name, status, size_bytes, path, error, checked_at_ns=time.time_ns())


def status_of(error: VaultError) -> VerdictStatus:
    """The status of a snapshot or object that could not be read to its end."""
    if isinstance(error, SnapshotInvalid):
        return "invalid"
    if isinstance(error, VaultChanged):
        return "changed"
    return "missing" if isinstance(error, ObjectMissing) else "unreadable"
