"""Whatever is wrong with a vault is found and named, and gives nobody any plaintext."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.vault.errors import VaultError
from tasks.vault.index import ObjectIndex
from tasks.vault.vault import open_vault
from tasks.vault.verify import KnownSnapshot, check_objects, inspect
from tests.support.crafted import craft, flip, put_in_place
from tests.support.vaults import Place, content, files, leaks, make_place, restore, verify


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A vault and a tree of a few files."""
    place = make_place(tmp_path)
    for name in ("a", "b/c", "b/d"):
        place.put(name)
    return place


def gives_nothing(place: Place, path: Path, status: str) -> str:
    """Neither way of opening a file gives its plaintext; why not."""
    target = place.root.with_name("target")
    verdicts = {verdict.path: verdict for verdict in restore(place.vault, "latest", target)}
    assert verdicts[bytes(path)].status == status
    assert not Path(f"{target}{path}").exists()
    assert all(MARKED not in found.read_bytes() for found in target.rglob("*") if found.is_file())
    entry = next(one for one in files(place.vault) if one.path == bytes(path)[1:])
    with pytest.raises(VaultError) as caught:
        content(place.vault, entry)
    assert verdicts[bytes(path)].error == caught.value.reason
    return caught.value.reason


MARKED = b"nobody may see b/c"


def test_a_whole_vault_has_no_fault(place: Place) -> None:
    """Vault, snapshots and objects each have a verdict, with a size and a time."""
    name = place.add().name
    verdicts = verify(place.vault)
    assert {(one.kind, one.status) for one in verdicts} == {("vault", "ok"), ("snapshot", "ok"), ("object", "ok")}
    assert [one.name for one in verdicts[:2]] == [place.vault.id, name]
    assert {one.size_bytes for one in verdicts if one.kind == "object"} == {31, 33}
    assert all(one.checked_at_ns > 0 for one in verdicts)


def test_every_changed_bit_of_an_object_is_found(place: Place) -> None:
    """Whichever bit of an object is changed, header and salt included, it is found, with the paths that it is of."""
    path = place.tree / "b" / "c"
    made = place.object_of(place.add().name, path)
    size = made.stat().st_size
    for at in range(size):
        flip(made, at, at % 8)
        (verdict,) = check_objects(place.vault, [(made.name, size - 16)], CancelToken())
        assert (verdict.status, verdict.path) == ("changed", bytes(path))
        assert str(path) in (verdict.error or "")
        if at in (0, 8, 16, size - 1):
            assert "do not fit its name" in gives_nothing(place, path, "changed")
            shutil.rmtree(place.root.with_name("target"))
        flip(made, at, at % 8)
    assert place.faults() == {}


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, -1, 1 << 50])
def test_an_object_of_another_length_is_found(place: Place, length: int) -> None:
    """Cut off or longer, be it by a petabyte of nothing: found without reading all of it."""
    path = place.tree / "b" / "c"
    made = place.object_of(place.add().name, path)
    os.truncate(made, made.stat().st_size + length if length < 0 else min(length, 15 << 40))
    assert place.faults() == {made.name: "changed"}
    assert "does not have the" in gives_nothing(place, path, "changed")


def test_swapped_objects_are_found(place: Place) -> None:
    """Two objects under each other's name are both found, and neither file gets the other's content."""
    name = place.add().name
    one, other = (place.object_of(name, place.tree / "b" / path) for path in ("c", "d"))
    one.rename(place.root.with_name("kept"))
    other.rename(one)
    place.root.with_name("kept").rename(other)
    assert place.faults() == {one.name: "changed", other.name: "changed"}
    gives_nothing(place, place.tree / "b" / "c", "changed")


def test_a_missing_object_is_found(place: Place) -> None:
    """It is named, with the file that it is of, and once for all snapshots."""
    path = place.tree / "b" / "c"
    made = place.object_of(place.settled_add().name, path)
    place.add()
    made.unlink()
    (verdict,) = (one for one in verify(place.vault) if one.is_fault)
    assert (verdict.kind, verdict.name, verdict.status, verdict.path) == ("object", made.name, "missing", bytes(path))
    assert str(path) in (verdict.error or "")
    assert "is missing" in gives_nothing(place, path, "missing")


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_an_object_that_is_no_file_is_missing_and_foreign(place: Place, kind: str) -> None:
    """A link (even to the very bytes), a FIFO or a folder in its place is neither followed nor waited for."""
    path = place.tree / "b" / "c"
    made = place.object_of(place.add().name, path)
    put_in_place(kind, made)
    assert place.faults() == {made.name: "missing", f"objects/{made.parent.name}/{made.name}": "foreign"}
    gives_nothing(place, path, "unreadable")
    (verdict,) = check_objects(place.vault, [(made.name, 1)], CancelToken())
    assert verdict.status == "unreadable"


