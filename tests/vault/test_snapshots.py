"""Snapshots: authentic or not believed, strict when believed, found by name, time and number."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard

from tasks.files import ReadTwice
from tasks.vault import snapshots
from tasks.vault.entries import Content, Entry, FileEntry, FolderEntry, LinkEntry
from tasks.vault.errors import NoSuchSnapshot, SnapshotInvalid, VaultChanged, VaultError
from tasks.vault.format import Json, encode_line
from tasks.vault.header import Header, Totals
from tasks.vault.lookup import UNKNOWN, find_snapshot, partial_names, peek, read_snapshot, snapshot_names
from tasks.vault.snapshots import MAC_BYTES, SKIPPABLE, OpenSnapshot, open_snapshot
from tasks.vault.vault import init_vault, open_vault
from tests.support.crafted import craft, flip, line_of, put_in_place, reseal
from tests.support.crypto_fakes import SECRET
from tests.support.vaults import Place, entries, make_place, restore
from tests.vault.test_entries import FACTS, FILE, FOLDER, LINK, MAC, OBJECT, folder


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A vault and a tree of a few files."""
    place = make_place(tmp_path)
    for name in ("a", "b/c", "b/d"):
        place.put(name)
    return place


def refusal(place: Place, name: str, kind: type[VaultError] = VaultChanged) -> str:
    """Why a snapshot is refused; nothing of it may have come to the target by then."""
    target = place.root.parent / "target"
    with pytest.raises(kind) as caught:
        restore(place.vault, name, target)
    assert not target.exists()
    assert caught.type is kind
    assert name in caught.value.reason
    return caught.value.reason


def test_a_snapshot_says_what_was_encrypted(place: Place) -> None:
    """Header, entries in order and totals; its name is its time and id; the file is for its owner."""
    adding = place.add()
    snapshot = read_snapshot(place.vault, adding.name)
    base = bytes(place.tree)[1:]
    assert [entry.path for entry in entries(place.vault)] == [
        base + path for path in (b"", b"/a", b"/b", b"/b/c", b"/b/d")
    ]
    assert (snapshot.totals.entries, snapshot.totals.files) == (5, 3)
    assert snapshot.totals.size_bytes == sum(path.stat().st_size for path in place.tree.rglob("?") if path.is_file())
    assert snapshot.header.sources == (bytes(place.tree),)
    assert snapshot.header.sequence == 1
    assert snapshot == adding.added.snapshot
    assert place.snapshot(adding.name).stat().st_mode & 0o777 == 0o600
    assert place.add().added.snapshot.header.sequence == 2


def test_the_number_is_higher_than_what_the_record_knows(place: Place) -> None:
    """Numbers go on after the newest snapshot that can be believed."""
    craft(place.vault, [], sequence=41)
    damaged = craft(place.vault, [], sequence=99)
    flip(place.snapshot(damaged), 100)
    assert place.add().added.snapshot.header.sequence == 42


def test_every_changed_bit_is_found(place: Place) -> None:
    """Whichever bit of a snapshot is changed, nothing of it is restored."""
    name = craft(place.vault, [line_of(folder(b"d"))])
    path = place.snapshot(name)
    for at in range(path.stat().st_size):
        for bit in (0, at % 8):
            flip(path, at, bit)
            with pytest.raises(VaultChanged), open_snapshot(place.vault, name):
                pass
            flip(path, at, bit)
    assert read_snapshot(place.vault, name)
    flip(path, 5)
    assert "was changed" in refusal(place, name)


def test_every_length_is_found(place: Place) -> None:
    """Cut off anywhere, or longer by anything, nothing of it is restored."""
    name = craft(place.vault, [line_of(folder(b"d"))])
    path = place.snapshot(name)
    whole = path.read_bytes()
    end = whole[-len(SKIPPABLE) - MAC_BYTES :]
    for content in (
        *(whole[:length] for length in range(len(whole))),
        *(whole[length:] for length in range(1, len(whole))),
        whole + b"\n",
        whole + end,
        end + whole,
        whole + whole,
        whole[: -len(end)] + whole,
        whole[: -len(end)] + end[len(SKIPPABLE) :],
    ):
        path.write_bytes(content)
        with pytest.raises(VaultChanged), open_snapshot(place.vault, name):
            pass
    assert "does not end in a MAC" in refusal(place, name) or "its MAC does not fit" in refusal(place, name)


