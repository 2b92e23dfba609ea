"""Whatever is wrong with a vault is found and named, and gives nobody any plaintext."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.vault import packs
from tasks.vault.errors import VaultError, VerdictKind
from tasks.vault.format import PACKED_BYTES
from tasks.vault.locks import running
from tasks.vault.named import NamedObjects
from tasks.vault.policy import Policy
from tasks.vault.vault import open_vault
from tasks.vault.verify import KnownSnapshot, check_stored, damaged, inspect
from tests.support.crafted import craft, flip, line_of, put_in_place
from tests.support.packed import digest, pack_path, plant_object, put_pack, sidecar_path
from tests.support.vaults import (
    Place,
    content,
    files,
    leaks,
    make_place,
    object_path,
    pack_of,
    prune,
    restore,
    stored_object,
    verify,
)

# Random, so that it is not compressed.
LARGE = random.randbytes(PACKED_BYTES + 1000)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A vault and a tree of a few files, one of them large."""
    place = make_place(tmp_path)
    for name in ("a", "b/c", "b/d"):
        place.put(name)
    place.put("large", LARGE)
    return place


@pytest.fixture
def small(tmp_path: Path) -> Place:
    """The same without the large file."""
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
    entry = next(one for one in files(place.vault) if one.path == bytes(path)[1:])
    with pytest.raises(VaultError) as caught:
        content(place.vault, entry)
    shutil.rmtree(target)
    return caught.value.reason


def large_of(place: Place, name: str) -> Path:
    """The file of the large object."""
    return object_path(place.vault, place.content_of(name, place.tree / "large").object)


def test_a_whole_vault_has_no_fault(place: Place) -> None:
    """Vault, snapshots, packs and large objects each have a verdict, with a size and a time; packed objects none."""
    added = place.add()
    (pack,) = added.packs
    verdicts = verify(place.vault)
    assert [(one.kind, one.name, one.status) for one in verdicts] == [
        ("vault", place.vault.id, "ok"),
        ("snapshot", added.name, "ok"),
        ("pack", pack, "ok"),
        ("object", large_of(place, added.name).name, "ok"),
    ]
    assert [one.size_bytes for one in verdicts[2:]] == [pack_path(place.vault, pack).stat().st_size, len(LARGE) + 16]
    assert all(one.checked_at_ns > 0 for one in verdicts)


def test_every_changed_bit_of_a_packed_object_is_found(small: Place) -> None:
    """Whichever bit of an object is changed, header and salt included, it is named with its paths, and its pack."""
    path = small.tree / "b" / "c"
    wanted = small.content_of(small.add().name, path)
    pack, begin = pack_of(small.vault, wanted.object)
    for at in range(wanted.stored_bytes):
        flip(pack, begin + at, at % 8)
        faults = [one for one in verify(small.vault) if one.is_fault]
        assert [(one.kind, one.name, one.status) for one in faults] == [
            ("pack", pack.name, "changed"),
            ("object", wanted.object, "changed"),
        ]
        assert faults[1].path == bytes(path)
        assert str(path) in (faults[1].error or "")
        if at in (0, 8, 16, wanted.stored_bytes - 1):
            assert "do not fit its name" in gives_nothing(small, path, "changed")
        flip(pack, begin + at, at % 8)
    assert small.faults() == {}


def test_changed_headers_and_padding_cost_no_object(small: Place) -> None:
    """They are a fault of the pack; its objects are found by its index."""
    wanted = small.content_of(small.add().name, small.tree / "b" / "c")
    pack, begin = pack_of(small.vault, wanted.object)
    for at in (begin - 500, begin - 100, begin + wanted.stored_bytes + 3, pack.stat().st_size - 1):
        flip(pack, at, 3)
        assert small.faults() == {pack.name: "changed"}
        assert restore(small.vault, "latest", small.root.with_name("target")) == []
        shutil.rmtree(small.root.with_name("target"))
        flip(pack, at, 3)


