"""Entries of snapshots: each form written and read back, everything else refused, in the order of a walk."""

from __future__ import annotations

import base64
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.crypto.scan import walk
from tasks.vault.entries import (
    Content,
    Entry,
    FileEntry,
    FileFacts,
    FolderEntry,
    LinkEntry,
    Mark,
    More,
    begin_file,
    decode_entry,
    end_file,
    path_field,
)
from tasks.vault.format import BadLine, Json, encode_line
from tasks.vault.header import Order, order_key
from tasks.vault.walk import sources_of
from tests.support.crafted import line_of
from tests.support.crypto_fakes import modest

OBJECT = "ab" * 32
FILE: dict[str, Json] = {
    "path": "f", "type": "file", "mode": 0o644, "mtime_ns": 1, "ctime_ns": 2, "inode": 3, "size": 4, "object": OBJECT,
}  # fmt: skip
MAC = "cd" * 16
FACTS = FileFacts(0o644, 1, 2, 3, 4)
FOLDER: dict[str, Json] = {"path": "d", "type": "folder", "mode": 0o755, "mtime_ns": 1}
LINK: dict[str, Json] = {"path": "l", "type": "link", "mtime_ns": 1, "target": "../x"}

parts = st.binary(min_size=1, max_size=8).filter(
    lambda part: not {b"/"[0], 0} & set(part) and part not in (b".", b"..")
)
paths = st.lists(parts, min_size=1, max_size=4).map(b"/".join)
times = st.integers(-(2**63) * 10**9, 2**63 * 10**9 - 1)
modes = st.integers(0, 0o7777)
# An object has 16 bytes more, and no file more than 2⁶³ - 1.
lengths = st.integers(0, 2**63 - 17)
facts = st.builds(FileFacts, modes, times, times, st.integers(0, 2**64 - 1), lengths)
objects = st.binary(min_size=32, max_size=32).map(bytes.hex)
macs = st.none() | st.binary(min_size=16, max_size=16).map(bytes.hex)


@st.composite
def contents(draw: st.DrawFn) -> Content:
    """Any content; that of a file with holes has extents that ascend and do not touch."""
    size_bytes = draw(lengths)
    extents = None
    if draw(st.booleans()):
        borders = sorted(draw(st.sets(st.integers(0, size_bytes), max_size=6)))
        extents = tuple((begin, end - begin) for begin, end in zip(borders[::2], borders[1::2], strict=False))
    return Content(draw(objects), size_bytes, draw(st.none() | lengths), draw(macs), extents)


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=9)
values = st.binary(max_size=9).map(lambda value: base64.b64encode(value).decode())
uids = st.integers(0, 2**32)


