"""Bringing files back: as they were, where they belong, over nothing, and again after any end."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.files import ACCESS_ACL, DEFAULT_ACL, rename_new
from tasks.vault import portions
from tasks.vault import restore as restoring
from tasks.vault.entries import FileEntry, LinkEntry
from tasks.vault.errors import SnapshotInvalid, TargetUnusable
from tasks.vault.lookup import find_snapshot
from tasks.vault.packs import PackWriter
from tasks.vault.portions import RestorePlan, RestorePortion, Wanted
from tasks.vault.restore import restore_portion
from tasks.vault.snapshots import open_snapshot
from tasks.vault.target import locked_target, make_target
from tests.support.crafted import craft, line_of
from tests.support.crypto_fakes import ROOT, run_python
from tests.support.tracing import failing
from tests.support.vaults import (
    Place,
    content,
    entries,
    everything,
    files,
    make_place,
    more_room,
    restore,
    restored,
    small_disk,
)
from tests.vault.test_entries import folder


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A vault and a tree of a few files."""
    place = make_place(tmp_path)
    for name in ("a", "b/c", "b/d"):
        place.put(name)
    return place


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where to."""
    return tmp_path / "target"


def statuses(place: Place, target: Path, *paths: bytes, overwrite: bool = False) -> dict[str, str]:
    """`ok` for each wanted file, and the faults."""
    wanted = Wanted.below(paths)
    found = {os.path.basename(one.path).decode(): "ok" for one in files(place.vault) if one in wanted}
    verdicts = restore(place.vault, "latest", target, *paths, overwrite=overwrite)
    return found | {os.path.basename(verdict.path or b"").decode(): verdict.status for verdict in verdicts}


def test_everything_comes_back(place: Place, target: Path) -> None:
    """Contents, modes, times, links, empty folders, and names of any bytes; setuid and setgid bits are dropped."""
    odd = os.fsdecode(bytes(place.tree) + b"/\xff\xfe")
    Path(odd).write_bytes(b"odd")
    for name in ("two\nlines", "x" * 255, "ü", "-", "with space", ".hidden", "a.b", "\\", "ends\n"):
        place.put(name)
    place.put("empty", b"")
    place.put("big", random.randbytes(3_000_001))
    (place.tree / "hollow").mkdir()
    for name, to in (("dangling", "nowhere"), ("out", "/etc/passwd"), ("up", "../.."), ("in", "b"), ("odd", b"\xff")):
        os.symlink(to, bytes(place.tree / name))
    closed = 0o000 if os.geteuid() == 0 else 0o400
    for name, mode in (("a", closed), ("b/c", 0o777), ("b", 0o555), ("hollow", 0o1777), ("empty", 0o400)):
        (place.tree / name).chmod(mode)
    for name, time_s in (("a", -1), ("b/d", 0), ("hollow", -(10**9)), ("dangling", 12345)):
        os.utime(place.tree / name, ns=(0, time_s * 10**9 + 7), follow_symlinks=False)
    os.utime(place.tree, ns=(0, 5))
    place.add()
    assert everything(place.restored(target)) == everything(place.tree)
    # Only what is restored has its mode and time; folders on the way are made.
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    (place.tree / "big").chmod(0o7755)
    (place.tree / "hollow").chmod(0o7755)
    place.add()
    assert restore(place.vault, "latest", target, overwrite=True) == []
    assert [stat.S_IMODE(Path(f"{target}{place.tree}/{name}").stat().st_mode) for name in ("big", "hollow")] == [
        0o1755
    ] * 2
    assert {content(place.vault, one) for one in files(place.vault) if one.path.endswith(b"\xff\xfe")} == {b"odd"}


def test_again_restores_nothing(place: Place, target: Path) -> None:
    """A second time everything is there: proven again, and not written again."""
    place.add()
    first = place.restored(target)
    before = {path: path.stat().st_ino for path in first.rglob("*")}
    (again,) = restored(place.vault, "latest", target)
    assert again.verdicts == ()
    assert (again.same, again.restored) == (3, 0)
    assert {path: path.stat().st_ino for path in first.rglob("*")} == before


def test_parts_come_back(place: Place, target: Path) -> None:
    """Paths by their absolute name or as listed, files or folders; what the snapshot does not have is told."""
    place.add()
    assert set(statuses(place, target, bytes(place.tree / "b"))) == {"c", "d"}
    assert set(statuses(place, target, bytes(place.tree / "a")[1:])) == {"a"}
    with open_snapshot(place.vault, find_snapshot(place.vault, "latest")) as opened:
        with RestorePlan(opened, Wanted.below([b"/nowhere", bytes(place.tree / "b")])) as some:
            assert (some.missing, some.files, some.size_bytes) == ((b"nowhere",), 2, 66)
        with RestorePlan(opened, Wanted.below([b"/"])) as everything_wanted:
            assert (everything_wanted.missing, everything_wanted.files) == ((), 3)


@pytest.mark.parametrize("kind", ["file", "same size", "link", "folder", "fifo"])
def test_nothing_is_restored_over_anything(place: Place, target: Path, kind: str) -> None:
    """What is in the way stays and is named; the others are restored. With `overwrite` files and links are replaced."""
    place.add()
    way = Path(f"{target}{place.tree}/b/c")
    way.parent.mkdir(parents=True)
    elsewhere = target.with_name("elsewhere")
    elsewhere.write_bytes(b"elsewhere")
    if kind in ("file", "same size"):
        way.write_bytes(b"x" * (33 if kind == "same size" else 1))
    elif kind == "link":
        way.symlink_to(elsewhere)
    elif kind == "folder":
        way.mkdir()
    else:
        os.mkfifo(way)
    before = everything(way.parent)["c"] if kind != "fifo" else None
    assert statuses(place, target) == {"a": "ok", "c": "not-written", "d": "ok"}
    if kind != "fifo":
        assert everything(way.parent)["c"] == before
    assert sorted(path.name for path in way.parent.iterdir()) == ["c", "d"]
    assert statuses(place, target, overwrite=True)["c"] == ("not-written" if kind == "folder" else "ok")
    assert kind == "folder" or way.read_bytes() == (place.tree / "b" / "c").read_bytes()
    assert elsewhere.read_bytes() == b"elsewhere"


RESTORE = """
import sys
from pathlib import Path
from tasks.crypto.secret import KeyFile
from tasks.vault.vault import open_vault
from tests.support.vaults import restore
verdicts = restore(open_vault(sys.argv[1], KeyFile(sys.argv[2]).secret()), "latest", Path(sys.argv[3]))
print([verdict.status for verdict in verdicts])
"""


def test_a_target_without_hard_links_and_modes(place: Place, target: Path) -> None:
    """As on FAT, what can be kept comes back, again too, and over nothing."""
    place.add()
    arguments = (place.vault.root, place.key.path, str(target))
    before = failing(EPERM="link,linkat,fchmod", EINVAL="renameat2")
    for _ in range(2):
        ended = run_python(RESTORE, *arguments, before=before)
        assert (ended.stdout, ended.stderr) == (b"[]\n", b"")
    for name in ("a", "b/c", "b/d"):
        assert Path(f"{target}{place.tree}/{name}").read_bytes() == (place.tree / name).read_bytes()
    Path(f"{target}{place.tree}/a").write_bytes(b"another")
    assert run_python(RESTORE, *arguments, before=before).stdout == b"['not-written']\n"
    assert Path(f"{target}{place.tree}/a").read_bytes() == b"another"


@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_is_written_through_a_link(place: Place, target: Path, overwrite: bool) -> None:
    """A link where a folder belongs is not followed; all that would be below it is named."""
    place.add()
    elsewhere = target.with_name("elsewhere")
    elsewhere.mkdir()
    way = Path(f"{target}{place.tree}/b")
    way.parent.mkdir(parents=True)
    way.symlink_to(elsewhere)
    found = statuses(place, target, overwrite=overwrite)
    assert found == {"a": "ok", "b": "not-written", "c": "not-written", "d": "not-written"}
    assert list(elsewhere.iterdir()) == []


def test_a_link_that_is_there_is_left(place: Place, target: Path) -> None:
    """The same link is as it is to be; another one is in the way, and replaced when asked."""
    (place.tree / "link").symlink_to("a")
    place.add()
    way = Path(f"{target}{place.tree}/link")
    way.parent.mkdir(parents=True)
    way.symlink_to("b")
    assert statuses(place, target)["link"] == "not-written"
    assert os.readlink(way) == "b"
    assert "link" not in statuses(place, target, overwrite=True)
    assert os.readlink(way) == "a"


def test_links_below_each_other_never_lead_out(place: Place, target: Path) -> None:
    """A snapshot whose link would be a folder for the next entry is refused."""
    line = files_of(place)[0]
    lines = [LinkEntry(b"l", 0, bytes(target.with_name("elsewhere"))).line(), line.replace(b'"path":"', b'"path":"l/')]
    name = craft(place.vault, lines, sequence=9, totals=(2, 1, 31))
    target.with_name("elsewhere").mkdir()
    with pytest.raises(SnapshotInvalid):
        restore(place.vault, name, target)
    assert list(target.with_name("elsewhere").iterdir()) == []


def files_of(place: Place) -> list[bytes]:
    place.add()
    return [line_of(entry) for entry in entries(place.vault) if isinstance(entry, FileEntry)]


def test_a_file_with_the_name_of_a_part_stays(place: Place, target: Path) -> None:
    """What an interrupted restore left in the tree was encrypted with it; it comes back and is not taken for ours."""
    place.add()
    restored = place.restored(target)
    names: set[str] = set()
    unlink = os.unlink

    def noting(name: bytes, **options: int) -> None:
        names.add(os.fsdecode(name))
        unlink(name, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", noting)
        place.restored(target)
    (restored / "b").joinpath("new").touch()
    for name in names:
        place.put(f"b/{name}", b"left")
    place.add()
    again = place.restored(target.with_name("again"))
    assert everything(again) == everything(place.tree)


@pytest.mark.parametrize("kind", ["file", "nowhere", "link to a file"])
def test_a_target_that_is_none_is_said(place: Place, target: Path, kind: str) -> None:
    """A file, a folder in one that is not there: said, and nothing is made."""
    place.add()
    if kind == "file":
        target.touch()
    elif kind == "nowhere":
        target /= "x/y"
    else:
        target.symlink_to(place.key.path)
    with pytest.raises(TargetUnusable, match="cannot be used"):
        restore(place.vault, "latest", target)


def test_a_full_target_is_said(tmp_path: Path) -> None:
    """No room: said, nothing half-written under a name; with room, doing it again finishes it."""
    place = make_place(tmp_path)
    for number in range(4):
        place.put(f"{number}", random.randbytes(100_000))
    place.add()
    with small_disk(tmp_path / "disk", "250k") as disk:
        with pytest.raises(TargetUnusable, match="No space left"):
            restore(place.vault, "latest", disk / "target")
        there = [path for path in disk.rglob("*") if path.is_file()]
        assert {path.name for path in there} == {"0", "1"}
        assert all(path.read_bytes() == (place.tree / path.name).read_bytes() for path in there)
        more_room(disk, "4m")
        assert everything(place.restored(disk / "target")) == everything(place.tree)


def only_portion(place: Place) -> RestorePortion:
    """The portion of a snapshot that has one."""
    with (
        open_snapshot(place.vault, find_snapshot(place.vault, "latest")) as opened,
        RestorePlan(opened, Wanted()) as plan,
    ):
        (portion,) = plan.portions()
    return portion


def test_a_cancelled_restore_leaves_whole_files(place: Place, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends between two files, and folders are closed to others until the next one finishes them."""
    place.add()
    cancel = CancelToken()
    rename = rename_new

    def cancelling(*names: Any) -> None:
        cancel.cancel()
        rename(*names)

    monkeypatch.setattr(restoring, "rename_new", cancelling)
    done = restore_portion(place.vault, only_portion(place), make_target(str(target)), overwrite=False, cancel=cancel)
    assert (done.restored, done.verdicts) == (1, ())
    assert isinstance(done.error, Cancelled)
    monkeypatch.undo()
    assert [path.name for path in target.rglob("*") if path.is_file()] == ["a"]
    assert {path.stat().st_mode & 0o77 for path in target.rglob("*") if path.is_dir()} == {0}
    back = place.restored(target)
    assert everything(back) == everything(place.tree)
    assert back.stat().st_mtime_ns == place.tree.stat().st_mtime_ns