@pytest.mark.parametrize("folder", ["objects", "snapshots", "tmp", "objects/ab"])
@pytest.mark.parametrize("kind", ["link", "fifo", "file"])
def test_a_folder_that_is_none_is_found(place: Place, folder: str, kind: str) -> None:
    """A link (even to the very folder), a FIFO or a file in the place of a folder of the vault is a fault."""
    place.add()
    (place.root / "objects" / "ab").mkdir(exist_ok=True)
    path = place.root / folder
    if kind == "file":
        path.rename(place.root.with_name("kept"))
        path.touch()
    else:
        put_in_place(kind, path)
    faults = place.faults()
    assert faults[folder] == "foreign"
    if folder == "objects":
        assert "missing" in faults.values()


FOREIGN: dict[str, Callable[[Path], object]] = {
    "note": Path.touch,
    "objects/x": Path.touch,
    "objects/ab/x": Path.touch,
    "objects/abc": Path.mkdir,
    "objects/AB": Path.mkdir,
    "objects/zz": Path.mkdir,
    "snapshots/x": Path.touch,
    "snapshots/y": Path.mkdir,
    "tmp/x": Path.mkdir,
    "tmp/y": os.mkfifo,
    f"objects/cd/ab{'0' * 62}": Path.touch,
    f"objects/ab/{'ab' * 32}.x": Path.touch,
    "link": lambda path: path.symlink_to("/"),
    "\udcff": Path.touch,
    "two\nlines": Path.touch,
}


@pytest.mark.parametrize("name", FOREIGN, ids=map(ascii, FOREIGN))
def test_what_does_not_belong_is_found(place: Place, name: str) -> None:
    """Any file, folder, link or FIFO that threadmill did not make is named by its path, in text that can be shown."""
    place.add()
    path = place.root / name
    path.parent.mkdir(exist_ok=True)
    FOREIGN[name](path)
    assert place.faults() == {os.fsencode(name).decode(errors="backslashreplace"): "foreign"}


def test_what_interrupted_runs_leave_is_no_fault(place: Place) -> None:
    """Files in `tmp/`, objects that nobody names and empty folders of objects are as they may be."""
    made = place.object_of(place.add().name, place.tree / "a")
    for snapshot in (place.root / "snapshots").iterdir():
        snapshot.unlink()
    (place.root / "tmp" / "left").touch()
    (place.root / "objects" / "00").mkdir(exist_ok=True)
    assert made.exists()
    assert [(one.name, one.status) for one in verify(place.vault)] == [(place.vault.id, "ok"), ("tmp/left", "leftover")]


@pytest.mark.parametrize("folder", ["objects", "snapshots"])
def test_a_folder_that_is_gone_is_found(place: Place, folder: str) -> None:
    """Without `objects` every object is missing; and the folder itself is."""
    place.add()
    shutil.rmtree(place.root / folder)
    faults = place.faults()
    assert faults.pop(folder) == "missing"
    assert list(faults.values()) == (["missing"] * 3 if folder == "objects" else [])


