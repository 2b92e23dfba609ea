"""Opening objects. CTR takes any bytes and any key without a murmur: what comes out is good once the digest fits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.crypto.native import ENCRYPTORS, Encryptor, derive
from tasks.crypto.secret import Secret
from tasks.crypto.suites import HEADER_BYTES, MAGIC
from tasks.files import open_regular
from tasks.vault.errors import ObjectMissing, VaultChanged, VaultError
from tasks.vault.layout import object_path
from tasks.vault.twice import ReadFailed, ReadTwice
from tasks.vault.vault import SUITE, Vault

_PIECE_BYTES = 256 << 10

Take = Callable[[memoryview], object]


def decrypt_once(vault: Vault, digest: str, size_bytes: int, take: Take, cancel: CancelToken) -> None:
    """Hash an object and decrypt the same bytes, in one pass; the plaintext is good when this returns, and not before.

    Args:
        vault: with its key.
        digest: the object's 64 hex digits.
        size_bytes: of the plaintext.
        take: is given the plaintext piece by piece; each is gone when it returns.
        cancel: ends it when set.

    Raises:
        VaultChanged: the object is not what it is named for; what was given out is to be thrown away.
        ObjectMissing: it is not there.
        VaultError: it cannot be read.
    """
    with _opened(vault, digest, size_bytes) as descriptor:
        beginning = memoryview(bytearray(HEADER_BYTES))
        header = bytes(beginning[: _read(descriptor, beginning)])
        hasher, length = hashlib.sha256(header), len(header)
        decryptor = _decryptor(vault.need_key().secret, header)
        data = memoryview(bytearray(min(_PIECE_BYTES, size_bytes + 1)))
        plain = bytearray(len(data))
        # None if it does not begin as an object does: then the digest of what was read does not fit either.
        while decryptor is not None and (count := _read(descriptor, data)):
            if cancel.cancelled:
                raise Cancelled
            length += count
            if length > HEADER_BYTES + size_bytes:
                break
            hasher.update(data[:count])
            decryptor.update_into(data[:count], plain)
            take(memoryview(plain)[:count])
        _check(vault, digest, hasher.hexdigest())


def decrypt_checked(vault: Vault, digest: str, size_bytes: int, take: Take, cancel: CancelToken) -> None:
    """The same in two passes: nothing is given out before the whole object was checked. For output that stays.

    Raises:
        VaultChanged: the object is not what it is named for; nothing was given out, unless it changed meanwhile.
        ObjectMissing: it is not there.
        VaultError: it cannot be read.
    """
    with _opened(vault, digest, size_bytes) as descriptor:
        content, hasher = ReadTwice(descriptor), hashlib.sha256()
        content.first(hasher.update)
        _check(vault, digest, hasher.hexdigest())
        decryptor = None
        for piece in content.again():
            if cancel.cancelled:
                raise Cancelled
            data = memoryview(piece)
            if decryptor is None:
                decryptor = _decryptor(vault.need_key().secret, piece[:HEADER_BYTES])
                assert decryptor is not None  # noqa: S101 - its digest is that of an object
                data = data[HEADER_BYTES:]
            plain = bytearray(len(data))
            decryptor.update_into(data, plain)
            take(memoryview(plain))


def _decryptor(secret: Secret, header: bytes) -> Encryptor | None:
    """In counter mode decrypting is encrypting. None for what does not begin as an object does."""
    if len(header) != HEADER_BYTES or not header.startswith(MAGIC):
        return None
    return ENCRYPTORS[SUITE.cipher](*derive(SUITE, secret, header[len(MAGIC) :]))


def _check(vault: Vault, digest: str, found: str) -> None:
    if found != digest:
        raise VaultChanged(vault.root, f"object {digest} has other bytes than those that it is named for")


@contextmanager
def _opened(vault: Vault, digest: str, size_bytes: int) -> Iterator[int]:
    try:
        descriptor, length = open_regular(object_path(vault.root, digest))
    except FileNotFoundError:
        raise ObjectMissing(vault.root, f"object {digest} is missing") from None
    except OSError as error:
        raise VaultError(vault.root, f"object {digest} cannot be read: {error.strerror}") from None
    try:
        # By its size first: what somebody made a petabyte of nothing is not read to its end.
        if length != HEADER_BYTES + size_bytes:
            reason = f"object {digest} has not the {HEADER_BYTES + size_bytes:,} bytes of its file"
            raise VaultChanged(vault.root, reason)
        yield descriptor
    except ReadFailed as error:
        raise VaultError(vault.root, f"object {digest} cannot be read: {error}") from None
    finally:
        os.close(descriptor)


def _read(descriptor: int, data: memoryview) -> int:
    try:
        return os.readv(descriptor, [data])
    except OSError as error:
        raise ReadFailed(error.strerror) from None
