"""The suites: cipher, key derivation and digest by one name. A new one is a row here and its vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SuiteName = Literal["modern", "modern-blake2", "chacha", "cbc", "classic"]
Cipher = Literal["aes-256-ctr", "aes-256-cbc", "chacha20", "des-ede3-cbc"]
Digest = Literal["sha256", "blake2b512", "whirlpool"]
# `auto` takes openssl where it can run the suite, else native.
BackendChoice = Literal["auto", "openssl", "native"]
# `auto` compresses content that shrinks, `max` tries harder.
Compression = Literal["off", "auto", "max"]
KeyDerivation = Literal["pbkdf2-hmac-sha256", "evp-bytestokey-sha256"]

# `Salted__` and eight bytes of salt: what `openssl enc -salt` puts before the ciphertext.
MAGIC = b"Salted__"
SALT_BYTES = 8
HEADER_BYTES = len(MAGIC) + SALT_BYTES

# A key file has 256 random bits, so stretching it buys nothing: one iteration.
ITERATIONS = 1


@dataclass(frozen=True, slots=True)
class CipherSpec:
    """Sizes in bytes; a stream cipher has block size 1 and no padding."""

    key_bytes: int
    iv_bytes: int
    block_bytes: int


CIPHERS: dict[Cipher, CipherSpec] = {
    "aes-256-ctr": CipherSpec(32, 16, 1),
    "aes-256-cbc": CipherSpec(32, 16, 16),
    # 8 bytes of block counter, little-endian, then 8 of nonce.
    "chacha20": CipherSpec(32, 16, 1),
    "des-ede3-cbc": CipherSpec(24, 8, 8),
}

DIGEST_BYTES: dict[Digest, int] = {"sha256": 32, "blake2b512": 64, "whirlpool": 64}


@dataclass(frozen=True, slots=True)
class Suite:
    """One row of the table; a payload over `limit_bytes` is taken only with --allow-legacy-size."""

    name: SuiteName
    cipher: Cipher
    kdf: KeyDerivation
    digest: Digest
    legacy: bool = False
    limit_bytes: int | None = None
    iterations: int = ITERATIONS

    @property
    def spec(self) -> CipherSpec:
        """Sizes of the suite's cipher."""
        return CIPHERS[self.cipher]

    @property
    def digest_bytes(self) -> int:
        """Length of the suite's digest."""
        return DIGEST_BYTES[self.digest]

    def ciphertext_bytes(self, size_bytes: int) -> int:
        """Exact length of the ciphertext of a payload, header included (PKCS#7 always pads a block cipher)."""
        block = self.spec.block_bytes
        body = size_bytes if block == 1 else (size_bytes // block + 1) * block
        return HEADER_BYTES + body


SUITES: dict[SuiteName, Suite] = {
    suite.name: suite
    for suite in (
        Suite("modern", "aes-256-ctr", "pbkdf2-hmac-sha256", "sha256"),
        Suite("modern-blake2", "aes-256-ctr", "pbkdf2-hmac-sha256", "blake2b512"),
        Suite("chacha", "chacha20", "pbkdf2-hmac-sha256", "sha256"),
        Suite("cbc", "aes-256-cbc", "pbkdf2-hmac-sha256", "sha256"),
        # The book's: for learning and for reading old data. 2**20 blocks of 64 bits collide with a chance of
        # about 2**-25; every doubling of the size makes that four times likelier (Sweet32).
        Suite("classic", "des-ede3-cbc", "evp-bytestokey-sha256", "whirlpool", legacy=True, limit_bytes=8 << 20),
    )
}