@pytest.mark.parametrize("with_sidecar", [True, False])
def test_a_pack_that_is_cut_costs_the_objects_in_it(place: Place, with_sidecar: bool) -> None:
    """Those before the cut are good; each of the others is named with its paths, and nothing else is a fault."""
    for number in range(30):
        place.put(f"many/{number}", random.randbytes(600))
    (pack,) = place.add().packs
    path = pack_path(place.vault, pack)
    places = {one.path: (one.content, pack_of(place.vault, one.content.object)[1]) for one in files(place.vault)}
    cut = sorted(at for _, (_, at) in places.items() if at)[15] + 100
    os.truncate(path, cut)
    if not with_sidecar:
        sidecar_path(place.vault, pack).unlink()
    lost = {path: one.object for path, (one, at) in places.items() if one.packed and at + one.stored_bytes > cut}
    assert len(lost) == 18
    verdicts = [one for one in verify(place.vault) if one.is_fault]
    assert {one.name: one.status for one in verdicts if one.kind == "object"} == dict.fromkeys(lost.values(), "missing")
    assert {one.path for one in verdicts if one.kind == "object"} == {b"/" + path for path in lost}
    assert [(one.name, one.status) for one in verdicts if one.kind != "object"] == [(pack, "changed")]
    missing = {verdict.path for verdict in restore(place.vault, "latest", place.root.with_name("target"))}
    assert missing == {b"/" + path for path in lost}


def test_another_good_copy_is_enough(small: Place) -> None:
    """Of an object that two packs have, either copy may be damaged; the pack alone is a fault."""
    wanted = small.content_of(small.add().name, small.tree / "b" / "c")
    body = stored_object(small.vault, wanted)
    second = put_pack(small.vault, b"Salted__ and something else", body)
    first, begin = pack_of(small.vault, wanted.object)
    other = pack_path(small.vault, second)
    if first == other:
        first = next(path for path in (small.root / "packs").glob("*/*") if path != other)
        begin = first.read_bytes().index(body)
    flip(first, begin + 20)
    assert small.faults() == {first.name: "changed"}
    assert restore(small.vault, "latest", small.root.with_name("target")) == []
    flip(other, other.read_bytes().index(body) + 20)
    assert small.faults() == {first.name: "changed", second: "changed", wanted.object: "changed"}


def test_a_pack_under_another_name_is_found(small: Place) -> None:
    """Its objects are good, and its name is a fault."""
    (pack,) = small.add().packs
    path = pack_path(small.vault, pack)
    other = path.with_name(path.name[:-1] + "0123456789abcdef"[int(path.name[-1], 16) - 1])
    path.rename(other)
    sidecar_path(small.vault, pack).rename(sidecar_path(small.vault, other.name))
    assert small.faults() == {other.name: "changed"}
    assert restore(small.vault, "latest", small.root.with_name("target")) == []


@pytest.mark.parametrize("damage", ["gone", "cut", "flip", "folder gone"])
def test_an_index_that_is_missing_or_damaged_is_said(small: Place, damage: str) -> None:
    """It is no fault, since its pack is read instead, and the next run that writes makes it again."""
    (pack,) = small.add().packs
    path = sidecar_path(small.vault, pack)
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        os.truncate(path, 30)
    elif damage == "flip":
        flip(path, 50)
    else:
        shutil.rmtree(path.parent)
    for _ in range(2):
        (said,) = (one for one in verify(small.vault) if one.status == "rebuilt")
        assert (said.kind, said.name) == ("file", f"index/{pack}")
        assert small.faults() == {}
    small.put("more")
    small.add()
    assert {one.status for one in verify(small.vault)} == {"ok"}


@pytest.mark.parametrize("lie", ["left out", "elsewhere", "another"])
def test_an_index_that_lies_is_made_again(small: Place, lie: str) -> None:
    """One with a checksum that fits, and not with its pack: that is said once, and costs nothing."""
    (pack,) = small.add().packs
    length = pack_path(small.vault, pack).stat().st_size
    records = packs.read_sidecar(small.vault.root, pack, length) or b""
    first, *kept = (records[at : at + packs.RECORD.size] for at in range(0, len(records), packs.RECORD.size))
    digest, block, size = packs.RECORD.unpack(first)
    forged = {"left out": [], "elsewhere": [(digest, block + 1, size)], "another": [(bytes(32), block, size)]}[lie]
    packs.write_sidecar(small.vault.root, pack, length, [*kept, *(packs.RECORD.pack(*one) for one in forged)])
    assert [(one.name, one.status) for one in verify(small.vault) if one.status != "ok"] == [
        (f"index/{pack}", "rebuilt")
    ]
    assert {one.status for one in verify(small.vault)} == {"ok"}
    assert packs.read_sidecar(small.vault.root, pack, length) == records
    assert prune(small.vault, Policy(last=1)) == []


