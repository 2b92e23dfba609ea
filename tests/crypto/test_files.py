"""Files are given names that nothing has, whatever the file system can do for it; folders are entered by no link."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.files import closed_after, open_folder, open_regular
from tests.support.crypto_fakes import descriptors, run_python
from tests.support.tracing import failing

LINK = "link,linkat"
RENAME = """
import os, sys
from tasks.files import rename_new
at = os.open(sys.argv[1], os.O_RDONLY)
for part, name in ((b"part", b"name"), (b"link", b"name of link")):
    try:
        rename_new(part, name, at)
        os.chdir(at)
        rename_new(os.fsdecode(name), f"{sys.argv[1]}/again {os.fsdecode(name)}")
    except FileExistsError:
        print(os.fsdecode(name))
"""
LACKS: dict[str, dict[str, str]] = {
    "nothing": {},
    "hard links": {"EPERM": LINK},
    "renames that replace nothing": {"EOPNOTSUPP": LINK, "EINVAL": "renameat2"},
    "the call itself": {"EPERM": LINK, "ENOSYS": "renameat2"},
}


@pytest.fixture(params=LACKS)
def before(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """What makes a file system of one that lacks something."""
    return failing(**LACKS[request.param]) if LACKS[request.param] else ()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a file and a link that have no names yet."""
    (tmp_path / "part").write_bytes(b"content")
    (tmp_path / "link").symlink_to("nowhere")
    return tmp_path


def test_a_name_that_nothing_has_is_given(folder: Path, before: tuple[str, ...]) -> None:
    """Relative to a folder, and by whole paths; the link stays a link."""
    ended = run_python(RENAME, str(folder), before=before)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert sorted(os.listdir(folder)) == ["again name", "again name of link"]
    assert (folder / "again name").read_bytes() == b"content"
    assert os.readlink(folder / "again name of link") == "nowhere"


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_nothing_is_replaced(folder: Path, before: tuple[str, ...], make: Callable[[Path], object]) -> None:
    """Neither a file nor a link is given a name that something has; both stay what they were called."""
    for name in ("name", "name of link"):
        make(folder / name)
    inodes = {name: os.lstat(folder / name).st_ino for name in os.listdir(folder)}
    ended = run_python(RENAME, str(folder), before=before)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"name\nname of link\n", b"")
    assert {name: os.lstat(folder / name).st_ino for name in os.listdir(folder)} == inodes


def test_folders_are_entered_one_by_one(tmp_path: Path) -> None:
    """From a path or a descriptor, which stays open; the ones that are missing are made for their owner if asked."""
    (tmp_path / "a").mkdir()
    before = descriptors()
    with pytest.raises(FileNotFoundError):
        open_folder(str(tmp_path), "a", "b")
    with closed_after(open_folder(str(tmp_path), "a")) as folder:
        for _ in range(2):
            with closed_after(open_folder(folder, "b", "c", make=True)) as made:
                assert os.fstat(made).st_ino == (tmp_path / "a" / "b" / "c").stat().st_ino
        assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
        assert os.listdir(folder) == ["b"]
    assert descriptors() == before


@pytest.mark.parametrize("place", ["root", "root/a", "root/a/b"])
@pytest.mark.parametrize("make", [False, True])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_nothing_but_a_folder_is_entered(tmp_path: Path, place: str, kind: str, *, make: bool) -> None:
    """A link anywhere on the way is not followed, wherever it leads, nor is a file taken for a folder."""
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "elsewhere" / "a" / "b").mkdir(parents=True)
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.touch()
    before = descriptors()
    with pytest.raises(NotADirectoryError):
        open_folder(str(tmp_path / "root"), "a", "b", make=make)
    assert descriptors() == before
    assert sorted((tmp_path / "elsewhere").rglob("*")) == [tmp_path / "elsewhere/a", tmp_path / "elsewhere/a/b"]


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_only_a_regular_file_is_opened(tmp_path: Path, kind: str) -> None:
    """By a name in a folder as by a path; whatever else has the name is neither followed nor waited for."""
    (tmp_path / "file").write_bytes(b"content")
    other = tmp_path / "other"
    if kind == "link":
        other.symlink_to("file")
    elif kind == "fifo":
        os.mkfifo(other)
    else:
        other.mkdir()
    before = descriptors()
    with closed_after(open_folder(str(tmp_path))) as folder:
        for name, at in (("file", folder), (str(tmp_path / "file"), None)):
            descriptor, length = open_regular(name, at)
            with closed_after(descriptor):
                assert os.read(descriptor, 99) == b"content"
                assert length == 7
        for name, at in (("other", folder), (str(other), None)):
            with pytest.raises(OSError, match=r"regular file|symbolic links"):
                open_regular(name, at)
    assert descriptors() == before
