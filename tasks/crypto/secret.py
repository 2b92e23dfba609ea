"""The secret: drawn once, kept in a 0600 file, handed to openssl through a pipe and to nothing else."""

from __future__ import annotations

import functools
import os
import re
import resource
import secrets
import shlex
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from tasks.crypto.errors import KeyFileError
from tasks.files import closed_after, write_file

_FORM = re.compile(rb"[0-9a-f]{64}\n")
_FILE_BYTES = 65
_NO_SUCH_FILE = "no such file; make one with: threadmill keygen PATH (it opens nothing that another one encrypted)"


class Secret:
    """64 lower-case hex digits (256 random bits); never shows itself and cannot be pickled.

    A process that has held one, and every child it starts, leaves no core dump.
    """

    __slots__ = ("password",)

    def __init__(self, password: bytes) -> None:
        self.password = password
        _forbid_core_dumps()

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is never pickled")

    @classmethod
    def draw(cls) -> Secret:
        """A new secret from the operating system's generator."""
        return cls(secrets.token_hex(32).encode())


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The file with the secret; the path is configuration, the content never travels."""

    path: str

    def secret(self) -> Secret:
        """Read the file, and refuse it with KeyFileError if others can read it or `keygen` has not written it."""
        # O_NONBLOCK, so that a FIFO is refused below and does not hang here.
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise KeyFileError(self.path, _NO_SUCH_FILE) from None
        except (OSError, ValueError) as error:
            raise KeyFileError(self.path, f"cannot be opened: {_strerror(error)}") from None
        with closed_after(descriptor):
            _check_exposure(self.path, os.fstat(descriptor))
            try:
                content = os.read(descriptor, _FILE_BYTES + 1)
            except OSError as error:
                # Files of /proc are regular ones by their mode.
                raise KeyFileError(self.path, f"cannot be read: {_strerror(error)}") from None
        if not _FORM.fullmatch(content):
            raise KeyFileError(self.path, "is not what `threadmill keygen` writes (64 hex digits and a newline)")
        return Secret(content[:-1])


@dataclass(frozen=True, slots=True)
class ThrowAway:
    """A secret that is drawn for one batch and forgotten with it: for random payloads only."""

    def secret(self) -> Secret:
        """A new secret at every call."""
        return Secret.draw()


KeySource = KeyFile | ThrowAway


def write_key_file(path: str) -> None:
    """Draw a secret and write it to a new file, mode 0600, on disk before this returns.

    KeyFileError if the path exists already or cannot be written; then nothing is left behind.
    """
    try:
        write_file(path, Secret.draw().password + b"\n", replace=False)
    except FileExistsError:
        raise KeyFileError(path, "exists already, and a key file is never overwritten; choose another path") from None
    except (OSError, ValueError) as error:
        raise KeyFileError(path, f"cannot be written: {_strerror(error)}") from None


@functools.cache
def _forbid_core_dumps() -> None:
    """Once per process; children inherit both settings.

    The kernel writes no core to a file below one page, and none into a pipe (`core_pattern` beginning with `|`) at a
    limit of exactly 1: a pipe ignores 0. Where 1 is not allowed, the filter leaves all memory out of the core.
    PR_SET_DUMPABLE would also hide /proc/PID/environ from the same user, by which `serve` finds its flow runs.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0 if hard == 0 else 1, hard))
    with suppress(OSError), open("/proc/self/coredump_filter", "wb", buffering=0) as file:
        file.write(b"0")


def _check_exposure(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(path, "is not a regular file")
    if status.st_mode & 0o077:
        raise KeyFileError(
            path, f"is open to others (mode {status.st_mode & 0o777:04o}); run: chmod 600 {shlex.quote(path)}"
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise KeyFileError(path, "belongs to another user")


def _strerror(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