@pytest.mark.parametrize("folder", ["objects", "objects/ab", "snapshots", "tmp", "."])
def test_a_folder_that_cannot_be_read_is_found(place: Place, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails at a folder is a fault of the folder, and not the end of the check."""
    (place.root / "objects" / "ab").mkdir()
    refused = os.path.normpath(place.root / folder)

    def failing(real: Callable[[object], object]) -> Callable[[object], object]:
        def call(path: object) -> object:
            if os.fsdecode(path) == refused:  # type: ignore[arg-type]
                raise OSError(5, "Input/output error", refused)
            return real(path)

        return call

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, failing(getattr(os, name)))
    assert place.faults()[folder] == "unreadable"


def known(place: Place, name: str) -> KnownSnapshot:
    """What the record knows after a run."""
    snapshot = next(one for one in [place.add().added.snapshot])
    return KnownSnapshot(snapshot.header.sequence, snapshot.name, snapshot.mac)


def test_removed_newest_snapshots_are_found(place: Place) -> None:
    """A vault that was put back to an older state is found by what the record knows, and an honest one is not."""
    old = place.add()
    newest = known(place, "newest")
    assert place.faults(newest) == {}
    for name, status in ((newest.name, "rolled-back"), (old.name, "rolled-back")):
        place.snapshot(name).unlink()
        assert place.faults(newest) == {place.vault.id: status}


def test_another_snapshot_under_the_known_number_is_found(place: Place) -> None:
    """One that was made in place of the newest one has another MAC."""
    newest = known(place, "newest")
    place.snapshot(newest.name).unlink()
    craft(place.vault, [], sequence=newest.sequence)
    assert place.faults(newest) == {place.vault.id: "rolled-back"}
    craft(place.vault, [], sequence=newest.sequence + 1)
    assert place.faults(newest) == {place.vault.id: "rolled-back"}


def test_a_damaged_newest_snapshot_is_found_once(place: Place) -> None:
    """It is changed, and not gone."""
    newest = known(place, "newest")
    flip(place.snapshot(newest.name), 200)
    assert place.faults(newest) == {newest.name: "changed"}


def test_without_the_secret_digests_are_checked(place: Place) -> None:
    """Objects, missing ones and foreign files are found by one who has no key; a changed snapshot need not be."""
    name = place.add().name
    without = open_vault(str(place.root), None)
    assert {one.kind for one in verify(without)} == {"object"}
    one, other = (place.object_of(name, place.tree / path) for path in ("a", "b/c"))
    flip(one, 20)
    other.unlink()
    (place.root / "x").touch()
    found = {verdict.name: verdict.status for verdict in verify(without)}
    last = place.object_of(name, place.tree / "b" / "d")
    assert found == {one.name: "changed", other.name: "missing", "x": "foreign", last.name: "ok"}


def test_one_object_of_many_files_is_named_for_some(place: Place) -> None:
    """Of many paths the first five are named, and how many more there are."""
    made = place.object_of(place.add().name, place.tree / "a")
    line = next(one for one in files(place.vault) if one.path.endswith(b"/a")).line()
    lines = [line.replace(b"/a", b"/a%02d" % number) for number in range(9)]
    craft(place.vault, lines, sequence=9, created=datetime(2099, 1, 1, tzinfo=UTC), totals=(9, 9, 9 * 31))
    made.unlink()
    (verdict,) = (one for one in verify(place.vault) if one.is_fault)
    assert "a04 and 4 more" in (verdict.error or "")


def test_a_check_ends_when_cancelled(place: Place) -> None:
    """Objects that were checked by then have their verdict; looking at snapshots ends at once."""
    place.add()
    cancel = CancelToken()
    cancel.cancel()
    assert check_objects(place.vault, [("00" * 32, 1)], cancel) == ()
    with pytest.raises(Cancelled), ObjectIndex() as index:
        list(inspect(place.vault, index, None, cancel))


def test_the_index_gives_those_proven_longest_ago() -> None:
    """A sample begins with what was never proven, then the oldest proofs."""
    names = [f"{number:064x}" for number in range(5)]
    with ObjectIndex() as index:
        index.name((name, number) for number, name in enumerate(names[:4]))
        index.list(names[1:])
        index.prove([(names[1], datetime(2026, 1, 2, tzinfo=UTC)), (names[2], datetime(2026, 1, 1, tzinfo=UTC))])
        index.prove([(names[0], datetime(2026, 1, 1, tzinfo=UTC)), ("ff" * 32, datetime(2026, 1, 1, tzinfo=UTC))])
        assert list(index.missing()) == [names[0]]
        assert list(index.unnamed()) == [names[4]]
        assert [name for name, _ in index.whole()] == names[1:4]
        assert [name for name, _ in index.whole(2)] == [names[3], names[2]]
        assert (index.counts(), index.counts(2)) == ((3, 6), (2, 5))
        assert index.oldest_proof() == (1, "2026-01-01T00:00:00+00:00")


def test_no_plaintext_is_in_a_vault(place: Place) -> None:
    """Nothing of a file's content is in any file of the vault, nor its key."""
    place.add()
    assert leaks(place.root) == []
    secret = Path(place.key.path).read_bytes().strip()
    assert all(secret not in path.read_bytes() for path in place.root.rglob("*") if path.is_file())