def test_a_snapshot_under_another_name_is_found(place: Place) -> None:
    """An older snapshot under a newer name, and two that were swapped, are named with what they really are."""
    old, new = (place.add().name for _ in range(2))
    newer = f"20991231T235959Z-{'0' * 16}"
    place.snapshot(newer).write_bytes(place.snapshot(old).read_bytes())
    assert f"is the snapshot {old} under another name" in refusal(place, newer)
    place.snapshot(newer).unlink()
    first, second = place.snapshot(old).read_bytes(), place.snapshot(new).read_bytes()
    place.snapshot(old).write_bytes(second)
    place.snapshot(new).write_bytes(first)
    assert f"is the snapshot {new} under another name" in refusal(place, old)
    assert f"is the snapshot {old} under another name" in refusal(place, new)


def test_a_snapshot_of_another_vault_is_found(place: Place, tmp_path: Path) -> None:
    """One of another vault does not fit, even under the same secret; and even without it."""
    other = init_vault(str(tmp_path / "other"), SECRET)
    name = craft(other, [])
    place.snapshot(name).write_bytes((tmp_path / "other" / "snapshots" / name).read_bytes())
    assert "its MAC does not fit" in refusal(place, name)
    with pytest.raises(VaultChanged, match="belongs to another vault"):
        read_snapshot(open_vault(str(place.root), None), name)
    foreign = craft(place.vault, [], sequence=2, header={"vault": other.id})
    assert "belongs to another vault" in refusal(place, foreign)


HOSTILE: dict[str, Sequence[bytes]] = {
    "above": [encode_line(FOLDER | {"path": "../x"})],
    "absolute": [encode_line(FILE | {"path": "/etc/x"})],
    "here": [encode_line(FOLDER | {"path": "./x"})],
    "empty part": [encode_line(FOLDER | {"path": "x//y"})],
    "below a link": [encode_line(LINK | {"path": "l", "target": "/etc"}), encode_line(FILE | {"path": "l/passwd"})],
    "below a file": [encode_line(FILE), encode_line(FOLDER | {"path": "f/x"})],
    "out of order": [line_of(folder(b"b")), line_of(folder(b"a"))],
    "twice": [line_of(folder(b"b")), line_of(folder(b"b"))],
    "link then folder": [encode_line(LINK | {"path": "l"}), encode_line(FOLDER | {"path": "l"})],
    "wrong type": [encode_line(FILE | {"size": "4"})],
    "key twice": [encode_line(FOLDER).replace(b'"mode":493', b'"mode":493,"mode":493')],
    "huge number": [encode_line(FOLDER).replace(b":1}", b":" + b"1" * 5000 + b"}")],
    "float": [encode_line(FOLDER | {"mtime_ns": 1.0})],
    "infinite": [encode_line(FOLDER | {"mtime_ns": float("inf")})],
    "half a character": [encode_line(FOLDER | {"path": "\ud800"})],
    "nul": [encode_line(FOLDER | {"path": "a\0"})],
    "object elsewhere": [encode_line(FILE | {"object": "../../" + OBJECT[6:]})],
    "no object": [encode_line({key: value for key, value in FILE.items() if key != "object"})],
    "not json": [b"{\n"],
    "carriage return": [encode_line(FILE).replace(b"\n", b"\r\n")],
    "empty line": [b"\n"],
    "too long": [b'{"path":"' + b"x" * (3 << 20) + b'"}\n'],
    "too deep": [b'{"a":' * 100_000 + b"\n"],
    "not ascii": ['{"path":"ü","type":"folder","mode":0,"mtime_ns":0}\n'.encode()],
    "a second header": [encode_line({"format": "threadmill-snapshot"})],
    "totals too early": [encode_line(asdict(Totals(1, 0, 0))), line_of(folder(b"x"))],
    "mac inside": [b'{"hmac_sha256":"' + b"0" * 64 + b'"}\n'],
}


