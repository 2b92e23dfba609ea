"""Adding to a vault: what is read, what is taken over, and objects that any openssl opens."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tasks.cancel import CancelToken
from tasks.vault import add as engine
from tasks.vault.errors import NoVault, VaultError, VaultFull, VaultUnwritable
from tasks.vault.excludes import BadPattern
from tasks.vault.format import WHOLE_BYTES
from tasks.vault.vault import open_vault
from tasks.vault.walk import SourceSelection, sources_of
from tests.support.crafted import flip
from tests.support.crypto_fakes import CLI_ENC, SECRET, needs_openssl, openssl, run_python
from tests.support.tracing import failing
from tests.support.vaults import (
    Place,
    add,
    content,
    entries,
    everything,
    files,
    make_place,
    more_room,
    objects,
    pack_of,
    put,
    small_disk,
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A vault and a tree of a few files."""
    place = make_place(tmp_path)
    for name in ("a", "b/c", "empty"):
        place.put(name, b"" if name == "empty" else None)
    return place


@needs_openssl
@pytest.mark.parametrize("backend", ["native", "openssl"])
def test_an_object_is_what_openssl_writes(place: Place, backend: str) -> None:
    """Byte for byte what stock openssl makes of the file under the object's salt; `sha256sum` gives its name."""
    big = place.put("big", random.randbytes(3 << 20))
    name = place.add(backend=backend).name
    for path in (place.tree / "a", place.tree / "empty", big):
        found = place.content_of(name, path)
        stored = place.object_of(name, path)
        assert stored[:8] == b"Salted__"
        word = f"pass:{SECRET.password.decode()}"
        stock = openssl("enc", *CLI_ENC["modern"], "-S", stored[8:16].hex(), "-pass", word, stdin=path.read_bytes())
        # OpenSSL 3 leaves out the header when it is given a salt, 1.1.1 writes it.
        assert stored in (stock.stdout, stored[:16] + stock.stdout)
        opened = openssl("enc", "-d", *CLI_ENC["modern"], "-pass", f"file:{place.key.path}", stdin=stored)
        assert opened.stdout == path.read_bytes()
        summed = subprocess.run(["sha256sum"], input=stored, capture_output=True, check=True).stdout
        assert summed[:64].decode() == found.object
        file, begin = pack_of(place.vault, found.object)
        assert (file.parent.parent.name, begin > 0) == (("packs", True) if found.packed else ("objects", False))
        assert file.parent.name == file.name[:2]
        assert file.stat().st_mode & 0o777 == 0o600


def test_a_second_run_reads_only_what_changed(place: Place) -> None:
    """Unchanged files are taken over with their objects, and nothing is stored for them."""
    first = place.settled_add()
    assert first.statuses() == {"a": "ok", "c": "ok", "empty": "ok"}
    before = set(objects(place.vault))
    second = place.add()
    assert second.results == ()
    assert (second.found.unchanged, second.found.to_do, second.found.previous) == (3, 0, first.name)
    assert set(objects(place.vault)) == before
    assert entries(place.vault, first.name) == entries(place.vault, second.name)
    place.put("a", b"other")
    third = place.add()
    assert third.statuses() == {"a": "ok"}
    assert (third.added.new, third.added.same) == (1, 0)
    assert content(place.vault, files(place.vault)[0]) == b"other"


def put_back(path: Path, change: bytes) -> None:
    """Change content, keep size and time of change."""
    status = path.stat()
    path.write_bytes(change)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_content_changed_under_an_old_time_is_read(place: Place) -> None:
    """Same size, mtime set back: the inode's own time tells."""
    path = place.tree / "a"
    place.settled_add()
    put_back(path, path.read_bytes()[::-1])
    assert place.add().statuses() == {"a": "ok"}


def test_a_replaced_inode_is_read(place: Place) -> None:
    """Another file under the same name, size and mtime is read."""
    path = place.tree / "a"
    place.settled_add()
    twin = path.with_name("twin")
    shutil.copy2(path, twin)
    twin.rename(path)
    assert "a" in place.add().statuses()


@pytest.mark.parametrize("mode", [0o600, 0o4755])
def test_a_changed_mode_is_kept(place: Place, mode: int) -> None:
    """A new mode makes a new entry."""
    place.settled_add()
    (place.tree / "a").chmod(mode)
    place.add()
    assert files(place.vault)[0].facts.mode == mode


