"""What a vault derives from the secret: the key of its MACs, and a value that tells whether a key file is right.

Both by HKDF-SHA-256 (RFC 5869) over the 64 hex digits of the secret, with the vault's id as salt: an object, which is
made with the secret itself, and a MAC share no key, and two vaults under one key file share none either.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tasks.crypto.secret import Secret

_MAC_KEY = b"threadmill vault 1: mac"
_KEY_CHECK = b"threadmill vault 1: key check"


class VaultKey:
    """The secret and the MAC key of one vault; like the secret it shows itself to nobody and cannot be pickled."""

    __slots__ = ("_mac_key", "key_check", "secret")

    def __init__(self, secret: Secret, vault_id: str) -> None:
        self.secret = secret
        self._mac_key = _derive(secret, vault_id, _MAC_KEY, 32)
        self.key_check = _derive(secret, vault_id, _KEY_CHECK, 16).hex()

    def mac(self) -> hmac.HMAC:
        """An HMAC-SHA-256 to be fed."""
        return hmac.new(self._mac_key, digestmod=hashlib.sha256)

    def __repr__(self) -> str:
        return "VaultKey(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a vault's key is never pickled")


def _derive(secret: Secret, vault_id: str, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=bytes.fromhex(vault_id), info=info).derive(secret.password)
