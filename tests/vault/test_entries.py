"""Entries of snapshots: each form written and read back, everything else refused, in the order of a walk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.crypto.scan import walk
from tasks.vault.entries import (
    Entry,
    FileEntry,
    FileFacts,
    FolderEntry,
    LinkEntry,
    Order,
    decode_entry,
    order_key,
)
from tasks.vault.format import BadLine, Json, encode_line
from tasks.vault.walk import sources_of
from tests.support.crypto_fakes import modest

OBJECT = "ab" * 32
FILE: dict[str, Json] = {
    "path": "f", "type": "file", "mode": 0o644, "mtime_ns": 1, "ctime_ns": 2, "inode": 3, "size": 4, "object": OBJECT,
}  # fmt: skip
FOLDER: dict[str, Json] = {"path": "d", "type": "folder", "mode": 0o755, "mtime_ns": 1}
LINK: dict[str, Json] = {"path": "l", "type": "link", "mtime_ns": 1, "target": "../x"}

parts = st.binary(min_size=1, max_size=8).filter(
    lambda part: not {b"/"[0], 0} & set(part) and part not in (b".", b"..")
)
paths = st.lists(parts, min_size=1, max_size=4).map(b"/".join)
times = st.integers(-(2**63) * 10**9, 2**63 * 10**9 - 1)
modes = st.integers(0, 0o7777)
facts = st.builds(FileFacts, modes, times, times, st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 1))
objects = st.binary(min_size=32, max_size=32).map(bytes.hex)


@modest
@given(
    st.one_of(
        st.builds(FolderEntry, paths, modes, times),
        st.builds(LinkEntry, paths, times, paths),
        st.builds(FileEntry, paths, facts, objects),
    )
)
def test_every_entry_comes_back(entry: Entry) -> None:
    """What is written is read back the same."""
    assert decode_entry(entry.line()) == entry


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
)
def test_a_line_is_judged_alike_however_its_json_is_spaced(path: str, values: list[int], name: str) -> None:
    """What is written is read by its form, everything else as JSON; nothing tells the two apart but time."""
    keys = ("mode", "mtime_ns", "ctime_ns", "inode", "size")
    line = encode_line({"path": path, "type": "file"} | dict(zip(keys, values, strict=True)) | {"object": name})
    assert outcome(line) == outcome(line.replace(b"{", b"{ ", 1))


def test_entries_are_written_in_one_form() -> None:
    """The forms of `docs/vault-format.md`, byte for byte."""
    assert FolderEntry(b"d", 0o755, -1).line() == b'{"path":"d","type":"folder","mode":493,"mtime_ns":-1}\n'
    assert LinkEntry(b"l", 1, b"\xff").line() == b'{"path":"l","type":"link","mtime_ns":1,"target":{"hex":"ff"}}\n'
    assert FileEntry(b"f", FileFacts(0o644, 1, 2, 3, 4), OBJECT).line() == encode_line(FILE)


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


@pytest.mark.parametrize("kind", FORMS)
def test_the_keys_are_just_these(kind: str) -> None:
    """No key more, none less, none twice."""
    form = FORMS[kind]
    for key in form:
        with pytest.raises(BadLine):
            decode_entry(encode_line({name: value for name, value in form.items() if name != key}))
    with pytest.raises(BadLine, match="other keys"):
        decode_entry(encode_line(form | {"owner": 0}))
    with pytest.raises(BadLine, match="a key twice"):
        decode_entry(encode_line(form).replace(b"}\n", b',"path":"y"}\n'))


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
    file, link = FileEntry(b"a", FileFacts(0, 0, 0, 0, 0), OBJECT), LinkEntry(b"a", 0, b"x")
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
