"""The reader that is made from the document: it takes all that the document has, and refuses everything else."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tasks.vault.entries import Content, Entry, FileEntry, FolderEntry, LinkEntry, decode_entry
from tasks.vault.format import Json, encode_line
from tasks.vault.packs import END
from tasks.vault.vault import Vault, init_vault
from tests.support import vault_reader
from tests.support.crafted import craft, flip, line_of, put_in_place
from tests.support.crypto_fakes import SECRET, modest, needs_openssl
from tests.support.packed import digest, member, object_of, pack_path, plant, plant_object, put_pack, sidecar_path
from tests.support.vault_reader import Damaged, Reader
from tests.support.vaults import OTHER, Place, make_place, object_path
from tests.vault.test_entries import (
    ATTRIBUTES,
    FILE,
    FOLDER,
    GROUP,
    LINK,
    MAC,
    OBJECT,
    attributes,
    contents,
    facts,
    file_of,
    marks,
    modes,
    paths,
    some_of,
    times,
)

Line = dict[str, Json]

WELL: Line = FILE | {"mac": MAC}
GOOD: Line = {"object": OBJECT, "mac": MAC, "size": 1}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A vault without objects."""
    return make_place(tmp_path)


def reader(place: Place) -> Reader:
    return Reader(place.vault.root, place.key.path)


def listed(*values: Line) -> list[dict[str, Any]]:
    return list(vault_reader.checked([encode_line(value) for value in values]))


def with_mac(vault: Vault, content: bytes, stored: bytes, **more: Json) -> dict[str, Any]:
    """What an entry says of a content whose object is of these stored bytes."""
    mac = vault.need_key().content_mac(content).hex()
    return {"size": len(content), "object": digest(object_of(vault, stored)).hex(), "mac": mac, **more}


def test_everything_that_an_entry_may_have_is_taken() -> None:
    """Owner, attributes, holes, hard links, marks and the last good content; paths and targets of any bytes."""
    more: Line = {"owner": [0, 2**32, "root", ""]}
    ends: Line = {"xattrs": {"user.a": "AA==", "user.ü": ""}, "acl": {"access": "AgAA", "default": "AgAA"}}
    begin: Line = {key: FILE[key] for key in ("path", "type", "mode")}
    rest: Line = {key: value for key, value in FILE.items() if key not in begin}
    content: Line = {"zstd": 1, "mac": MAC, "extents": [[0, 1000], [1001, 1]]}
    good: Json = {"object": OBJECT, "zstd": 7, "mac": MAC, "extents": [[2**62, 40]], "size": 2**63 - 1}
    full = (
        begin | more | rest
        | content | ends | {"link": "0:18446744073709551615", "mark": "unreadable", "good": good, "size": 1002}
    )  # fmt: skip
    folder: Line = {key: FOLDER[key] for key in ("path", "type", "mode")} | more | {"mtime_ns": -(2**63) * 10**9} | ends
    start: Line = {"path": {"hex": "ff"}, "type": "link"}
    link = start | more | {"mtime_ns": 1, "target": {"hex": "2fff"}} | ends
    one, two, three = listed(folder, full, link)
    assert (one["path"], two["path"], three["path"]) == (b"d", b"f", b"\xff")
    assert three["target"] == b"/\xff"
    assert (two["size"], vault_reader.length_of(two)) == (1002, 1001)
    assert listed(WELL | {"size": 9, "mac": MAC, "extents": []})
    assert listed(FILE | {"size": (16 << 20) + 1})
    assert listed(WELL | {"mark": "changed", "good": GOOD})


