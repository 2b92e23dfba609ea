"""The index of a vault: places of objects from sidecars or headers, in memory that is bounded, and never believed."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.vault import index as engine
from tasks.vault.errors import ObjectMissing, VaultChanged
from tasks.vault.format import INDEX, PACKED_BYTES, PACKS
from tasks.vault.index import Location, ObjectIndex, index_shared, shared_index
from tasks.vault.named import NamedObjects
from tasks.vault.packs import LONGEST_PACK, RECORD, write_sidecar
from tasks.vault.vault import Vault, init_vault
from tests.support.crafted import flip, put_in_place
from tests.support.crypto_fakes import SECRET, descriptors, run_python
from tests.support.packed import (
    digest,
    member,
    new_vault,
    pack_path,
    plant,
    plant_object,
    put_pack,
    sidecar_path,
)
from tests.support.vaults import more_room, small_disk

BODIES = tuple(b"Salted__%08d" % number + b"x" * number * 100 for number in range(12))
END = bytes(1024)
LARGE = b"Salted__01234567" + bytes(PACKED_BYTES)

FILL = """
import os, random, sys
from tasks.vault.errors import ScratchFull
from tasks.vault.named import NamedObjects
from tasks.vault.vault import open_vault
names = [random.randbytes(32) for _ in range(400_000)]
try:
    with NamedObjects(open_vault(sys.argv[2], None)) as index:
        index.name((name, 1) for name in names)
        assert sorted(digest for digest, _ in index.missing()) == sorted(names)
        assert os.listdir(sys.argv[1]) == []
        used = os.statvfs(sys.argv[1])
        assert used.f_bfree < used.f_blocks
except ScratchFull as error:
    sys.exit(str(error))
"""

# Nothing may be left over for the packs: each of them was opened, and more of them than fit.
FEW = """
import os, resource, sys
from tasks.vault.index import ObjectIndex
from tasks.vault.vault import open_vault
index = ObjectIndex(open_vault(sys.argv[1], None))
names = [bytes.fromhex(name) for name in sys.argv[2].split()]
resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
with index.kept_open():
    for name in names * 2:
        (location,) = index.find(name)
        assert len(index.read(location)) == location.length
    assert len(os.listdir("/proc/self/fd")) <= 24
