"""Marked entries: files that change while they are read, and files that cannot be read, stay in the snapshots."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.cancel import CancelToken
from tasks.crypto import inputs, sources
from tasks.crypto.errors import SourceUnreadable
from tasks.crypto.inputs import Payload
from tasks.vault import add as engine
from tasks.vault.entries import FileEntry
from tasks.vault.policy import Policy
from tasks.vault.walk import SourceSelection, sources_of
from tests.support import vault_reader
from tests.support.crypto_fakes import needs_openssl
from tests.support.vaults import Place, add, content, files, make_place, objects, prune, put, settle

MIB = 1 << 20
LARGE = 17 * MIB


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A vault and a tree with a log."""
    place = make_place(tmp_path)
    place.put("log", b"the first line\n")
    place.put("other")
    return place


def entry(place: Place, name: str = "log", snapshot: str = "latest") -> FileEntry:
    """The entry of a file of the tree."""
    return next(one for one in files(place.vault, snapshot) if one.path == bytes(place.tree / name)[1:])


@contextmanager
def written_to(monkeypatch: pytest.MonkeyPatch, path: Path, change: bytes | int = b"x") -> Iterator[None]:
    """Whenever a file is held against what it was, it was written to: bytes at its end, or it was cut to a length."""
    check = inputs.need_unchanged

    def changing(descriptor: int, before: os.stat_result) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}") == str(path):
            if isinstance(change, int):
                os.truncate(path, change)
                os.utime(path, ns=(0, os.stat(path).st_mtime_ns + 1))
            else:
                with path.open("ab") as file:
                    file.write(change)
        check(descriptor, before)

    with monkeypatch.context() as patched:
        for module in (inputs, sources):
            patched.setattr(module, "need_unchanged", changing)
        os.utime(path)
        yield


