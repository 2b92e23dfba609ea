"""Attacks on a vault and on what is around it, each run: nothing of anybody else is removed, read or changed."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.jobs import check
from tasks.crypto.scan import Walked, walk
from tasks.crypto.secret import KeyFile
from tasks.vault.lookup import snapshot_names
from tasks.vault.vault import Vault, init_vault, open_vault
from tests.support.commands import Command
from tests.support.crafted import craft
from tests.support.vaults import everything, files, small_disk

# Names of files that a vault has, in the folder of somebody else.
RUN = "0123456789abcdef"
OURS = (RUN, f"{RUN}-1", f"{RUN}-0001", "a" * 64, f"20260131T235900Z-{RUN}")
# The folders of a vault, as patterns.
FOLDERS = ("tmp", "objects", "packs", "index", "snapshots", "partials", "objects/??", "packs/??")
# A file of no other length is in the tree.
SECRET_BYTES = 12_347


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small file, and one that is a large object."""
    root = tmp_path / "tree"
    root.mkdir()
    (root / "small").write_bytes(b"small")
    (root / "large").write_bytes(random.randbytes(2 << 20))
    return root


@pytest.fixture
def vault(tmp_path: Path, key_file: Path, environment: dict[str, str]) -> Vault:
    """The vault of the test, which its commands know."""
    environment["THREADMILL_VAULT"] = str(tmp_path / "vault")
    return init_vault(environment["THREADMILL_VAULT"], KeyFile(str(key_file)).secret())


def commands(tree: Path, vault: Path) -> Iterator[list[str]]:
    """Everything that has to do with a vault."""
    for words in ("encrypt TREE", "verify", "prune --keep-last 1 --max-unused 0%", "restore latest BACK", "snapshots"):
        yield words.replace("TREE", str(tree)).replace("BACK", str(tree.with_name("back"))).split()
    yield ["check", str(tree)]
    yield ["cat", "latest", str(tree / "small")]
    yield ["status"]
    yield from (["vault", *words, str(vault)] for words in (["adopt"], ["init"], ["init", "--another"]))


def fill(folder: Path) -> dict[str, object]:
    """Put files of somebody else into a folder; all that is in it."""
    folder.mkdir(exist_ok=True, parents=True)
    for name in ("notes.txt", *OURS):
        if not (folder / name).exists():
            (folder / name).write_text("mine")
    return everything(folder)


@pytest.mark.parametrize("name", ["tmp", "objects", "packs/ab", "snapshots", "index", "."])
def test_a_folder_of_somebody_is_no_vault(
    threadmill: Command, tree: Path, key_file: Path, environment: dict[str, str], name: str
) -> None:
    """Whatever its folders and files are called: each command is refused, and all is there afterwards."""
    project = tree.with_name("project")
    fill(project / name)
    before = everything(project)
    environment["THREADMILL_VAULT"] = str(project)
    for words in commands(tree, project):
        done = threadmill(*words)
        assert done.returncode in ((1, 2) if words[0] == "status" else (2,)), words
        assert everything(project) == before, words


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
@pytest.mark.parametrize("there", [False, True])
def test_no_vault_is_made_through_a_link_of_another_user(
    threadmill: Command, key_file: Path, tmp_path: Path, *, there: bool
) -> None:
    """It leads to where that user wants a vault, a folder that is empty or not there."""
    target = tmp_path / "target"
    if there:
        target.mkdir()
    link = tmp_path / "vault"
    link.symlink_to(target)
    os.lchown(link, 65534, 65534)
    done = threadmill("vault", "init", str(link))
    assert (done.returncode, "is a link of another user" in done.stderr) == (2, True)
    assert len(done.stderr.splitlines()) == 1
    assert there == target.exists()
    assert not there or list(target.iterdir()) == []


@pytest.mark.parametrize("name", FOLDERS)
def test_nothing_is_removed_through_a_link(threadmill: Command, tree: Path, vault: Vault, name: str) -> None:
    """A folder of the vault that is a link by now is not followed: nothing comes into the other one or goes from it.

    The lines of `verify` say so.
    """
    assert threadmill("encrypt", str(tree)).returncode == 0
    (way,) = Path(vault.root).glob(name)
    outside = tree.with_name("outside")
    shutil.move(way, outside)
    way.symlink_to(outside)
    before = fill(outside)
    codes = []
    for words in commands(tree, Path(vault.root)):
        (tree / "small").write_bytes(b"%d" % random.getrandbits(60))
        done = threadmill(*words)
        codes.append(done.returncode)
        assert everything(outside) == before, words
        assert way.is_symlink()
        assert words[0] != "verify" or f"file {way.relative_to(vault.root)} foreign" in done.stderr
    assert set(codes) <= {0, 1, 2}


