"""Changes behind threadmill's back: verify has to name each, and no plaintext may come of what was changed."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.torture.places import Place
from benchmarks.torture.product import faults, newest, plaintext
from benchmarks.torture.rows import Row
from benchmarks.torture.victims import Victim, large_vaults, moved, small_vault
from tasks.crypto.secret import write_key_file

_HOLDS = "`verify` names it; `restore` and `cat` give no byte of it"
_HOLDS_OR_WHOLE = "`verify` names it; `restore` and `cat` give the right content or no byte of it"
_NAMED = "`verify` names it"


def tamper(folder: Path, draw: random.Random, samples: int, step: int, commands: int) -> Iterator[Row]:
    """All of them; `samples` of each large file, every `step`-th place of a small one, `commands` as a user would."""
    small = small_vault(folder / "small", draw)
    large = large_vaults(folder / "large", draw)
    for what, victims in small.items():
        bits = range(0, 8 * victims[-1].file.stat().st_size, step)
        yield _flips(f"each bit of a small {what} flipped", victims[-1], bits)
    for what, victim in large.items():
        size = victim.file.stat().st_size
        yield _flips(f"a bit of a large {what} ({size:,} bytes) flipped", victim, draw.sample(range(8 * size), samples))
    in_turn = [victim for one_of_each in itertools.zip_longest(*small.values()) for victim in one_of_each if victim]
    yield _by_command(in_turn[:commands], folder / "target", draw)
    for what, victims in small.items():
        yield _cuts(f"a small {what} cut off at each length, or a byte longer", victims[-1], step)
    yield _cut_packs(large["pack"], step)
    yield _swaps("two packs swapped", small["pack"])
    yield _swaps("the indexes of two packs swapped", small["index of a pack"])
    yield _swaps("two snapshots swapped", small["snapshot"])
    yield _replays(small["snapshot"])
    yield _removals("a pack removed", small["pack"])
    yield _rollbacks(small["snapshot"])
    yield _in_place("a pack, its index or a snapshot replaced by a link to it, a FIFO or a folder", small)
    yield _foreign(small["pack"][0].place)
    yield _other_key(small["pack"][0], folder / "other-key")


def _flips(done: str, victim: Victim, bits: Sequence[int]) -> Row:
    row = Row(done, _HOLDS_OR_WHOLE if victim.harmless else _HOLDS)
    for bit in bits:
        _flip(victim.file, bit)
        row.add(f"byte {bit // 8}, bit {bit % 8}", held=victim.held())
        _flip(victim.file, bit)
    victim.check_whole()
    return row


def _by_command(victims: Sequence[Victim], target: Path, draw: random.Random) -> Row:
    holds = (
        "`verify` names it and ends with 1, or with 0 of an index; `restore` and `cat` give the right content and 0, "
    )
    row = Row("the same of each small file, by the commands", holds + "or no byte of it and 1 or 2")
    for number, victim in enumerate(victims):
        bit = draw.randrange(8 * victim.file.stat().st_size)
        _flip(victim.file, bit)
        place, back = victim.place, target / str(number)
        verify = place.run("verify")
        if victim.is_fault:
            named = verify.returncode == 1 and victim.name.encode() in verify.stderr
        else:
            named = verify.returncode == 0 and b"whose index is missing or wrong: 1" in verify.stdout
        restore = place.run("restore", victim.snapshot, str(back), str(victim.path))
        cat = place.run("cat", victim.snapshot, str(victim.path))
        restored = b"".join(path.read_bytes() for path in back.rglob("*") if path.is_file())
        right = (0, victim.path.read_bytes()) if victim.harmless else None
        held = all(
            got == right or (got[0] in (1, 2) and not got[1])
            for got in ((restore.returncode, restored), (cat.returncode, cat.stdout))
        )
        row.add(f"{victim.name}, byte {bit // 8}, bit {bit % 8}", held=named and held)
        _flip(victim.file, bit)
    return row


def _flip(file: Path, bit: int) -> None:
    descriptor = os.open(file, os.O_RDWR)
    os.pwrite(descriptor, bytes([os.pread(descriptor, 1, bit // 8)[0] ^ 1 << bit % 8]), bit // 8)
    os.close(descriptor)


def _cuts(done: str, victim: Victim, step: int) -> Row:
    row = Row(done, _HOLDS_OR_WHOLE if victim.harmless else _HOLDS)
    content = victim.file.read_bytes()
    for length in (*range(0, len(content), step), len(content) + 1):
        victim.file.write_bytes((content + b"\n")[:length])
        row.add(f"{length} bytes", held=victim.held())
    victim.file.write_bytes(content)
    victim.check_whole()
    return row


def _cut_packs(victim: Victim, step: int) -> Row:
    row = Row(
        "a pack of many objects cut off at a length",
        "`verify` names the objects behind the cut, with their paths, and no others",
    )
    content = victim.file.read_bytes()
    ends = {}
    with tarfile.open(victim.file) as tar:
        for member in tar:
            ends[member.name] = member.offset_data + member.size
    for length in range(0, len(content), 499 * step):
        victim.file.write_bytes(content[:length])
        found = {verdict.name: verdict.path for verdict in faults(victim.place) if verdict.kind == "object"}
        lost = {name for name, end in ends.items() if end > length}
        row.add(f"{length} bytes", held=found.keys() == lost and all(found.values()))
    victim.file.write_bytes(content)
    victim.check_whole()
    return row


def _swaps(done: str, victims: list[Victim]) -> Row:
    row = Row(done, _HOLDS_OR_WHOLE if victims[0].harmless else _HOLDS)
    for one, other in itertools.combinations(victims, 2):
        with moved(one.file) as first, moved(other.file) as second:
            shutil.copy(first, other.file)
            shutil.copy(second, one.file)
            row.add(f"{one.name} {other.name}", held=one.held() and other.held())
    victims[0].check_whole()
    return row


def _replays(snapshots: list[Victim]) -> Row:
    row = Row("an older snapshot under the name of a newer one, or under a new name", _HOLDS)
    for older, newer in itertools.combinations(snapshots, 2):
        with moved(newer.file):
            shutil.copy(older.file, newer.file)
            row.add(f"{older.name} as {newer.name}", held=newer.held())
        name = f"29991231T235959Z-{older.name[-16:]}"
        later = Victim(older.place, older.file.with_name(name), name, name, older.path)
        shutil.copy(older.file, later.file)
        row.add(f"{older.name} as {name}", held=later.held())
        later.file.unlink()
    snapshots[0].check_whole()
    return row


def _removals(done: str, victims: list[Victim]) -> Row:
    row = Row(done, "`verify` names its objects with their paths; `restore` and `cat` give no byte of them")
    for victim in victims:
        with moved(victim.file):
            found = {verdict.path for verdict in faults(victim.place)}
            row.add(victim.name, held=found == {os.fsencode(victim.path)} and not _given(victim))
    return row


def _rollbacks(snapshots: list[Victim]) -> Row:
    row = Row("the newest snapshots removed", "`verify` reports it, by the record")
    place = snapshots[-1].place
    known = newest(place)
    for kept in range(len(snapshots)):
        gone = [place.vault / "snapshots" / one.name for one in snapshots[kept:]]
        held = [file.rename(place.vault.with_name(file.name)) for file in gone]
        found = {verdict.status for verdict in faults(place, known)}
        row.add(f"all but {kept}", held="rolled-back" in found)
        for file, was in zip(held, gone, strict=True):
            file.rename(was)
    snapshots[-1].check_whole()
    return row


_ODD: dict[str, Callable[[Path, Path], object]] = {
    "link": lambda path, kept: path.symlink_to(kept),
    "FIFO": lambda path, _: os.mkfifo(path),
    "folder": lambda path, _: path.mkdir(),
}


def _in_place(done: str, small: dict[str, list[Victim]]) -> Row:
    row = Row(done, _HOLDS_OR_WHOLE)
    for victim in (small["pack"][0], small["index of a pack"][0], small["snapshot"][0]):
        for what, put in _ODD.items():
            with moved(victim.file) as kept:
                put(victim.file, kept)
                place, relative = victim.place, os.path.relpath(victim.file, victim.place.vault)
                found = {verdict.name for verdict in faults(place)} & {victim.name, relative}
                content = victim.path.read_bytes()
                right = (b"", content + content) if not victim.is_fault else (b"",)
                row.add(f"{what} {relative}", held=bool(found) and _given(victim) in right)
                _remove(victim.file)
        victim.check_whole()
    return row


def _given(victim: Victim) -> bytes:
    return plaintext(victim.place, victim.snapshot, victim.path)


def _foreign(place: Place) -> Row:
    row = Row("a file, link, FIFO or folder that does not belong there, in each folder of a vault", _NAMED)
    put = _ODD | {"file": lambda path, _: path.write_bytes(b"x")}
    ab = next((place.vault / "packs").iterdir()).name
    for folder in ("", "packs", f"packs/{ab}", "objects", "index", "snapshots", "partials", "tmp"):
        for what, make in put.items():
            path = place.vault / folder / "foreign"
            make(path, place.key)
            name = os.path.relpath(path, place.vault)
            row.add(f"{what} {name}", held={verdict.name for verdict in faults(place)} == {name})
            _remove(path)
    assert not faults(place)
    return row


def _other_key(victim: Victim, key: Path) -> Row:
    row = Row("another key file", "refused; no byte of anything")
    write_key_file(str(key))
    found = {verdict.name for verdict in faults(victim.place, key=key)}
    given = plaintext(victim.place, victim.snapshot, victim.path, key=key)
    row.add("another key", held=found == {"unopened"} and not given)
    return row


def _remove(path: Path) -> None:
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
