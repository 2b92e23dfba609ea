"""Stock openssl, the openssl backend and the native one give the same ciphertext, and so the same digest."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.crypto.inputs import Backend
from tasks.crypto.native import NativeBackend
from tasks.crypto.secret import Secret
from tasks.suites import HEADER_BYTES, MAGIC, SUITES, SuiteName
from tests.support.crypto_fakes import CLI_ENC, encrypt_input, file_input, needs_openssl, opened, openssl, stock_digest

SEED = 20_261_122
CASES = 104  # of each of the five suites
MIB = 1 << 20

# Around blocks, what openssl reads at once, what a pipe holds, and the pieces of the native backend.
EDGES = [
    edge + shift
    for edge in (0, 8, 16, 64, 4096, 8192, 65536, 131072, 262144, 524288)
    for shift in (-1, 0, 1)
    if edge + shift >= 0
]
LARGE = (MIB, 4 * MIB - 1, 4 * MIB + 5)


@dataclass(frozen=True)
class Case:
    """One comparison; its fields are what is needed to repeat it."""

    suite: SuiteName
    number: int
    size: int
    key: str

    def data(self) -> bytes:
        """The payload, the same every time."""
        return random.Random(f"{SEED} {self.number}").randbytes(self.size)


def cases(suite: SuiteName) -> Iterator[Case]:
    draw = random.Random(f"{SEED} {suite}")
    sizes = [*EDGES, *LARGE]
    while len(sizes) < CASES:
        sizes.append(draw.choice((draw.randrange(100), draw.randrange(5000), draw.randrange(300_000))))
    for number, size in enumerate(sizes):
        yield Case(suite, number, size, draw.randbytes(32).hex())


def disagreement(case: Case, backend: Backend, folder: Path) -> str | None:
    """Run one case three ways; what differs, or None."""
    plain, key, stored = (folder / f"{case.number}.{kind}" for kind in ("plain", "key", "stored"))
    plain.write_bytes(case.data())
    key.write_text(case.key + "\n")
    # openssl draws the salt, and we take over the one in its header.
    files = ("-salt", "-pass", f"file:{key}", "-in", str(plain), "-out", str(stored))
    ran = openssl("enc", *CLI_ENC[case.suite], *files)
    if ran.returncode:
        return f"{case}: openssl enc exited with {ran.returncode}: {ran.stderr!r}"
    ciphertext = stored.read_bytes()
    expected = stock_digest(case.suite, stored)
    salt, secret = ciphertext[len(MAGIC) : HEADER_BYTES], Secret(case.key.encode())
    with file_input(plain) as source:
        ours = encrypt_input(backend, case.suite, source, secret=secret, salt=salt)
    body = hashlib.sha256()
    with file_input(plain) as source:
        native = encrypt_input(NativeBackend(), case.suite, source, secret=secret, salt=salt, store=body.update)
    for path in (plain, key, stored):
        path.unlink()
    if not expected == ours.digest == native.digest:
        return f"{case}, salt {salt.hex()}: {expected!r} {ours.digest!r} {native.digest!r}"
    if not len(ciphertext) == ours.ciphertext_bytes == native.ciphertext_bytes:
        return f"{case}, salt {salt.hex()}: {len(ciphertext)} {ours.ciphertext_bytes} {native.ciphertext_bytes} bytes"
    if body.digest() != hashlib.sha256(ciphertext).digest():
        return f"{case}, salt {salt.hex()}: the native ciphertext differs"
    return None


@pytest.mark.slow
@needs_openssl
@pytest.mark.parametrize("suite", SUITES)
def test_three_ways_agree(suite: SuiteName, tmp_path: Path) -> None:
    """In 104 cases of each suite all three digests and lengths agree, from a zero-byte payload to some MiB."""
    (tmp_path / "abc").write_bytes(b"abc")
    if stock_digest(suite, tmp_path / "abc") is None:
        pytest.skip(f"this openssl has no digest for suite {suite}")
    backend = opened("openssl", suite)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda case: disagreement(case, backend, tmp_path), cases(suite))
        wrong = [result for result in results if result]
    assert not wrong, f"seed {SEED}: " + "\n".join(wrong)


def test_there_are_enough_cases() -> None:
    """More than 500 different cases are compared."""
    assert len({case for suite in SUITES for case in cases(suite)}) >= 500
