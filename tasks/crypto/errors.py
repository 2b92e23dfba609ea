"""Errors of the encrypt→hash engine. `cause` is the short word that the record stores beside the message."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, ClassVar, cast

from db.errors import ThreadmillError

if TYPE_CHECKING:
    from tasks.crypto.chain import StageResult


class CryptoError(ThreadmillError):
    """Base of everything that this engine and the vault raise on purpose."""

    cause: ClassVar[str] = "error"
    ends_run: ClassVar[bool] = False
    """Whether the run cannot go on with other payloads."""

    # No annotation, which would make it an argument: the stages that had ended when this was raised, for the record.
    stages = cast("tuple[StageResult, ...]", ())


class KeyFileError(CryptoError):
    """key file {path}: {reason}"""

    cause = "key-file"
    path: str
    reason: str


class BackendUnavailable(CryptoError):
    """backend {backend} is not usable: {reason}"""

    cause = "backend"
    backend: str
    reason: str


class SourceUnreadable(CryptoError):
    """cannot be read: (what the operating system says)"""

    cause = "unreadable"
    errno: int

    def __str__(self) -> str:
        return f"cannot be read: {os.strerror(self.errno)}"


class SourceNoFile(CryptoError):
    """cannot be read: it is a {what}"""

    # A path that a user named, so that nothing of it is kept: not the same as such a thing in a folder.
    cause = "no-file"
    what: str


class SourceSkipped(CryptoError):
    """{what}"""

    cause = "not-a-file"
    what: str
    """The kind of thing, which has no content to encrypt: a FIFO, socket, device, or symbolic link."""


class SourceTooLarge(SourceSkipped):
    """{what}"""

    cause = "too-large"


class SourceChanged(CryptoError):
    """changed while it was read: {what}"""

    cause = "changed"
    what: str


class SourceChanging(SourceChanged):
    """changed while it was read, as it may: {what}"""


class OddSize(CryptoError):
    """has {size_bytes:,} bytes by its size, and gave {read_bytes:,}"""

    # The files of /proc and /sys, whose size is 0 or a whole page.
    cause = "size"
    size_bytes: int
    read_bytes: int


class SourceReplaced(CryptoError):
    """{path}: another folder is there than when this run was planned; start it again"""

    cause = "replaced"
    ends_run = True
    path: str


class InputNotRead(CryptoError):
    """input was read to byte {read_bytes} of {size_bytes}"""

    # A stage ended well all the same: openssl hides read errors.
    cause = "not-read"
    read_bytes: int
    size_bytes: int


class WrongLength(CryptoError):
    """{what} has {got_bytes} bytes, must have {want_bytes}"""

    cause = "wrong-length"
    what: str
    got_bytes: int
    want_bytes: int


class LegacySize(CryptoError):
    """suite {suite} takes at most {limit} MiB (its 64-bit blocks begin to collide); use suite modern, or --allow-legacy-size"""  # noqa: E501

    cause = "legacy-size"
    suite: str
    size_bytes: int
    limit_bytes: int

    def __str__(self) -> str:
        return (type(self).__doc__ or "").format(suite=self.suite, limit=self.limit_bytes >> 20)


class StageNotStarted(CryptoError):
    """{program} could not be started: (what the operating system says)"""

    cause = "not-started"
    program: str
    errno: int

    def __str__(self) -> str:
        return f"{self.program} could not be started: {os.strerror(self.errno)}"


class StageFailed(CryptoError):
    """{program} exited with {ended_with}: {complaint}"""

    cause = "stage"
    program: str
    ended_with: int
    complaint: str

    def __str__(self) -> str:
        if self.ended_with < 0:
            end = f"was killed by {signal_name(-self.ended_with)}"
        elif self.ended_with:
            end = f"exited with {self.ended_with}"
        else:
            end = "exited with 0 but complained"
        return f"{self.program} {end}" + (f": {self.complaint}" if self.complaint else "")


class DeadlineExceeded(CryptoError):
    """not finished after {seconds:g} s, so it was ended"""

    cause = "deadline"
    seconds: float


class Cancelled(CryptoError):
    """the run was cancelled"""

    cause = "cancelled"
    ends_run = True


def signal_name(number: int) -> str:
    """`SIGKILL` for 9, `signal 99` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