def test_an_index_that_lies_hides_no_good_copy(small: Place) -> None:
    """Of an object that a damaged pack has, and another pack whose index leaves it out."""
    wanted = small.content_of(small.add().name, small.tree / "b" / "c")
    first, begin = pack_of(small.vault, wanted.object)
    second = put_pack(small.vault, random.randbytes(600), stored_object(small.vault, wanted))
    packs.write_sidecar(small.vault.root, second, pack_path(small.vault, second).stat().st_size, [])
    flip(first, begin + 20)
    assert small.faults() == {first.name: "changed"}


def test_changed_bits_of_a_large_object_are_found(place: Place) -> None:
    """In header, salt and body; the object is named with its paths."""
    made = large_of(place, place.add().name)
    for at in (0, 9, 16, 500_000, len(LARGE) + 15):
        flip(made, at)
        (verdict,) = check_stored(place.vault, [("object", made.name)], CancelToken())
        assert (verdict.status, verdict.path) == ("changed", bytes(place.tree / "large"))
        assert str(place.tree / "large") in (verdict.error or "")
        flip(made, at)
    assert place.faults() == {}


@pytest.mark.parametrize("length", [0, 15, -1, 1 << 50])
def test_a_large_object_of_another_length_is_found(place: Place, length: int) -> None:
    """Cut off or longer, be it by a petabyte of nothing: found without reading all of it."""
    made = large_of(place, place.add().name)
    os.truncate(made, made.stat().st_size + length if length < 0 else min(length, 15 << 40))
    assert place.faults() == {made.name: "changed"}
    assert "does not have the" in gives_nothing(place, place.tree / "large", "changed")


def test_swapped_packs_are_found(small: Place) -> None:
    """Two packs under each other's name are both found; no file gets the other's content."""
    (one,) = small.add().packs
    small.put("e")
    (other,) = small.add().packs
    first, second = pack_path(small.vault, one), pack_path(small.vault, other)
    first.rename(small.root.with_name("kept"))
    second.rename(first)
    small.root.with_name("kept").rename(second)
    assert small.faults() == {one: "changed", other: "changed"}
    assert restore(small.vault, "latest", small.root.with_name("target")) == []


def test_missing_objects_are_found(place: Place) -> None:
    """A large object, or all that a pack had, each with the file that it is of, and once for all snapshots."""
    added = place.settled_add()
    place.add()
    made = large_of(place, added.name)
    made.unlink()
    (verdict,) = (one for one in verify(place.vault) if one.is_fault)
    path = place.tree / "large"
    assert (verdict.kind, verdict.name, verdict.status, verdict.path) == ("object", made.name, "missing", bytes(path))
    assert "is missing" in gives_nothing(place, path, "missing")
    pack_path(place.vault, added.packs[0]).unlink()
    found = {one.path: (one.status, one.name) for one in verify(place.vault) if one.status != "ok"}
    assert found.pop(None) == ("leftover", f"index/{added.packs[0]}")
    assert found.keys() == {b"/" + one.path for one in files(place.vault)}
    assert {status for status, _ in found.values()} == {"missing"}


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_a_pack_or_object_that_is_no_file_is_foreign(place: Place, kind: str) -> None:
    """A link (even to the very bytes), a FIFO or a folder in its place is neither followed nor waited for."""
    added = place.add()
    made = large_of(place, added.name)
    put_in_place(kind, made)
    assert place.faults() == {made.name: "missing", f"objects/{made.parent.name}/{made.name}": "foreign"}
    (pack,) = added.packs
    path = pack_path(place.vault, pack)
    if (kept := place.root.with_name("kept")).exists():
        kept.rename(kept.with_name("before"))
    put_in_place(kind, path)
    faults = place.faults()
    assert faults[f"packs/{pack[:2]}/{pack}"] == "foreign"
    assert list(faults.values()).count("missing") == 4
    things: list[tuple[VerdictKind, str]] = [("pack", pack), ("object", made.name)]
    assert {one.status for one in check_stored(place.vault, things, CancelToken())} <= {"changed", "unreadable"}


def test_damage_is_over_when_a_pack_has_a_good_copy(small: Place) -> None:
    """An object that is damaged on record is told to be whole again, and one that is still damaged is not."""
    name = small.add().name
    one, other = (small.content_of(name, small.tree / path) for path in ("a", "b/c"))
    pack, begin = pack_of(small.vault, one.object)
    flip(pack, begin + 17)
    on_record = [one.object, other.object, "ab" * 32]
    told = {(v.kind, v.name): v.status for v in verify(small.vault, on_record=on_record) if v.kind == "object"}
    assert told == {("object", one.object): "changed", ("object", other.object): "rebuilt"}


