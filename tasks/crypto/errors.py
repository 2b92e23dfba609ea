"""What can go wrong with one payload, one leaf per cause.

Every leaf passes all its data to `Exception.__init__`, so that it survives pickling, and carries `cause`, the
short word that the record stores beside the full text.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from tasks.crypto.chain import StageResult


class CryptoError(Exception):
    """Base of everything that this engine raises on purpose.

    `stages` are those that had ended when it was raised, for the record.
    """

    cause: ClassVar[str] = "error"
    ends_run: ClassVar[bool] = False
    """Whether the run cannot go on with other payloads."""
    stages: tuple[StageResult, ...] = ()


class KeyFileError(CryptoError):
    """A key file that is missing, exposed, or not what `keygen` writes."""

    cause = "key-file"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"key file {self.path}: {self.reason}"


class BackendUnavailable(CryptoError):
    """A backend that cannot run a suite on this host."""

    cause = "backend"

    def __init__(self, backend: str, reason: str) -> None:
        super().__init__(backend, reason)
        self.backend = backend
        self.reason = reason

    def __str__(self) -> str:
        return f"backend {self.backend} is not usable: {self.reason}"


class SourceUnreadable(CryptoError):
    """The operating system refuses to open or read a source."""

    cause = "unreadable"

    def __init__(self, errno: int) -> None:
        super().__init__(errno)
        self.errno = errno

    def __str__(self) -> str:
        return f"cannot be read: {os.strerror(self.errno)}"


class SourceSkipped(CryptoError):
    """Something that has no content to encrypt: a FIFO, socket, device, or symbolic link."""

    cause = "not-a-file"

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return self.what


class SourceChanged(CryptoError):
    """The input was not the same from the first byte read to the last."""

    cause = "changed"

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"changed while it was read: {self.what}"


class InputNotRead(CryptoError):
    """A stage ended well although it did not read its whole input (openssl hides read errors)."""

    cause = "not-read"

    def __init__(self, read_bytes: int, size_bytes: int) -> None:
        super().__init__(read_bytes, size_bytes)
        self.read_bytes = read_bytes
        self.size_bytes = size_bytes

    def __str__(self) -> str:
        return f"input was read to byte {self.read_bytes} of {self.size_bytes}"


class WrongLength(CryptoError):
    """The ciphertext or the digest does not have the length that it must have."""

    cause = "wrong-length"

    def __init__(self, what: str, got_bytes: int, want_bytes: int) -> None:
        super().__init__(what, got_bytes, want_bytes)
        self.what = what
        self.got_bytes = got_bytes
        self.want_bytes = want_bytes

    def __str__(self) -> str:
        return f"{self.what} has {self.got_bytes} bytes, must have {self.want_bytes}"


class LegacySize(CryptoError):
    """More bytes than a 64-bit block cipher may encrypt under one key with a good conscience."""

    cause = "legacy-size"

    def __init__(self, suite: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(suite, size_bytes, limit_bytes)
        self.suite = suite
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        return (
            f"suite {self.suite} takes at most {self.limit_bytes >> 20} MiB (its 64-bit blocks begin to collide); "
            "use suite modern, or --allow-legacy-size"
        )


class StageNotStarted(CryptoError):
    """A program that could not be executed."""

    cause = "not-started"

    def __init__(self, program: str, errno: int) -> None:
        super().__init__(program, errno)
        self.program = program
        self.errno = errno

    def __str__(self) -> str:
        return f"{self.program} could not be started: {os.strerror(self.errno)}"


class StageFailed(CryptoError):
    """A stage that exited with an error, died by a signal, or complained on its standard error."""

    cause = "stage"

    def __init__(self, program: str, exit_code: int, complaint: str) -> None:
        super().__init__(program, exit_code, complaint)
        self.program = program
        self.exit_code = exit_code
        self.complaint = complaint

    def __str__(self) -> str:
        if self.exit_code < 0:
            end = f"was killed by {signal_name(-self.exit_code)}"
        elif self.exit_code:
            end = f"exited with {self.exit_code}"
        else:
            end = "exited with 0 but complained"
        return f"{self.program} {end}" + (f": {self.complaint}" if self.complaint else "")


class DeadlineExceeded(CryptoError):
    """A chain that did not end in time; every stage of it has been ended."""

    cause = "deadline"

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"not finished after {self.seconds:g} s, so it was ended"


class Cancelled(CryptoError):
    """The run was cancelled while this payload was being worked on."""

    cause = "cancelled"
    ends_run = True

    def __str__(self) -> str:
        return "the run was cancelled"


def signal_name(number: int) -> str:
    """`SIGKILL` for 9, `signal 99` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
