"""A backend turns an open input into ciphertext and the digest of that ciphertext."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, Protocol

from tasks.cancel import CancelToken
from tasks.crypto.chain import Sink, StageResult
from tasks.crypto.inputs import Input
from tasks.crypto.secret import Secret
from tasks.suites import Suite

BackendName = Literal["openssl", "native"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to encrypt a payload; the secret never leaves the process but through a pipe.

    A longer input than `limit_bytes` is refused with `LegacySize`. `store` takes each piece of ciphertext, header
    first; None discards it.
    """

    source: Input
    suite: Suite
    secret: Secret
    salt: bytes
    limit_bytes: int | None
    deadline_s: float
    cancel: CancelToken
    store: Sink | None = None


@dataclass(frozen=True, slots=True)
class Encrypted:
    """The result of a backend: the digest of the ciphertext with its header, and the lengths that it counted.

    `ciphertext_bytes` is None where it could not be counted (a kernel without I/O accounts). `stages` is empty where no
    child process ran. `status` is that of a file when it was read, else None.
    """

    digest: bytes
    size_bytes: int
    ciphertext_bytes: int | None
    stages: tuple[StageResult, ...] = ()
    status: os.stat_result | None = None


class Backend(Protocol):
    """One way to run a suite. Same salt and secret: the same bytes and digest from every backend."""

    def encrypt(self, attempt: Attempt) -> Encrypted:
        """Encrypt the input to its end, and hash the ciphertext in the same pass.

        The input is checked afterwards to have been read to its end, unchanged. Raises leaves of CryptoError.
        """