"""


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return new_vault(tmp_path)


def finds(index: ObjectIndex, *bodies: bytes) -> bool:
    """Whether the bytes of all these objects are at one of the places that the index has."""
    return all(any(index.read(place) == body for place in index.find(digest(body))) for body in bodies)


def test_a_full_folder_for_temporary_files_is_said(vault: Vault, tmp_path: Path) -> None:
    """With what to do about it. With room, the file that it fills has no name."""
    with small_disk(tmp_path / "disk", "64k") as disk:
        before = ("env", f"SQLITE_TMPDIR={disk}")
        ended = run_python(FILL, str(disk), vault.root, before=before)
        said = "the list of the vault's objects cannot be kept among temporary files: database or disk is full; "
        assert ended.stderr.decode() == f"{said}set TMPDIR to a folder with more room\n"
        assert os.listdir(disk) == []
        more_room(disk, "64m")
        ended = run_python(FILL, str(disk), vault.root, before=before)
        assert (ended.returncode, ended.stderr) == (0, b"")


def test_members_are_found_in_their_packs(vault: Vault) -> None:
    """By digest and length; several copies in several packs."""
    first = put_pack(vault, *BODIES[:6])
    second = put_pack(vault, *BODIES[4:])
    with ObjectIndex(vault) as index:
        assert finds(index, *BODIES)
        assert {place.pack for place in index.find(digest(BODIES[5]))} == {first, second}
        assert index.find(digest(BODIES[0])) == [Location(first, 512, 16)]
        assert index.find(digest(b"")) == []
        for body in BODIES:
            assert index.has(digest(body), len(body))
            assert not index.has(digest(body), len(body) + 1)
        assert not index.has(digest(b""), 0)
        assert index.rebuilt == []


def test_large_objects_are_there_as_files(vault: Vault, tmp_path: Path) -> None:
    """In full length; a link or a folder is none. A small object counts as a file, too."""
    name = bytes.fromhex(plant_object(vault, LARGE))
    small = bytes.fromhex(plant_object(vault, BODIES[0]))
    path = Path(vault.root, "objects", name.hex()[:2], name.hex())
    with ObjectIndex(vault) as index:
        assert index.has(name, len(LARGE))
        assert index.has(small, len(BODIES[0]))
        assert not index.has(name, len(LARGE) - 1)
        put_in_place("link", path)
        assert not index.has(name, len(LARGE))
        path.unlink()
        put_in_place("folder", path)
        assert not index.has(name, path.stat().st_size)
        shutil.rmtree(path.parent)
        plant_object(vault, LARGE)
        path.parent.rename(tmp_path / "elsewhere")
        path.parent.symlink_to(tmp_path / "elsewhere")
        assert path.exists()
        assert not index.has(name, len(LARGE))


def test_packs_come_and_go(vault: Vault) -> None:
    """New ones are taken in; if one has gone, its members are gone."""
    with ObjectIndex(vault) as index:
        first = put_pack(vault, *BODIES[:4])
        assert not index.find(digest(BODIES[0]))
        index.refresh()
        assert finds(index, *BODIES[:4])
        put_pack(vault, *BODIES[4:8])
        index.refresh()
        assert finds(index, *BODIES[:8])
        pack_path(vault, first).unlink()
        put_pack(vault, *BODIES[8:])
        index.refresh()
        assert finds(index, *BODIES[4:])
        assert not any(index.has(digest(body), len(body)) for body in BODIES[:4])
        assert index.rebuilt == []
        shutil.rmtree(Path(vault.root, PACKS))
        index.refresh()
        assert not any(index.find(digest(body)) for body in BODIES)
        put_pack(vault, *BODIES)
        index.refresh()
        assert finds(index, *BODIES)


def test_a_pack_that_was_cut_is_read_anew(vault: Vault) -> None:
    """Between two looks: its length tells."""
    name = put_pack(vault, *BODIES[:3])
    with ObjectIndex(vault) as index:
        index.read(index.find(digest(BODIES[0]))[0])
        os.truncate(pack_path(vault, name), 1024)
        index.refresh()
        assert finds(index, BODIES[0])
        assert not index.find(digest(BODIES[1]))
        assert index.rebuilt == [name]


def _cut(path: Path) -> None:
    os.truncate(path, 50)


def _other(path: Path) -> None:
    other = next(one for one in path.parent.iterdir() if one != path)
    shutil.copy(other, path)


def _link(path: Path) -> None:
    put_in_place("link", path)


def _fifo(path: Path) -> None:
    put_in_place("fifo", path)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: flip(path, 40), _cut, _other, _link, _fifo])
def test_a_bad_sidecar_is_said_and_made_again(vault: Vault, damage: Callable[[Path], None]) -> None:
    """By a reader in its own memory, by a writer for all."""
    names = [put_pack(vault, *BODIES[:4]), put_pack(vault, *BODIES[4:])]
    damage(sidecar_path(vault, names[0]))
    for _ in range(2):
        with ObjectIndex(vault) as index:
            assert finds(index, *BODIES)
            assert index.rebuilt == [names[0]]
    with ObjectIndex(vault, fix=True) as index:
        assert finds(index, *BODIES)
        assert index.rebuilt == [names[0]]
    with ObjectIndex(vault) as index:
        assert finds(index, *BODIES)
        assert index.rebuilt == []


def test_a_writer_fixes_what_a_reader_found(vault: Vault) -> None:
    """With the index that they share; once."""
    name = put_pack(vault, *BODIES)
    sidecar_path(vault, name).unlink()
    with ObjectIndex(vault) as index:
        index.refresh()
        assert not sidecar_path(vault, name).exists()
        index.refresh(fix=True)
        assert sidecar_path(vault, name).exists()
        assert index.rebuilt == [name]
        sidecar_path(vault, name).unlink()
        index.refresh(fix=True)
        assert not sidecar_path(vault, name).exists()
        assert finds(index, *BODIES)


@pytest.mark.parametrize("kind", ["nothing", "link", "fifo"])
def test_the_folder_of_sidecars_can_be_lost(vault: Vault, kind: str) -> None:
    """Packs are enough. A writer makes it again, but not where a link leads."""
    name = put_pack(vault, *BODIES)
    folder = Path(vault.root, INDEX)
    if kind == "nothing":
        shutil.rmtree(folder)
    else:
        put_in_place(kind, folder)
    with ObjectIndex(vault, fix=True) as index:
        assert finds(index, *BODIES)
        assert index.rebuilt == [name]
    with ObjectIndex(vault) as index:
        assert finds(index, *BODIES)
        assert index.rebuilt == ([] if kind == "nothing" else [name])


def test_a_sidecar_without_its_pack_is_ignored(vault: Vault) -> None:
    """It is a rest."""
    pack_path(vault, put_pack(vault, *BODIES)).unlink()
    with ObjectIndex(vault) as index:
        assert not any(index.find(digest(body)) for body in BODIES)


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
@pytest.mark.parametrize("place", ["pack", "below", "packs"])
def test_something_else_is_no_pack(vault: Vault, kind: str, place: str) -> None:
    """In the place of a pack or of its folders, even where a link leads to one."""
    name = put_pack(vault, *BODIES)
    path = pack_path(vault, name)
    put_in_place(kind, {"pack": path, "below": path.parent, "packs": path.parent.parent}[place])
    with ObjectIndex(vault, fix=True) as index:
        assert not index.find(digest(BODIES[0]))
        assert not index.same(digest(BODIES[0]), memoryview(BODIES[0]))
        assert index.rebuilt == []


def test_a_huge_pack_is_not_scanned(vault: Vault) -> None:
    """A petabyte of nothing, under the name of a pack."""
    name = plant(vault, member(BODIES[0]), "0" * 64)
    os.truncate(pack_path(vault, name), LONGEST_PACK + 1)
    with ObjectIndex(vault) as index:
        assert index.find(digest(BODIES[0])) == []


def test_equal_bytes_are_the_same(vault: Vault) -> None:
    """A planted member that claims to be another, a rotten one, or one of another length is not; any good copy is."""
    claim = digest(BODIES[1])
    rotten = bytearray(BODIES[1])
    rotten[20] ^= 1
    plant(vault, member(bytes(rotten), claim) + member(BODIES[2], claim) + END)
    with ObjectIndex(vault) as index:
        assert index.has(claim, len(BODIES[1]))
        assert not index.same(claim, memoryview(BODIES[1]))
        put_pack(vault, BODIES[1])
        index.refresh()
        assert index.same(claim, memoryview(BODIES[1]))
        assert len(index.find(claim)) == 3
        assert not index.same(digest(BODIES[3]), memoryview(BODIES[3]))


def test_equal_large_objects_are_the_same(vault: Vault) -> None:
    """Byte by byte."""
    body = random.randbytes(PACKED_BYTES * 2 + 5)
    name = plant_object(vault, body)
    path = Path(vault.root, "objects", name[:2], name)
    with ObjectIndex(vault) as index:
        assert index.same(digest(body), memoryview(body))
        for at in (0, PACKED_BYTES, len(body) - 1):
            flip(path, at)
            assert not index.same(digest(body), memoryview(body))
            flip(path, at)
        assert not index.same(digest(body), memoryview(body[:-1]))
        path.write_bytes(body + b"x")
        assert not index.same(digest(body), memoryview(body))
        path.write_bytes(body)
        put_in_place("link", path)
        assert not index.same(digest(body), memoryview(body))


def test_a_forged_sidecar_leads_to_no_harm(vault: Vault) -> None:
    """It may name what is not there; no length is believed beyond that of a member, and no place beyond the pack's."""
    name = put_pack(vault, *BODIES)
    length = pack_path(vault, name).stat().st_size
    records = [
        RECORD.pack(digest(b"1"), 0, (1 << 32) - 1),
        RECORD.pack(digest(b"2"), (1 << 32) - 1, 100),
        RECORD.pack(digest(BODIES[0]), 1, 100),
        RECORD.pack(digest(BODIES[0]), 1, 100),
    ]
    write_sidecar(vault.root, name, length, records)
    with ObjectIndex(vault) as index:
        assert index.find(digest(b"1")) == []
        ((place,),) = (index.find(digest(b"2")),)
        assert index.read(place) == b""
        assert not index.same(digest(b"2"), memoryview(bytes(100)))
        assert len(index.find(digest(BODIES[0]))) == 1
        assert not index.same(digest(BODIES[0]), memoryview(BODIES[0]))


