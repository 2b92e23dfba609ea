"""Files that are gone: they are counted, a drop does not count, and what cannot be read stays as it was."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tasks.crypto import scan
from tasks.files import open_folder
from tasks.vault.entries import Entry, FileEntry
from tasks.vault.snapshots import open_snapshot
from tasks.vault.walk import SourceSelection, sources_of
from tests.support.vaults import Adding, Place, add, entries, files, make_place, settle


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A vault and a tree of ten files."""
    place = make_place(tmp_path)
    for number in range(10):
        place.put(f"{number}")
    settle()
    return place


def run(place: Place, *sources: Path, **more: Any) -> Adding:
    """A run of these sources, by default of the tree."""
    names = sources_of([os.fspath(source) for source in sources or (place.tree,)])
    return add(place.vault, place.key, SourceSelection(names, **more))


def told(done: Adding) -> tuple[int, bool]:
    """How many files are gone, and whether the snapshot counts."""
    return done.added.snapshot.totals.gone, done.added.snapshot.totals.counts


def fill(folder: Path, count: int) -> Path:
    """Write files, each with a content of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number}").write_text(f"{folder} {number}")
    return folder


def empty(folder: Path, *left: str) -> None:
    """Remove all files of a folder but some."""
    for path in folder.iterdir():
        if path.name not in left:
            path.unlink()


@contextmanager
def unlistable(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> Iterator[None]:
    """Folders that cannot be opened."""
    opened = open_folder

    def refuse(root: str | int, *parts: str) -> int:
        descriptor = opened(root, *parts)
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")) in folders:
            os.close(descriptor)
            raise PermissionError(errno.EACCES, "shut")
        return descriptor

    with monkeypatch.context() as patched:
        patched.setattr(scan, "open_folder", refuse)
        yield


def test_up_to_a_share_may_be_gone(place: Place) -> None:
    """Half of the files, by default; with more the snapshot does not count."""
    assert told(run(place)) == (0, True)
    empty(place.tree, *"01234")
    assert told(run(place)) == (5, True)
    # Now of the five that are left.
    empty(place.tree, *"01")
    assert told(run(place, most_gone=0.6)) == (3, True)
    empty(place.tree, "0")
    assert told(run(place, most_gone=0.4)) == (1, False)


def test_a_second_night_does_not_make_it_good(place: Place) -> None:
    """A run is compared with the newest snapshot that counts, until the files are back."""
    run(place)
    empty(place.tree, "0")
    assert [told(run(place)) for _ in range(3)] == [(9, False)] * 3
    for number in range(1, 5):
        place.put(f"{number}")
    assert told(run(place)) == (5, True)
    assert told(run(place)) == (0, True)


def test_an_accepted_snapshot_is_compared_with(place: Place) -> None:
    """Its name is on record; the record may name others too."""
    run(place)
    empty(place.tree, "0")
    first, second = run(place).name, run(place).name
    accepted = frozenset((first, "other"))
    assert told(run(place, accepted=accepted)) == (0, True)
    assert second != first


def test_each_source_is_judged_by_itself(place: Place, tmp_path: Path) -> None:
    """A small source that is empty does not go under among the files of a large one, in whatever order they come."""
    small = fill(tmp_path / "small", 2)
    run(place, place.tree, small)
    empty(small)
    done = run(place, small, place.tree, place.tree / "3")
    assert told(done) == (2, False)
    assert [(one.path, one.kept, one.gone) for one in done.added.doubtful] == [(str(small), 0, 2)]


def test_a_source_that_was_always_empty_is_in_doubt_once(place: Place, tmp_path: Path) -> None:
    """Its disk may not have been mounted in the first run; links and folders are content too."""
    hollow = tmp_path / "hollow"
    hollow.mkdir()
    first = run(place, place.tree, hollow)
    assert (told(first), told(run(place, place.tree, hollow))) == ((0, False), (0, False))
    # Until one counts, runs are compared with the oldest one.
    (place.tree / "3").unlink()
    later = [run(place, place.tree, hollow) for _ in range(2)]
    assert list(map(told, later)) == [(1, False)] * 2
    accepted = frozenset((later[0].name,))
    assert told(run(place, place.tree, hollow, accepted=accepted)) == (0, True)
    (hollow / "link").symlink_to("nowhere")
    assert told(run(place, place.tree, hollow)) == (0, True)


def test_files_that_were_moved_are_not_lost(place: Place) -> None:
    """They are gone by their names, and the vault knows their content under the new ones."""
    run(place)
    (place.tree / "in").mkdir()
    for number in range(10):
        (place.tree / f"{number}").rename(place.tree / "in" / f"{number}")
    assert told(run(place)) == (10, True)
    # Another disk at the same place has other contents.
    shutil.rmtree(place.tree / "in")
    fill(place.tree / "new", 10)
    assert told(run(place)) == (10, False)


def test_a_source_may_become_a_file(place: Place, tmp_path: Path) -> None:
    """All that was below it is gone."""
    other = fill(tmp_path / "other", 3)
    run(place, place.tree, other)
    shutil.rmtree(other)
    other.write_text("a file")
    assert told(run(place, place.tree, other)) == (3, False)


def test_excludes_that_grew_are_a_drop(place: Place) -> None:
    """The files are gone from the snapshot, whatever the reason."""
    run(place)
    assert told(run(place, excludes=("[2-9]",))) == (8, False)


def test_other_sources_are_not_compared(place: Place, tmp_path: Path) -> None:
    """A source under a new name is new, and one more source too."""
    run(place)
    place.tree.rename(tmp_path / "renamed")
    assert told(run(place, tmp_path / "renamed")) == (0, True)
    assert told(run(place, tmp_path / "renamed", fill(tmp_path / "more", 1))) == (0, True)


def below(place: Place, folder: Path) -> list[Entry]:
    prefix = bytes(folder)[1:] + b"/"
    return [entry for entry in entries(place.vault) if entry.path.startswith(prefix)]


def test_a_folder_that_cannot_be_listed_is_carried_over(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was below it stays as it was, marked, in its place; nothing is gone, and its status says so."""
    shut = fill(place.tree / "5x" / "deep", 3).parent
    (shut / "link").symlink_to("nowhere")
    settle()
    before = run(place).added.snapshot.totals
    expected = below(place, shut)
    with unlistable(monkeypatch, shut):
        for _ in range(2):
            done = run(place)
            assert done.statuses() == {"5x": "carried-over"}
            assert told(done) == (0, True)
            totals = done.added.snapshot.totals
            assert (totals.entries, totals.files, totals.size_bytes) == (
                before.entries,
                before.files,
                before.size_bytes,
            )
            assert totals.marked == len(expected) == 5
            assert [(one.path, one.mark) for one in below(place, shut)] == [
                (one.path, "unreadable") for one in expected
            ]
            marked = [one for one in below(place, shut) if isinstance(one, FileEntry)]
            assert all(one.good == one.content for one in marked)
            assert place.faults() == {}
    done = run(place)
    assert (done.added.snapshot.totals.marked, done.statuses()) == (0, dict.fromkeys("012", "unchanged"))
    assert below(place, shut) == expected


