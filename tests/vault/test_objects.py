"""Objects: written whole or not at all, and read only if their bytes fit, from any copy that is good."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.vault import objects as engine
from tasks.vault.entries import Content
from tasks.vault.errors import ObjectMissing, VaultChanged, VaultError, VaultUnwritable
from tasks.vault.format import OBJECTS, PACKED_BYTES, TEMPORARY
from tasks.vault.index import ObjectIndex
from tasks.vault.objects import ObjectBatch, decrypt_whole, fits, read_object
from tasks.vault.packs import RECORD, write_sidecar
from tasks.vault.vault import Vault
from tests.support.crafted import flip, put_in_place
from tests.support.crypto_fakes import descriptors
from tests.support.packed import (
    digest,
    framed_content,
    member,
    new_vault,
    object_of,
    pack_path,
    plain_content,
    plant,
    plant_object,
    put_pack,
)

TEXT = b"some text that shrinks\n" * 1000
SMALL = b"nothing to shrink"
END = bytes(1024)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path)


@pytest.fixture
def index(vault: Vault) -> Iterator[ObjectIndex]:
    with ObjectIndex(vault) as index:
        yield index


class Reader:
    """Reads contents, and knows what was given out."""

    def __init__(self, vault: Vault, index: ObjectIndex) -> None:
        self._vault = vault
        self._index = index
        self.pieces: list[bytes] = []

    def read(self, content: Content, *, checked: bool = False) -> bytes:
        """The plaintext; what was given out before an error is in `pieces`."""
        self.pieces = []
        self._index.refresh()
        put = self.pieces.append
        read_object(self._vault, self._index, content, lambda piece: put(bytes(piece)), CancelToken(), checked=checked)
        return b"".join(self.pieces)


@pytest.fixture
def reader(vault: Vault, index: ObjectIndex) -> Reader:
    return Reader(vault, index)


def path_of(vault: Vault, content: Content) -> Path:
    """The file of a large object."""
    return Path(vault.root, OBJECTS, content.object[:2], content.object)


def large_plain(vault: Vault) -> tuple[Content, bytes]:
    """A large object, and its plaintext."""
    plain = random.randbytes((2 << 20) + 12_345)
    content, body = plain_content(vault, plain)
    plant_object(vault, body)
    return content, plain


def large_framed(vault: Vault) -> tuple[Content, bytes]:
    """A large object of a frame, and its plaintext."""
    plain = random.randbytes((2 << 20) + 12_345) + bytes(3 << 20)
    content, body = framed_content(vault, zstandard.compress(plain), len(plain))
    plant_object(vault, body)
    return content, plain


def streamed(plain: bytes) -> bytes:
    """A frame that does not tell the length of its content."""
    frame = zstandard.ZstdCompressor(level=3).compressobj()
    return frame.compress(plain) + frame.flush()


@pytest.mark.parametrize("plain", [b"", b"x", SMALL, TEXT, bytes(PACKED_BYTES - 16)])
@pytest.mark.parametrize("checked", [True, False])
def test_small_content_comes_back(vault: Vault, reader: Reader, plain: bytes, *, checked: bool) -> None:
    """In one piece, compressed or not."""
    content, body = plain_content(vault, plain)
    frame, framed = framed_content(vault, zstandard.compress(plain), len(plain))
    put_pack(vault, body, framed)
    assert content.packed
    for one in (content, frame):
        assert reader.read(one, checked=checked) == plain
        assert len(reader.pieces) == 1


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("make", [large_plain, large_framed])
def test_large_content_comes_back(
    vault: Vault, reader: Reader, make: Callable[[Vault], tuple[Content, bytes]], *, checked: bool
) -> None:
    """Piece by piece."""
    content, plain = make(vault)
    assert not content.packed
    assert reader.read(content, checked=checked) == plain
    assert max(map(len, reader.pieces)) <= 1 << 20


@pytest.mark.parametrize("make", [zstandard.compress, streamed])
def test_a_small_frame_may_have_large_content(vault: Vault, reader: Reader, make: Callable[[bytes], bytes]) -> None:
    """It is given out in pieces; the object may be in a pack or a file."""
    plain = b"a line that is repeated\n" * (1 << 20)
    content, body = framed_content(vault, make(plain), len(plain))
    assert content.packed
    name = put_pack(vault, body)
    assert reader.read(content) == plain
    assert max(map(len, reader.pieces)) <= 128 << 10
    pack_path(vault, name).unlink()
    plant_object(vault, body)
    assert reader.read(content) == plain


def test_any_good_copy_does(vault: Vault, reader: Reader) -> None:
    """Planted members, rotten ones and ones of another length are passed over, in whatever pack they are."""
    content, body = plain_content(vault, SMALL)
    rotten = bytearray(body)
    rotten[-1] ^= 1
    for number in range(4):
        other = member(object_of(vault, b"%d" % number))
        plant(vault, other + member(bytes(rotten), digest(body)) + member(body + b"x", digest(body)) + END)
    with pytest.raises(VaultChanged, match=f"object {content.object}: its bytes do not fit its name"):
        reader.read(content)
    assert reader.pieces == []
    put_pack(vault, body)
    assert reader.read(content) == SMALL


def test_a_missing_object_is_missing(vault: Vault, reader: Reader) -> None:
    """In packs and as a file."""
    content, body = plain_content(vault, SMALL)
    with pytest.raises(ObjectMissing, match=f"object {content.object} is missing"):
        reader.read(content)
    large, _ = plain_content(vault, bytes(PACKED_BYTES))
    with pytest.raises(ObjectMissing, match=f"object {large.object} is missing"):
        reader.read(large)
    name = put_pack(vault, body)
    assert reader.read(content) == SMALL
    pack_path(vault, name).unlink()
    with pytest.raises(ObjectMissing, match=f"object {content.object} is missing"):
        reader.read(content)


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("make", [large_plain, large_framed])
def test_a_changed_large_object_is_refused(
    vault: Vault, reader: Reader, make: Callable[[Vault], tuple[Content, bytes]], *, checked: bool
) -> None:
    """Wherever the changed bit is; of a compressed one, and of a checked one, nothing is given out."""
    content, _ = make(vault)
    path = path_of(vault, content)
    for at in (0, 8, 16, 1 << 20, path.stat().st_size - 1):
        flip(path, at)
        with pytest.raises(VaultChanged, match=f"object {content.object}: its bytes do not fit its name"):
            reader.read(content, checked=checked)
        assert checked is False or reader.pieces == []
        assert content.zstd is None or reader.pieces == []
        flip(path, at)
    whole = path.read_bytes()
    for other in (whole[:-1], whole + b"x", b""):
        path.write_bytes(other)
        with pytest.raises(VaultChanged, match=f"does not have the {len(whole):,} bytes of its content"):
            reader.read(content, checked=checked)
        assert reader.pieces == []


def test_every_changed_bit_of_a_small_object_is_found(vault: Vault, reader: Reader) -> None:
    """None of it is given out, and zstd sees none of it."""
    frame, framed = framed_content(vault, zstandard.compress(TEXT), len(TEXT))
    content, body = plain_content(vault, SMALL)
    path = pack_path(vault, put_pack(vault, body, framed))
    for one, begin in ((content, 512), (frame, 512 + 512 + 512)):
        for at in range(begin, begin + one.stored_bytes):
            flip(path, at, at % 8)
            with pytest.raises(VaultChanged, match="do not fit its name"):
                reader.read(one)
            assert reader.pieces == []
            flip(path, at, at % 8)
        assert reader.read(one)


@pytest.mark.parametrize("length", [1, 16, 17, len(SMALL) + 15, len(SMALL) + 17, 2 << 20])
def test_the_right_digest_in_the_wrong_length_is_refused(vault: Vault, reader: Reader, length: int) -> None:
    """An entry that says so was made by somebody with the key; it makes nobody read more than it says."""
    body = object_of(vault, SMALL)
    put_pack(vault, body)
    plant_object(vault, body)
    content = Content(digest(body).hex(), max(0, length - 16))
    with pytest.raises(VaultChanged, match=f"object {content.object}"):
        reader.read(content)
    assert reader.pieces == []


def test_what_is_no_object_is_refused(vault: Vault, reader: Reader) -> None:
    """Its digest fits, and it does not begin as one."""
    body = b"Sorted__01234567" + SMALL
    put_pack(vault, body)
    with pytest.raises(VaultChanged, match="do not fit its name"):
        reader.read(Content(digest(body).hex(), len(SMALL)))
    large = b"Sorted__01234567" + bytes(PACKED_BYTES)
    plant_object(vault, large)
    for checked in (True, False):
        with pytest.raises(VaultChanged, match="do not fit its name"):
            reader.read(Content(digest(large).hex(), PACKED_BYTES), checked=checked)
        assert reader.pieces == []


def wide(plain: bytes) -> bytes:
    """A frame that asks for more memory than a reader gives it."""
    parameters = zstandard.ZstdCompressionParameters.from_level(19, window_log=25)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return frame.compress(plain) + frame.flush()


FRAME = zstandard.compress(TEXT)
BOMB = zstandard.compress(bytes(1 << 30))
ODD: dict[str, tuple[bytes, int]] = {
    "no frame": (b"x" * 100, len(TEXT)),
    "nothing": (b"", len(TEXT)),
    "cut": (FRAME[:-1], len(TEXT)),
    "less than it should have": (FRAME, len(TEXT) + 1),
    "more than it should have": (FRAME, len(TEXT) - 1),
    "garbage after it": (FRAME + b"garbage", len(TEXT)),
    "another after it": (FRAME + FRAME, len(TEXT)),
    "two": (FRAME + FRAME, 2 * len(TEXT)),
    "an empty one after it": (FRAME + zstandard.compress(b""), len(TEXT)),
    "no length in it": (streamed(TEXT), len(TEXT)),
    "a bomb": (BOMB, len(TEXT)),
    "a bomb for nothing": (BOMB, 0),
    "a large bomb": (BOMB, 2 << 20),
    "a large bomb without a length": (streamed(bytes(64 << 20)), 2 << 20),
    "large, cut": (streamed(bytes(64 << 20))[:-10], 64 << 20),
    "large, less": (streamed(bytes(64 << 20)), (64 << 20) + 1),
    "large, with garbage": (streamed(bytes(64 << 20)) + b"garbage", 64 << 20),
    "large, with another": (streamed(bytes(64 << 20)) + FRAME, 64 << 20),
    "large, no frame": (b"x" * 100, 64 << 20),
    "a large window": (wide(bytes(64 << 20)), 64 << 20),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_frame_is_refused(vault: Vault, reader: Reader, kind: str) -> None:
    """Only somebody with the key can have made it. No more is given out than the entry says."""
    frame, size_bytes = ODD[kind]
    content, body = framed_content(vault, frame, size_bytes)
    put_pack(vault, body)
    with pytest.raises(VaultChanged, match=f"object {content.object} is no frame of its content"):
        reader.read(content)
    assert sum(map(len, reader.pieces)) <= size_bytes
    assert size_bytes > PACKED_BYTES or reader.pieces == []


def test_an_odd_frame_in_a_large_object_is_refused(vault: Vault, reader: Reader) -> None:
    """In pieces."""
    plain = random.randbytes(3 << 20)
    for frame, size_bytes in (
        (zstandard.compress(plain) + b"garbage", len(plain)),
        (zstandard.compress(plain), len(plain) - 1),
        (zstandard.compress(plain), len(plain) + 1),
        (zstandard.compress(plain)[:-5], len(plain)),
        (plain, len(plain)),
    ):
        content, body = framed_content(vault, frame, size_bytes)
        plant_object(vault, body)
        with pytest.raises(VaultChanged, match=f"object {content.object} is no frame of its content"):
            reader.read(content)
        assert sum(map(len, reader.pieces)) <= size_bytes


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_something_else_in_the_place_of_an_object(vault: Vault, reader: Reader, kind: str) -> None:
    """It is neither followed nor waited for; in the place of its pack it is nothing."""
    content, _ = large_plain(vault)
    put_in_place(kind, path_of(vault, content))
    with pytest.raises(VaultChanged, match=f"object {content.object} cannot be read"):
        reader.read(content)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_something_else_in_the_place_of_its_pack(vault: Vault, reader: Reader, kind: str) -> None:
    """Then the object is missing."""
    content, body = plain_content(vault, SMALL)
    put_in_place(kind, pack_path(vault, put_pack(vault, body)))
    with pytest.raises(ObjectMissing):
        reader.read(content)


def test_a_file_that_changes_between_two_readings_is_refused(
    vault: Vault, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By somebody who waits for the check."""
    content, plain = large_plain(vault)
    path = path_of(vault, content)
    real = os.pread
    calls = 0

    def pread(descriptor: int, length: int, at: int) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 5:
            flip(path, (1 << 20) + 100)
        return real(descriptor, length, at)

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(VaultError, match="changed between two readings"):
        reader.read(content, checked=True)
    assert plain.startswith(b"".join(reader.pieces))


