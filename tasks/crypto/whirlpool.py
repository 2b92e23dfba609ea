"""Whirlpool through `cryptography`, which knows it from its OpenSSL but does not name it.

Unofficial, so it is checked against the standard's own value before it is trusted.
"""

from __future__ import annotations

import functools

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from tasks.crypto.errors import BackendUnavailable

# ISO/IEC 10118-3, Whirlpool of the three letters "abc".
_ABC = bytes.fromhex(
    "4e2448a4c6f486bb16b6562c73b4020bf3043e3a731bce721ae1b303d97e6d4c"
    "7181eebdb6c57e277d0e34957114cbd6c797fc9d95d8b582d225292076d4eef5"
)


class Whirlpool(hashes.HashAlgorithm):
    """ISO/IEC 10118-3 dedicated hash-function 7; 64 bytes."""

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