def by_name(of: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    """Values by name, in the order of the names' bytes."""
    named = st.dictionaries(of, values, min_size=1, max_size=3)
    return named.map(lambda found: dict(sorted(found.items(), key=lambda item: item[0].encode())))


ATTRIBUTES = {
    "owner": st.tuples(uids, uids, names, names).map(list),
    "xattrs": by_name(names),
    "acl": by_name(st.sampled_from(["access", "default"])),
}
ids = st.integers(0, 2**64 - 1)
GROUP = {"link": st.tuples(ids, ids).map(lambda pair: f"{pair[0]}:{pair[1]}")}
MARKS: list[Mark | None] = [None, "changed", "unreadable"]
marks = st.sampled_from(MARKS)


def some_of(strategies: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Any of the keys, in their order, with their values; None if there is none."""
    found = st.fixed_dictionaries({}, optional=strategies)
    return found.map(lambda one: {key: one[key] for key in strategies if key in one} or None)


attributes = some_of(ATTRIBUTES)


def file_of(
    path: bytes, facts: FileFacts, content: Content, more: More | None, mark: Mark | None, good: Content | None
) -> FileEntry:
    """A file of the size of its content."""
    return FileEntry(path, facts._replace(size_bytes=content.size_bytes), content, more, mark, good)


@modest
@given(
    st.one_of(
        st.builds(FolderEntry, paths, modes, times, attributes, marks),
        st.builds(LinkEntry, paths, times, paths, attributes, marks),
        st.builds(file_of, paths, facts, contents(), some_of(ATTRIBUTES | GROUP), marks, st.none() | contents()),
    )
)
def test_every_entry_comes_back(entry: Entry) -> None:
    """Everything that an entry may say is read back the same, and says once that an object is of a size."""
    line = line_of(entry)
    assert decode_entry(line) == entry
    assert len(re.findall(rb'"size":\d+,"object":', line)) == isinstance(entry, FileEntry)


@modest
@given(st.builds(FolderEntry, paths, modes, times) | st.builds(LinkEntry, paths, times, paths))
def test_folders_and_links_are_written_in_that_form(entry: FolderEntry | LinkEntry) -> None:
    """What a run writes is what is read."""
    assert entry.line() == line_of(entry)


@modest
@given(paths, facts, contents())
def test_files_are_written_in_that_form(path: bytes, facts: FileFacts, content: Content) -> None:
    """The line of a file is its beginning, by the walk, and its tail, by the content."""
    entry = file_of(path, facts, content, None, None, None)
    tail = end_file(content)
    assert begin_file(path_field(b"/" + path), entry.facts) + tail == line_of(entry)


def test_what_a_content_comes_to() -> None:
    """Lengths of plaintext and object; small objects are in packs; the last good content counts as well."""
    bare, frame = Content(OBJECT, 1 << 20), Content(OBJECT, 1 << 20, zstd=100)
    holes = Content(OBJECT, 1 << 40, extents=((0, 10), (4096, 5)))
    assert (bare.plain_bytes, bare.stored_bytes, bare.packed) == (1 << 20, (1 << 20) + 16, False)
    assert (frame.plain_bytes, frame.stored_bytes, frame.packed) == (1 << 20, 116, True)
    assert (holes.plain_bytes, holes.stored_bytes, holes.packed) == (15, 31, True)
    assert Content(OBJECT, (1 << 20) - 16).packed
    assert Content(OBJECT, 9, extents=()).stored_bytes == 16
    assert FileEntry(b"f", FACTS, frame).contents() == (frame,)
    assert FileEntry(b"f", FACTS, frame, good=bare).contents() == (frame, bare)


numbers = st.one_of(st.integers(-(2**65), 2**65), st.integers(-1, 10_000))


def outcome(line: bytes) -> object:
    """The entry of a line, or why it is refused."""
    try:
        return decode_entry(line)
    except BadLine as error:
        return str(error)


@modest
@given(
    st.text(st.characters(codec="ascii"), max_size=6) | st.lists(st.sampled_from(["a", "..", ".", ""])).map("/".join),
    st.lists(numbers, min_size=5, max_size=5),
    st.sampled_from([OBJECT, "AB" * 32, "ab" * 31]),
    st.dictionaries(st.sampled_from(["zstd", "mac"]), numbers | st.sampled_from([MAC, MAC.upper(), MAC[1:]])),
)
def test_a_line_is_judged_alike_however_its_json_is_spaced(
    path: str, values: list[int], name: str, more: dict[str, Json]
) -> None:
    """What is written is read by its form, everything else as JSON; nothing tells the two apart but time."""
    keys = ("mode", "mtime_ns", "ctime_ns", "inode", "size")
    line = encode_line({"path": path, "type": "file"} | dict(zip(keys, values, strict=True)) | {"object": name} | more)
    assert outcome(line) == outcome(line.replace(b"{", b"{ ", 1))


def test_entries_are_written_in_one_form() -> None:
    """The forms of `docs/vault-format.md`, byte for byte."""
    assert FolderEntry(b"d", 0o755, -1).line() == b'{"path":"d","type":"folder","mode":493,"mtime_ns":-1}\n'
    assert LinkEntry(b"l", 1, b"\xff").line() == b'{"path":"l","type":"link","mtime_ns":1,"target":{"hex":"ff"}}\n'
    tail = b'"object":"%b","zstd":5,"mac":"%b","extents":[[0,1],[3,1]]}\n' % (OBJECT.encode(), MAC.encode())
    assert end_file(Content(OBJECT, 4, 5, MAC, ((0, 1), (3, 1)))) == tail
    assert begin_file(b'"f"', FACTS) + end_file(Content(OBJECT, 4)) == encode_line(FILE)
    everything = FileEntry(
        b"f",
        FACTS,
        Content(OBJECT, 4, 5, MAC, ((0, 1), (3, 1))),
        {
            "owner": [0, 1, "root", "daemon"], "xattrs": {"user.a": "AA=="}, "acl": {"access": "AQ=="}, "link": "1:2",
        },
        "changed",
        Content(OBJECT, 9, 3, MAC, ((1, 2),)),
    )  # fmt: skip
    assert line_of(everything) == (
        b'{"path":"f","type":"file","mode":420,"owner":[0,1,"root","daemon"],"mtime_ns":1,"ctime_ns":2,"inode":3,'
        b'"size":4,%b,"xattrs":{"user.a":"AA=="},"acl":{"access":"AQ=="},"link":"1:2","mark":"changed",'
        b'"good":{"object":"%b","zstd":3,"mac":"%b","extents":[[1,2]],"size":9}}\n'
    ) % (tail[:-2], OBJECT.encode(), MAC.encode())


@pytest.mark.parametrize(
    "path",
    ["/x", "..", "../x", "x/..", "x/../y", ".", "./x", "x/.", "x/./y", "x//y", "x/", "/", "//", "", "x\0y", "\ud800"],
)
@pytest.mark.parametrize("form", [FILE, FOLDER, LINK], ids=["file", "folder", "link"])
def test_a_path_that_leads_elsewhere_is_refused(form: dict[str, Json], path: str) -> None:
    """Absolute, or with a part that is empty, `.` or `..`."""
    with pytest.raises(BadLine, match="path"):
        decode_entry(encode_line(form | {"path": path}))


@pytest.mark.parametrize("path", ["...", "..x", "x..", ".x", "x/.y", " ", "\n", "a\n..", "\\..", "-", "~"])
def test_a_path_that_only_looks_odd_is_taken(path: str) -> None:
    """Dots are allowed in names, and so is everything else."""
    assert decode_entry(encode_line(FOLDER | {"path": path})).path == path.encode()


WRONG: dict[str, tuple[Json, ...]] = {
    "path": (None, 1, [], {"hex": "zz"}),
    "type": (None, "File", "socket", "", 1, ["file"]),
    "mode": (None, -1, 0o10000, 420.0, True, "420"),
    "mtime_ns": (None, 1.5, "1", 2**93, -(2**94), False),
    "ctime_ns": (None, 1.5, "1", 2**93, -(2**94), False),
    "inode": (None, -1, 2**65, 1.0, "3"),
    "size": (None, -1, 2**63, 4.0, 1e400, "4"),
    "object": (
        None,
        1,
        "",
        OBJECT[:-1],
        OBJECT + "0",
        OBJECT.upper(),
        OBJECT + "\n",
        "../" + OBJECT[3:],
        "\uff10" * 64,
    ),
    "target": (None, "", "a\0", 1, {"hex": "00"}, [], "\udc00"),
}
FORMS = {"file": FILE, "folder": FOLDER, "link": LINK}


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [(kind, key, value) for kind, form in FORMS.items() for key in form for value in WRONG[key]],
)
def test_a_wrong_value_is_refused(kind: str, key: str, value: Json) -> None:
    """Each key has its type and its bounds."""
    with pytest.raises(BadLine):
        decode_entry(encode_line(FORMS[kind] | {key: value}))


GOOD: dict[str, Json] = {"object": OBJECT, "size": 3}
WRONG_MORE: dict[str, tuple[Json, ...]] = {
    "zstd": (None, -1, 2**63, 1.0, "1", True),
    "mac": (None, "", MAC[:-1], MAC + "0", MAC.upper(), MAC + "\n", 1, OBJECT),
    "extents": (
        None, {}, "", 0, [0, 1], [[0]], [[0, 1, 2]], [[0, 0]], [[0, -1]], [[-1, 2]], [[0, 5]], [[4, 1]], [[5, 1]],
        [[0, 1], [0, 1]], [[1, 1], [0, 1]], [[0, 2], [1, 1]], [[0, 1], [1, 1]], [[0.0, 1]], [[0, True]], [["0", 1]],
        [[0, 1], None],
    ),
    "link": (None, "", "1", "1:", ":1", "1:2:3", "01:2", "1:02", "-1:2", 1, "1:2\n", "\uff11:2"),
    "good": (
        None, "", [], {}, OBJECT, {"object": OBJECT}, {"size": 1}, GOOD | {"size": -1}, GOOD | {"object": "x"},
        GOOD | {"mac": 1}, GOOD | {"extents": [[0, 4]]}, GOOD | {"good": GOOD}, GOOD | {"path": "x"},
    ),
}  # fmt: skip
WRONG_ATTRIBUTES: dict[str, tuple[Json, ...]] = {
    "owner": (
        None, "", {}, [], [0, 0], [0, 0, "", "", ""], [-1, 0, "", ""], [0, 2**33, "", ""], ["0", 0, "", ""],
        [0, True, "", ""], [0, 0, 1, ""], [0, 0, "", None], [0, 0, "\0", ""],
    ),
    "xattrs": (
        None, "", [], {}, {"": ""}, {"a\0": ""}, {"\ud800": ""}, {"a": 1}, {"a": None}, {"a": "A"}, {"a": "AA=A"},
        {"a": "AB=="}, {"a": "AAB="}, {"a": "A A="}, {"a": "AAA=\n"}, {"a": "_-=="}, {"b": "", "a": ""},
        {"\U0001f512": "", "\uffff": ""},
    ),
    "acl": (None, "", [], {}, {"other": ""}, {"access": 1}, {"default": "", "access": ""}),
    "mark": (None, "", "good", "Changed", 1, ["changed"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (kind, key, value)
        for kind in FORMS
        for key, values in ((WRONG_MORE if kind == "file" else {}) | WRONG_ATTRIBUTES).items()
        for value in values
    ],
)
def test_a_wrong_value_that_need_not_be_there_is_refused(kind: str, key: str, value: Json) -> None:
    """Nothing is skipped because it may be left out."""
    with pytest.raises(BadLine):
        decode_entry(encode_line(FORMS[kind] | {key: value}))


@pytest.mark.parametrize("kind", FORMS)
def test_the_keys_are_just_these(kind: str) -> None:
    """No key more, none less, none twice; a folder or a link has no content."""
    form = FORMS[kind]
    for key in form:
        with pytest.raises(BadLine):
            decode_entry(encode_line({name: value for name, value in form.items() if name != key}))
    for key in ("user", "Zstd", *(WRONG_MORE if kind != "file" else ())):
        with pytest.raises(BadLine, match="other keys"):
            decode_entry(encode_line(form | {key: 0}))
    with pytest.raises(BadLine, match="a key twice"):
        decode_entry(encode_line(form).replace(b"}\n", b',"path":"y"}\n'))


@pytest.mark.parametrize("tail", [b"", b"}\n", b'"size":1}\n', b'"zstd":1}\n', b'"object":"' + b"A" * 64 + b'"}\n'])
def test_a_line_without_an_object_is_refused(tail: bytes) -> None:
    """Its beginning is that of any file."""
    with pytest.raises(BadLine):
        decode_entry(begin_file(b'"f"', FACTS) + tail)


def refusal(*given: Entry) -> str:
    order = Order()
    for entry in given[:-1]:
        order.check(entry)
    with pytest.raises(BadLine) as caught:
        order.check(given[-1])
    return str(caught.value)


def folder(path: bytes) -> Entry:
    return FolderEntry(path, 0o755, 0)


def test_entries_come_in_order_and_once() -> None:
    """Out of order, twice, or below what is no folder: refused; a folder need not be listed itself."""
    file, link = FileEntry(b"a", FACTS, Content(OBJECT, 4)), LinkEntry(b"a", 0, b"x")
    assert "out of order" in refusal(folder(b"b"), folder(b"a"))
    assert "twice" in refusal(folder(b"b"), folder(b"b"))
    assert "twice" in refusal(folder(b"a"), folder(b"a/b"), folder(b"a"))
    assert "out of order" in refusal(folder(b"a.b"), folder(b"a/b"))
    assert "below a file or a link" in refusal(file, folder(b"a/b"))
    assert "below a file or a link" in refusal(link, folder(b"a/b/c"))
    order = Order()
    for entry in (file, folder(b"a.b/c"), folder(b"b/c"), link.__class__(b"b/d", 0, b"x"), folder(b"b/d.")):
        order.check(entry)


@modest
@given(st.sets(paths, max_size=12))
def test_a_walk_comes_in_the_order_of_entries(names: set[bytes]) -> None:
    """Whatever names there are, a walk meets them in the order that snapshots have."""
    with tempfile.TemporaryDirectory() as base:
        for name in names:
            try:
                os.makedirs(os.path.join(os.fsencode(base), name), exist_ok=True)
            except OSError:
                continue
        met = [found.path[1:] for found in walk(sources_of([base]))]
    assert met == sorted(met, key=order_key)
    order = Order()
    for path in met:
        order.check(folder(path))


def test_sources_come_in_the_order_of_entries(tmp_path: Path) -> None:
    """Several sources make one list in order: `a.b` comes after all that is in `a`."""
    for name in ("a/x", "a.b/x", "a-b/x"):
        (tmp_path / name).mkdir(parents=True)
    sources = sources_of([str(tmp_path / name) for name in ("a.b", "a-b", "a", "a/x")])
    assert [os.path.basename(source) for source in sources] == [b"a", b"a-b", b"a.b"]
    met = [found.path for found in walk(sources)]
    assert met == sorted(met, key=order_key)