def owned(*owner: Json) -> Line:
    """The line of a folder with this owner, in its place."""
    return {"path": "d", "type": "folder", "mode": 1, "owner": list(owner), "mtime_ns": 1}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (FILE, "no content MAC"),
        (FILE | {"size": 32 << 20, "mac": MAC}, "one too many"),
        (WELL | {"mac": MAC.upper()}, "no content MAC"),
        (WELL | {"mac": MAC[1:]}, "no content MAC"),
        (WELL | {"object": OBJECT[1:]}, "no object"),
        (WELL | {"size": -1}, "no size"),
        (WELL | {"size": 2**63}, "no size"),
        (WELL | {"size": 4.0}, "no size"),
        (WELL | {"size": True}, "no size"),
        (WELL | {"inode": 2**64 + 1}, "no inode"),
        (WELL | {"mode": 0o10000}, "no mode"),
        (WELL | {"mtime_ns": 2**63 * 10**9}, "no time"),
        (WELL | {"ctime_ns": -(2**63) * 10**9 - 1}, "no time"),
        (WELL | {"ctime_ns": None}, "no time"),
        (WELL | {"type": "fifo"}, "no type"),
        (WELL | {"type": ["file"]}, "no type"),
        (WELL | {"more": 1}, "other keys"),
        (dict(reversed(WELL.items())), "other keys"),
        ({key: value for key, value in WELL.items() if key != "inode"}, "other keys"),
        (FILE | {"zstd": 1, "mac": MAC}, "length of a frame"),
        (FILE | {"size": 1000, "zstd": 954, "mac": MAC}, "length of a frame"),
        (FILE | {"size": 1000, "zstd": 0, "mac": MAC}, "length of a frame"),
        (WELL | {"extents": [[0, 2], [2, 1]]}, "no extent"),
        (WELL | {"extents": [[2, 1], [0, 1]]}, "no extent"),
        (WELL | {"extents": [[0, 5]]}, "no extent"),
        (WELL | {"extents": [[1, 0]]}, "no extent"),
        (WELL | {"extents": [[1]]}, "no extent"),
        (WELL | {"extents": {}}, "no extent"),
        (WELL | {"link": "01:2"}, "no link"),
        (WELL | {"link": "1"}, "no link"),
        (WELL | {"mark": "good"}, "no mark"),
        (WELL | {"good": GOOD}, "last good content"),
        (WELL | {"mark": "changed", "good": GOOD | {"mark": "changed"}}, "other keys"),
        (WELL | {"mark": "changed", "good": dict(reversed(GOOD.items()))}, "other keys"),
        (WELL | {"xattrs": {}}, "no xattrs"),
        (WELL | {"xattrs": {"b": "", "a": ""}}, "xattrs out of order"),
        (WELL | {"xattrs": {"a": "A"}}, "padding|base64"),
        (WELL | {"xattrs": {"a": "AB=="}}, "no xattrs"),
        (WELL | {"xattrs": {"": ""}}, "no xattrs"),
        (WELL | {"acl": {"other": ""}}, "no acl"),
        (owned(0, 0, "", ""), None),
        (owned(0, -1, "", ""), "no owner"),
        (owned(2**32 + 1, 0, "", ""), "no owner"),
        (owned(0, 0, "a\0", ""), "no owner"),
        (owned(0, 0, "a"), "no owner"),
        (WELL | {"path": ""}, "no path"),
        (WELL | {"path": "/f"}, "leads elsewhere"),
        (WELL | {"path": "a//b"}, "leads elsewhere"),
        (WELL | {"path": "a/../b"}, "leads elsewhere"),
        (WELL | {"path": "."}, "leads elsewhere"),
        (WELL | {"path": "a\0"}, "no path"),
        (WELL | {"path": "\ud800"}, "surrogates"),
        (WELL | {"path": {"hex": "66"}}, "that is UTF-8"),
        (WELL | {"path": {"hex": "FF"}}, "no path"),
        (WELL | {"path": {"hex": "f"}}, "no path"),
        (WELL | {"path": {"hex": "ff", "text": ""}}, "no path"),
        (FOLDER | {"target": "x"}, "other keys"),
        ({key: value for key, value in LINK.items() if key != "target"}, "other keys"),
        (LINK | {"target": ""}, "no path"),
    ],
)
def test_an_entry_of_another_form_is_refused(value: Line, reason: str | None) -> None:
    """Keys, their order, and each value, as the document has them."""
    if reason is None:
        assert listed(value)
        return
    with pytest.raises(ValueError, match=reason):
        listed(value)