@pytest.mark.parametrize("entries_each", [1, 2, 3])
def test_portions_come_to_the_same(
    place: Place, target: Path, monkeypatch: pytest.MonkeyPatch, entries_each: int
) -> None:
    """However a snapshot is cut, folders get their modes and times once they are left, and not before."""
    monkeypatch.setattr(portions, "PORTION_ENTRIES", entries_each)
    for name in ("x/y/z/1", "x/y/z/2", "x/y/3", "x/4", "z/5"):
        place.put(name)
    for name in ("x/y/z", "x/y", "x", "b"):
        (place.tree / name).chmod(0o500)
        os.utime(place.tree / name, ns=(0, len(name)))
    place.add()
    done = list(restored(place.vault, "latest", target))
    assert len(done) >= 14 // entries_each
    assert not any(one.verdicts for one in done)
    assert sum(one.restored for one in done) == 8
    assert everything(Path(f"{target}{place.tree}")) == everything(place.tree)


@pytest.mark.parametrize("entries_each", [1, 2])
def test_a_stretch_without_wanted_entries_is_in_no_portion(
    place: Place, target: Path, monkeypatch: pytest.MonkeyPatch, entries_each: int
) -> None:
    """The first and the last file are wanted: the folder above both is settled at the end."""
    monkeypatch.setattr(portions, "PORTION_ENTRIES", entries_each)
    monkeypatch.setattr(portions, "PORTION_LINES_BYTES", 1)
    for number in range(20):
        place.put(f"x/{number:02}")
    (place.tree / "x").chmod(0o500)
    place.add()
    wanted = [bytes(place.tree / "x" / name) for name in ("00", "19")]
    assert statuses(place, target, *wanted) == {"00": "ok", "19": "ok"}
    assert sorted(path.name for path in target.rglob("*") if path.is_file()) == ["00", "19"]
    assert stat.S_IMODE(Path(f"{target}{place.tree}/x").stat().st_mode) == 0o500


