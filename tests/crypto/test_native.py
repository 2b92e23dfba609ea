"""The native backend against published vectors and stock openssl, and its ways out."""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.cancel import CancelToken
from tasks.crypto import native
from tasks.crypto.ciphers import ENCRYPTORS, HASHES, ChaCha20, derive
from tasks.crypto.errors import Cancelled, DeadlineExceeded, LegacySize, SourceChanged, SourceUnreadable
from tasks.crypto.inputs import Input, memory_input
from tasks.crypto.native import NativeBackend
from tasks.crypto.secret import Secret, write_key_file
from tasks.suites import CIPHERS, HEADER_BYTES, MAGIC, SUITES, Cipher, Suite, SuiteName
from tests.support.crypto_fakes import (
    CLI_ENC,
    SALT,
    SECRET,
    descriptors,
    encrypt_bytes,
    encrypt_input,
    file_input,
    modest,
    needs_openssl,
    openssl,
    run_python,
    stock_digest,
    vectors,
)

MIB = 1 << 20


def encrypt_raw(cipher: Cipher, key: bytes, iv: bytes, data: bytes) -> bytes:
    """The cipher alone, without header and padding."""
    buffer = bytearray(len(data) + 2 * CIPHERS[cipher].block_bytes)
    return bytes(buffer[: ENCRYPTORS[cipher](key, iv).update_into(data, buffer)])


# NIST SP 800-38A, F.2.5 (CBC-AES256) and F.5.5 (CTR-AES256): the four blocks that all its examples encrypt.
NIST_KEY = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
NIST_BLOCKS = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
# RFC 8439, 2.4.2: block counter 1, then the nonce.
RFC_TEXT = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    b"sunscreen would be it."
)


@pytest.mark.parametrize(
    ("cipher", "key", "iv", "data", "expected"),
    [
        (
            "aes-256-cbc",
            NIST_KEY,
            "000102030405060708090a0b0c0d0e0f",
            NIST_BLOCKS,
            (
                "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
                "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"
            ),
        ),
        (
            "aes-256-ctr",
            NIST_KEY,
            "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            NIST_BLOCKS,
            (
                "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
                "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
            ),
        ),
        (
            "chacha20",
            bytes(range(32)),
            "01000000000000000000004a00000000",
            RFC_TEXT,
            (
                "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b"
                "f91b65c5524733ab8f593dabcd62b3571639d624e65152ab8f530c359f0861d8"
                "07ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab7793736"
                "5af90bbf74a35be6b40b8eedf2785e42874d"
            ),
        ),
    ],
    ids=["SP 800-38A F.2.5", "SP 800-38A F.5.5", "RFC 8439 2.4.2"],
)
def test_ciphers_give_published_answers(cipher: Cipher, key: bytes, iv: str, data: bytes, expected: str) -> None:
    """The ciphers give what their standards print."""
    assert encrypt_raw(cipher, key, bytes.fromhex(iv), data).hex() == expected


@pytest.mark.parametrize(
    ("block", "expected"),
    [(b"The qufc", "a826fd8ce53b855f"), (b"k brown ", "cce21c8112256fe6"), (b"fox jump", "68d5c05dd9b6b900")],
)
def test_triple_des_gives_published_answers(block: bytes, expected: str) -> None:
    """3DES gives the blocks of NIST SP 800-67, appendix B.1 (one block of CBC from a zero IV is ECB)."""
    key = bytes.fromhex("0123456789abcdef23456789abcdef01456789abcdef0123")
    assert encrypt_raw("des-ede3-cbc", key, bytes(8), block).hex() == expected