@pytest.mark.parametrize(
    "line",
    [
        encode_line(WELL).replace(b":4,", b": 4,"),
        encode_line(WELL).replace(b":4,", b":04,"),
        encode_line(WELL).replace(b":4,", b":-0,"),
        encode_line(WELL).replace(b":4,", b':4,"size":4,'),
        encode_line(WELL).replace(b'"f"', b'"\\u0066"'),
        encode_line(WELL).replace(b'"f"', b'"\\u00FC"'),
        encode_line(WELL).replace(b'"f"', b'"\\/f"'),
        encode_line(WELL).replace(b'"f"', b'"\x7f"'),
        encode_line(WELL).replace(b'"f"', '"ü"'.encode()),
        encode_line(WELL)[:-1] + b" \n",
        encode_line(WELL)[:-1] + b"{}\n",
        encode_line(WELL)[:-1] + b"\r\n",
        b"[]\n",
        b"[" * 100_000 + b"\n",
        b"\n",
        encode_line(WELL | {"path": "a" * (1 << 20)}),
    ],
)
def test_a_line_in_another_form_is_refused(line: bytes) -> None:
    """A writer has one form of each value, so that equal entries are equal lines."""
    with pytest.raises(ValueError, match=r"."):
        list(vault_reader.checked([line]))


@pytest.mark.parametrize("paths", [("b", "a"), ("a", "a"), ("a", "a/b"), ("a.b", "a/b")])
def test_an_order_that_is_not_of_a_walk_is_refused(paths: tuple[str, str]) -> None:
    """Each path once, and none below a file."""
    with pytest.raises(Damaged, match=r"order|below"):
        listed(*(WELL | {"path": path} for path in paths))


def as_written(content: Content) -> Content:
    """The same with a frame and a content MAC only where a writer makes them."""
    plain = content.plain_bytes
    longest = plain - plain // 32 - 16 if plain <= 16 << 20 else 2**63 - 1
    zstd = None if content.zstd is None or longest < 1 else min(max(content.zstd, 1), longest)
    return replace(content, zstd=zstd, mac=MAC if plain <= 16 << 20 or zstd else None)


written = contents().map(as_written)
more_of_file = some_of(ATTRIBUTES | GROUP)


@modest
@given(
    st.builds(file_of, paths, facts, written, more_of_file, marks.filter(bool), written)
    | st.builds(file_of, paths, facts, written, more_of_file, marks, st.none())
    | st.builds(FolderEntry, paths, modes, times, attributes, marks)
    | st.builds(LinkEntry, paths, times, paths, attributes, marks),
    st.integers(0, 400),
    st.integers(0, 127),
)
def test_the_engine_takes_what_the_reader_takes(entry: Entry, at: int, byte: int) -> None:
    """Any line that a writer may write, and what is left of it with one byte changed, means the same to both."""
    line = line_of(entry)
    (taken,) = vault_reader.checked([line])
    changed = line[:at] + bytes([byte]) + line[at + 1 :]
    for one in (line, changed):
        try:
            (taken,) = vault_reader.checked([one])
        except ValueError:
            continue
        decoded = decode_entry(one)
        assert decoded.path == taken["path"]
        if isinstance(decoded, FileEntry):
            assert 16 + taken.get("zstd", vault_reader.length_of(taken)) == decoded.content.stored_bytes


def sealed(place: Place, *, frame: Callable[[bytes], bytes] = zstandard.compress, **more: Any) -> str:
    """A snapshot of one file, with a MAC that fits; its name."""
    return craft(place.vault, [encode_line(WELL)], totals=more.pop("totals", (1, 1, 4)), frame=frame, **more)


def in_window(exponent: int) -> Callable[[bytes], bytes]:
    """Makes frames that ask for a window of so much memory."""
    parameters = zstandard.ZstdCompressionParameters(window_log=exponent)

    def frame(text: bytes) -> bytes:
        compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        return compressor.compress(text) + compressor.flush()

    return frame