def test_a_file_touched_within_the_tick_of_a_run_is_read_again(place: Place) -> None:
    """What was changed just before the run began may change again without a trace in its times."""
    (place.tree / "a").touch()
    place.add()
    assert "a" in place.add().statuses()


@pytest.mark.parametrize("size", [100, 2 << 20, 17 << 20])
@pytest.mark.parametrize("damage", ["missing", "truncated", "link", "folder"])
def test_an_object_that_is_not_there_is_made_again(place: Place, damage: str, size: int) -> None:
    """A file is taken over only if its object is there: a large one in full length, a small one in a whole pack."""
    path = place.put("wide", random.randbytes(size))
    found = place.content_of(place.settled_add().name, path)
    file, _ = pack_of(place.vault, found.object)
    if damage == "truncated":
        os.truncate(file, file.stat().st_size - 1)
    else:
        kept = file.with_name("kept")
        file.rename(kept)
        if damage == "link":
            file.symlink_to(kept.name)
        elif damage == "folder":
            file.mkdir()
    if damage == "folder" and size < WHOLE_BYTES:
        # The same bytes have the same name, which somebody has taken.
        with pytest.raises(VaultUnwritable, match="Is a directory"):
            place.add()
        file.rmdir()
    second = place.add()
    cut = found.packed and damage == "truncated"
    others = {"a": "ok", "c": "ok", "empty": "ok"} if found.packed and not cut else {}
    # A pack that was cut behind its members has all of them.
    assert second.statuses() == ({} if cut else others | {"wide": "ok"})
    assert content(place.vault, files(place.vault)[-1]) == path.read_bytes()


def test_other_sources_are_another_series(place: Place) -> None:
    """A snapshot is held against the one before of just these sources."""
    place.settled_add()
    narrower = place.add(place.tree / "b")
    assert narrower.found.previous is None
    assert narrower.statuses() == {"c": "ok"}
    assert place.add(place.tree / "b").found.previous == narrower.name


def test_a_damaged_snapshot_before_is_passed_over_and_named(place: Place) -> None:
    """What cannot be believed is not taken over; the one before it is."""
    first, second = place.settled_add(), place.add()
    flip(place.snapshot(second.name), 100)
    third = place.add()
    assert third.found.previous == first.name
    assert third.found.damaged == (second.name,)
    assert third.found.unchanged == 3


def test_a_damaged_snapshot_without_a_good_one_is_named(place: Place) -> None:
    """Where the only snapshot cannot be believed, everything is read, and it is said; other sources hear of it, too."""
    only = place.add()
    flip(place.snapshot(only.name), 100)
    for added in (place.add(place.tree / "b"), place.add()):
        assert (added.found.previous, added.found.damaged) == (None, (only.name,))
        assert added.found.unchanged == 0


def test_rehash_keeps_what_is_the_same(place: Place) -> None:
    """All is read again, nothing is stored; what came from the old objects stays."""
    first = place.settled_add()
    before = set(objects(place.vault))
    second = place.add(rehash=True)
    assert set(second.statuses().values()) == {"unchanged"}
    assert (second.added.new, second.added.same, second.added.stored_bytes) == (0, 3, 0)
    assert set(objects(place.vault)) == before
    assert files(place.vault, first.name) == files(place.vault, second.name)