def test_wycheproof_aes_cbc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every valid case of Project Wycheproof comes out of the whole backend, padding included."""
    groups = json.loads(vectors("wycheproof_aes_cbc_pkcs5.json").read_text())["testGroups"]
    cases = [case for group in groups for case in group["tests"] if case["result"] == "valid"]
    assert len(cases) > 50
    for case in cases:
        key, iv, message = (bytes.fromhex(case[name]) for name in ("key", "iv", "msg"))
        monkeypatch.setattr(native, "derive", lambda *_, key=key, iv=iv: (key, iv))
        stored = bytearray()
        encrypt_bytes(NativeBackend(), "cbc", message, store=stored.extend)
        assert stored[HEADER_BYTES:].hex() == case["ct"], case["tcId"]


def test_pbkdf2_gives_the_published_answer() -> None:
    """PBKDF2 with one iteration gives the key and IV that RFC 7914, section 11, prints (its first 48 bytes)."""
    key, iv = derive(SUITES["modern"], Secret(b"passwd"), b"salt")
    assert (key + iv).hex() == (
        "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc49ca9cccf179b645991664b39d77ef31"
    )


def test_wycheproof_pbkdf2() -> None:
    """Every valid case of Project Wycheproof is what `derive` gives for that number of iterations."""
    groups = json.loads(vectors("wycheproof_pbkdf2_hmacsha256.json").read_text())["testGroups"]
    cases = [case for group in groups for case in group["tests"] if case["result"] == "valid"]
    assert len(cases) > 20
    for case in cases:
        suite = Suite("modern", "aes-256-ctr", "pbkdf2-hmac-sha256", "sha256", iterations=int(case["iterationCount"]))
        key, iv = derive(suite, Secret(bytes.fromhex(case["password"])), bytes.fromhex(case["salt"]))
        wanted = bytes.fromhex(case["dk"])[:48]
        assert (key + iv)[: len(wanted)] == wanted, case["tcId"]


def test_evp_bytestokey_gives_a_known_answer() -> None:
    """Key and IV are those that openssl itself printed once.

    openssl enc -des-ede3-cbc -md sha256 -S 0123456789abcdef -pass file:KEY -P
    """
    key, iv = derive(SUITES["classic"], SECRET, SALT)
    assert (key.hex(), iv.hex()) == ("04abccd746d3d5b925feb21cae8aee14ff1a6d7286b6b48e", "3fbbb41e747e38fe")


@needs_openssl
@pytest.mark.parametrize("name", SUITES)
def test_derivation_agrees_with_openssl(name: SuiteName, tmp_path: Path) -> None:
    """`openssl enc -P` prints the key and IV that `derive` gives, for ten secrets and salts."""
    for number in range(10):
        path = tmp_path / str(number)
        write_key_file(str(path))
        salt = random.randbytes(8)
        printed = openssl("enc", *CLI_ENC[name], "-S", salt.hex(), "-pass", f"file:{path}", "-P")
        lines = dict(line.replace(" ", "").split("=") for line in printed.stdout.decode().splitlines())
        key, iv = derive(SUITES[name], Secret(path.read_bytes().strip()), salt)
        assert (lines["key"].lower(), lines["iv"].lower()) == (key.hex(), iv.hex()), salt.hex()


def chacha(counter: int, nonce: bytes, key: bytes, pieces: list[bytes]) -> bytes:
    cipher = ChaCha20(key, counter.to_bytes(8, "little") + nonce)
    output = bytearray()
    for piece in pieces:
        buffer = bytearray(len(piece))
        count = cipher.update_into(piece, buffer)
        assert count == len(piece)
        output += buffer
    return bytes(output)


def stock_chacha(counter: int, nonce: bytes, key: bytes, data: bytes) -> bytes:
    iv = counter.to_bytes(8, "little") + nonce
    return openssl("enc", "-chacha20", "-K", key.hex(), "-iv", iv.hex(), stdin=data).stdout


def cut(data: bytes, *lengths: int) -> list[bytes]:
    """Cut into pieces of the given lengths, and the rest."""
    pieces, start = [], 0
    for length in lengths:
        pieces.append(data[start : start + length])
        start += length
    return [*pieces, data[start:]]


OVERFLOWS = [2**32 - 4, 5 * 2**32 - 4, 2**64 - 4]


@needs_openssl
@pytest.mark.parametrize("counter", OVERFLOWS, ids=["first", "fifth", "64 bits"])
@pytest.mark.parametrize(
    "lengths",
    [
        (),
        (256,),
        (255,),
        (257,),
        (255, 1),
        (255, 2),
        (256, 64),
        (192, 64),
        (192, 128),
        (1,) * 300,
        (64,) * 6,
        (0, 256, 0),
    ],
    ids=lambda lengths: "-".join(map(str, lengths[:4])) or "whole",
)
def test_chacha20_counts_past_32_bits(counter: int, lengths: tuple[int, ...]) -> None:
    """The counter carries over as in `openssl enc`, inside a piece, at its end, and exactly between two pieces."""
    data = random.Random(1).randbytes(1000)
    key, nonce = bytes(range(32)), bytes.fromhex("0011223344556677")
    assert chacha(counter, nonce, key, cut(data, *lengths)) == stock_chacha(counter, nonce, key, data)


@modest
@given(
    blocks=st.integers(0, 20),
    high=st.sampled_from([0, 1, 2**31, 2**32 - 1]),
    lengths=st.lists(st.integers(0, 300), max_size=12),
)
def test_chacha20_pieces_do_not_matter(blocks: int, high: int, lengths: list[int]) -> None:
    """However the stream is cut around the overflow, it is the one that a single piece gives."""
    counter = (high << 32) + 2**32 - 1 - blocks
    data = bytes(2000)
    whole = chacha(counter, bytes(8), bytes(32), [data])
    assert chacha(counter, bytes(8), bytes(32), cut(data, *lengths)) == whole


@needs_openssl
@pytest.mark.parametrize("blocks", [4096, 4095, 4097, 1, 8192, 16384])
def test_the_backend_carries_the_counter(monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
    """The whole backend, whose pieces have 4,096 blocks, passes the overflow before, at and after a piece's end."""
    key, counter, nonce = bytes(range(32)), 2**32 - blocks, bytes(8)
    monkeypatch.setattr(native, "derive", lambda *_: (key, counter.to_bytes(8, "little") + nonce))
    data = random.Random(2).randbytes(MIB + 17)
    stored = bytearray()
    encrypt_bytes(NativeBackend(), "chacha", data, store=stored.extend)
    assert stored[HEADER_BYTES:] == stock_chacha(counter, nonce, key, data)


