"""Content: equal one is stored once, one that shrinks is compressed, holes are not stored, a salt has one stream."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.cancel import CancelToken
from tasks.crypto import holes
from tasks.crypto.secret import KeyFile
from tasks.crypto.sources import OpenFile
from tasks.vault import add as engine
from tasks.vault.format import WHOLE_BYTES
from tasks.vault.packs import stored
from tasks.vault.vault import Vault, init_vault
from tasks.vault.walk import SourceSelection, sources_of
from tests.support.crypto_fakes import CLI_ENC, SECRET, needs_openssl, openssl
from tests.support.vaults import Place, content, entries, files, make_place, objects, put, settle

MIB = 1 << 20
LARGE = WHOLE_BYTES + MIB


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A vault and an empty tree."""
    return make_place(tmp_path)


def stored_bytes(place: Place) -> int:
    return sum(map(len, objects(place.vault).values()))


def nine_steps(place: Place, name: str) -> list[Path]:
    """Change everything about a file but its content, with a run after each change; the paths that it has then."""
    path = place.tree / name
    (place.tree / "below").mkdir()
    copies = [place.tree / "copy", place.tree / "below" / "copy"]
    steps: list[Callable[[], object]] = [
        path.touch,
        lambda: path.chmod(0o600),
        lambda: os.utime(path, ns=(0, 10**18)),
        lambda: path.rename(place.tree / "renamed"),
        lambda: (place.tree / "renamed").rename(place.tree / "below" / "moved"),
        lambda: shutil.copy(place.tree / "below" / "moved", copies[0]),
        lambda: shutil.copy2(copies[0], copies[1]),
        lambda: (place.tree / "below").rename(place.tree / "other"),
        lambda: os.link(place.tree / "copy", place.tree / "link"),
    ]
    for step in steps:
        step()
        settle()
        place.add()
    return [place.tree / "other" / "moved", place.tree / "other" / "copy", place.tree / "copy", place.tree / "link"]