@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "folder"])
@pytest.mark.parametrize("name", ["vault.json", "lock", "packs/??/*", "index/*", "snapshots/*", "objects/??/*"])
def test_what_is_no_file_of_ours_is_neither_followed_nor_waited_for(
    threadmill: Command, tree: Path, vault: Vault, name: str, kind: str
) -> None:
    """In place of a file of the vault: each command ends, and the file that a link leads to stays as it is."""
    assert threadmill("encrypt", str(tree)).returncode == 0
    (way,) = Path(vault.root).glob(name)
    outside = tree.with_name("outside")
    outside.write_bytes(way.read_bytes())
    outside.chmod(0o640)
    way.unlink()
    if kind == "link":
        way.symlink_to(outside)
    elif kind == "hard link":
        os.link(outside, way)
    elif kind == "fifo":
        os.mkfifo(way)
    else:
        fill(way)
    before = outside.read_bytes(), outside.stat().st_mode, outside.stat().st_mtime_ns
    for words in list(commands(tree, Path(vault.root)))[:4]:
        assert threadmill(*words).returncode in (0, 1, 2), words
        assert (outside.read_bytes(), outside.stat().st_mode, outside.stat().st_mtime_ns) == before, words
        assert kind != "folder" or way.name == "lock" or (way / "notes.txt").exists(), words


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt", "tmp/notes.txt", "tmp/0123456789ABCDEF", "tmp/0123456789abcdef-1x", "tmp/0123456789abcde",
        "index/" + "g" * 64, "index/" + "a" * 63, "packs/ab/" + "a" * 64, "packs/abc/" + "a" * 64, "objects/notes.txt",
        "objects/AB/" + "AB" * 32, "snapshots/20260131T235900Z-0123456789abcde", "partials/0123456789abcdef-1",
    ],
)  # fmt: skip
def test_names_that_are_nearly_ours_are_foreign(threadmill: Command, tree: Path, vault: Vault, name: str) -> None:
    """Every other name is left where it is, and said."""
    path = Path(vault.root, name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    for words in commands(tree, Path(vault.root)):
        done = threadmill(*words)
        assert path.read_text() == "mine", words
        assert words[0] != "verify" or "foreign (" in done.stderr
    assert snapshot_names(vault.root)


# Exchanges pairs of paths, over and over, until its input ends.
EXCHANGE = """
import ctypes, os, select, sys
renameat2, paths = ctypes.CDLL(None).renameat2, [os.fsencode(path) for path in sys.argv[1:]]
print(renameat2(-100, paths[0], -100, paths[1], 2), flush=True)
while not select.select([0], [], [], 0)[0]:
    for one, other in zip(paths[::2], paths[1::2]):
        renameat2(-100, one, -100, other, 2)
"""


@contextmanager
def exchanging(*paths: Path) -> Iterator[None]:
    """Have a process exchange the first path with the second one, the third with the fourth, and so on."""
    command = [sys.executable, "-c", EXCHANGE, *map(str, paths)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as racer:
        assert racer.stdout
        assert racer.stdin
        if racer.stdout.readline() != b"0\n":
            pytest.skip("the file system cannot exchange two names")
        try:
            yield
        finally:
            racer.stdin.close()


@pytest.mark.parametrize("kept", [True, False])
def test_nothing_outside_is_read_through_an_exchanged_link(
    threadmill: Command, tree: Path, vault: Vault, environment: dict[str, str], kept: bool
) -> None:
    """While its owner exchanges folders and files of a tree for links and a FIFO, a run never reads what they lead to.

    As a backup by root would meet it, with and without a vault, and `check` of the same tree.
    """
    outside = tree.with_name("outside")
    (outside / "deep").mkdir(parents=True)
    for number in range(5):
        for name in ("", "deep/"):
            (outside / f"{name}{number}").write_bytes(random.randbytes(SECRET_BYTES))
    shutil.copytree(outside, tree / "folder")
    for path in (tree / "folder").rglob("?"):
        path.write_bytes(b"own")
    (tree / "file").write_bytes(b"own")
    (tree / "other").write_bytes(b"own")
    (tree / "link to a folder").symlink_to(outside)
    (tree / "link to a deep folder").symlink_to(outside / "deep")
    (tree / "link to a file").symlink_to(outside / "0")
    os.mkfifo(tree / "fifo")
    pairs = ("folder", "link to a folder"), ("file", "link to a file"), ("other", "fifo")
    with exchanging(*(tree / name for pair in pairs for name in pair)):
        for _ in range(8):
            for words in (["encrypt", *([] if kept else ["--discard"])], ["check", "--all"]):
                done = threadmill(*words, "--json", str(tree))
                assert done.returncode in (0, 1, 3), done.stderr
    with closing(sqlite3.connect(Path(environment["THREADMILL_HOME"], "history.sqlite"))) as record:
        sizes = {size for (size,) in record.execute("SELECT size_bytes FROM encryption")}
    assert SECRET_BYTES not in sizes
    assert 3 in sizes
    for name in snapshot_names(vault.root):
        assert SECRET_BYTES not in {one.facts.size_bytes for one in files(vault, name)}


def test_a_file_without_room_stops_nobody_else(
    threadmill: Command, tree: Path, key_file: Path, environment: dict[str, str]
) -> None:
    """A file of one user that does not fit on the disk fails, and a sparse one of a terabyte costs nothing."""
    (tree / "sparse").touch()
    os.truncate(tree / "sparse", 1 << 40)
    with small_disk(tree.with_name("disk"), "1m") as disk:
        environment["THREADMILL_VAULT"] = str(disk / "vault")
        assert threadmill("vault", "init", str(disk / "vault")).returncode == 0
        done = threadmill("encrypt", str(tree))
        assert done.returncode == 1
        assert "2 new, 0 unchanged, 0 marked, 0 skipped, 1 missed, 0 gone" in done.stderr
        assert f"large failed: vault {disk}/vault: cannot be written: No space left on device" in done.stderr
        assert threadmill("verify").returncode == 0
        assert threadmill("restore", "latest", str(tree.with_name("back"))).returncode == 0
    back = Path(f"{tree.with_name('back')}{tree}")
    assert sorted(path.name for path in back.iterdir()) == ["small", "sparse"]
    assert ((back / "sparse").stat().st_size, (back / "sparse").stat().st_blocks) == (1 << 40, 0)


def test_files_that_are_too_large_are_left_out_and_said(threadmill: Command, tree: Path, vault: Vault) -> None:
    """A limit on size is the user's wish: no fault for encrypt, nor for check; what was there before is gone."""
    os.truncate(tree / "small", 1 << 40)
    (tree / "other").write_bytes(b"other")
    assert threadmill("encrypt", str(tree), "--max-size", "2MiB").returncode == 0
    assert {Path(os.fsdecode(one.path)).name for one in files(vault)} == {"large", "other"}
    checked = json.loads(threadmill("check", str(tree), "--all", "--json").stdout)["files"]
    assert {Path(one["name"]).name: one["verdict"] for one in checked} == {
        "large": "same", "other": "same", "small": "skipped",
    }  # fmt: skip
    again = threadmill("encrypt", str(tree), "--max-size", "1.5 MB")
    assert again.returncode == 0
    assert "2 skipped, 0 missed, 1 gone" in again.stdout
    assert "larger than --max-size: 2 files" in again.stdout
    rows = json.loads(threadmill("history", "payloads", "--status", "skipped", "--json").stdout)
    assert {(one["cause"], one["error"]) for one in rows} == {("too-large", "larger than --max-size")}
    for words in (["--max-size", "0B"], ["--max-size", "10%"], ["--max-size", "1MB", "--discard"]):
        assert threadmill("encrypt", str(tree), *words).returncode == 2


def test_check_reads_nothing_through_a_folder_that_became_a_link(
    threadmill: Command, tree: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is exchanged between the walk and the reading is not followed, although the same file is there."""
    (tree / "folder").mkdir()
    (tree / "folder" / "file").write_bytes(b"content")
    assert threadmill("encrypt", str(tree), "--discard").returncode == 0

    def walked(*arguments: Any) -> Iterator[Walked]:
        found = list(walk(*arguments))
        (tree / "folder").rename(tree.with_name("moved"))
        (tree / "folder").symlink_to(tree.with_name("moved"))
        yield from found

    monkeypatch.setattr(check, "walk", walked)
    done = threadmill("check", str(tree), "--all", "--json")
    verdicts = {Path(one["name"]).name: one["verdict"] for one in json.loads(done.stdout)["files"]}
    assert verdicts == {"file": "unreadable", "small": "same", "large": "same"}


@pytest.mark.parametrize("planted", [False, True])
def test_sizes_that_nobody_can_have_are_verdicts(
    threadmill: Command, tree: Path, vault: Vault, environment: dict[str, str], planted: bool
) -> None:
    """Without the key, a snapshot may claim any size, and have sparse objects of that size beside it."""
    del environment["THREADMILL_KEY_FILE"]
    size = 2**63 - 17
    names = ["a" * 64, "b" * 64]
    lines = [
        b'{"path":"%b","type":"file","mode":420,"mtime_ns":1,"ctime_ns":1,"inode":1,"size":%d,"object":"%b"}\n'
        % (name[:1].encode(), size, name.encode())
        for name in names
    ]
    with small_disk(tree.with_name("disk"), "10m") as disk:
        copy = shutil.copytree(vault.root, disk / "vault")
        for name in names if planted else ():
            path = copy / "objects" / name[:2] / name
            path.parent.mkdir()
            with path.open("wb") as file:
                file.truncate(size + 16)
        craft(open_vault(str(copy), vault.need_key().secret), lines, sequence=3, totals=(2, 2, 2 * size))
        environment["THREADMILL_VAULT"] = str(copy)
        done = threadmill("verify")
        assert done.returncode == 1
        status = "changed" if planted else "missing"
        assert sorted(line.partition(" (")[0] for line in done.stderr.splitlines()[:-1]) == [
            f"object {name} of /{name[0]} {status}" for name in names
        ]
        assert done.stderr.splitlines()[-1].endswith("FAULTS: 2")
        for words in (["status"], ["history", "show", "1"], ["history", "proofs"]):
            assert threadmill(*words).returncode in (0, 1), words