def test_a_target_that_was_replaced_is_refused(place: Place, target: Path) -> None:
    """Another folder at the path of the target, or none, since the restore was planned."""
    place.add()
    portion, folder_ = only_portion(place), make_target(str(target))
    target.rename(target.with_name("moved"))
    for message in ("No such file", "another folder is there"):
        with pytest.raises(TargetUnusable, match=message):
            restore_portion(place.vault, portion, folder_, False, CancelToken())
        target.mkdir(exist_ok=True)
    assert list(target.iterdir()) == list(target.with_name("moved").iterdir()) == []


def make_deep(base: Path, levels: int) -> None:
    descriptor = os.open(base, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    file = os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor)
    os.write(file, b"deep")
    os.close(file)
    os.close(descriptor)


@pytest.mark.slow
@pytest.mark.parametrize("entries_each", [100, 5_000])
def test_a_deep_tree_comes_back(place: Place, target: Path, monkeypatch: pytest.MonkeyPatch, entries_each: int) -> None:
    """1,200 levels, in one portion or in twelve, with no more descriptors than a process usually may have."""
    monkeypatch.setattr(portions, "PORTION_ENTRIES", entries_each)
    make_deep(place.tree, 1200)
    place.add()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        found = statuses(place, target)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == {"a": "ok", "c": "ok", "d": "ok", "f": "ok"}
    subprocess.run(["diff", "-r", place.tree, f"{target}{place.tree}"], check=True)
    for tree in (place.tree, target):
        subprocess.run(["rm", "-rf", tree], check=True)


