"""The objects of one batch of a run."""

from __future__ import annotations

import os
from collections.abc import Callable

from tasks.crypto.backend import Encrypted
from tasks.crypto.chain import Sink
from tasks.crypto.suites import HEADER_BYTES, SALT_BYTES
from tasks.files import open_regular
from tasks.vault.draft import Result
from tasks.vault.entries import FileFacts
from tasks.vault.layout import object_path
from tasks.vault.objects import ObjectBatch, digest_of
from tasks.vault.vault import Vault

_PIECE_BYTES = 1 << 20


class KeptBatch:
    """The objects of one batch, and for which file each is."""

    def __init__(self, vault: Vault, objects: ObjectBatch) -> None:
        self._vault = vault
        self._objects = objects
        self.results: list[tuple[int, Result]] = []

    def salt_of(self, known: str) -> bytes | None:
        """The salt of an object; None if that is not there, or not whole: then it is not to be taken over."""
        try:
            descriptor, length = open_regular(object_path(self._vault.root, known))
            try:
                whole = digest_of(descriptor, length, bytearray(_PIECE_BYTES)) == known
                return os.pread(descriptor, SALT_BYTES, HEADER_BYTES - SALT_BYTES) if whole else None
            finally:
                os.close(descriptor)
        except OSError:
            return None

    def same(self, number: int, known: str, done: Encrypted) -> None:
        """A file was read, and is what this object is of."""
        assert done.status is not None  # noqa: S101 - a file has one
        self.results.append((number, Result(known, FileFacts.of(done.status), same=True)))

    def store(self, number: int, encrypt: Callable[[Sink], Encrypted]) -> Encrypted:
        """Have a file encrypted into a new object.

        Raises:
            VaultUnwritable: the disk does not take it.
            CryptoError: whatever `encrypt` raises; then there is no object.
        """
        made = self._objects.new()
        try:
            try:
                done = encrypt(made.write)
            finally:
                made.close()
        except BaseException:
            self._objects.drop(made)
            raise
        assert done.status is not None  # noqa: S101 - a file has one
        self._objects.keep(made, done.digest.hex())
        self.results.append((number, Result(done.digest.hex(), FileFacts.of(done.status))))
        return done