def test_rehash_finds_what_changed_behind_the_times(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content that changed and left no trace in times, size or inode is found, and stored under another salt."""
    path = place.tree / "a"
    first = place.settled_add()
    old = place.object_of(first.name, path)
    whole = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    stat = os.lstat

    # No system call sets this time: the file is shown as it was, as a disk that lost a bit shows it.
    def unchanged(name: str | bytes, **options: object) -> os.stat_result:
        return whole if name == b"a" else stat(name, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "lstat", unchanged)
    assert place.add().results == ()
    second = place.add(rehash=True)
    assert second.statuses() == {"a": "ok", "c": "unchanged", "empty": "unchanged"}
    new = place.object_of(second.name, path)
    assert new[8:16] != old[8:16]
    assert content(place.vault, files(place.vault, second.name)[0]).endswith(b"!")


@pytest.mark.parametrize("at", [0, 9, 20])
@pytest.mark.parametrize("size", [30, 2 << 20, 17 << 20])
def test_a_damaged_object_is_not_kept(place: Place, at: int, size: int) -> None:
    """Where magic, salt or content of an object was changed, `rehash`, or a record that knows, has it made again."""
    path = place.put("a", random.randbytes(size))
    first = place.settled_add()
    found = place.content_of(first.name, path)
    file, begin = pack_of(place.vault, found.object)
    flip(file, begin + at)
    assert place.add().results == ()
    second = place.add(rehash=True)
    assert second.statuses() == {"a": "ok", "c": "unchanged", "empty": "unchanged"}
    assert content(place.vault, files(place.vault, second.name)[0]) == path.read_bytes()
    # On record as damaged: read again, and found whole.
    new = place.content_of(second.name, path).object
    selection = SourceSelection(sources_of([str(place.tree)]), distrusted=frozenset({new, "0" * 64}))
    third = add(place.vault, place.key, selection)
    assert (third.statuses(), third.proven) == ({"a": "unchanged"}, (new,))
    file, begin = pack_of(place.vault, new)
    if file.parent.parent.name == "objects":
        flip(file, begin + at)
        third = add(place.vault, place.key, selection)
        assert third.statuses() == {"a": "ok"}
        assert content(place.vault, files(place.vault, third.name)[0]) == path.read_bytes()


def test_what_is_no_file_is_skipped_and_said(place: Place) -> None:
    """A FIFO has a result that says so, and no entry; links and folders are entries."""
    os.mkfifo(place.tree / "fifo")
    (place.tree / "dangling").symlink_to("nowhere")
    (place.tree / "hollow").mkdir()
    added = place.add()
    assert added.statuses()["fifo"] == "skipped"
    assert added.found.skipped == 1
    listed = [entry.path.rpartition(b"/")[2] for entry in entries(place.vault)]
    assert listed == [b"tree", b"a", b"b", b"c", b"dangling", b"empty", b"hollow"]


def test_a_file_that_is_gone_when_it_is_read_is_left_out(place: Place) -> None:
    """What was removed after it was listed is gone: no entry, and no fault."""
    selection = SourceSelection(sources_of([str(place.tree)]))
    with engine.adding(place.vault, selection, CancelToken()) as addition:
        (place.tree / "a").unlink()
        done = put(addition, enumerate(addition.to_do()), place.key)
        assert [(one.status, one.cause) for one in done.encryptions] == [("skipped", "vanished"), *[("ok", None)] * 2]
        added = addition.add_snapshot(1, CancelToken())
    assert (added.snapshot.totals.files, added.new) == (2, 2)
    assert place.faults() == {}


def test_a_cancelled_run_leaves_no_snapshot(place: Place) -> None:
    """What was done by then is in the vault, unnamed; nothing is left in `tmp/`."""
    selection = SourceSelection(sources_of([str(place.tree)]))
    cancel = CancelToken()
    with engine.adding(place.vault, selection, cancel) as addition:
        work = tuple(enumerate(addition.to_do()))
        put(addition, work[:1], place.key, cancel)
        cancel.cancel()
        assert put(addition, work, place.key, cancel).encryptions == ()
    assert len(set(objects(place.vault))) == 1
    assert [path.name for path in place.root.rglob("*") if path.parent.name in ("tmp", "snapshots", "partials")] == []
    assert place.faults() == {}


def test_patterns_leave_out(place: Place) -> None:
    """Patterns of gitignore: anywhere, anchored, folders only, taken back by `!`, the last one that fits counts."""
    for name in (
        "x.log",
        "keep.log",
        "b/x.log",
        "b/build/y",
        "build",
        "top/build/y",
        "b/top/z",
        "a b",
        "#c",
        "d/e/f/g",
    ):
        if name != "build":
            place.put(name)
    (place.tree / "build").write_bytes(b"a file, not a folder")
    patterns = ["*.log", "!keep.log", "build/", "/top", "a b", "\\#c", "# comment", "", "d/**/g"]
    place.add(excludes=patterns)
    base = bytes(place.tree)[1:]
    listed = {entry.path[len(base) + 1 :].decode() for entry in entries(place.vault)}
    assert listed == {"", "a", "b", "b/c", "b/top", "b/top/z", "build", "empty", "keep.log", "d", "d/e", "d/e/f"}


@pytest.mark.parametrize("pattern", ["!", "/", "***/", "a\0"])
def test_a_pattern_that_is_none_is_said_or_matches_nothing(place: Place, pattern: str) -> None:
    """A pattern that gitignore's syntax does not have is refused before anything is done; no other error comes."""
    try:
        place.add(excludes=[pattern])
    except BadPattern:
        assert not list((place.root / "snapshots").iterdir())
        assert not list((place.root / "tmp").iterdir())


def test_a_bad_pattern_is_refused(place: Place) -> None:
    """An exclamation mark by itself is no pattern."""
    with pytest.raises(BadPattern):
        place.add(excludes=["!"])


def test_names_that_end_in_a_newline_are_other_names(place: Place) -> None:
    """A pattern does not fit a name that has a newline more, nor does one in a folder's name hide what is below."""
    for name in ("a\n", "b\nb/x.log", "b\nb/c"):
        place.put(name)
    place.add(excludes=["a", "*.log"])
    base = bytes(place.tree)[1:]
    listed = {entry.path[len(base) + 1 :].decode() for entry in entries(place.vault)}
    assert listed == {"", "a\n", "b", "b/c", "b\nb", "b\nb/c", "empty"}


def test_the_vault_itself_is_left_out(tmp_path: Path) -> None:
    """A vault inside its own source is not encrypted into itself; it is said that it was skipped."""
    place = make_place(tmp_path)
    place.put("x")
    added = place.add(tmp_path)
    assert added.statuses()["vault"] == "skipped"
    assert not any(b"/vault" in entry.path for entry in entries(place.vault))


def test_a_link_beside_what_it_lies_in_gives_a_good_snapshot(tmp_path: Path) -> None:
    """Sources that lie inside one another by way of a link (`encrypt docs docs/*`) are each encrypted once."""
    place = make_place(tmp_path)
    far = tmp_path / "far"
    for name in ("folder/x", "file"):
        (far / name).parent.mkdir(parents=True, exist_ok=True)
        (far / name).write_bytes(b"far")
    place.put("in/side")
    for name, to in (("l1", far / "folder"), ("l2", far / "file"), ("l3", "in"), ("l4", "nowhere"), ("l5", far)):
        (place.tree / name).symlink_to(to)
    sources = [place.tree, *place.tree.iterdir(), place.tree / "l5" / "folder" / "x"]
    place.add(*sources)
    listed = [f"/{entry.path.decode()}" for entry in entries(place.vault)]
    assert {
        str(far / "folder" / "x"),
        str(far / "file"),
        str(place.tree / "l1"),
        str(place.tree / "in" / "side"),
    } <= set(listed)
    assert place.faults() == {}


def test_sources_that_are_not_there_are_sources(tmp_path: Path) -> None:
    """What is not there, and what is below a file, stays as it was named."""
    (tmp_path / "file").touch()
    named = [str(tmp_path / name) for name in ("file", "file/x", "gone", "gone/x")]
    assert sources_of(named) == tuple(map(os.fsencode, named))


@pytest.mark.parametrize("sizes", [[3_000_000, 2000, 1_100_000], [2000] * 600])
def test_a_full_disk_takes_what_fits(tmp_path: Path, sizes: list[int]) -> None:
    """Files that do not fit have failed, the others are in the snapshot; the vault is whole, and takes all later."""
    with small_disk(tmp_path / "disk", "1500k") as disk:
        place = make_place(disk)
        source = tmp_path / "source"
        source.mkdir()
        for number, size in enumerate(sizes):
            (source / f"{number}").write_bytes(random.randbytes(size))
        done = place.add(source)
        statuses, totals = done.statuses(), done.added.snapshot.totals
        assert Counter(statuses.values()) == {"ok": totals.files, "failed": totals.missed}
        # Of small ones as many as fit into the room beside that for the snapshot.
        assert 300 < totals.files < 600 or statuses == {"0": "failed", "1": "ok", "2": "ok"}
        assert {one.cause for one in done.results if one.status == "failed"} == {"store"}
        assert done.added.stored_bytes == sum(map(len, objects(place.vault).values()))
        assert place.faults() == {}
        assert list((place.root / "tmp").iterdir()) == []
        more_room(disk, "8m")
        # Some are read again, since they are so new.
        assert set(place.add(source).statuses().values()) <= {"ok", "unchanged"}
        assert len(files(place.vault)) == len(sizes)
        assert place.faults() == {}


def test_a_file_that_does_not_fit_keeps_its_entry(tmp_path: Path) -> None:
    """A file that has grown beyond the room of the disk is carried over, with the content that it had."""
    with small_disk(tmp_path / "disk", "1m") as disk:
        place = make_place(disk)
        source = tmp_path / "source"
        source.mkdir()
        for name in "ab":
            (source / name).write_bytes(name.encode() * 10)
        place.add(source)
        (source / "a").write_bytes(random.randbytes(3_000_000))
        (source / "b").write_bytes(b"changed")
        done = place.add(source)
        assert done.statuses() == {"a": "carried-over", "b": "ok"}
        assert [(content(place.vault, one), one.mark) for one in files(place.vault)] == [
            (b"a" * 10, "unreadable"),
            (b"changed", None),
        ]
        assert place.faults() == {}


def test_without_room_for_the_snapshot_nothing_begins(tmp_path: Path) -> None:
    """A run that could not write its snapshot is refused, and nothing is left of it."""
    with small_disk(tmp_path / "disk", "300k") as disk:
        place = make_place(disk)
        source = tmp_path / "source"
        for _ in range(900):
            (source / random.randbytes(100).hex()).mkdir(parents=True)
        with pytest.raises(VaultFull, match="No space left"):
            place.add(source)
        assert [list((place.root / name).iterdir()) for name in ("snapshots", "tmp")] == [[], []]
        more_room(disk, "8m")
        place.add(source)
        assert place.faults() == {}


@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT", "EFBIG"])
@pytest.mark.parametrize("call", ["fsync", "rename", "write"])
def test_a_file_without_room_is_no_end(place: Place, monkeypatch: pytest.MonkeyPatch, call: str, code: str) -> None:
    """Whichever call it is that the disk, a quota or a limit refuses for a while: files fail, and are said."""
    place.put("large", random.randbytes(1_500_000))
    real, refused = getattr(os, call), 0

    def failing(*arguments: object, **options: object) -> object:
        nonlocal refused
        first = options.get("src_dir_fd", arguments[0])
        path = os.readlink(f"/proc/self/fd/{first}") + "/"
        # Scratch files have no name any more.
        if armed and f"{place.root}/tmp/" in path and "(deleted)" not in path:
            refused += 1
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
        return real(*arguments, **options)

    armed = False
    monkeypatch.setattr(os, call, failing)
    with engine.adding(place.vault, SourceSelection((bytes(place.tree),)), CancelToken()) as addition:
        armed = True
        done = put(addition, enumerate(addition.to_do()), place.key)
        armed = False
        assert addition.add_snapshot(1, CancelToken()).snapshot.totals.files == 0
    assert refused > 1
    assert {one.status for one in done.encryptions} == {"failed"}
    assert (done.verdicts, done.pack_of, done.stored_bytes) == ((), {}, 0)
    assert set(objects(place.vault)) == set()
    assert place.faults() == {}
    assert set(place.add().statuses().values()) == {"ok"}


@pytest.mark.parametrize("call", ["fsync", "rename", "write", "close"])
def test_an_error_of_the_disk_is_said(place: Place, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Whichever call the disk fails, nothing is named that may not be whole, and the next run works."""
    real = getattr(os, call)
    state = {"armed": False}

    def failing(*arguments: object, **options: object) -> object:
        # A file in `tmp/` is given as its descriptor, or as its name and the descriptor of its folder.
        first = options.get("src_dir_fd", arguments[0])
        path = os.readlink(f"/proc/self/fd/{first}") + "/" if isinstance(first, int) else str(first)
        if state["armed"] and "/tmp/" in path.removeprefix(str(place.root.parent)) and not path.endswith(".snapshot"):
            if call == "close":
                real(first)
            raise OSError(errno.EIO, "Input/output error")
        return real(*arguments, **options)

    monkeypatch.setattr(os, call, failing)
    state["armed"] = True
    with pytest.raises(VaultUnwritable, match="Input/output error"):
        place.add()
    state["armed"] = False
    assert set(objects(place.vault)) == set()
    assert place.faults() == {}
    assert list((place.root / "tmp").iterdir()) == []
    assert set(place.add().statuses().values()) == {"ok"}


def test_short_writes_are_no_loss(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that takes a few bytes at a time gets all of them."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:7])))
    place.add()
    monkeypatch.undo()
    assert place.faults() == {}
    assert content(place.vault, files(place.vault)[0]) == (place.tree / "a").read_bytes()


def test_a_vault_that_is_gone_meanwhile(place: Place) -> None:
    """The vault is removed during a run: the run says so."""
    with engine.adding(place.vault, SourceSelection((bytes(place.tree),)), CancelToken()) as addition:
        shutil.rmtree(place.root)
        with pytest.raises(VaultUnwritable, match="No such file"):
            addition.add_snapshot(1, CancelToken())
    with pytest.raises(NoVault):
        open_vault(str(place.root), SECRET)
    with pytest.raises(VaultUnwritable, match="No such file"):
        place.add()


def test_times_of_other_ages_are_kept(tmp_path: Path) -> None:
    """Before 1970 and after 2262, on files, folders and links: listed and restored."""
    with small_disk(tmp_path / "disk", "4m") as disk:
        place = make_place(disk)
        for name, year in (("old", -(2**33)), ("far", 2**35), ("link", 2**40)):
            path = place.put(name) if name != "link" else place.tree / name
            if name == "link":
                path.symlink_to("x")
            os.utime(path, ns=(0, year * 10**9 + 5), follow_symlinks=False)
        os.utime(place.tree, ns=(0, 2**34 * 10**9))
        place.settled_add()
        assert place.faults() == {}
        assert everything(place.restored(disk / "target")) == everything(place.tree)
        # One of a time to come has not changed either: it would have another time.
        assert place.add().statuses() == {}
        far = place.tree / "far"
        status = far.stat()
        far.write_bytes(bytes(status.st_size))
        os.utime(far, ns=(0, status.st_mtime_ns))
        assert place.add().statuses() == {"far": "ok"}


def test_two_runs_at_once_both_have_their_snapshot(place: Place) -> None:
    """Two additions side by side get two numbers, and remove nothing of each other."""
    selection = SourceSelection(sources_of([str(place.tree)]))
    with (
        engine.adding(place.vault, selection, CancelToken()) as one,
        engine.adding(place.vault, selection, CancelToken()) as other,
    ):
        for addition in (one, other):
            work = tuple(enumerate(addition.to_do()))
            put(addition, work, place.key)
        numbers = [addition.add_snapshot(5, CancelToken()).snapshot.header.sequence for addition in (other, one)]
    assert numbers == [5, 6]
    assert place.faults() == {}


def test_so_many_sources_do_not_fit(place: Place) -> None:
    """A list of sources that no first line holds is refused before anything is read."""
    sources = tuple(b"/nowhere/%07d" % number for number in range(80_000))
    began = time.monotonic()
    with (
        pytest.raises(VaultError, match="so many sources"),
        engine.adding(place.vault, SourceSelection(sources), CancelToken()),
    ):
        pass
    assert time.monotonic() - began < 5


ADD = """
import sys
from pathlib import Path
from tasks.crypto.secret import KeyFile
from tasks.vault.errors import VaultUnwritable
from tasks.vault.vault import open_vault
from tests.support.vaults import Place
key = KeyFile(sys.argv[2])
try:
    Place(open_vault(sys.argv[1], key.secret()), key, Path(sys.argv[3])).add()
except VaultUnwritable as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("calls", ["fsync", "syncfs", "mkdir,mkdirat", "rename,renameat,renameat2"])
def test_an_error_of_the_kernel_is_said(place: Place, calls: str) -> None:
    """The same in a real process, whose system calls fail from the first one on."""
    for number in range(20 if calls == "syncfs" else 0):
        place.put(f"{number}", random.randbytes((1 << 20) + 1))
    ended = run_python(ADD, place.vault.root, place.key.path, str(place.tree), before=failing(EIO=calls))
    assert ended.returncode == 1
    assert ended.stderr.decode().strip() == f"vault {place.root}: cannot be written: Input/output error"
    assert list((place.root / "snapshots").iterdir()) == []
    assert objects(place.vault) == {}
    assert place.faults() == {}
    assert set(place.add().statuses().values()) == {"ok"}
