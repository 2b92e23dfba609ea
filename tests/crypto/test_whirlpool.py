"""Whirlpool against the standard's own values."""

from __future__ import annotations

import hashlib
import json

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from tasks.crypto import ciphers
from tasks.crypto.ciphers import WhirlpoolHash
from tasks.crypto.errors import BackendUnavailable
from tests.support.crypto_fakes import modest, vectors

# ISO/IEC 10118-3, dedicated hash-function 7: the empty message, "a", the eight-fold alphabet of digits.
ISO = {
    b"": (
        "19fa61d75522a4669b44e39c1d2e1726c530232130d407f89afee0964997f7a7"
        "3e83be698b288febcf88e3e03c4f0757ea8964e59b63d93708b138cc42a66eb3"
    ),
    b"a": (
        "8aca2602792aec6f11a67206531fb7d7f0dff59413145e6973c45001d0087b42"
        "d11bc645413aeff63a42391a39145a591a92200d560195e53b478584fdae231a"
    ),
    b"1234567890" * 8: (
        "466ef18babb0154d25b9d38a6414f5c08784372bccb204d6549c4afadb601429"
        "4d5bd8df2a6c44e538cd047b2681a51a2c60481e88c5a20b2c2a80cf3a9a083b"
    ),
}


def digest(*pieces: bytes) -> bytes:
    context = WhirlpoolHash()
    for piece in pieces:
        context.update(piece)
    return context.digest()


@pytest.mark.parametrize("message", ISO, ids=["empty", "a", "digits"])
def test_known_answers(message: bytes) -> None:
    """The digests are those of ISO/IEC 10118-3."""
    assert digest(message).hex() == ISO[message]


def test_all_messages_of_the_standard() -> None:
    """Each of the nine published messages gives its published digest, a million letters included."""
    table = json.loads(vectors("whirlpool_iso10118-3.json").read_text())["vectors"]
    assert len(table) == 9
    for row in table:
        assert digest(row["ascii"].encode() * row.get("repeat", 1)).hex() == row["digest"], row["ascii"]


@modest
@given(pieces=st.lists(st.binary(max_size=200), max_size=10))
def test_pieces_do_not_matter(pieces: list[bytes]) -> None:
    """However a message is cut into pieces, its digest is the same."""
    assert digest(*pieces) == digest(b"".join(pieces))


def test_any_buffer_is_taken() -> None:
    """Bytes, bytearrays and views hash alike."""
    context = WhirlpoolHash()
    context.update(bytearray(b"12345678901234567890"))
    context.update(memoryview(b"xx" + b"1234567890" * 6)[2:])
    assert context.digest().hex() == ISO[b"1234567890" * 8]


class _Absent:
    def __init__(self, algorithm: hashes.HashAlgorithm) -> None:
        raise UnsupportedAlgorithm(algorithm.name)


class _Wrong:
    def __init__(self, algorithm: hashes.HashAlgorithm) -> None:
        self.update = hashlib.sha512(algorithm.name.encode()).update

    def finalize(self) -> bytes:
        return bytes(64)


@pytest.mark.parametrize(("fake", "reason"), [(_Absent, "has no Whirlpool"), (_Wrong, "wrong digest")])
def test_a_build_without_it_is_found(monkeypatch: pytest.MonkeyPatch, fake: type, reason: str) -> None:
    """A `cryptography` that has no Whirlpool, or another one, is refused before it is used."""
    ciphers._check.cache_clear()
    monkeypatch.setattr(hashes, "Hash", fake)
    try:
        with pytest.raises(BackendUnavailable, match=reason):
            WhirlpoolHash()
    finally:
        ciphers._check.cache_clear()
