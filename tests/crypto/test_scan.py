"""From paths to payloads: each file once, in a stable order, and nothing silently left out."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.crypto.inputs import Payload
from tasks.crypto.scan import missing_paths, scan
from tests.support.crypto_fakes import modest, run_python, without_root_rights

LINK = "symbolic link (not followed)"


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def found(*paths: Path) -> list[Payload]:
    return list(scan([os.fspath(path) for path in paths]))


def names(*paths: Path) -> list[bytes]:
    return [payload.name for payload in found(*paths)]


def test_a_tree_comes_in_the_order_of_a_walk(tmp_path: Path) -> None:
    """A folder's files and sub-folders come sorted, and all that is in a sub-folder comes in its place."""
    order = ["a/1", "a/2", "a/x/0", "b", "c/0", "z"]
    for name in reversed(order):
        put(tmp_path / name)
    assert names(tmp_path) == [bytes(tmp_path / name) for name in order]
    assert names(tmp_path) == names(tmp_path)


def test_files_have_their_size(tmp_path: Path) -> None:
    """A file's payload has the absolute path and the size."""
    path = put(tmp_path / "file", b"12345")
    assert found(tmp_path) == found(path) == [Payload("file", bytes(path), 5)]


def test_an_empty_folder_has_nothing(tmp_path: Path) -> None:
    """An empty folder gives no payload and no error."""
    assert found(tmp_path) == []


def test_an_empty_file_is_a_payload(tmp_path: Path) -> None:
    """A file of no bytes is encrypted like any other."""
    put(tmp_path / "empty", b"")
    assert [payload.size_bytes for payload in found(tmp_path)] == [0]


@pytest.mark.parametrize(
    "name",
    [
        b"new\nline",
        b"-help",
        b"--",
        b"n" * 255,
        b"not utf-8 \xff\xfe",
        b" ",
        b"\x1b[31mred",
        "é".encode(),
        b"$(touch x)",
        b"a'b\"c",
    ],
)
def test_names_are_bytes(tmp_path: Path, name: bytes) -> None:
    """Every name that the file system takes comes through unchanged, as argument and below a folder."""
    path = os.path.join(bytes(tmp_path), name)
    with open(path, "wb"):
        pass
    assert [payload.name for payload in scan([os.fsdecode(path)])] == [path]
    assert [payload.name for payload in scan([os.fsdecode(tmp_path)])] == [path]
    assert missing_paths([os.fsdecode(path)]) == []


@modest
@given(
    names=st.sets(
        st.binary(min_size=1, max_size=20).filter(lambda name: not {0, 47} & set(name) and name not in (b".", b".."))
    )
)
def test_any_set_of_names_comes_sorted(tmp_path_factory: pytest.TempPathFactory, names: set[bytes]) -> None:
    """Whatever a folder's files are called, each comes once, sorted as bytes."""
    folder = bytes(tmp_path_factory.getbasetemp() / "any-names")
    os.mkdir(folder)
    for name in names:
        with open(os.path.join(folder, name), "wb"):
            pass
    try:
        got = [payload.name for payload in scan([os.fsdecode(folder)])]
    finally:
        shutil.rmtree(folder)
    assert got == [os.path.join(folder, name) for name in sorted(names)]


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in the record does not depend on the current folder."""
    path = put(tmp_path / "-n")
    monkeypatch.chdir(tmp_path)
    assert [payload.name for payload in scan(["-n"])] == [bytes(path)]
    assert [payload.name for payload in scan(["."])] == [bytes(path)]


def test_what_has_no_content_is_told(tmp_path: Path) -> None:
    """FIFO, socket, device and dangling link each come as a payload that says what it is."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "gone").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        below = {os.path.basename(payload.name): payload.skip for payload in found(tmp_path)}
        named = [payload.skip for payload in found(tmp_path / "fifo", tmp_path / "gone", tmp_path / "socket")]
    assert below == {b"fifo": "FIFO", b"gone": LINK, b"socket": "socket"}
    assert named == ["FIFO", "dangling symbolic link", "socket"]
    assert [payload.skip for payload in scan(["/dev/null"])] == ["character device"]