@contextmanager
def unreadable(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> Iterator[None]:
    """Files that the disk does not give: root, which tests may be, reads all others."""
    names, open_it = {bytes(path) for path in paths}, sources.Sources._open

    def refuse(self: sources.Sources, payload: Payload) -> int:
        if payload.name in names:
            raise SourceUnreadable(errno.EIO)
        return open_it(self, payload)

    with monkeypatch.context() as patched:
        patched.setattr(sources.Sources, "_open", refuse)
        yield


def adding(place: Place, *may_change: str, interval: engine.PartialInterval | None = None) -> engine.Added:
    """A run that knows which files change."""
    selection = SourceSelection(sources_of([str(place.tree)]), may_change=may_change)
    return add(place.vault, place.key, selection, "native", interval).added


def test_a_file_that_changes_while_it_is_read_is_kept_as_it_was_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is unstable, which is a fault, and its entry is marked; there is no last good content yet."""
    with written_to(monkeypatch, place.tree / "log"):
        added = place.add()
    assert added.statuses()["log"] == "unstable"
    (result,) = (one for one in added.results if one.status == "unstable")
    assert result.cause == "changed"
    assert result.digest is not None
    found = entry(place)
    assert (found.mark, found.good) == ("changed", None)
    # Twice it grew while it was read; the bytes are those that the last attempt began with.
    assert content(place.vault, found) == b"the first line\nx"
    assert added.added.snapshot.totals.marked == 1
    assert (added.added.new, added.added.snapshot.totals.files) == (2, 2)
    assert place.faults() == {}
    assert list((place.root / "tmp").iterdir()) == []


def test_a_file_that_was_cut_ends_where_it_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the entry is the number of bytes that were read."""
    (place.tree / "log").write_bytes(b"12345678")
    with written_to(monkeypatch, place.tree / "log", 3):
        place.add()
    assert content(place.vault, entry(place)) == b"123"


def test_what_may_change_is_no_fault(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that fit a pattern have a status of their own, and are read once."""
    selection = SourceSelection(sources_of([str(place.tree)]), may_change=("*.tmp", "lo?"))
    with written_to(monkeypatch, place.tree / "log"):
        done = add(place.vault, place.key, selection, "native")
    assert done.statuses() == {"log": "changing", "other": "ok"}
    assert (place.tree / "log").read_bytes() == b"the first line\nx"
    assert entry(place).mark == "changed"


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("logs/",), True),
        (("a",), True),
        (("/a/logs",), True),
        (("*.log",), True),
        (("*.log", "!one.log"), False),
        (("logs",), True),
        (("/logs",), False),
        (("one",), False),
    ],
)
def test_patterns_are_those_of_exclude(
    place: Place, monkeypatch: pytest.MonkeyPatch, patterns: tuple[str, ...], expected: bool
) -> None:
    """One that fits a folder is for all files in it."""
    path = place.put("a/logs/one.log")
    selection = SourceSelection(sources_of([str(place.tree)]), may_change=patterns)
    with written_to(monkeypatch, path):
        done = add(place.vault, place.key, selection, "native")
    assert done.statuses()["one.log"] == ("changing" if expected else "unstable")


def test_a_pattern_is_for_a_file_that_is_a_source_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was named by itself is known by its own name."""
    path = place.tree / "log"
    selection = SourceSelection(sources_of([str(path)]), may_change=("log",))
    with written_to(monkeypatch, path):
        assert add(place.vault, place.key, selection, "native").statuses() == {"log": "changing"}


def test_the_last_good_content_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the file changes while it is read, or cannot be read at all, until it can be read in peace."""
    place.settled_add()
    good = entry(place).content
    with written_to(monkeypatch, place.tree / "log"):
        place.settled_add()
    second = entry(place)
    assert (second.mark, second.good) == ("changed", good)
    with unreadable(monkeypatch, place.tree / "log"):
        place.settled_add()
    third = entry(place)
    assert (third.mark, third.content, third.good) == ("unreadable", second.content, good)
    with written_to(monkeypatch, place.tree / "log"):
        place.settled_add()
    assert entry(place).good == good
    done = place.settled_add()
    assert (entry(place).mark, entry(place).good) == (None, None)
    assert done.added.snapshot.totals.marked == 0


def test_a_file_that_cannot_be_read_is_carried_over(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entry is that of before, with its facts; it is a fault, and no file is missed."""
    place.settled_add()
    before = entry(place)
    place.put("log", b"more than that\n")
    with unreadable(monkeypatch, place.tree / "log"):
        done = place.settled_add()
    (result,) = (one for one in done.results if one.status == "carried-over")
    assert (result.cause, result.size_bytes) == ("unreadable", 15)
    after = entry(place)
    assert (after.mark, after.content, after.facts, after.good) == (
        "unreadable",
        before.content,
        before.facts,
        before.content,
    )
    totals = done.added.snapshot.totals
    assert (totals.files, totals.marked, totals.missed) == (2, 1, 0)
    assert place.faults() == {}


def test_a_file_that_no_snapshot_has_is_missed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be carried over: it failed."""
    with unreadable(monkeypatch, place.tree / "log"):
        done = place.add()
    assert done.statuses()["log"] == "failed"
    totals = done.added.snapshot.totals
    assert (totals.files, totals.marked, totals.missed) == (1, 0, 1)


def test_what_is_lost_is_not_carried_over(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry whose objects are not there would be a fault of each later snapshot."""
    place.settled_add()
    for folder in ("packs", "index"):
        for path in (place.root / folder).rglob("*"):
            if path.is_file():
                path.unlink()
    (place.tree / "log").write_bytes(b"other\n")
    with unreadable(monkeypatch, place.tree / "log"):
        done = place.settled_add()
    assert done.statuses() == {"log": "failed", "other": "ok"}


def test_a_good_object_that_is_lost_is_not_named_for_ever(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify says so once, for the snapshots that named it."""
    place.put("log", random.randbytes(2 * MIB))
    place.settled_add()
    good = entry(place).content.object
    for number in range(3):
        with written_to(monkeypatch, place.tree / "log"):
            place.settled_add()
        if number == 0:
            assert entry(place).good is not None
            (place.root / "objects" / good[:2] / good).unlink()
            assert place.faults() == {good: "missing"}
    assert entry(place).good is None


def test_a_marked_entry_is_read_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of it, whatever its facts say; if its content is the same, it is not stored again."""
    with written_to(monkeypatch, place.tree / "log", b""):
        place.settled_add()
    settle()
    assert place.settled_add().statuses() == {}
    with monkeypatch.context() as patched:
        patched.setattr(sources.OpenFile, "_note_changes", lambda self: self.flaw is not None)
        with written_to(monkeypatch, place.tree / "log"):
            place.settled_add()
    before = objects(place.vault)
    place.put("log", b"touched")
    with written_to(monkeypatch, place.tree / "log"):
        place.settled_add()
    place.put("log", content(place.vault, entry(place)))
    done = place.settled_add()
    assert done.statuses() == {"log": "unchanged"}
    assert entry(place).mark is None
    assert len(objects(place.vault)) <= len(before) + 1


def test_a_marked_entry_with_the_facts_of_now_is_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A carried-over entry may have the very facts that the file has."""
    place.settled_add()
    with unreadable(monkeypatch, place.tree / "log"):
        selection = SourceSelection(sources_of([str(place.tree)]), rehash=True)
        done = add(place.vault, place.key, selection, "native")
    assert done.statuses()["log"] == "carried-over"
    settle()
    assert place.settled_add().statuses() == {"log": "unchanged"}
    assert entry(place).mark is None


def test_prune_keeps_the_last_good_content(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes when no snapshot that stays has the path as marked any more."""
    place.put("log", random.randbytes(2 * MIB))
    place.settled_add()
    good = entry(place)
    for _ in range(2):
        with written_to(monkeypatch, place.tree / "log"):
            place.settled_add()
    prune(place.vault, Policy(last=1))
    assert place.faults() == {}
    assert len(content(place.vault, good)) == 2 * MIB
    place.settled_add()
    prune(place.vault, Policy(last=1))
    assert good.content.object not in objects(place.vault)


@needs_openssl
def test_the_document_is_enough_for_marks(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that was written by the document reads both contents of a marked entry."""
    place.settled_add()
    with written_to(monkeypatch, place.tree / "log"), unreadable(monkeypatch, place.tree / "other"):
        os.utime(place.tree / "other")
        name = place.add().name
    reader = vault_reader.Reader(place.vault.root, place.key.path)
    _, log, other = reader.snapshot(name)[1]
    assert (log["mark"], other["mark"]) == ("changed", "unreadable")
    assert reader.content(log) == b"the first line\nx"
    assert reader.content(log["good"]) == b"the first line\n"
    assert other["good"]["object"] == other["object"]


@pytest.mark.parametrize("text", [True, False], ids=["compressed", "plain"])
@pytest.mark.parametrize("change", [b"x", LARGE // 2], ids=["grown", "cut"])
def test_large_files_are_kept_too(
    place: Place, monkeypatch: pytest.MonkeyPatch, change: bytes | int, *, text: bool
) -> None:
    """Of one that becomes shorter while it is read the rest is zeros; nothing of it is in memory at once."""
    data = (b"0123456789abcdef" * (LARGE // 16)) if text else random.randbytes(LARGE)
    place.put("log", data)
    place.settled_add()
    good = entry(place).content
    data = b"y" + data[1:]
    place.put("log", data)
    with written_to(monkeypatch, place.tree / "log", change):
        done = place.settled_add()
    assert done.statuses() == {"log": "unstable"}
    found = entry(place)
    assert (found.mark, found.good) == ("changed", good)
    kept = content(place.vault, found)
    if isinstance(change, int):
        assert kept[: LARGE // 2] == data[: LARGE // 2]
    else:
        assert kept.startswith(data)
        assert not kept[len(data) :].strip(b"x")
    assert place.faults() == {}


def test_a_file_with_holes_is_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of a disk is sparse, and always written."""
    path = place.put("log", b"")
    with path.open("r+b") as file:
        file.seek(4 * MIB)
        file.write(b"data")
        file.truncate(8 * MIB)
    with written_to(monkeypatch, path):
        place.settled_add()
    found = entry(place)
    assert found.mark == "changed"
    assert found.content.extents is not None
    assert b"data" in content(place.vault, found)
    assert place.faults() == {}


def test_partial_snapshots_have_marks(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an interrupted run has made durable is taken over; what is marked there is read again."""
    selection = SourceSelection(sources_of([str(place.tree)]))
    with written_to(monkeypatch, place.tree / "log"), engine.adding(place.vault, selection, CancelToken()) as addition:
        put(addition, tuple(enumerate(addition.to_do())), place.key, interval=engine.PartialInterval(seconds=0))
    assert place.faults() == {}
    settle()
    done = place.settled_add()
    assert set(done.statuses()) >= {"log"}
    assert entry(place).mark is None


def test_a_file_that_vanished_is_gone(place: Place) -> None:
    """It was removed between the walk and the reading: nothing is carried over, and it is no fault."""
    place.settled_add()
    (place.tree / "log").write_bytes(b"other")
    selection = SourceSelection(sources_of([str(place.tree)]))
    with engine.adding(place.vault, selection, CancelToken()) as addition:
        (place.tree / "log").unlink()
        (result,) = put(addition, tuple(enumerate(addition.to_do())), place.key).encryptions
        added = addition.add_snapshot(1, CancelToken())
    assert (result.status, result.cause) == ("skipped", "vanished")
    assert (added.snapshot.totals.files, added.snapshot.totals.missed, added.snapshot.totals.gone) == (1, 0, 1)


def test_a_source_that_vanished_is_no_file_that_is_gone(place: Place, tmp_path: Path) -> None:
    """All below it could not be read, and stays."""
    place.settled_add()
    (place.tree / "log").write_bytes(b"other")
    selection = SourceSelection(sources_of([str(place.tree)]))
    with engine.adding(place.vault, selection, CancelToken()) as addition:
        place.tree.rename(tmp_path / "elsewhere")
        (result,) = put(addition, tuple(enumerate(addition.to_do())), place.key).encryptions
    assert result.status == "carried-over"


@pytest.mark.parametrize("backend", ["native", "openssl"])
def test_files_that_are_always_written_are_all_there(place: Place, backend: str) -> None:
    """A log that grows, a file that is rewritten in place, one that is cut, and one that is replaced by its name."""
    names = ["appended", "rewritten", "cut", "replaced"]
    for name in names:
        place.put(name, random.randbytes(3 * MIB))
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with (place.tree / "appended").open("ab") as file:
                file.write(b"line\n")
            with (place.tree / "rewritten").open("r+b") as file:
                file.write(random.randbytes(4096))
            (place.tree / "cut").write_bytes(random.randbytes(MIB))
            (place.tree / ".part").write_bytes(random.randbytes(MIB))
            (place.tree / ".part").rename(place.tree / "replaced")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(3):
            done = place.add(backend=backend)
            listed = {os.path.basename(one.path).decode() for one in files(place.vault)}
            assert listed - {".part"} == {"log", "other", *names}
            assert "failed" not in done.statuses().values()
    finally:
        stop.set()
        thread.join()
    assert place.faults() == {}


def test_files_of_the_kernel_are_encrypted_as_they_are(place: Place) -> None:
    """Their size is 0, or a page: they are not told as changed, the second run is the same, and restore gives all."""
    names = "/proc/self/mountinfo", "/proc/version", "/proc/sys/kernel/pid_max"
    paths = map(Path, (*names, "/sys/kernel/mm/transparent_hugepage/enabled"))
    there = [path for path in paths if path.exists()]
    for _ in range(2):
        done = place.add(*there)
        assert {one.cause for one in done.results} == {"size"}
        assert {one.status for one in done.results} <= {"ok", "unchanged"}
        for one in files(place.vault):
            assert one.mark is None
            if b"mountinfo" not in one.path:
                assert content(place.vault, one) == Path(os.fsdecode(b"/" + one.path)).read_bytes()
    assert place.faults() == {}


def test_a_file_that_takes_few_blocks_has_no_holes_for_that(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that compresses: it is looked at for holes, and then read from its beginning."""
    path, status = place.put("text", b"text\n" * 1000), inputs.regular_status

    def compressed(descriptor: int) -> os.stat_result:
        found = status(descriptor)
        times = {"st_mtime_ns": found.st_mtime_ns, "st_ctime_ns": found.st_ctime_ns}
        return os.stat_result(list(found), times | {"st_blocks": 1})

    monkeypatch.setattr("tasks.crypto.sources.regular_status", compressed)
    (result,) = place.add(path).results
    assert (result.status, result.cause, result.size_bytes) == ("ok", None, 5000)
    assert content(place.vault, files(place.vault)[0]) == path.read_bytes()


def test_a_file_without_a_size_may_be_large(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What gives more than is read into memory is read piece by piece to its end."""
    path = place.put("log", random.randbytes(20 * MIB))
    status, check = inputs.regular_status, inputs.need_unchanged

    def sizeless(descriptor: int) -> os.stat_result:
        found = status(descriptor)
        fields = list(found)
        fields[6] = 0
        return os.stat_result(fields, {"st_mtime_ns": found.st_mtime_ns, "st_ctime_ns": found.st_ctime_ns})

    def unchanged(descriptor: int, before: os.stat_result) -> None:
        if before.st_size:
            check(descriptor, before)

    monkeypatch.setattr("tasks.crypto.sources.regular_status", sizeless)
    monkeypatch.setattr("tasks.crypto.sources.need_unchanged", unchanged)
    monkeypatch.setattr("tasks.crypto.sources.extents_of", lambda *_: None)
    done = place.add(path)
    (result,) = done.results
    assert (result.status, result.cause, result.size_bytes) == ("ok", "size", 20 * MIB)
    assert content(place.vault, files(place.vault)[0]) == path.read_bytes()
    assert place.faults() == {}