@needs_openssl
@pytest.mark.parametrize("name", SUITES)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 100_000, 5 * MIB + 3])
def test_stock_openssl_opens_what_is_stored(name: SuiteName, size: int, tmp_path: Path) -> None:
    """What is stored opens with `openssl enc -d` and the key file, and has the digest that `openssl dgst` gives."""
    key, stored = tmp_path / "key", tmp_path / "stored"
    write_key_file(str(key))
    data = random.Random(size).randbytes(size)
    with stored.open("wb") as file:
        done = encrypt_bytes(NativeBackend(), name, data, secret=Secret(key.read_bytes().strip()), store=file.write)
    assert done.size_bytes == size
    assert done.ciphertext_bytes == stored.stat().st_size == SUITES[name].ciphertext_bytes(size)
    assert stored.read_bytes()[:HEADER_BYTES] == MAGIC + SALT
    opened = openssl("enc", "-d", *CLI_ENC[name], "-pass", f"file:{key}", "-in", str(stored))
    assert opened.returncode == 0
    assert opened.stdout == data
    assert stock_digest(name, stored) in (done.digest, None)


@pytest.mark.parametrize("name", SUITES)
@pytest.mark.parametrize("size", [4 * MIB - 1, 4 * MIB, 4 * MIB + 1])
def test_overlap_changes_nothing(name: SuiteName, size: int) -> None:
    """With the second thread and without it the ciphertext is the same."""
    data = bytes(size)
    one, two = hashlib.sha256(), hashlib.sha256()
    done = encrypt_bytes(NativeBackend(overlap=True), name, data, store=one.update)
    assert done == encrypt_bytes(NativeBackend(overlap=False), name, data, store=two.update)
    assert one.digest() == two.digest()


@pytest.mark.parametrize("name", SUITES)
@modest
@given(
    data=st.binary(max_size=2000),
    key=st.binary(min_size=32, max_size=32),
    salt=st.binary(min_size=8, max_size=8),
)
def test_files_and_pipes_agree(name: SuiteName, data: bytes, key: bytes, salt: bytes) -> None:
    """The same bytes give the same result from a file as from a pipe, and the digest is that of what is stored."""
    from_file, from_pipe = bytearray(), bytearray()
    secret = Secret(key.hex().encode())
    one = encrypt_bytes(NativeBackend(), name, data, secret=secret, salt=salt, store=from_file.extend)
    read_end, write_end = os.pipe()
    os.write(write_end, data)
    os.close(write_end)
    two = encrypt_input(NativeBackend(), name, Input(read_end, None), secret=secret, salt=salt, store=from_pipe.extend)
    os.close(read_end)
    assert (one, from_file) == (two, from_pipe)
    hasher = HASHES[SUITES[name].digest]()
    hasher.update(bytes(from_file))
    assert one.digest == hasher.digest()


def test_a_known_digest_stays() -> None:
    """The digest of `abc` under a fixed secret and salt is what stock openssl gave once.

    printf abc | openssl enc -aes-256-ctr -pbkdf2 -iter 1 -md sha256 -S 0123456789abcdef -pass file:KEY, after the
    header `Salted__` and the salt, into openssl dgst -sha256
    """
    assert (
        encrypt_bytes(NativeBackend(), "modern", b"abc").digest.hex()
        == "7acf3e08b91f6d5d643649ee55c91d79f9d2c16365ac99a973b2b254b63f7c8b"
    )


def fail_after(count: int) -> Callable[[bytes | memoryview], None]:
    seen = 0

    def store(data: bytes | memoryview) -> None:
        nonlocal seen
        seen += len(data)
        if seen > count:
            raise OSError(28, "No space left on device")

    return store


