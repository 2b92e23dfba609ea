"""The table of suites: names, sizes, and what is legacy about `classic`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.crypto.ciphers import ENCRYPTORS, HASHES
from tasks.suites import CIPHERS, DIGEST_BYTES, HEADER_BYTES, SUITES, SuiteName
from tests.support.altered_tree import AlteredTree
from tests.support.crypto_fakes import modest


def test_the_promised_suites_are_there() -> None:
    """The five suites consist of what the documentation says."""
    table = {name: (suite.cipher, suite.kdf, suite.digest) for name, suite in SUITES.items()}
    assert table == {
        "modern": ("aes-256-ctr", "pbkdf2-hmac-sha256", "sha256"),
        "modern-blake2": ("aes-256-ctr", "pbkdf2-hmac-sha256", "blake2b512"),
        "chacha": ("chacha20", "pbkdf2-hmac-sha256", "sha256"),
        "cbc": ("aes-256-cbc", "pbkdf2-hmac-sha256", "sha256"),
        "classic": ("des-ede3-cbc", "evp-bytestokey-sha256", "whirlpool"),
    }


def test_only_classic_is_legacy_and_limited() -> None:
    """`classic` alone is labelled legacy, and takes 8 MiB unless asked twice."""
    assert {name: suite.limit_bytes for name, suite in SUITES.items() if suite.legacy} == {"classic": 8 << 20}
    assert all(suite.limit_bytes is None for suite in SUITES.values() if not suite.legacy)


def test_one_iteration_everywhere() -> None:
    """A key file has 256 random bits, so no suite stretches it."""
    assert {suite.iterations for suite in SUITES.values()} == {1}


def test_rows_find_their_algorithms() -> None:
    """Every cipher and digest that has sizes has an implementation, and the other way round."""
    assert set(CIPHERS) == set(ENCRYPTORS)
    assert set(DIGEST_BYTES) == set(HASHES)
    assert all(len(HASHES[digest]().digest()) == size for digest, size in DIGEST_BYTES.items())


@pytest.mark.parametrize("name", SUITES)
@modest
@given(size=st.integers(0, 1 << 44))
def test_ciphertext_length(name: SuiteName, size: int) -> None:
    """A stream cipher adds the header alone, a block cipher also 1 to a whole block of padding."""
    suite = SUITES[name]
    body = suite.ciphertext_bytes(size) - HEADER_BYTES
    if suite.spec.block_bytes == 1:
        assert body == size
    else:
        assert body % suite.spec.block_bytes == 0
        assert 1 <= body - size <= suite.spec.block_bytes


def test_a_cipher_is_a_row_in_each_table(tmp_path: Path, environment: dict[str, str]) -> None:
    """Added as docs/architecture.md says, it is offered, and both backends give the same bytes."""
    tree = AlteredTree(tmp_path, environment)
    suites = "tasks/suites.py"
    tree.add(suites, '"aes-128-ctr", ', after="Cipher = Literal[")
    tree.add(suites, '"half", ', after="SuiteName = Literal[")
    tree.add(suites, '    "aes-128-ctr": CipherSpec(16, 16, 1),\n', after='    "aes-256-ctr": CipherSpec(32, 16, 1),\n')
    modern = '        Suite("modern", "aes-256-ctr", "pbkdf2-hmac-sha256", "sha256"),\n'
    tree.add(suites, modern.replace("modern", "half").replace("aes-256-ctr", "aes-128-ctr"), after=modern)
    aes = '    "aes-256-ctr": _block(algorithms.AES, modes.CTR),\n'
    tree.add("tasks/crypto/ciphers.py", aes.replace("256", "128"), after=aes)
    assert "half" in tree.threadmill("encrypt", "--help")
    (tmp_path / "file").write_bytes(b"seventeen bytes..")
    tree.threadmill("keygen", "key")
    key = ("--key-file", "key")
    tree.threadmill("encrypt", "file", *key, "--suite", "half", "--backend", "openssl", "--via", "direct")
    (checked,) = json.loads(tree.threadmill("check", "file", *key, "--all", "--json"))["files"]
    assert (checked["suite"], checked["verdict"]) == ("half", "same")