def test_snapshots_with_any_header_are_read(place: Place) -> None:
    """Sources in order, of any bytes; and a part of a run, which has files only."""
    sources = (b"/a", b"/a.b", b"/b/\xff")
    header, (entry,) = reader(place).snapshot(sealed(place, sources=sources, frame=in_window(23)))
    assert (header["sources"], entry["path"]) == (["/a", "/a.b", {"hex": "2f622fff"}], b"f")
    assert reader(place).snapshot(sealed(place, sources=(b"/",)))
    part = sealed(place, partial=("ab" * 8, 12345))
    assert part == f"{'ab' * 8}-12345"
    assert reader(place).snapshot(part)[0]["part"] == 12345
    assert reader(place).names("partials") == [part]
    with pytest.raises(Damaged, match="more than files"):
        reader(place).snapshot(craft(place.vault, [encode_line(FOLDER)], partial=("cd" * 8, 1)))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"header": {"version": 1}}, "another format"),
        ({"header": {"version": 2.0}}, "another format"),
        ({"header": {"format": "threadmill-partial"}}, "another format"),
        ({"header": {"vault": "0" * 32}}, "another vault"),
        ({"header": {"id": "0" * 15}}, "no id"),
        ({"header": {"id": "0" * 16}}, "another name"),
        ({"header": {"created": "2026-01-02T01:00:00.000000Z"}}, "another name"),
        ({"header": {"created": "2026-01-01T01:00:00Z"}}, "does not match"),
        ({"header": {"created": "2026-01-01T01:00:00.0Z"}}, "no time"),
        ({"header": {"sequence": 2**62 + 1}}, "no id or number"),
        ({"header": {"more": 1}}, "other keys"),
        ({"header": {"sources": "/x"}}, "no list of sources"),
        ({"sources": (b"x",)}, "not absolute"),
        ({"sources": (b"/x/",)}, "leads elsewhere"),
        ({"sources": (b"/a.b", b"/a")}, "sources out of order"),
        ({"sources": (b"/a", b"/a/b")}, "inside another"),
        ({"sources": (b"/", b"/b")}, "inside another"),
        ({"totals": (2, 1, 4)}, "totals"),
        ({"totals": (1, 0, 4)}, "totals"),
        ({"totals": (1, 1, 5)}, "totals"),
        (
            {"totals": b'{"entries":1,"files":1,"size_bytes":4.0,"marked":0,"missed":0,"gone":0,"counts":true}\n'},
            "totals",
        ),
        (
            {"totals": b'{"files":1,"entries":1,"size_bytes":4,"marked":0,"missed":0,"gone":0,"counts":true}\n'},
            "other keys",
        ),
        ({"totals": b'{"entries":1,"files":1,"size_bytes":4,"marked":0,"missed":0,"gone":0,"counts":true}'}, "cut off"),
        ({"totals": encode_line(WELL | {"path": "g"})}, "other keys"),
        ({"frame": lambda text: zstandard.compress(text) + zstandard.compress(b"")}, "after the zstd frame"),
        ({"frame": lambda text: zstandard.compress(text) + b"\x50\x2a\x4d\x18\0\0\0\0"}, "after the zstd frame"),
        ({"frame": lambda text: zstandard.compress(text)[:-1]}, "cut off"),
        ({"frame": lambda text: text}, "no zstd frame"),
        ({"frame": lambda _: b""}, "no zstd frame"),
        ({"frame": in_window(24)}, "too large a window"),
    ],
)
def test_a_snapshot_of_another_form_is_refused(place: Place, more: dict[str, Any], reason: str) -> None:
    """Header, totals and frame, although the MAC fits."""
    with pytest.raises(ValueError, match=reason):
        reader(place).snapshot(sealed(place, **more))


def test_a_snapshot_that_was_changed_is_refused_before_it_is_parsed(place: Place) -> None:
    """Any bit of it, its MAC and its name; a link and a FIFO are not opened."""
    name = sealed(place)
    path = place.snapshot(name)
    for at in range(path.stat().st_size):
        flip(path, at)
        with pytest.raises(Damaged, match=f"snapshot {name} was changed"):
            reader(place).snapshot(name)
        flip(path, at)
    assert reader(place).snapshot(name)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(Damaged, match="was changed"):
        reader(place).snapshot(name)
    for kind, error in (("link", OSError), ("fifo", Damaged)):
        path.unlink()
        put_in_place(kind, path)
        with pytest.raises(error, match=r"no file|symbolic"):
            reader(place).snapshot(name)


def packed(place: Place) -> tuple[str, dict[bytes, dict[str, Any]]]:
    """A pack of three objects, and what entries say of them by their content."""
    contents = {b"first": b"first", b"second " * 99: b"second " * 99, b"third": b"third"}
    bodies = [object_of(place.vault, stored) for stored in contents.values()]
    return put_pack(place.vault, *bodies), {
        content: with_mac(place.vault, content, stored) for content, stored in contents.items()
    }