@pytest.mark.parametrize("lines", HOSTILE.values(), ids=HOSTILE)
def test_an_authentic_snapshot_with_bad_entries_is_refused(place: Place, lines: Sequence[bytes]) -> None:
    """Even with a MAC that fits, an entry that may not be is refused before anything is written."""
    good = line_of(folder(b"0"))
    name = craft(place.vault, [good, *lines])
    refusal(place, name, SnapshotInvalid)
    assert place.faults()[name] == "invalid"


REST = b'"marked":0,"missed":0,"gone":0,"counts":true}\n'
TOTALS: list[tuple[int, int, int] | bytes] = [
    (2, 0, 0), (0, 0, 0), (1, 1, 0), (1, 0, 1), b'{"entries":1,"files":0,"size_bytes":0.0,' + REST, b"", b"\n", b"{}\n",
    b'{"entries":1,"files":0,' + REST,
    b'{"entries":1,"files":0,"size_bytes":0,' + REST.replace(b'd":0', b'd":1'),
    b'{"entries":1,"files":0,"size_bytes":0,' + REST.replace(b'e":0', b'e":-1'),
    b'{"entries":1,"files":0,"size_bytes":0,' + REST.replace(b"true", b"1"),
    b'{"entries":-1,"files":0,"size_bytes":0,' + REST, b'{"entries":true,"files":0,"size_bytes":0,' + REST,
    b'{"entries":1,"files":0,"size_bytes":0,' + REST[:-1], b'{"files":0,"entries":1,"size_bytes":0,' + REST,
    b'{"entries":1,"files":0,"size_bytes":0,' + REST + b"\n", (b'{"entries":1,"files":0,"size_bytes":0,' + REST) * 2,
]  # fmt: skip


@pytest.mark.parametrize("totals", TOTALS, ids=range(len(TOTALS)))
def test_totals_that_lie_are_refused(place: Place, totals: tuple[int, int, int] | bytes) -> None:
    """The last line has to come to what the entries come to, in its one form."""
    refusal(place, craft(place.vault, [line_of(folder(b"x"))], totals=totals), SnapshotInvalid)


HEADERS: list[dict[str, Json] | bytes] = [
    {"format": "x"}, {"format": "threadmill-partial"},
    {"version": 1}, {"version": 3}, {"version": True}, {"version": 1.0}, {"version": "1"}, {"vault": "x"}, {"vault": 1},
    {"id": "G" * 16}, {"created": "2026-01-01T01:00:00Z"}, {"created": "2026-13-01T01:00:00.000000Z"}, {"created": 1},
    {"sequence": 0}, {"sequence": True}, {"sequence": 2**63}, {"sequence": 1.0}, {"sources": "x"}, {"sources": [1]},
    {"sources": [""]}, {"more": 1}, b"\n", b"", b"{}\n", b"[]\n",
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_a_header_that_is_none_is_refused(place: Place, header: dict[str, Json] | bytes) -> None:
    """The first line is taken strictly as well."""
    refusal(place, craft(place.vault, [line_of(folder(b"x"))], header=header), SnapshotInvalid)


def test_too_large_is_not_even_read(place: Place) -> None:
    """More than any snapshot has is refused by its size: a sparse file of 5 GiB takes no time."""
    name = craft(place.vault, [])
    os.truncate(place.snapshot(name), 5 << 30)
    assert "more than any snapshot has" in refusal(place, name)


def test_no_snapshot_is_written_that_would_be_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One over the limit is refused when it is written, and not when it is needed."""
    monkeypatch.setattr(snapshots, "LARGEST_BYTES", 500)
    with pytest.raises(VaultError, match="a snapshot cannot have so many entries"):
        place.add()
    assert snapshot_names(place.vault.root) == []


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_file_is_not_read(place: Place, kind: str) -> None:
    """A link, FIFO or folder in the place of a snapshot is refused and named, neither followed nor waited for."""
    name = place.add().name
    path = place.snapshot(name)
    put_in_place(kind, path)
    assert "is not a regular file" in refusal(place, name, VaultError) or kind == "link"
    assert place.faults()[name] == "unreadable"


def test_a_file_that_grows_while_it_is_read_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is appended between looking at its size and reading it is not taken for authentic."""
    name = craft(place.vault, [line_of(folder(b"x"))])
    path = place.snapshot(name)
    whole = path.read_bytes()
    first = ReadTwice.first

    def grown(self: ReadTwice, take: object) -> None:
        path.write_bytes(whole + whole[-len(SKIPPABLE) - MAC_BYTES :])
        first(self, take)  # type: ignore[arg-type]

    monkeypatch.setattr(ReadTwice, "first", grown)
    assert "changed while it was read" in refusal(place, name)


def test_a_file_that_changes_after_its_check_is_not_used(place: Place) -> None:
    """What was checked is what is used: a change between the two readings is found."""
    name = craft(place.vault, [line_of(folder(b"x"))])
    with open_snapshot(place.vault, name) as opened:
        flip(place.snapshot(name), 30)
        for read in (opened.lines, opened.entries, opened.named):
            with pytest.raises(VaultError, match="changed between two readings"):
                list(read())
        with pytest.raises(VaultError, match="changed between two readings"):
            assert opened.snapshot


def wide(text: bytes) -> bytes:
    """A frame that asks for 16 MiB."""
    parameters = zstandard.ZstdCompressionParameters(window_log=24)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return frame.compress(text) + frame.flush()


FRAMES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "text": (lambda text: text, "is no zstd frame"),
    "nothing": (lambda text: b"", "was cut off"),
    "cut": (lambda text: zstandard.compress(text)[:-1], "was cut off"),
    "a newline after it": (lambda text: zstandard.compress(text) + b"\n", "goes on after its end"),
    "a second frame": (lambda text: zstandard.compress(text) * 2, "goes on after its end"),
    "a frame for each line": (
        lambda text: b"".join(map(zstandard.compress, text.splitlines(keepends=True))), "goes on after its end",
    ),
    "a MAC before it": (lambda text: SKIPPABLE + bytes(MAC_BYTES) + zstandard.compress(text), "goes on after its end"),
    "two MACs": (lambda text: zstandard.compress(text) + SKIPPABLE + bytes(MAC_BYTES), "goes on after its end"),
    "half a line more": (lambda text: zstandard.compress(text + b"x"), "does not end with a line"),
    "a long line more": (lambda text: zstandard.compress(text + bytes(9 << 20)), "a line that is too long"),
    "too much memory": (wide, "too much memory"),
}  # fmt: skip