@pytest.mark.parametrize(
    ("size", "count"), [(100, 0), (100, 50), (8 * MIB, 0), (8 * MIB, 50), (8 * MIB, 3 * MIB), (8 * MIB, 8 * MIB)]
)
def test_a_store_that_fails_is_told(size: int, count: int) -> None:
    """What the store raises comes out of the backend, from its second thread too, and no thread stays."""
    before = threading.active_count(), descriptors()
    with pytest.raises(OSError, match="No space left"):
        encrypt_bytes(NativeBackend(), "modern", bytes(size), store=fail_after(count))
    assert (threading.active_count(), descriptors()) == before


@pytest.mark.parametrize("size", [100, 8 * MIB])
def test_a_deadline_ends_the_work(size: int) -> None:
    """Work that is not done in time ends, and leaves no thread."""
    before = threading.active_count()
    with memory_input([bytes(size)]) as source, pytest.raises(DeadlineExceeded):
        encrypt_input(NativeBackend(), "modern", source, deadline_s=0)
    assert threading.active_count() == before


def test_a_silent_pipe_meets_the_deadline() -> None:
    """A pipe that says nothing keeps the work no longer than the deadline."""
    read_end, write_end = os.pipe()
    with pytest.raises(DeadlineExceeded):
        encrypt_input(NativeBackend(), "modern", Input(read_end, None), deadline_s=0.1)
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize("size", [100, 8 * MIB])
def test_a_set_token_ends_the_work(size: int) -> None:
    """Work under a token that is set ends, and leaves no thread."""
    token = CancelToken()
    token.cancel()
    before = threading.active_count()
    with memory_input([bytes(size)]) as source, pytest.raises(Cancelled):
        encrypt_input(NativeBackend(), "modern", source, cancel=token)
    assert threading.active_count() == before


def test_a_silent_pipe_does_not_keep_a_cancelled_run() -> None:
    """A token that is set while a pipe says nothing ends the wait."""
    token = CancelToken()
    read_end, write_end = os.pipe()
    timer = threading.Timer(0.05, token.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        encrypt_input(NativeBackend(), "modern", Input(read_end, None), cancel=token)
    timer.join()
    os.close(read_end)
    os.close(write_end)


def test_a_pipe_past_its_limit_is_refused() -> None:
    """A pipe that brings more than the limit is refused, one that brings exactly the limit is not."""
    for size in (1000, 1001):
        read_end, write_end = os.pipe()
        os.write(write_end, bytes(size))
        os.close(write_end)
        try:
            done = encrypt_input(NativeBackend(), "classic", Input(read_end, None), limit_bytes=1000)
        except LegacySize:
            assert size == 1001
        else:
            assert done.size_bytes == size == 1000
        finally:
            os.close(read_end)


def test_a_descriptor_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A descriptor that is open for writing only is unreadable, as a file and as a pipe."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    with file_input(path, os.O_WRONLY) as source:
        for one in (source, Input(source.descriptor, None)):
            with pytest.raises(SourceUnreadable, match="Bad file descriptor"):
                encrypt_input(NativeBackend(), "modern", one)


@pytest.mark.parametrize("size", [0, MIB, 7 * MIB, 9 * MIB])
def test_a_file_that_changes_under_way_is_told(tmp_path: Path, size: int) -> None:
    """A file that is cut or grows after reading began does not come out as good."""
    path = tmp_path / "file"
    path.write_bytes(bytes(8 * MIB))
    changed: list[bool] = []

    def meddle(_data: bytes | memoryview) -> None:
        if not changed:
            os.truncate(path, size)
            changed.append(True)

    with file_input(path) as source, pytest.raises(SourceChanged, match=f"{8 * MIB} bytes became"):
        encrypt_input(NativeBackend(), "modern", source, store=meddle)


def test_what_the_kernel_invents_is_read_to_its_end() -> None:
    """A file of /proc says that it has no bytes and gives some: that is never recorded as an empty file."""
    with file_input(Path("/proc/self/status")) as source:
        done = encrypt_input(NativeBackend(), "modern", source)
    assert source.flaw is not None
    assert source.flaw.read_bytes == done.size_bytes > 500


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """The peak memory for a file of 1 GiB is within 20 MiB of that for one of 4 KiB."""
    code = """
import os, sys
from tests.support.crypto_fakes import encrypt_input, peak_bytes
from tasks.crypto.inputs import Input
from tasks.crypto.native import NativeBackend
descriptor = os.open(sys.argv[1], os.O_RDONLY)
encrypt_input(NativeBackend(), "modern", Input(descriptor, os.fstat(descriptor)))
print(peak_bytes())
"""
    peaks = []
    for size in (4096, 1 << 30):
        path = tmp_path / str(size)
        with path.open("wb") as file:
            file.truncate(size)
        result = run_python(code, str(path))
        assert result.returncode == 0, result.stderr
        peaks.append(int(result.stdout))
    assert peaks[1] - peaks[0] < 20 * MIB, peaks