def test_links_below_a_folder_are_not_followed(tmp_path: Path) -> None:
    """A link to a file or to a folder is told and not followed, so no tree is walked twice or for ever."""
    put(tmp_path / "tree" / "real")
    (tmp_path / "tree" / "file").symlink_to("real")
    (tmp_path / "tree" / "folder").symlink_to(tmp_path)
    (tmp_path / "tree" / "self").symlink_to("self")
    below = {os.path.basename(payload.name): payload.skip for payload in found(tmp_path / "tree")}
    assert below == {b"real": None, b"file": LINK, b"folder": LINK, b"self": LINK}


def test_links_that_are_named_are_followed(tmp_path: Path) -> None:
    """A link that the user names stands for what it leads to, under the link's own path."""
    put(tmp_path / "tree" / "file", b"123")
    (tmp_path / "to-file").symlink_to("tree/file")
    (tmp_path / "to-folder").symlink_to("tree")
    assert found(tmp_path / "to-file") == [Payload("file", bytes(tmp_path / "to-file"), 3, followed=True)]
    assert found(tmp_path / "to-folder") == [Payload("file", bytes(tmp_path / "to-folder" / "file"), 3)]


def test_a_link_in_a_circle_is_unreadable(tmp_path: Path) -> None:
    """A named link that leads to itself is unreadable, not a crash."""
    (tmp_path / "loop").symlink_to("loop")
    assert [payload.errno for payload in found(tmp_path / "loop")] == [errno.ELOOP]


def test_a_file_that_is_named_and_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, like a folder; below a folder the attempt to read it tells."""
    file = put(tmp_path / "tree" / "file")
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert [(one.errno, one.refused) for one in found(file)] == [(errno.EACCES, True)]
    assert [(one.errno, one.refused) for one in found(tmp_path / "tree")] == [(None, False)]


def test_overlapping_paths_give_each_file_once(tmp_path: Path) -> None:
    """A path named twice, or below another one that is named, adds nothing."""
    put(tmp_path / "a" / "one")
    put(tmp_path / "a" / "b" / "two")
    put(tmp_path / "ab" / "three")
    a, ab = tmp_path / "a", tmp_path / "ab"
    once = names(a)
    assert len(once) == 2
    assert names(a, a) == names(a, a / "b") == names(a / "b", a) == names(a / "b" / "two", a / "b" / ".", a) == once
    assert names(a, ab) == [*once, bytes(ab / "three")]


def test_paths_keep_the_order_given(tmp_path: Path) -> None:
    """Several paths come in the order in which they were named."""
    one, two = put(tmp_path / "1"), put(tmp_path / "2")
    assert names(two, one) == [bytes(two), bytes(one)]


def test_missing_paths_are_named(tmp_path: Path) -> None:
    """Only what is not there at all is missing; a dangling link is there."""
    (tmp_path / "dangling").symlink_to("nowhere")
    file = put(tmp_path / "file")
    absent = [str(tmp_path / "absent"), str(file / "below"), "", "nul\0name"]
    assert missing_paths([str(tmp_path), str(tmp_path / "dangling"), str(file), *absent]) == absent


@contextmanager
def deep_tree(top: Path, levels: int) -> Iterator[None]:
    """Folders within folders, made and removed one level at a time, since no path may be that long."""
    where = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=where)
        below = os.open("d", os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = below
    os.close(os.open("file", os.O_CREAT, dir_fd=where))
    try:
        yield
    finally:
        os.unlink("file", dir_fd=where)
        for _ in range(levels):
            above = os.open("..", os.O_RDONLY, dir_fd=where)
            os.rmdir("d", dir_fd=above)
            os.close(where)
            where = above
        os.close(where)


def test_a_tree_deeper_than_recursion_is_walked(tmp_path: Path) -> None:
    """A file 1,500 folders down is found."""
    with deep_tree(tmp_path, 1500):
        assert names(tmp_path) == [os.path.join(bytes(tmp_path), b"d/" * 1500 + b"file")]


def test_a_tree_deeper_than_a_path_is_unreadable(tmp_path: Path) -> None:
    """Where paths become too long the folder comes as unreadable, and the scan goes on."""
    put(tmp_path / "z")
    (tmp_path / "deep").mkdir()
    with deep_tree(tmp_path / "deep", 2200):
        first, last = found(tmp_path)
    assert first.errno == errno.ENAMETOOLONG
    assert (last.name, last.errno) == (bytes(tmp_path / "z"), None)


def test_unreadable_folders_are_told(tmp_path: Path) -> None:
    """A folder that cannot be listed, or not entered, is told with its error, and the others come all the same."""
    for folder in ("closed", "listed", "open"):
        put(tmp_path / folder / "file")
    (tmp_path / "closed").chmod(0o300)
    (tmp_path / "listed").chmod(0o600)
    code = """