@pytest.mark.parametrize(
    "folder", ["packs", "objects", "index", "snapshots", "partials", "tmp", "objects/ab", "packs/ab"]
)
@pytest.mark.parametrize("kind", ["link", "fifo", "file"])
def test_a_folder_that_is_none_is_found(place: Place, folder: str, kind: str) -> None:
    """A link (even to the very folder), a FIFO or a file in the place of a folder of the vault is a fault."""
    place.add()
    (place.root / folder).mkdir(exist_ok=True)
    path = place.root / folder
    if kind == "file":
        path.rename(place.root.with_name("kept"))
        path.touch()
    else:
        put_in_place(kind, path)
    faults = place.faults()
    assert faults[folder] == "foreign"
    if folder in {"packs", "objects"}:
        assert "missing" in faults.values()


FOREIGN: dict[str, Callable[[Path], object]] = {
    "note": Path.touch,
    "objects/x": Path.touch,
    "objects/ab/x": Path.touch,
    "packs/x": Path.touch,
    "packs/ab/x": Path.touch,
    "packs/abc": Path.mkdir,
    "index/x": Path.touch,
    f"index/{'ab' * 32}.x": Path.touch,
    "index/ab": Path.mkdir,
    "partials/x": Path.touch,
    "partials/0123456789abcdef-1": Path.touch,
    "objects/abc": Path.mkdir,
    "objects/AB": Path.mkdir,
    "objects/zz": Path.mkdir,
    "snapshots/x": Path.touch,
    "snapshots/y": Path.mkdir,
    "tmp/x": Path.mkdir,
    "tmp/note": Path.touch,
    "tmp/y": os.mkfifo,
    f"objects/cd/ab{'0' * 62}": Path.touch,
    f"objects/ab/{'ab' * 32}.x": Path.touch,
    f"packs/cd/ab{'0' * 62}": Path.touch,
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
    """Files in `tmp/`, packs and objects that nobody names, and empty folders are as they may be."""
    made = large_of(place, place.add().name)
    for snapshot in (place.root / "snapshots").iterdir():
        snapshot.unlink()
    run = "0123456789abcdef"
    (place.root / "tmp" / f"{run}-1").touch()
    (place.root / "objects" / "00").mkdir(exist_ok=True)
    assert made.exists()
    found = [(one.kind, one.name, one.status) for one in verify(place.vault)]
    assert found[:2] == [("vault", place.vault.id, "ok"), ("file", f"tmp/{run}-1", "leftover")]
    assert [one[::2] for one in found[2:]] == [("pack", "ok")]
    with running(place.vault.root, run):
        assert "leftover" not in {one.status for one in verify(place.vault)}


def test_partial_snapshots_are_checked_as_whole_ones(small: Place) -> None:
    """Their objects are needed; a damaged one is a fault, and is no newest snapshot."""
    newest = known(small, "newest")
    entry = next(one for one in files(small.vault) if one.path.endswith(b"/a"))
    part = craft(small.vault, [line_of(entry)], partial=("0123456789abcdef", 1), totals=(1, 1, 31))
    assert small.faults(newest) == {}
    assert ("snapshot", part, "ok") in {(one.kind, one.name, one.status) for one in verify(small.vault)}
    small.snapshot(newest.name).unlink()
    assert small.faults(newest) == {small.vault.id: "rolled-back"}
    for path in (small.root / "packs").glob("*/*"):
        path.unlink()
    assert small.faults() == {entry.content.object: "missing"}
    flip(small.root / "partials" / part, 60)
    assert small.faults() == {part: "changed"}


@pytest.mark.parametrize(
    ("folder", "missing"), [("packs", 3), ("objects", 1), ("snapshots", 1), ("index", 0), ("partials", 0), ("tmp", 0)]
)
def test_a_folder_that_is_gone_is_found(place: Place, folder: str, missing: int) -> None:
    """By what is missing in it: a copy may lack folders that are empty; but for `snapshots`, which nothing misses."""
    place.add()
    shutil.rmtree(place.root / folder)
    faults = place.faults()
    assert list(faults.values()) == ["missing"] * missing
    assert (folder in faults) == (folder == "snapshots")


@pytest.mark.parametrize("folder", ["packs", "objects", "objects/ab", "index", "snapshots", "partials", "tmp", "."])
def test_a_folder_that_cannot_be_read_is_found(place: Place, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails at a folder is a fault of the folder, and not the end of the check."""
    (place.root / "objects" / "ab").mkdir()
    refused = os.stat(place.root / folder).st_ino

    def failing(real: Callable[[int], object]) -> Callable[[int], object]:
        def call(descriptor: int) -> object:
            if isinstance(descriptor, int) and os.fstat(descriptor).st_ino == refused:
                raise OSError(5, "Input/output error")
            return real(descriptor)

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
    assert {one.kind for one in verify(without)} == {"pack", "object"}
    wanted = place.content_of(name, place.tree / "a")
    pack, begin = pack_of(without, wanted.object)
    flip(pack, begin + 20)
    made = large_of(place, name)
    made.unlink()
    (place.root / "x").touch()
    found = {verdict.name: verdict.status for verdict in verify(without)}
    assert found == {pack.name: "changed", wanted.object: "changed", made.name: "missing", "x": "foreign"}


def test_one_object_of_many_files_is_named_for_some(small: Place) -> None:
    """Of many paths the first five are named, and how many more there are."""
    small.add()
    entry = next(one for one in files(small.vault) if one.path.endswith(b"/a"))
    line = line_of(entry)
    lines = [line.replace(b"/a", b"/a%02d" % number) for number in range(9)]
    craft(small.vault, lines, sequence=9, created=datetime(2099, 1, 1, tzinfo=UTC), totals=(9, 9, 9 * 31))
    for path in (small.root / "packs").glob("*/*"):
        path.unlink()
    (verdict,) = (one for one in verify(small.vault) if one.name == entry.content.object)
    assert "a04 and 4 more" in (verdict.error or "")


def test_a_check_ends_when_cancelled(place: Place) -> None:
    """What was checked by then has its verdict; looking at snapshots and for other copies ends at once."""
    (pack,) = place.add().packs
    cancel = CancelToken()
    cancel.cancel()
    assert check_stored(place.vault, [("pack", pack), ("object", "00" * 32)], cancel) == ()
    with NamedObjects(place.vault) as named:
        for work in (inspect(place.vault, named, None, cancel), damaged(place.vault, named, [pack], (), cancel)):
            with pytest.raises(Cancelled):
                list(work)


def test_a_sample_takes_what_was_proven_least_recently(small: Place) -> None:
    """Whole packs and large objects: never proven ones, then the oldest proofs, until the bytes are reached."""
    bodies = [b"Salted__%08d" % number for number in range(4)]
    packs = [put_pack(small.vault, body) for body in bodies]
    large = plant_object(small.vault, b"Salted__" + LARGE)
    proofs = [(packs[1], datetime(2026, 1, 2, tzinfo=UTC)), (packs[2], datetime(2026, 1, 1, tzinfo=UTC))]
    proofs += [("ff" * 32, datetime(2025, 1, 1, tzinfo=UTC))]
    first: set[str] = set()
    for _ in range(40):
        with NamedObjects(small.vault) as named:
            named.name([(bytes.fromhex(large), len(LARGE) + 8), (digest(bodies[0]), 16)])
            named.list_all()
            named.list_stored(proofs)
            everything = list(named.to_check())
            assert {(kind, name) for kind, name, _ in everything} == {
                ("object", large),
                *(("pack", one) for one in packs),
            }
            order = [name for _, name, _ in named.to_check(1 << 40)]
            assert order[3:] == [packs[2], packs[1]]
            assert [name for _, name, _ in named.to_check(1)] == order[:1]
            assert [name for _, name, _ in named.to_check(1 << 40)] == order
            least = sum(length for _, name, length in everything if name in order[:2])
            assert [name for _, name, _ in named.to_check(least)] == order[:2]
            assert list(named.to_check(0)) == []
            first.add(order[0])
    # Chance decides among those that were never proven.
    assert first == {large, packs[0], packs[3]}


def test_no_plaintext_is_in_a_vault(place: Place) -> None:
    """Nothing of a file's content is in any file of the vault, nor its key."""
    place.add()
    assert leaks(place.root) == []
    secret = Path(place.key.path).read_bytes().strip()
    assert all(secret not in path.read_bytes() for path in place.root.rglob("*") if path.is_file())