def test_a_stretch_of_a_pack_is_read(vault: Vault) -> None:
    """Several members at once, as far as the pack goes; not without limit, and not if the pack is gone."""
    name = put_pack(vault, *BODIES)
    raw = pack_path(vault, name).read_bytes()
    with ObjectIndex(vault) as index:
        assert index.read(Location(name, 100, 5000)) == raw[100:5100]
        assert index.read(Location(name, len(raw) - 10, 50)) == raw[-10:]
        with pytest.raises(VaultChanged, match=f"the index of pack {name} names 8,388,608 bytes at once"):
            index.read(Location(name, 0, 8 << 20))
        with pytest.raises(ObjectMissing, match=f"pack {0:064} is missing"):
            index.read(Location("0" * 64, 0, 10))


def test_a_thousand_packs_need_few_descriptors(vault: Vault) -> None:
    """An index holds 64 of them, or fewer where a process may not have so many."""
    for body in BODIES * 3:
        put_pack(vault, body + random.randbytes(4))
    names = " ".join(put_pack_of_one(vault, number) for number in range(150))
    ended = run_python(FEW, vault.root, names)
    assert (ended.returncode, ended.stderr) == (0, b"")


def put_pack_of_one(vault: Vault, number: int) -> str:
    """A pack with one member; the member's digest."""
    body = b"Salted__" + number.to_bytes(8, "big")
    put_pack(vault, body)
    return digest(body).hex()