def test_a_disk_error_is_said(vault: Vault, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a pack and of a file."""

    def refuse(*_arguments: Any) -> int:
        raise OSError(5, "Input/output error")

    content, body = plain_content(vault, SMALL)
    name = put_pack(vault, body)
    large, _ = large_plain(vault)
    assert reader.read(content) == SMALL
    monkeypatch.setattr(os, "pread", refuse)
    monkeypatch.setattr(os, "readv", refuse)
    with pytest.raises(VaultError, match=f"pack {name} cannot be read: Input/output error"):
        reader.read(content)
    for checked in (True, False):
        with pytest.raises(VaultError, match=f"object {large.object} cannot be read: Input/output error"):
            reader.read(large, checked=checked)


def test_reading_can_be_cancelled(vault: Vault, index: ObjectIndex) -> None:
    """Between two pieces."""
    cancel = CancelToken()
    cancel.cancel()
    for make in (large_plain, large_framed):
        content, _ = make(vault)
        with pytest.raises(Cancelled):
            read_object(vault, index, content, len, cancel)


def test_an_object_in_memory_is_decrypted(vault: Vault) -> None:
    """After `fits`."""
    content, body = plain_content(vault, SMALL)
    assert fits(content, body)
    assert not fits(content, body[:-1])
    assert not fits(content, body[:-1] + b"x")
    found: list[bytes] = []
    decrypt_whole(vault, content, memoryview(body), lambda piece: found.append(bytes(piece)))
    assert found == [SMALL]


@pytest.mark.parametrize("number", [3, 20])
def test_large_objects_get_their_names_at_once(vault: Vault, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """After their bytes are on disk, and their folders after that."""
    done: list[str] = []

    def seen(what: str, module: Any, name: str) -> None:
        real = getattr(module, name)

        def wrapped(*arguments: Any, **more: Any) -> Any:
            done.append(what)
            return real(*arguments, **more)

        monkeypatch.setattr(module, name, wrapped)

    seen("fsync", os, "fsync")
    seen("rename", os, "rename")
    seen("syncfs", engine, "sync_file_system")
    bodies = [b"Salted__" + bytes([one]) * 100 for one in range(number)]
    before = descriptors()
    with ObjectBatch(vault.root) as batch:
        for body in bodies:
            with batch.new() as made:
                made.write(body[:50])
                made.write(memoryview(body)[50:])
            batch.keep(made, digest(body).hex())
        assert done == []
        batch.commit()
        batch.commit()
    folders = len({digest(body)[0] for body in bodies}) + 1
    sync = ["fsync"] * number if number == 3 else ["syncfs"]
    assert done == sync + ["rename"] * number + (["fsync"] * folders if number == 3 else ["syncfs"])
    for body in bodies:
        path = Path(vault.root, OBJECTS, digest(body).hex()[:2], digest(body).hex())
        assert path.read_bytes() == body
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert os.listdir(Path(vault.root, TEMPORARY)) == []
    assert descriptors() == before


def test_objects_that_are_not_wanted_leave_nothing(vault: Vault) -> None:
    """Not committed, or ended by an error."""
    with ObjectBatch(vault.root) as batch:
        with batch.new() as made:
            made.write(b"kept and not committed")
        batch.keep(made, "0" * 64)
        assert len(os.listdir(Path(vault.root, TEMPORARY))) == 1
        with pytest.raises(KeyError), batch.new() as made:
            raise KeyError
        assert len(os.listdir(Path(vault.root, TEMPORARY))) == 1
    assert os.listdir(Path(vault.root, TEMPORARY)) == []
    assert os.listdir(Path(vault.root, OBJECTS)) == []


@pytest.mark.parametrize("place", [TEMPORARY, OBJECTS, "below"])
def test_links_lead_nowhere(vault: Vault, tmp_path: Path, place: str) -> None:
    """No object is written to where a link leads."""
    name = digest(SMALL).hex()
    path = Path(vault.root, OBJECTS, name[:2]) if place == "below" else Path(vault.root, place)
    (tmp_path / "outside").mkdir()
    if path.exists():
        path.rmdir()
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(VaultUnwritable), ObjectBatch(vault.root) as batch:  # noqa: PT012 - each of them may
        with batch.new() as made:
            made.write(SMALL)
        batch.keep(made, name)
        batch.commit()
    assert os.listdir(tmp_path / "outside") == []


@pytest.mark.parametrize("lie", ["nothing is there", "another place"])
def test_a_forged_index_hides_nothing(vault: Vault, lie: str) -> None:
    """An index that leaves an object out, or names a wrong place, with a digest that fits: the headers tell."""
    content, body = plain_content(vault, SMALL)
    name = put_pack(vault, random.randbytes(3000), body)
    length = pack_path(vault, name).stat().st_size
    records = [] if lie == "nothing is there" else [RECORD.pack(bytes.fromhex(content.object), 0, len(body))]
    write_sidecar(vault.root, name, length, records)
    with ObjectIndex(vault) as index:
        assert index.rebuilt == []
        assert Reader(vault, index).read(content) == SMALL
        assert Reader(vault, index).read(content) == SMALL