@needs_openssl
def test_the_index_is_not_trusted_over_the_bytes(place: Place) -> None:
    """Objects are found if the index is whole, missing, damaged, of another length, or names other places."""
    name, contents = packed(place)
    index = sidecar_path(place.vault, name)
    raw = index.read_bytes()
    lie = raw[:24] + raw[24:].replace(raw[24 + 32 : 24 + 40], b"\1\0\0\0\x15\0\0\0")[:-32]
    without = raw[:16] + (2).to_bytes(8, "little") + raw[24 + 40 : -32]
    for other in (
        raw,
        raw[:-1],
        raw[:30] + b"?" + raw[31:],
        b"",
        *(one + digest(bytes.fromhex(name) + one) for one in (lie, without)),
    ):
        index.write_bytes(other)
        assert all(reader(place).content(one) == content for content, one in contents.items())
    with pytest.raises(Damaged, match="an index of another pack"):
        reader(place).check_packs()
    index.unlink()
    assert all(reader(place).content(one) == content for content, one in contents.items())
    reader(place).check_packs()


@needs_openssl
@pytest.mark.parametrize(("at", "lost"), [(0, 0), (130, 0), (150, 0), (513, 1), (534, 0), (1024 + 136, 0), (-1, 0)])
@pytest.mark.parametrize("indexed", [False, True])
def test_a_damaged_pack_costs_what_is_damaged(place: Place, at: int, lost: int, *, indexed: bool) -> None:
    """A header that is no header costs one object at most, padding and the end none; all of it is noticed."""
    name, contents = packed(place)
    path = pack_path(place.vault, name)
    flip(path, at % path.stat().st_size)
    if not indexed:
        sidecar_path(place.vault, name).unlink()
        lost = max(lost, 0 <= at < 512 or at > 1024)
    found = 0
    for content, one in contents.items():
        with suppress(Damaged):
            found += reader(place).content(one) == content
    assert found == 3 - lost
    with pytest.raises(Damaged, match="a changed pack"):
        reader(place).check_packs()


@pytest.mark.parametrize("kind", ["stray block", "padding", "short end", "long end", "another body", "long member"])
def test_every_byte_of_a_pack_is_accounted_for(place: Place, kind: str) -> None:
    """A pack that has the name of its bytes, but was not written by any writer, is refused."""
    one, two = (object_of(place.vault, content) for content in (b"one", b"two"))
    large = object_of(place.vault, bytes(1 << 20))
    raw = {
        "stray block": member(one) + b"?" * 512 + member(two) + END,
        "padding": member(one)[:-1] + b"?" + member(two) + END,
        "short end": member(one) + END[512:],
        "long end": member(one) + END + bytes(512),
        "another body": member(one, digest(two)) + END,
        "long member": member(large) + END,
    }[kind]
    plant(place.vault, raw)
    with pytest.raises(Damaged, match=r"no member|changed object"):
        reader(place).check_packs()


@needs_openssl
def test_an_object_is_taken_from_any_place(place: Place) -> None:
    """From another pack, or a file of its own, if one copy is damaged; none of them is good or there: that is said."""
    body = object_of(place.vault, b"first")
    one = with_mac(place.vault, b"first", b"first")
    with pytest.raises(Damaged, match="a missing object"):
        reader(place).content(one)
    damaged = plant(place.vault, member(body[:-1] + b"?", digest(body)) + END)
    with pytest.raises(Damaged, match="a changed object"):
        reader(place).content(one)
    put_pack(place.vault, object_of(place.vault, b"another"), body)
    assert reader(place).content(one) == b"first"
    for pack in reader(place).packs():
        pack_path(place.vault, pack).unlink()
    plant_object(place.vault, body)
    assert reader(place).content(one) == b"first"
    assert damaged
    object_path(place.vault, one["object"]).write_bytes(body + b"?")
    with pytest.raises(Damaged, match="too long"):
        reader(place).content(one)