@pytest.mark.parametrize(("frame", "why"), FRAMES.values(), ids=FRAMES)
def test_an_authentic_file_that_is_not_one_frame_is_refused(
    place: Place, frame: Callable[[bytes], bytes], why: str
) -> None:
    """One frame and one MAC, as every reader of the format takes it; without the key as well."""
    name = craft(place.vault, [line_of(folder(b"x"))], frame=frame)
    assert re.search(why, refusal(place, name, SnapshotInvalid))
    for vault in (place.vault, open_vault(str(place.root), None)):
        for read in (OpenSnapshot.lines, OpenSnapshot.named):
            with pytest.raises(SnapshotInvalid), open_snapshot(vault, name) as opened:
                assert list(read(opened))


def test_a_snapshot_that_grows_without_end_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """More text than any snapshot has is not decompressed to its end."""
    monkeypatch.setattr(snapshots, "LARGEST_BYTES", 1 << 20)
    name = craft(place.vault, [line_of(folder(b"%07d" % number)) for number in range(30_000)], totals=(30_000, 0, 0))
    assert "more content than it may have" in refusal(place, name, SnapshotInvalid)


def test_the_zstd_program_prints_a_snapshot(place: Place) -> None:
    """It passes over the MAC."""
    if not shutil.which("zstd"):
        pytest.skip("needs the zstd program")
    path = place.snapshot(craft(place.vault, [line_of(folder(b"x"))]))
    printed = subprocess.run(["zstd", "-dc"], input=path.read_bytes(), capture_output=True, check=True).stdout
    assert printed.splitlines(keepends=True)[1] == line_of(folder(b"x"))
    assert len(printed.splitlines()) == 3


ENTRIES: list[Entry] = [
    FileEntry(b"a", FACTS, Content(OBJECT, 4)),
    FileEntry(b"b", FACTS, Content("01" * 32, 4, 9, MAC)),
    FileEntry(b"c", FACTS, Content("02" * 32, 4, None, MAC, ((1, 2),))),
    FolderEntry(b'd"object":"', 0o755, 0),
    FileEntry(b"e", FACTS, Content("03" * 32, 4, None, MAC), mark="changed", good=Content("04" * 32, 7, 3, MAC)),
    LinkEntry(b"f", 0, b"x"),
    FileEntry(b'g"size":1,"object":"', FACTS, Content("05" * 32, 4, None, MAC)),
]