import sys
from tasks.crypto.scan import scan
for payload in scan(sys.argv[1:]):
    print(payload.name.decode(), payload.errno)
"""
    before = without_root_rights()
    top, inside = str(tmp_path), str(tmp_path / "listed" / "file")
    try:
        below, named = (run_python(code, path, before=before) for path in (top, inside))
    finally:
        for folder in ("closed", "listed"):
            (tmp_path / folder).chmod(0o700)
    denied = errno.EACCES
    assert below.stdout.decode().splitlines() == [
        f"{top}/closed {denied}",
        f"{top}/listed/file {denied}",
        f"{top}/open/file None",
    ], below.stderr
    assert named.stdout.decode().splitlines() == [f"{inside} {denied}"], named.stderr


def test_the_scan_is_lazy(tmp_path: Path) -> None:
    """Payloads come one by one: nothing is listed before it is asked for, and what vanishes meanwhile is left out."""
    for name in ("a/1", "b/1"):
        put(tmp_path / name)
    payloads = scan([str(tmp_path)])
    assert next(payloads).name == bytes(tmp_path / "a" / "1")
    (tmp_path / "b" / "1").unlink()
    assert list(payloads) == []


def test_a_folder_that_becomes_a_link_leads_nowhere(tmp_path: Path) -> None:
    """A folder that is swapped for a link in the middle of a walk is none, and one that moved away is walked on."""
    put(tmp_path / "far" / "secret")
    for name in ("tree/a/1", "tree/b/1", "tree/c/1", "tree/c/2"):
        put(tmp_path / name)
    tree = tmp_path / "tree"
    payloads = scan([str(tree)])
    assert next(payloads).name == bytes(tree / "a" / "1")
    shutil.rmtree(tree / "b")
    (tree / "b").symlink_to(tmp_path / "far")
    assert next(payloads) == Payload("file", bytes(tree / "b"), 0, skip=LINK)
    assert next(payloads).name == bytes(tree / "c" / "1")
    (tree / "c").rename(tmp_path / "moved")
    (tree / "c").symlink_to(tmp_path / "far")
    assert [payload.name for payload in payloads] == [bytes(tree / "c" / "2")]


def test_a_deep_tree_is_walked_back(tmp_path: Path) -> None:
    """Folders far up a branch are closed meanwhile and opened again; one that was swapped for a link is not."""
    here = tmp_path
    for _ in range(100):
        here /= "d"
        put(here / "z")
    payloads = scan([str(tmp_path)])
    deepest = next(payloads)
    assert deepest.name == bytes(here / "z")
    (tmp_path / "d" / "d").rename(tmp_path / "d" / "moved")
    (tmp_path / "d" / "d").symlink_to("moved")
    rest = list(payloads)
    opened = [payload for payload in rest if payload.errno is None]
    assert len(rest) == 99
    assert len(opened) == 63 + 1