@pytest.mark.parametrize("kind", ["random", "text"])
@pytest.mark.parametrize("size", [100, 3 * MIB, 50 * MIB])
def test_nine_steps_store_a_file_once(place: Place, size: int, kind: str) -> None:
    """Touched, changed in mode, renamed, moved, copied or linked: a file's content is stored once."""
    data = random.randbytes(size) if kind == "random" else b"a line of text\n" * (size // 15)
    place.put("file", data)
    place.settled_add()
    before = objects(place.vault).keys()
    assert len(before) == 1
    paths = nine_steps(place, "file")
    assert objects(place.vault).keys() == before
    found = {entry.path: entry for entry in files(place.vault)}
    assert {bytes(path)[1:] for path in paths} == found.keys()
    assert all(entry.content.object in before for entry in found.values())
    assert content(place.vault, found[bytes(paths[0])[1:]]) == data


def test_equal_files_of_a_run_are_one_object(place: Place) -> None:
    """300 files of the same content, and one more run that finds it in the vault, store it once."""
    for number in range(300):
        place.put(f"same/{number}", b"same")
    place.add()
    assert len(objects(place.vault)) == 1
    place.put("another", b"same")
    added = place.add(place.tree / "another")
    assert (added.statuses(), added.added.new, added.added.stored_bytes) == ({"another": "ok"}, 1, 0)
    assert added.packs == ()


def test_a_large_file_that_has_changed_is_stored_again(place: Place) -> None:
    """Of a large file the first bytes, or all of them, tell that it has changed."""
    data = bytearray(random.randbytes(LARGE))
    path = place.put("file", bytes(data))
    first = place.settled_add().name
    for at in (5, LARGE - 1):
        data[at] ^= 1
        path.write_bytes(data)
        assert place.settled_add().statuses() == {"file": "ok"}
        assert content(place.vault, files(place.vault)[0]) == data
    assert len(objects(place.vault)) == 3
    assert place.content_of(first, path).mac is None


@pytest.mark.parametrize("kind", ["random", "text"])
def test_a_large_file_under_another_name_is_new_and_stores_nothing(place: Place, kind: str) -> None:
    """A renamed or copied large file has a result with the digest and the salt of its object, as a small one has."""
    data = random.randbytes(LARGE) if kind == "random" else b"text " * LARGE
    path = place.put("file", data)
    (first,) = place.settled_add().results
    path.rename(path.with_name("renamed"))
    shutil.copy(path.with_name("renamed"), path.with_name("copy"))
    settle()
    second = place.add()
    assert second.statuses() == {"renamed": "ok", "copy": "ok"}
    assert {(one.digest, one.salt, one.ciphertext_bytes) for one in second.results} == {
        (first.digest, first.salt, first.ciphertext_bytes)
    }
    assert (second.added.new, second.added.stored_bytes, second.packs) == (2, 0, ())


@pytest.mark.parametrize("size", [40, 5000, 2 * MIB, LARGE])
def test_two_levels_are_one_content(place: Place, size: int) -> None:
    """The MAC of the plaintext decides: under another level, and with `rehash`, nothing is stored again."""
    path = place.put("file", (b"abcdefgh" * 50 + random.randbytes(20)) * (size // 420) or b"x" * size)
    first = place.settled_add()
    before = objects(place.vault).keys()
    for compression in ("max", "off"):
        added = place.add(rehash=True, compression=compression)
        assert added.statuses() == {"file": "unchanged"}
        path.touch()
        assert place.add(compression=compression).statuses() == {"file": "unchanged"}
    assert objects(place.vault).keys() == before
    assert files(place.vault)[0].content == place.content_of(first.name, path)


@needs_openssl
@pytest.mark.parametrize("size", [1000, 3 * MIB, LARGE])
def test_stock_tools_open_compressed_content(place: Place, tmp_path: Path, size: int) -> None:
    """`openssl enc -d … | zstd -d` gives the file; the entry has the length of the frame."""
    data = (b"0123456789abcdef" * 8 + random.randbytes(16)) * (size // 144)
    path = place.put("file", data)
    name = place.add().name
    found = place.content_of(name, path)
    assert found.zstd is not None
    assert found.zstd + 16 == found.stored_bytes == len(place.object_of(name, path)) < len(data)
    frame = openssl(
        "enc", "-d", *CLI_ENC["modern"], "-pass", f"file:{place.key.path}", stdin=place.object_of(name, path)
    ).stdout
    if shutil.which("zstd"):
        assert subprocess.run(["zstd", "-dc"], input=frame, capture_output=True, check=True).stdout == data
    assert content(place.vault, files(place.vault)[0]) == data


def test_compression_can_be_turned_off(place: Place) -> None:
    """`off` stores content as it is, `max` in fewer bytes than `auto`."""
    sizes = {}
    text = b"".join(b"%d: the quick brown fox %d\n" % (n, n * n) for n in range(20_000))
    for compression in ("off", "auto", "max"):
        path = place.put("file", text + compression.encode())
        added = place.add(compression=compression)
        sizes[compression] = place.content_of(added.name, path).stored_bytes
    assert sizes["off"] == len(text) + len("off") + 16
    assert sizes["max"] < sizes["auto"] < sizes["off"] / 3


@needs_openssl
def test_backends_make_the_same_objects(tmp_path: Path) -> None:
    """Content, and not the backend, gives the salt: openssl finds every object that native made."""
    place = make_place(tmp_path)
    for number, size in enumerate((0, 1, 5000, 2 * MIB)):
        place.put(f"random/{number}", random.randbytes(size))
        place.put(f"text/{number}", b"text " * size)
    sparse = place.put("sparse")
    os.truncate(sparse, 10 * MIB)
    first = place.add()
    second = place.add(rehash=True, backend="openssl")
    assert set(second.statuses().values()) == {"unchanged"}
    for path in place.tree.rglob("*"):
        if path.is_file():
            path.rename(path.with_name(f"{path.name}-renamed"))
    (place.tree / "random").rename(place.tree / "moved")
    third = place.add(backend="openssl")
    assert set(third.statuses().values()) == {"ok"}
    assert third.added.stored_bytes == 0
    assert third.packs == ()
    assert {entry.content for entry in files(place.vault, first.name)} == {one.content for one in files(place.vault)}


@needs_openssl
@pytest.mark.parametrize("kind", ["random", "text", "sparse"])
def test_openssl_stores_large_files(place: Place, kind: str) -> None:
    """Streamed as it is, through zstd, and without its holes."""
    data = random.randbytes(LARGE) if kind != "text" else b"text " * LARGE
    path = place.put("file", data)
    if kind == "sparse":
        os.truncate(path, 2 * LARGE)
    place.add(backend="openssl")
    assert content(place.vault, files(place.vault)[0]) == data


def test_an_empty_sparse_file_takes_nothing(place: Place) -> None:
    """A file of 1 TB that is one hole takes as much as an empty one, and no time."""
    path = place.put("disk", b"")
    os.truncate(path, 1 << 40)
    name = place.settled_add().name
    found = place.content_of(name, path)
    assert (found.size_bytes, found.extents, found.stored_bytes) == (1 << 40, (), 16)
    assert stored_bytes(place) == 16
    assert place.add().results == ()


@pytest.mark.parametrize("part", [8192, 9 * MIB])
def test_holes_are_not_stored(place: Place, part: int) -> None:
    """The entry lists the extents, the object has their bytes in turn; small, and too large for memory."""
    parts = {0: random.randbytes(part), 10 * MIB: random.randbytes(part), 30 * MIB: b"end"}
    path = place.put("disk", b"")
    with path.open("r+b") as file:
        for offset, data in parts.items():
            file.seek(offset)
            file.write(data)
        file.truncate(40 * MIB)
    name = place.settled_add().name
    found = place.content_of(name, path)
    assert found.extents is not None
    assert [offset for offset, _ in found.extents] == list(parts)
    assert found.stored_bytes < 2 * part + 5000
    whole = bytearray(found.size_bytes)
    plain, at = content(place.vault, files(place.vault)[0]), 0
    for offset, length in found.extents:
        whole[offset : offset + length] = plain[at : at + length]
        at += length
    assert whole == path.read_bytes()
    path.touch()
    assert place.settled_add().statuses() == {"disk": "unchanged"}
    with path.open("r+b") as file:
        file.seek(35 * MIB)
        file.write(b"more")
    assert place.add().statuses() == {"disk": "ok"}


def test_more_holes_than_a_line_has_room_for(tmp_path: Path) -> None:
    """The largest holes are kept, the others are read as zeros."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        for number in range(2000):
            file.seek(number * 65536 + (number // 2) * 65536)
            file.write(b"x")
    with path.open("rb") as file:
        opened = OpenFile.of(file.fileno())
        extents = opened.extents
        assert extents is not None
        assert len(extents) == holes._MOST_EXTENTS
        assert all(one[0] + one[1] < two[0] for one, two in pairwise(extents))
        data = path.read_bytes()
        outside = 0
        for (offset, length), (after, _) in zip(extents, [*extents[1:], (len(data), 0)], strict=True):
            assert not data[offset + length : after].strip(b"\0")
            outside += after - offset - length
        assert opened.plain_bytes == len(data) - outside


def salts(vault: Vault) -> dict[bytes, set[bytes]]:
    """The ciphertexts under each salt."""
    found: dict[bytes, set[bytes]] = {}
    for body in objects(vault).values():
        found.setdefault(body[8:16], set()).add(body[16:])
    return found


Edit = tuple[str, int, int, bytes]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["write", "append", "copy", "rename", "grow", "compression"]),
        st.integers(0, 3),
        st.integers(0, 3),
        st.binary(max_size=300),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(edits=EDITS)
def test_a_salt_has_one_stream(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[str, int, int, bytes]]
) -> None:
    """However files are edited, and compressed: no salt is ever used for two different streams."""
    place = make_place(tmp_path_factory.mktemp("salts"))
    compression = "auto"
    for number in range(4):
        place.put(str(number), b"begin" * 100 * number)
    for edit, one, other, data in edits:
        path, second = place.tree / str(one), place.tree / str(other)
        if edit == "write":
            path.write_bytes(data)
        elif edit == "append" and path.exists():
            path.write_bytes(path.read_bytes() + data)
        elif edit == "copy" and path.exists() and one != other:
            shutil.copy(path, second)
        elif edit == "rename" and path.exists():
            path.rename(second)
        elif edit == "grow" and path.exists():
            os.truncate(path, len(data) * 1000)
        elif edit == "compression":
            compression = ("off", "auto", "max", "auto")[one]
        place.add(compression=compression)  # type: ignore[arg-type]
        assert all(len(streams) == 1 for streams in salts(place.vault).values())
        for entry in files(place.vault):
            plain, extents = content(place.vault, entry), entry.content.extents
            whole = Path("/", os.fsdecode(entry.path)).read_bytes()
            parts = [(0, len(whole))] if extents is None else extents
            assert plain == b"".join(whole[at : at + length] for at, length in parts)


def test_random_salts_hide_equality(tmp_path: Path) -> None:
    """In a vault with random salts equal files are different objects with different MACs; a touch stores nothing."""
    made = make_place(tmp_path)
    vault = init_vault(str(tmp_path / "random"), SECRET, random_salts=True)
    place = Place(vault, made.key, made.tree)
    for name in ("a", "b"):
        place.put(name, b"the same content, which shrinks" * 10)
    large = [place.put(name, b"text " * LARGE) for name in ("x", "y")]
    name = place.settled_add().name
    found = [entry.content for entry in files(vault, name)]
    assert len({one.object for one in found}) == len({one.mac for one in found}) == 4
    (place.tree / "a").touch()
    large[0].touch()
    second = place.add()
    assert second.statuses() == {"a": "unchanged", "x": "unchanged"}
    assert [entry.content for entry in files(vault)] == found
    settle()
    place.add()
    (place.tree / "a").write_bytes(b"the same content, which shrinkS" * 10)
    assert place.add().statuses() == {"a": "ok"}


@pytest.mark.parametrize("size", [100, 2 * MIB])
def test_a_planted_object_is_not_reused(place: Place, tmp_path: Path, size: int) -> None:
    """An object of the right name and length, but of other bytes, does not count for a new file."""
    data = random.randbytes(size)
    path = place.put("file", data)
    other = make_place_beside(place, tmp_path)
    name = other.add().name
    found = other.content_of(name, path)
    kind = "packs" if found.packed else "objects"
    for file, _ in stored(other.vault.root, kind):
        source = Path(other.vault.root, kind, file[:2], file)
        target = Path(place.vault.root, kind, file[:2], file)
        target.parent.mkdir(parents=True)
        planted = bytearray(source.read_bytes())
        planted[600 if found.packed else 60] ^= 1
        target.write_bytes(planted)
    place.add()
    assert content(place.vault, files(place.vault)[0]) == data


def make_place_beside(place: Place, tmp_path: Path) -> Place:
    """The same vault before anything was added to it."""
    shutil.copytree(place.root, tmp_path / "beside")
    return Place(replace(place.vault, root=str(tmp_path / "beside")), place.key, place.tree)


def test_several_batches_end_in_any_order(place: Place) -> None:
    """Batches may be put in any order; each file has its own line."""
    for number in range(90):
        place.put(f"{number:02}", b"content %d" % number)
    (place.tree / "fifo").unlink(missing_ok=True)
    os.mkfifo(place.tree / "40-fifo")
    selection = SourceSelection(sources_of([str(place.tree)]))
    with engine.adding(place.vault, selection, CancelToken()) as addition:
        to_do = enumerate(addition.to_do())
        batches = [tuple(islice(to_do, 13)) for _ in range(7)]
        for batch in (batches[at] for at in (3, 0, 6, 5, 1, 4, 2)):
            put(addition, batch, place.key)
        added = addition.add_snapshot(1, CancelToken())
    listed = files(place.vault)
    assert [content(place.vault, entry) for entry in listed] == [b"content %d" % number for number in range(90)]
    assert (added.new, added.snapshot.totals.files, added.snapshot.totals.entries) == (90, 90, 91)
    assert len(entries(place.vault)) == 91


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_source_that_becomes_a_link_is_not_followed(place: Place, tmp_path: Path, what: str) -> None:
    """A file or folder that is swapped for a link between the walk and the reading is not read through it."""
    secret = tmp_path / "far"
    secret.mkdir()
    (secret / "file").write_bytes(b"a secret of somebody else")
    place.put("folder/file", b"content")
    place.put("other", b"content too")
    selection = SourceSelection(sources_of([str(place.tree)]))
    with engine.adding(place.vault, selection, CancelToken()) as addition:
        work = tuple(enumerate(addition.to_do()))
        if what == "file":
            (place.tree / "folder" / "file").unlink()
            (place.tree / "folder" / "file").symlink_to(secret / "file")
        else:
            shutil.rmtree(place.tree / "folder")
            (place.tree / "folder").symlink_to(secret)
        done = put(addition, work, place.key)
        addition.add_snapshot(1, CancelToken())
    assert [one.status for one in done.encryptions] == ["skipped" if what == "file" else "failed", "ok"]
    assert [entry.path.rpartition(b"/")[2] for entry in files(place.vault)] == [b"other"]


def test_the_key_opens_what_links_name(place: Place, tmp_path: Path) -> None:
    """A link to a file that is named as a source is followed, as before."""
    far = tmp_path / "far"
    far.write_bytes(b"far away")
    (tmp_path / "named").symlink_to(far)
    place.add(tmp_path / "named")
    (entry,) = files(place.vault)
    assert (entry.path, content(place.vault, entry)) == (bytes(tmp_path / "named")[1:], b"far away")
    assert isinstance(place.key, KeyFile)