@pytest.mark.slow
def test_killed_at_any_moment(place: Place, target: Path, dice: random.Random) -> None:
    """Twenty restores that are killed: what has its name is whole, and the next one finishes the work.

    The first ones are not, and say how long one takes here: the kills come within that time.
    """
    for number in range(300):
        place.put(f"many/{number}", random.randbytes(3000))
    place.add()
    whole = everything(place.tree)
    command = [sys.executable, "-c", FORK, place.vault.root, place.key.path]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forker:
        assert forker.stdin
        assert forker.stdout
        took_s: list[float] = []
        killed = 0
        for turn in range(23):
            where = target.with_name(f"target{turn}")
            forker.stdin.write(f"{where}\n")
            forker.stdin.flush()
            begun = time.monotonic()
            pid = int(forker.stdout.readline())
            if turn >= 3:
                time.sleep(dice.random() * min(took_s))
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed += forker.stdout.readline() == "9\n"
            if turn < 3:
                took_s.append(time.monotonic() - begun)
            base = Path(f"{where}{place.tree}")
            for path in base.rglob("*") if base.exists() else ():
                if path.is_file() and not path.name.startswith(".threadmill-"):
                    assert path.read_bytes() == (place.tree / path.relative_to(base)).read_bytes()
            assert everything(place.restored(where)) == whole
        forker.stdin.close()
    assert killed >= 5