def test_a_folder_that_was_never_seen_is_missed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be carried over."""
    shut = fill(place.tree / "shut", 3)
    with unlistable(monkeypatch, shut):
        done = run(place)
        assert done.statuses()["shut"] == "failed"
        assert (done.added.snapshot.totals.missed, done.added.snapshot.totals.marked) == (1, 0)


def test_a_source_that_is_away_is_carried_over(place: Place, tmp_path: Path) -> None:
    """A link to a disk that is not mounted, and a path at which there is nothing."""
    disk, link = fill(tmp_path / "disk", 3), tmp_path / "link"
    link.symlink_to("disk")
    run(place, link, disk, place.tree)
    expected = {one.path: one.content for one in files(place.vault)}
    disk.rename(tmp_path / "away")
    done = run(place, link, disk, place.tree)
    assert (told(done), done.statuses()) == ((0, True), {"link": "carried-over", "disk": "carried-over"})
    assert {one.path: one.content for one in files(place.vault)} == expected
    assert done.found.refused == [
        f"{disk} cannot be read: No such file or directory",
        f"{link} cannot be read: it is a dangling symbolic link",
    ]
    assert place.faults() == {}


def test_a_path_inside_a_source_is_missed_too(place: Place) -> None:
    """The walk of the source would pass over it without a word."""
    os.mkfifo(place.tree / "pipe")
    refused = (bytes(place.tree / "no"), bytes(place.tree / "pipe"))
    done = run(place, refused=refused)
    assert [one.error for one in done.results if one.status == "failed"] == [
        "cannot be read: No such file or directory",
        "cannot be read: it is a FIFO",
    ]


def listed(folder: Path) -> set[bytes]:
    return {bytes(path)[1:] for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("seed", range(12))
def test_any_sequence_of_changes(place: Place, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Files come, go and become folders, folders are shut: each snapshot is sound, and has the right counts."""
    chance = random.Random(seed)
    counting: list[set[bytes]] = []
    for _ in range(8):
        for _ in range(chance.randrange(1, 12)):
            path = place.tree.joinpath(*(chance.choice("abc") for _ in range(chance.randrange(1, 4))))
            if chance.random() < 0.4 and path.exists():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif not path.exists() and all(one.is_dir() or not one.exists() for one in path.parents):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(chance.randbytes(20))
        folders = sorted(path for path in place.tree.rglob("*") if path.is_dir())
        shut = [path for path in folders if chance.random() < 0.15]
        with unlistable(monkeypatch, *shut):
            done = run(place)
        assert place.faults() == {}
        there = {one.path for one in files(place.vault)}
        hidden = {path for folder in shut for path in listed(folder)}
        assert listed(place.tree) - hidden <= there
        gone, counts = told(done)
        if counting:
            assert gone == len(counting[-1] - there)
            assert counts == (gone <= len(counting[-1]) / 2)
        with open_snapshot(place.vault, done.name) as opened:
            assert opened.totals == done.added.snapshot.totals
            assert sum(1 for _ in opened.entries()) == opened.totals.entries
        counting += [there] if counts else []
