"""Ciphers, digests and key derivations in this process: by `cryptography` and hashlib, as `openssl` does them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher as CipherContext
from cryptography.hazmat.primitives.ciphers import CipherAlgorithm, algorithms, modes

from tasks.crypto.errors import BackendUnavailable
from tasks.crypto.secret import Secret
from tasks.suites import Cipher, Digest, Suite

# ISO/IEC 10118-3, Whirlpool of the three letters "abc".
_ABC = bytes.fromhex(
    "4e2448a4c6f486bb16b6562c73b4020bf3043e3a731bce721ae1b303d97e6d4c"
    "7181eebdb6c57e277d0e34957114cbd6c797fc9d95d8b582d225292076d4eef5"
)


class Whirlpool(hashes.HashAlgorithm):
    """ISO/IEC 10118-3 dedicated hash-function 7; 64 bytes.

    `cryptography` has it from its OpenSSL but does not name it, so it is checked against the standard's own value
    before it is trusted.
    """

    name = "whirlpool"
    digest_size = 64
    block_size = 64


class WhirlpoolHash:
    """The `update`/`digest` pair that hashlib's objects have, over Whirlpool."""

    def __init__(self) -> None:
        _check()
        self._context = hashes.Hash(Whirlpool())

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take more bytes."""
        self._context.update(data)

    def digest(self) -> bytes:
        """The digest; no more bytes after it."""
        return self._context.finalize()


@functools.cache
def _check() -> None:
    try:
        context = hashes.Hash(Whirlpool())
    except UnsupportedAlgorithm:
        raise BackendUnavailable("native", "this build of `cryptography` has no Whirlpool") from None
    context.update(b"abc")
    if context.finalize() != _ABC:
        raise BackendUnavailable("native", "Whirlpool of this build of `cryptography` gives a wrong digest")


class Hash(Protocol):
    """The part of hashlib's objects that is used here."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take more bytes."""

    def digest(self) -> bytes:
        """The digest of all bytes taken."""


# `update_into` wants so much more room than its output takes.
SLACK_BYTES = 15


class Encryptor(Protocol):
    """The part of a cipher context that is used here."""

    def update_into(self, data: bytes | bytearray | memoryview, buf: bytearray | memoryview) -> int:
        """Encrypt `data` into `buf`; the number of bytes written there."""


HASHES: dict[Digest, Callable[[], Hash]] = {
    "sha256": hashlib.sha256,
    "blake2b512": hashlib.blake2b,
    "whirlpool": WhirlpoolHash,
}


def derive(suite: Suite, secret: Secret, salt: bytes) -> tuple[bytes, bytes]:
    """Key and IV as `openssl enc -md sha256` derives them, with `-pbkdf2` or (EVP_BytesToKey) without."""
    spec = suite.spec
    wanted = spec.key_bytes + spec.iv_bytes
    if suite.kdf == "pbkdf2-hmac-sha256":
        material = hashlib.pbkdf2_hmac("sha256", secret.password, salt, suite.iterations, wanted)
    else:
        material = block = b""
        while len(material) < wanted:
            block = hashlib.sha256(block + secret.password + salt).digest()
            material += block
    return material[: spec.key_bytes], material[spec.key_bytes : wanted]


class ChaCha20:
    """ChaCha20 with a 64-bit block counter, as OpenSSL counts.

    `cryptography` raises where the low 32 bits overflow, so the stream is split there and goes on with the carry.
    """

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._key = key
        self._nonce = iv[8:]
        self._start(int.from_bytes(iv[:8], "little"))

    def _start(self, counter: int) -> None:
        self._counter = counter
        self._left_bytes = ((1 << 32) - (counter & 0xFFFFFFFF)) * 64
        iv = counter.to_bytes(8, "little") + self._nonce
        self._context = CipherContext(algorithms.ChaCha20(self._key, iv), mode=None).encryptor()

    def update_into(self, data: bytes | bytearray | memoryview, buf: bytearray | memoryview) -> int:
        """Encrypt `data` into `buf`; the number of bytes written there."""
        view = memoryview(data)
        done = 0
        while len(view) - done >= self._left_bytes:
            head = view[done : done + self._left_bytes]
            buf[done : done + len(head)] = self._context.update(head)
            done += len(head)
            self._start(((self._counter >> 32) + 1 << 32) & 0xFFFFFFFFFFFFFFFF)
        tail = view[done:]
        self._left_bytes -= len(tail)
        return done + self._context.update_into(tail, memoryview(buf)[done:])


def _block(algorithm: Callable[[bytes], CipherAlgorithm], mode: type[modes.CBC | modes.CTR]) -> _Maker:
    return lambda key, iv: CipherContext(algorithm(key), mode(iv)).encryptor()


_Maker = Callable[[bytes, bytes], Encryptor]

ENCRYPTORS: dict[Cipher, _Maker] = {
    "aes-256-ctr": _block(algorithms.AES, modes.CTR),
    "aes-256-cbc": _block(algorithms.AES, modes.CBC),
    "chacha20": ChaCha20,
    "des-ede3-cbc": _block(TripleDES, modes.CBC),
}