def test_what_a_snapshot_needs(place: Place) -> None:
    """Everything that must be kept, the last good content too, read carefully or quickly; a bad line is bad."""
    totals = len(ENTRIES), 5, 20
    name = craft(place.vault, map(line_of, ENTRIES), totals=totals)
    plain = [one for one in ENTRIES if one.path in (b"a", b"b", b'g"size":1,"object":"')]
    quick = craft(place.vault, map(line_of, plain), totals=(3, 3, 12), sequence=2)
    for found, listed in ((name, ENTRIES), (quick, plain)):
        with open_snapshot(place.vault, found) as opened:
            needed = [content for one in listed if isinstance(one, FileEntry) for content in one.contents()]
            assert list(opened.contents()) == needed
            assert list(opened.named()) == [(bytes.fromhex(one.object), one.stored_bytes) for one in needed]
    bad = craft(place.vault, [line_of(ENTRIES[2]).replace(b"[1,2]", b"[1,9]")], sequence=3)
    with pytest.raises(SnapshotInvalid, match="extents"), open_snapshot(place.vault, bad) as opened:
        list(opened.named())


RUN = "0123456789abcdef"


def test_parts_of_a_run_are_no_snapshots(place: Place) -> None:
    """They are in a folder of their own, in order, and neither `latest` nor listed; each is read by its name."""
    with pytest.raises(NoSuchSnapshot, match="no snapshot yet"):
        find_snapshot(place.vault, "latest")
    line = line_of(folder(b"x"))
    numbers = 10_000, 2, 1, 9_999
    names = [craft(place.vault, [line], partial=(RUN, number)) for number in numbers]
    assert snapshot_names(place.vault.root) == []
    assert partial_names(place.vault.root) == [f"{RUN}-{number}" for number in ("0001", "0002", "9999", "10000")]
    with pytest.raises(NoSuchSnapshot, match="no snapshot yet"):
        find_snapshot(place.vault, "latest")
    assert find_snapshot(place.vault, names[1]) == names[1]
    with open_snapshot(place.vault, names[0]) as opened:
        assert (opened.header.id, opened.header.part) == (RUN, 10_000)
        assert opened.header == peek(place.vault.root, names[0])
        assert opened.snapshot.totals.entries == 1
        assert list(opened.lines()) == [line]
    shutil.rmtree(place.root / "partials")
    assert partial_names(place.vault.root) == []


def test_a_part_is_never_taken_for_a_snapshot(place: Place) -> None:
    """Nor a snapshot for a part, nor one part for another, whatever name its file is given."""
    part, other = (craft(place.vault, [], partial=(RUN, number)) for number in (1, 2))
    whole = craft(place.vault, [])
    for name, content in ((whole, part), (part, whole), (part, other)):
        before = place.snapshot(name).read_bytes()
        place.snapshot(name).write_bytes(place.snapshot(content).read_bytes())
        with pytest.raises(VaultChanged, match=f"is the snapshot {content} under another name"):
            read_snapshot(place.vault, name)
        assert peek(place.vault.root, name) == UNKNOWN
        place.snapshot(name).write_bytes(before)
    for header in ({"sequence": -1}, {"part": 0}, {"part": True}, {"part": 10**9}, {"run": "x"}, {"id": RUN}):
        bad = craft(place.vault, [], partial=(RUN, 3), header=header)
        with pytest.raises(SnapshotInvalid):
            read_snapshot(place.vault, bad)


def test_snapshots_are_found_by_what_people_type(place: Place) -> None:
    """`latest`, a name, an id, or the beginning of either; several and none are told apart."""
    with pytest.raises(NoSuchSnapshot, match="no snapshot yet"):
        find_snapshot(place.vault, "latest")
    names = [craft(place.vault, [], sequence=number) for number in (1, 2, 0x10)]
    assert snapshot_names(place.vault.root) == names
    for wanted in ("latest", names[2], names[2][:-1], f"{16:016x}", f"{16:016x}"[:-1]):
        assert find_snapshot(place.vault, wanted) == names[2], wanted
    assert find_snapshot(place.vault, names[0][:11]) == names[0]
    for wanted, why in (("2026", "several"), ("", "several"), ("f", "no snapshot begins"), ("../x", "no snapshot")):
        with pytest.raises(NoSuchSnapshot, match=why):
            find_snapshot(place.vault, wanted)
    with pytest.raises(NoSuchSnapshot, match="there is no snapshot"):
        read_snapshot(place.vault, "20260101T000000Z-" + "f" * 16)