# One interpreter that is ready forks a child for each: starting twenty takes longer than all that is to be seen.
FORK = """
import os, sys
from pathlib import Path
from tasks.crypto.secret import KeyFile
from tasks.vault.vault import open_vault
from tests.support.vaults import restore
vault = open_vault(sys.argv[1], KeyFile(sys.argv[2]).secret())
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        restore(vault, "latest", Path(line.strip()))
        os._exit(0)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


def test_folders_that_nobody_listed_are_made(place: Place, target: Path) -> None:
    """A snapshot of one file has the file alone; the folders on its way are made."""
    place.add(place.tree / "b" / "c")
    assert [entry.path for entry in entries(place.vault)] == [bytes(place.tree / "b" / "c")[1:]]
    assert statuses(place, target) == {"c": "ok"}
    craft(place.vault, [line_of(folder(b"x/y/z"))], sequence=9)
    restore(place.vault, "latest", target)
    assert (target / "x" / "y" / "z").is_dir()


def sparse(path: Path, size: int, *data: tuple[int, bytes]) -> None:
    """A file with holes around pieces of data."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset, content in data:
            file.seek(offset)
            file.write(content)


def test_holes_come_back_as_holes(place: Place, target: Path) -> None:
    """Data lies where it lay, the rest reads as zeros and takes no room; a second time it is there already."""
    block, gib = 64 << 10, 1 << 30
    cases: dict[str, tuple[int, list[tuple[int, bytes]]]] = {
        "nothing": (2 * gib, []),
        "begin": (gib, [(0, random.randbytes(block))]),
        "end": (gib, [(gib - block, random.randbytes(block))]),
        "middle": (gib + 1, [(block, b"a" * block), (gib // 2, random.randbytes(3 * block))]),
        "large": (gib, [(gib // 4, random.randbytes(17 << 20)), (gib // 2, b"text" * (4 << 20))]),
    }
    for name, (size, data) in cases.items():
        sparse(place.tree / name, size, *data)
    place.add()
    base = place.restored(target)
    for name, (size, data) in cases.items():
        status = (base / name).stat()
        assert status.st_size == size
        assert status.st_blocks * 512 <= sum(len(content) for _, content in data) + 4 * block
        with (base / name).open("rb") as file:
            for offset, content in data:
                file.seek(offset)
                assert file.read(len(content)) == content
    subprocess.run(["cmp", base / "middle", place.tree / "middle"], check=True)
    (again,) = restored(place.vault, "latest", target)
    assert (again.restored, again.same) == (0, 3 + len(cases))
    with (base / "nothing").open("r+b") as file:
        file.seek(gib)
        file.write(b"x")
    assert statuses(place, target)["nothing"] == "not-written"


def test_the_good_copy_of_two_is_restored(place: Place, target: Path) -> None:
    """An object that lies in two packs comes back as long as one copy is whole."""
    place.add()
    copy = PackWriter(place.vault)
    (first,) = (place.root / "packs").glob("??/*")
    with copy:
        for entry in files(place.vault):
            stored = subprocess.run(
                ["tar", "-xOf", first, entry.content.object], check=True, capture_output=True
            ).stdout
            copy.reserve(len(stored))[: len(stored)] = stored
            copy.add(bytes.fromhex(entry.content.object), len(stored))
            if entry.path.endswith(b"a"):
                copy.commit()
        copy.commit()
    raw = bytearray(first.read_bytes())
    raw[600:] = bytes(byte ^ 1 for byte in raw[600:])
    first.write_bytes(raw)
    assert set(statuses(place, target).values()) == {"ok"}
    assert everything(Path(f"{target}{place.tree}")) == everything(place.tree)


def test_an_object_may_be_content_and_a_compressed_form(place: Place, target: Path) -> None:
    """A file of zeros and a file that is their zstd frame have one object; each comes back as it was."""
    zeros = place.put("zeros", bytes(10_000))
    place.put("frame", zstandard.ZstdCompressor(3).compress(bytes(10_000)))
    place.add(zeros.parent)
    assert len({entry.content.object for entry in files(place.vault)}) == len(files(place.vault)) - 1
    assert set(statuses(place, target).values()) == {"ok"}
    assert everything(Path(f"{target}{place.tree}")) == everything(place.tree)


def test_files_go_back_to_their_own_places_through_a_link(place: Place, tmp_path: Path) -> None:
    """Links above a source, or in its place, are followed as they were by reading; links below it are not."""
    real, link, elsewhere = tmp_path / "real", tmp_path / "link", tmp_path / "elsewhere"
    (real / "source" / "in").mkdir(parents=True)
    (real / "source" / "in" / "file").write_bytes(b"1")
    (real / "source" / "out").symlink_to(elsewhere)
    (real / "other").write_bytes(b"2")
    (tmp_path / "next").symlink_to("./real/")
    link.symlink_to(tmp_path / "next")
    (tmp_path / "to a file").symlink_to("link/../real/other")
    before = everything(real)
    for sources in ([link / "source"], [link], [tmp_path / "to a file", link / "source"]):
        place.add(*sources)
        (real / "source" / "in" / "file").unlink()
        (real / "source" / "out").unlink()
        if len(sources) == 2:
            (real / "other").unlink()
        # Told to overwrite, it also gives folders that are there their times.
        assert restore(place.vault, "latest", Path("/"), overwrite=True) == []
        assert everything(real) == before
        assert link.is_symlink()
    shutil.rmtree(real / "source" / "in")
    elsewhere.mkdir()
    (real / "source" / "in").symlink_to(elsewhere)
    assert {verdict.status for verdict in restore(place.vault, "latest", Path("/"))} == {"not-written"}
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / str(tmp_path).lstrip("/")).parent.mkdir(parents=True)
    (tmp_path / "target" / str(tmp_path).lstrip("/")).symlink_to(elsewhere)
    assert restore(place.vault, "latest", tmp_path / "target")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="links of other users are made by root")
@pytest.mark.parametrize("whose", ["link", "folder", "file", "next link"])
def test_a_link_that_another_user_can_change_is_not_followed(place: Place, tmp_path: Path, whose: str) -> None:
    """Whoever can change a link above a source would have root write anywhere."""
    above = tmp_path / "above"
    above.mkdir()
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_bytes(b"1")
    (above / "link").symlink_to(tmp_path / "real" / ("file" if whose == "file" else ""))
    if whose == "next link":
        (above / "next").mkdir()
        (above / "link").rename(above / "next" / "real")
        (above / "link").symlink_to("next/../next/real/")
        os.chown(above / "next", 65534, -1)
    place.add(above / "link")
    (tmp_path / "real" / "file").unlink()
    if whose != "next link":
        os.chown(above if whose == "folder" else above / "link", 65534, -1, follow_symlinks=False)
    (verdict, *_) = restore(place.vault, "latest", Path("/"))
    assert verdict.error == "a link on the way to it can be changed by other users, and is not followed"
    assert list((tmp_path / "real").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="root enters every folder, and can be a plain user for a while")
def test_modes_that_keep_their_owner_out_are_no_fault() -> None:
    """A second restore by a plain user enters folders and reads files of mode 0000, and all have their modes again."""
    base = Path(tempfile.mkdtemp(prefix="threadmill-"))
    try:
        place = make_place(base)
        for name in ("a", "none/b", "none/in/c", "read/d"):
            place.put(name)
        modes = {"a": 0o000, "none/in": 0o000, "none": 0o000, "read": 0o500}
        for name, mode in modes.items():
            (place.tree / name).chmod(mode)
        place.add()
        subprocess.run(["chown", "-R", "65534", base], check=True)
        back = base / "target" / str(place.tree).lstrip("/")
        os.seteuid(65534)
        try:
            for lost in (None, "none/in/c", "read/d"):
                if lost is not None:
                    os.seteuid(0)
                    (back / lost).unlink()
                    os.seteuid(65534)
                assert restore(place.vault, "latest", base / "target") == []
        finally:
            os.seteuid(0)
        assert without_folder_times(back) == without_folder_times(place.tree)
        (back / "a").write_bytes(b"other")
        os.seteuid(65534)
        try:
            assert [one.status for one in restore(place.vault, "latest", base / "target")] == ["not-written"]
        finally:
            os.seteuid(0)
        assert stat.S_IMODE((back / "a").stat().st_mode) == 0o000
    finally:
        shutil.rmtree(base)


def without_folder_times(folder: Path) -> dict[str, object]:
    """All that is below a folder, but for the times of folders: a file that comes back changes that of its own."""
    found = everything(folder)
    return {name: facts if not Path(folder, name).is_dir() else facts[::2] for name, facts in found.items()}  # type: ignore[index]


def test_what_was_there_is_not_touched(place: Place, target: Path) -> None:
    """Modes, times and change times of folders and files that were there stay, unless restore is told to overwrite."""
    place.put("b/new")
    for name, mode in (("", 0o755), ("b", 0o777), ("b/c", 0o666), ("a", 0o644)):
        (place.tree / name).chmod(mode)
    place.add()
    back = target / str(place.tree).lstrip("/")
    (back / "b").mkdir(parents=True)
    secret = target.with_name("secret")
    secret.write_bytes((place.tree / "b" / "c").read_bytes())
    os.link(secret, back / "b" / "c")
    (back / "a").write_bytes((place.tree / "a").read_bytes())
    paths = [target, *sorted(target.rglob("*"))]
    for path in (*paths, secret):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.utime(path, ns=(0, 5))
    before = {path: path.lstat() for path in paths}
    (done,) = restored(place.vault, "latest", target)
    assert (done.verdicts, done.same, done.restored) == ((), 2, 2)
    assert stat.S_IMODE((back / "b").stat().st_mode) == 0o700
    for path, status in before.items():
        # Two files came into this one.
        if path != back / "b":
            assert [path.lstat()[at] for at in (0, 8, 9)] == [status[at] for at in (0, 8, 9)], path
    assert restore(place.vault, "latest", target, overwrite=True) == []
    assert everything(back) == everything(place.tree)
    # The other name of the hard link has kept its own.
    assert (stat.S_IMODE(secret.stat().st_mode), secret.stat().st_mtime_ns, secret.stat().st_nlink) == (0o600, 5, 1)


@pytest.mark.parametrize("end", ["killed", "whole"])
def test_folders_are_closed_to_others_until_they_are_done(
    place: Place, target: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """A folder has its mode when all is in it; one that an interrupted restore has made gets it from the next one."""
    for path in (place.tree, place.tree / "b"):
        path.chmod(0o755)
    place.add()
    modes: set[int] = set()

    def looking(*names: Any) -> None:
        modes.update(stat.S_IMODE(path.stat().st_mode) & 0o77 for path in target.rglob("*") if path.is_dir())
        if end == "killed":
            os._exit(9)
        rename_new(*names)

    monkeypatch.setattr(restoring, "rename_new", looking)
    if end == "whole":
        place.restored(target)
        assert modes == {0}
    elif (pid := os.fork()) == 0:
        try:
            restore(place.vault, "latest", target)
        finally:
            os._exit(1)
    else:
        assert os.waitpid(pid, 0)[1] == 9 << 8
    monkeypatch.undo()
    back = place.restored(target)
    assert everything(back) == everything(place.tree)
    # Nobody knows the modes of those above the source.
    assert {stat.S_IMODE(above.stat().st_mode) for above in back.parents if target in above.parents} == {0o700}


def test_one_restore_at_a_time_writes_to_a_folder(place: Place, target: Path) -> None:
    """A second one into the same target is refused; one into a folder of it leaves out what the first is at."""
    place.add()
    folder = make_target(str(target))
    with (
        locked_target(folder),
        pytest.raises(TargetUnusable, match="another restore is writing to it"),
        locked_target(folder),
    ):
        pass
    below = target / str(place.tree).lstrip("/")
    below.mkdir(parents=True)
    with locked_target(make_target(str(below))):
        assert {one.status for one in restore(place.vault, "latest", target)} == {"not-written"}
    assert place.restored(target) == below


def acl(*entries: tuple[int, int]) -> bytes:
    """An ACL as the kernel has it: tags (1 owner, 2 a user, 4 group, 16 mask, 32 others) and permissions."""
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, permissions, 65534 if tag == 2 else 0xFFFFFFFF) for tag, permissions in entries
    )


def test_an_acl_comes_back_no_more_open_than_it_was(place: Place, target: Path) -> None:
    """The bits of the group are the mask of the ACL, and not its rights; nothing stays of an ACL of the target."""
    for name, mode in (("a", 0o600), ("b/c", 0o640), ("b/d", 0o644), ("b", 0o700)):
        path = place.tree / name
        path.chmod(mode)
        if name != "b/d":
            users = ((1, 6 | mode >> 6), (2, 7), (4, mode >> 3 & 7), (16, 6), (32, mode & 7))
            try:
                os.setxattr(path, ACCESS_ACL, acl(*users))
            except OSError:
                pytest.skip("the file system has no ACLs")
    assert stat.S_IMODE((place.tree / "a").stat().st_mode) == 0o660
    place.settled_add()
    assert place.add().found.unchanged == 3
    target.mkdir()
    os.setxattr(target, DEFAULT_ACL, acl((1, 7), (2, 7), (4, 7), (16, 7), (32, 7)))
    back = place.restored(target)
    modes = {name: stat.S_IMODE((back / name).stat().st_mode) for name in ("a", "b/c", "b/d", "b")}
    assert modes == {"a": 0o600, "b/c": 0o640, "b/d": 0o644, "b": 0o700}
    assert [os.listxattr(back / name) for name in modes] == [[], [], [], []]