@needs_openssl
def test_salts_and_content_macs_are_checked(tmp_path: Path) -> None:
    """A salt is of its content where it must be; a content MAC is of the content, and of a random salt."""
    place = make_place(tmp_path)
    one = with_mac(place.vault, b"first", b"first")
    put_pack(place.vault, object_of(place.vault, b"first"))
    with pytest.raises(Damaged, match="another MAC"):
        reader(place).content(one | {"mac": MAC})
    other = bytearray(object_of(place.vault, b"first"))
    other[8] ^= 1
    put_pack(place.vault, bytes(other))
    with pytest.raises(Damaged, match="a salt that is not of its content"):
        reader(place).content(one | {"object": digest(bytes(other)).hex()})
    random = init_vault(str(tmp_path / "random"), SECRET, random_salts=True)
    body = object_of(random, b"first")
    put_pack(random, body)
    entry = {"size": 5, "object": digest(body).hex()}
    macs = [random.need_key().content_mac(*pieces).hex() for pieces in ((body[8:16], b"first"), (b"first",))]
    assert Reader(random.root, place.key.path).content(entry | {"mac": macs[0]}) == b"first"
    with pytest.raises(Damaged, match="another MAC"):
        Reader(random.root, place.key.path).content(entry | {"mac": macs[1]})


def unsized(content: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    return compressor.compress(content)


@needs_openssl
@pytest.mark.parametrize("size_bytes", [100_000, 9 << 20])
@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (zstandard.compress, None),
        (zstandard.ZstdCompressor(level=19, write_checksum=True).compress, None),
        (lambda content: zstandard.compress(content[1:]), "another length"),
        (lambda content: zstandard.compress(content + b"?"), "another length"),
        (unsized, "another length"),
        (lambda content: zstandard.compress(content) + b"?", "after the zstd frame"),
        (lambda content: zstandard.compress(content) + zstandard.compress(b""), "after the zstd frame"),
        (lambda content: zstandard.compress(content)[:-1], "cut off"),
        (lambda content: b"?" + zstandard.compress(content), "no zstd frame"),
        (lambda content: zstandard.compress(content)[:-4] + b"????", "open|length|cut off"),
    ],
)
@pytest.mark.parametrize("program", [True, False])
def test_a_frame_is_just_the_content(
    place: Place,
    size_bytes: int,
    frame: Callable[[bytes], bytes],
    reason: str | None,
    monkeypatch: pytest.MonkeyPatch,
    *,
    program: bool,
) -> None:
    """One frame, which says the length of the content and has it, by the zstd program or the package."""
    content = b"a word " * (size_bytes // 7)
    stored = frame(content)
    put_pack(place.vault, object_of(place.vault, stored))
    one = with_mac(place.vault, content, stored, zstd=len(stored))
    if not program:
        monkeypatch.setattr("shutil.which", lambda _: None)
    if reason is None:
        assert reader(place).content(one) == content
    else:
        with pytest.raises(ValueError, match=reason):
            reader(place).content(one)


@needs_openssl
def test_a_window_beyond_the_limit_is_refused(place: Place) -> None:
    """A frame that needs 16 MiB of memory is not decompressed."""
    content = random.randbytes(100) * 200_000
    stored = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=24)).compress(
        content
    )
    put_pack(place.vault, object_of(place.vault, stored))
    with pytest.raises(Damaged, match="too large a window"):
        reader(place).content(
            {"size": len(content), "object": digest(object_of(place.vault, stored)).hex(), "zstd": len(stored)}
        )


def test_a_changed_vault_is_not_opened(place: Place, tmp_path: Path) -> None:
    """Any bit of `vault.json`, another key file, or something else in its place."""
    path = place.root / "vault.json"
    for at in range(path.stat().st_size):
        flip(path, at)
        with pytest.raises(ValueError, match=r"."):
            reader(place)
        flip(path, at)
    assert reader(place).id == place.vault.id
    other = tmp_path / "other"
    other.write_bytes(OTHER.password + b"\n")
    with pytest.raises(Damaged, match="wrong key file"):
        Reader(place.vault.root, str(other))
    other.write_bytes(SECRET.password)
    with pytest.raises(Damaged, match="no key file"):
        Reader(place.vault.root, str(other))
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(Damaged, match="other lines"):
        reader(place)
    path.write_bytes(bytes(4097))
    with pytest.raises(Damaged, match="too long"):
        reader(place)
    put_in_place("link", path)
    with pytest.raises(OSError, match="symbolic"):
        reader(place)
