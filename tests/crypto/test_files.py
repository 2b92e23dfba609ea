"""Files are given names that nothing has, whatever the file system can do for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.crypto_fakes import run_python
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
