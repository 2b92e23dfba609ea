"""Partial snapshots: a run that is interrupted is taken over by the next one, and no byte is stored twice."""

from __future__ import annotations

import os
import random
from itertools import islice
from pathlib import Path

import pytest

from tasks.cancel import CancelToken
from tasks.vault import add as engine
from tasks.vault.locks import is_running
from tasks.vault.lookup import LATEST, find_snapshot, partial_names, snapshot_names
from tasks.vault.snapshots import open_snapshot
from tasks.vault.walk import SourceSelection, sources_of
from tests.support.crafted import flip
from tests.support.vaults import Place, content, entries, files, make_place, objects, put, settle

MIB = 1 << 20
ALWAYS = engine.PartialInterval(seconds=0)
NEVER = engine.PartialInterval(seconds=1e9, size_bytes=1 << 60)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A vault and a tree of ten files, one of them large."""
    place = make_place(tmp_path)
    for number in range(10):
        place.put(f"{number // 4}/{number}", random.randbytes(17 * MIB if number == 3 else 2000))
    settle()
    return place


def selection(place: Place) -> SourceSelection:
    return SourceSelection(sources_of([str(place.tree)]))


def interrupted(place: Place, batches: int, each: int = 2, interval: engine.PartialInterval = ALWAYS) -> set[bytes]:
    """Add some batches and end without a snapshot, as a run that is killed; the files that were read."""
    done: set[bytes] = set()
    with engine.adding(place.vault, selection(place), CancelToken()) as addition:
        to_do = enumerate(addition.to_do())
        for _ in range(batches):
            some = put(addition, tuple(islice(to_do, each)), place.key, interval=interval)
            done.update(one.payload.name for one in some.encryptions)
    return done


def listed(place: Place, name: str) -> list[bytes]:
    return [entry.path for entry in entries(place.vault, name)]


def test_the_next_run_takes_over(place: Place) -> None:
    """Files of a run without an end are taken over unread; its partial snapshots are gone when the next is complete."""
    done = interrupted(place, 3)
    assert len(done) == 6
    parts = partial_names(place.vault.root)
    assert [len(listed(place, name)) for name in parts] == [2, 2, 2]
    before = objects(place.vault).keys()
    added = place.add()
    assert added.found.taken_over == tuple(parts)
    assert (added.found.unchanged, added.found.previous) == (6, None)
    assert {one.payload.name for one in added.results}.isdisjoint(done)
    assert before <= objects(place.vault).keys()
    assert len(objects(place.vault)) == len(files(place.vault)) == 10
    assert partial_names(place.vault.root) == []
    for entry in files(place.vault):
        assert content(place.vault, entry) == Path("/", os.fsdecode(entry.path)).read_bytes()


def test_five_kills_store_no_byte_twice(place: Place) -> None:
    """Each run goes on where the one before ended; what is listed once is listed in no other part."""
    read = [interrupted(place, 1) for _ in range(4)]
    assert sum(map(len, read)) == len(set().union(*read)) == 8
    names = [name for part in partial_names(place.vault.root) for name in listed(place, part)]
    assert len(names) == len(set(names)) == 8
    last = place.add()
    assert len(last.results) == 2
    assert len(objects(place.vault)) == 10


def test_a_partial_one_is_no_state_of_the_sources(place: Place) -> None:
    """It is not the latest, has the number of the snapshot before it, and takes none."""
    first = place.add()
    place.put("0/new", random.randbytes(3000))
    settle()
    interrupted(place, 1)
    (part,) = partial_names(place.vault.root)
    assert snapshot_names(place.vault.root) == [first.name]
    assert find_snapshot(place.vault, LATEST) == first.name
    with open_snapshot(place.vault, part) as opened:
        assert (opened.header.sequence, opened.header.part > 0) == (1, True)
        assert opened.snapshot.totals.files == 1
    assert place.add().added.snapshot.header.sequence == first.added.snapshot.header.sequence + 1


def test_of_a_path_the_latest_run_counts(place: Place) -> None:
    """A snapshot and parts of two runs list the same file: its newest facts and content are taken over."""
    first = place.add()
    for text in (b"second", b"third"):
        place.put("0/0", text * 100)
        place.put("0/1", text * 200)
        settle()
        interrupted(place, 1)
    assert len(partial_names(place.vault.root)) == 2
    added = place.add()
    assert (added.results, added.found.unchanged, added.found.previous) == ((), 10, first.name)
    assert content(place.vault, files(place.vault)[0]) == b"third" * 100
    assert place.add().results == ()


def test_parts_are_due_by_time_or_size(place: Place) -> None:
    """A part is written once an interval is over, with the batches since the one before, in the order of paths."""
    assert interrupted(place, 5, interval=NEVER)
    assert partial_names(place.vault.root) == []
    with engine.adding(place.vault, selection(place), CancelToken()) as addition:
        work = tuple(enumerate(addition.to_do()))
        interval = engine.PartialInterval(seconds=1e9, size_bytes=17 * MIB)
        for part in (work[4:6], work[0:2], work[2:4]):
            assert partial_names(place.vault.root) == []
            put(addition, part, place.key, interval=interval)
        (name,) = partial_names(place.vault.root)
        assert listed(place, name) == [payload.name[1:] for _, payload in work[:6]]
        put(addition, work[6:7], place.key, interval=interval)
        assert partial_names(place.vault.root) == [name]
        assert addition.add_snapshot(1, CancelToken()).snapshot.totals.files == 7
    assert partial_names(place.vault.root) == []


def test_parts_of_a_living_run_are_left_alone(place: Place) -> None:
    """Another run of the same sources neither takes them over nor removes them; they go with their own run."""
    with engine.adding(place.vault, selection(place), CancelToken()) as addition:
        work = tuple(enumerate(addition.to_do()))
        put(addition, work[:5], place.key, interval=ALWAYS)
        (name,) = partial_names(place.vault.root)
        assert is_running(place.vault.root, name[:16])
        assert place.add().found.taken_over == ()
        assert partial_names(place.vault.root) == [name]
        put(addition, work[5:], place.key, interval=ALWAYS)
        addition.add_snapshot(1, CancelToken())
    assert partial_names(place.vault.root) == []
    assert len(snapshot_names(place.vault.root)) == 2


def test_parts_of_other_sources_are_left_alone(place: Place) -> None:
    """They are taken over by a run of their own sources only."""
    interrupted(place, 2)
    parts = partial_names(place.vault.root)
    added = place.add(place.tree / "0")
    assert (added.found.taken_over, added.found.unchanged) == ((), 0)
    assert partial_names(place.vault.root) == parts


def test_a_damaged_part_is_passed_over(place: Place) -> None:
    """Its small files are found in the vault by their content, its large ones are stored again."""
    interrupted(place, 2)
    stored = len(objects(place.vault))
    for name in partial_names(place.vault.root):
        path = place.root / "partials" / name
        flip(path, path.stat().st_size - 1)
    added = place.add()
    assert (added.found.taken_over, len(added.results)) == ((), 10)
    assert stored == 4
    assert len(objects(place.vault)) == 11
    assert partial_names(place.vault.root) == []


def test_a_file_that_changes_after_its_part_is_read_again(place: Place) -> None:
    """The time when a run began, and not that of a snapshot before, tells whether its files are settled."""
    interrupted(place, 2)
    path = place.tree / "0" / "1"
    path.write_bytes(b"changed since")
    added = place.add()
    assert added.statuses()["1"] == "ok"
    assert added.found.unchanged == 3
    assert content(place.vault, files(place.vault)[1]) == b"changed since"