def test_threads_share_an_index(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than packs stay open, while packs come."""
    monkeypatch.setattr(engine, "_OPEN_PACKS", 2)
    bodies = [b"Salted__" + number.to_bytes(8, "big") * (number + 1) for number in range(20)]
    for body in bodies[:10]:
        put_pack(vault, body)
    before = descriptors()
    with ObjectIndex(vault) as index:

        def work(number: int) -> bool:
            if number < 10:
                put_pack(vault, bodies[10 + number])
                index.refresh()
            return all(finds(index, body) for body in bodies[:10] * 5)

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(work, range(40)))
        index.refresh()
        assert finds(index, *bodies)
    assert descriptors() == before


def test_packs_are_closed_after_the_last_reader(vault: Vault) -> None:
    """They stay open from one reading to the next where somebody asks for it, and no longer."""
    put_pack(vault, *BODIES)
    index = shared_index(vault)
    (location,) = index.find(digest(BODIES[0]))
    before = descriptors()
    assert index.read(location) == BODIES[0]
    assert descriptors() == before
    with index.kept_open():
        with index.kept_open():
            assert index.read(location) == BODIES[0]
        assert len(descriptors()) == len(before) + 1
    assert descriptors() == before


def test_a_process_has_one_index_of_a_vault(vault: Vault, tmp_path: Path) -> None:
    """For all of its threads, up to date; a child that was forked has its own."""
    put_pack(vault, *BODIES[:3])
    first = shared_index(vault)
    assert finds(first, *BODIES[:3])
    name = put_pack(vault, *BODIES[3:])
    sidecar_path(vault, name).unlink()
    found: list[ObjectIndex] = []
    thread = threading.Thread(target=lambda: found.append(shared_index(vault)))
    thread.start()
    thread.join()
    assert found == [first]
    assert finds(first, *BODIES)
    assert first.rebuilt == [name]
    shared_index(vault, fix=True)
    assert sidecar_path(vault, name).exists()
    other = init_vault(str(tmp_path / "other"), SECRET)
    assert shared_index(other) is not first
    assert not shared_index(other).find(digest(BODIES[0]))
    child = os.fork()
    if not child:
        mine = shared_index(vault)
        os._exit(0 if mine is not first and finds(mine, *BODIES) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_the_index_is_freed_with_the_last_job(vault: Vault) -> None:
    """Jobs side by side share it, and after the last one no pack is open."""
    before = descriptors()
    put_pack(vault, *BODIES)
    with index_shared(vault):
        with index_shared(vault):
            first = shared_index(vault)
            assert finds(first, *BODIES)
        assert shared_index(vault) is first
        assert finds(first, *BODIES)
    assert descriptors() == before
    with index_shared(vault):
        assert shared_index(vault) is not first


def test_named_objects_are_there_or_missing(vault: Vault) -> None:
    """In packs or as files, in the length that their entries say; what is stored after the first look counts."""
    large = bytes.fromhex(plant_object(vault, LARGE))
    put_pack(vault, *BODIES[:4])
    named = [(digest(body), len(body)) for body in BODIES[:6]] + [(large, len(LARGE)), (digest(BODIES[3]), 1)]
    with NamedObjects(vault) as index:
        put_pack(vault, BODIES[4])
        for _ in range(2):
            index.name(iter(named))
        index.list_all()
        assert [name for name, _ in index.missing()] == sorted([digest(BODIES[5]), digest(BODIES[3])])
        there = [*BODIES[:5], LARGE]
        assert index.counts() == (6, sum(map(len, there)), 8)
        plant_object(vault, BODIES[5])
        index.list_all()
        assert list(index.missing()) == [(digest(BODIES[3]), 1)]


def test_unnamed_large_objects_are_listed(vault: Vault) -> None:
    """And small ones that lie among them; an object in a pack is none."""
    large = bytes.fromhex(plant_object(vault, LARGE))
    unnamed = bytes.fromhex(plant_object(vault, LARGE + b"x"))
    small = bytes.fromhex(plant_object(vault, BODIES[0]))
    put_pack(vault, *BODIES)
    with NamedObjects(vault) as index:
        index.name([(large, len(LARGE))])
        index.list_all()
        expected = {(unnamed, len(LARGE) + 1), (small, len(BODIES[0]))}
        assert set(index.unnamed_large()) == expected


def test_living_bytes_of_packs(vault: Vault) -> None:
    """With headers, padding and the end; of two copies one lives."""
    first = put_pack(vault, *BODIES[:4])
    second = put_pack(vault, *BODIES[3:6])
    third = put_pack(vault, BODIES[9])
    with NamedObjects(vault) as index:
        index.name((digest(body), len(body)) for body in (BODIES[0], BODIES[3], BODIES[5]))
        index.list_all()
        index.choose_copies()
        living = index.living()
        lengths = {name: pack_path(vault, name).stat().st_size for name in (first, second, third)}
        assert {name: length for name, (_, length) in living.items()} == lengths
        taken = {name: length for name, (length, _) in living.items()}
        # Bodies of 16, 316 and 516 bytes.
        assert taken[third] == 0
        assert taken[first] + taken[second] == 1024 + 1024 + (512 + 1024) + 2 * len(END)
        assert taken[second] - len(END) in {1536, 2560}


def test_memory_does_not_grow_with_the_vault(vault: Vault, tmp_path: Path) -> None:
    """Sidecars are read one at a time, and SQLite has a limit."""
    code = """
import sys
from pathlib import Path
from tasks.vault.index import ObjectIndex
from tasks.vault.vault import open_vault
with ObjectIndex(open_vault(sys.argv[1], None)) as index:
    print(index.has(bytes.fromhex(sys.argv[2]), 16))
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
"""
    peaks = []
    for packs in (1, 40):
        for number in range(packs):
            name = hashlib.sha256(b"%d" % number).hexdigest()
            path = pack_path(vault, name)
            path.parent.mkdir(exist_ok=True)
            with path.open("wb") as file:
                file.truncate(8 << 20)
            records = [RECORD.pack(random.randbytes(32), block, 16) for block in range(0, 16_000, 2)]
            write_sidecar(vault.root, name, 8 << 20, records)
        ended = run_python(code, vault.root, records[0][:32].hex())
        found, peak_kib = ended.stdout.decode().split()
        assert found == "True"
        peaks.append(int(peak_kib))
    # 320,000 members, which would take 60 MiB as a dictionary.
    assert peaks[1] - peaks[0] < 16 << 10