def test_latest_is_the_highest_number(place: Place) -> None:
    """A clock that was set back does not make an old snapshot the latest."""
    latest = craft(place.vault, [], sequence=1, header={"sequence": 7})
    craft(place.vault, [], sequence=3)
    assert find_snapshot(place.vault, "latest") == latest


def test_latest_is_never_silently_an_older_one(place: Place) -> None:
    """If the first line of the newest one cannot be read, `latest` still means that one, and is refused."""
    craft(place.vault, [], sequence=1)
    name = craft(place.vault, [], sequence=2)
    flip(place.snapshot(name), 0)
    assert peek(place.vault.root, name).sequence == 0
    assert find_snapshot(place.vault, "latest") == name
    refusal(place, name)


def test_files_that_are_none_are_not_listed(place: Place) -> None:
    """Names of another form, digits of other alphabets included, are not names of snapshots."""
    for name in ("x", "20260101T000000Z-" + "F" * 16, "\u0662" * 8 + "T000000Z-" + "0" * 16):
        (place.root / "snapshots" / name).touch()
    assert snapshot_names(place.vault.root) == []
    assert set(place.faults().values()) == {"foreign"}


def test_without_the_secret_entries_can_be_read_and_are_not_proven(place: Place) -> None:
    """Who has no secret sees what a snapshot lists, in its form, and that it ends in a MAC."""
    without = open_vault(str(place.root), None)
    name = craft(place.vault, [line_of(folder(b"x"))])
    path = place.snapshot(name)
    assert entries(without, name) == entries(place.vault, name) == [folder(b"x")]
    reseal(place.vault, path, lambda text: text.replace(b'"path":"x"', b'"path":"y"'))
    flip(path, -1)
    assert entries(without, name) == [folder(b"y")]
    refusal(place, name)
    reseal(place.vault, path, lambda text: text.replace(b'"type":"folder"', b'"type":"elephant"'))
    with pytest.raises(SnapshotInvalid, match="no known type"):
        entries(without, name)


def test_a_million_bytes_of_sources_are_a_header(place: Place) -> None:
    """A first line goes up to a megabyte."""
    sources = tuple(b"/%06d" % number for number in range(60_000))
    name = craft(place.vault, [line_of(folder(b"x"))], sources=sources)
    assert read_snapshot(place.vault, name).header.sources == sources
    assert peek(place.vault.root, name) == Header(
        place.vault.id, f"{1:016x}", read_snapshot(place.vault, name).header.created, 1, sources
    )


def test_entries_over_many_pieces_come_whole(place: Place) -> None:
    """Lines that lie across the borders of what is read at once are put together."""
    listed: list[Entry] = [
        FileEntry(b"%06d" % number, FACTS, Content(random.randbytes(32).hex(), 4, None, random.randbytes(16).hex()))
        if number % 3
        else LinkEntry(b"%06d" % number, 0, b"x")
        for number in range(40_000)
    ]
    count = sum(isinstance(entry, FileEntry) for entry in listed)
    name = craft(place.vault, map(line_of, listed), totals=(40_000, count, 4 * count))
    assert place.snapshot(name).stat().st_size > 1 << 20
    assert entries(place.vault, name) == listed


def test_a_damaged_snapshot_is_not_passed_over_for_one_by_a_clock_that_was_ahead(place: Place) -> None:
    """Where the newest good one is of a time after now, the damaged one may be younger."""
    ahead = craft(place.vault, [], sequence=2, created=datetime(2099, 1, 1, tzinfo=UTC))
    assert find_snapshot(place.vault, "latest") == ahead
    damaged = craft(place.vault, [], sequence=3)
    flip(place.snapshot(damaged), 5)
    assert find_snapshot(place.vault, "latest") == damaged
