"""A disk that is full at a random place: a clear message, nothing half-written, and it goes on when there is room."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from benchmarks.torture.kills import PRUNE, aged, not_pruned
from benchmarks.torture.places import BIN, Place, difference, disk, grow, half_restored, may_mount
from benchmarks.torture.rows import Row

_HOLDS_PRUNE = (
    "exit code 0, or 1 and `No space left on device`; there is more room than before; `verify` finds no fault; "
    "with room again the same command leaves one snapshot and its objects, which are the tree"
)
_HOLDS = "exit code 1 and `No space left on device`; {}; with room again the same command ends with exit code 0"
_HOLDS_ENCRYPT = (
    "exit code 1, or 2 without room to begin, and `No space left on device`; `verify` finds no fault; with room again "
    "the same command ends with exit code 0"
)
_ROOM = "1g"
_PAGE = 4096


def fill(folder: Path, draw: random.Random, sizes: int, files: int, lanes: int) -> list[Row]:
    """Encrypt into, and restore to, so many disks of random sizes, each too small."""
    encrypt = Row("disk full during `encrypt`", _HOLDS_ENCRYPT)
    prune = Row("disk full during `prune`", _HOLDS_PRUNE)
    restore = Row("disk full during `restore`", _HOLDS.format("what has its name in the target is whole"))
    place = Place.below(folder)
    grow(place.tree, draw, files, large=1)
    grow(place.tree, draw, files)
    if os.geteuid() or not may_mount(folder / "tried"):
        for row in (encrypt, prune, restore):
            row.skipped = "mounting a small file system needs root"
        return [encrypt, prune, restore]
    place.keep()
    old = aged(folder / "old", draw, files)
    needed, dead = _pages(place.vault), _pages(old.vault)

    def encrypt_once(number: int) -> tuple[str, str]:
        pages = sizes_drawn[number]
        with disk(folder / f"encrypt-{number}", pages * _PAGE) as mounted:
            return f"{pages} pages", _encrypt(replace(place, vault=mounted / "vault", home=folder / f"home-{number}"))

    def prune_once(number: int) -> tuple[str, str]:
        # The record is not on that disk.
        beside = folder / f"prune-{number}"
        beside.mkdir()
        with disk(beside / "vault", (dead + rooms_drawn[number]) * _PAGE):
            copied = old.copy(beside, shutil.copy)
            return f"{rooms_drawn[number]} pages more than the vault", _prune(copied)

    def restore_once(number: int) -> tuple[str, str]:
        pages = sizes_drawn[number]
        with disk(folder / f"restore-{number}", pages * _PAGE) as mounted:
            return f"{pages} pages", _restore(place, mounted)

    # Fewer would not even hold the vault's parameters and the list of what there is to do.
    sizes_drawn = [draw.randrange(3, needed - needed // 20) for _ in range(sizes)]
    # From hardly any to about those of one of the packs that are written anew.
    rooms_drawn = [draw.randrange(2, max(3, dead // 10)) for _ in range(sizes)]
    with ThreadPoolExecutor(lanes) as pool:
        for row, once in ((encrypt, encrypt_once), (prune, prune_once), (restore, restore_once)):
            for where, fault in pool.map(once, range(sizes)):
                row.add(f"{where}: {fault}", held=not fault)
    return [encrypt, prune, restore]


def _pages(folder: Path) -> int:
    """What the files of a folder take on such a disk."""
    return sum(-(-path.stat().st_size // _PAGE) for path in folder.rglob("*") if path.is_file())


def _encrypt(place: Place) -> str:
    """What did not hold."""
    made = subprocess.run(
        [str(BIN / "threadmill"), "vault", "init", str(place.vault), "--key-file", str(place.key)],
        env=place.environment, capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        clear = b"No space left on device" in made.stderr and b"Traceback" not in made.stderr
        return "" if clear and not (place.vault / "vault.json").exists() else f"vault init: {made.stderr!r}"
    ended = place.run("encrypt", str(place.tree))
    if fault := _refusal(ended, 1, 2):
        return fault
    if fault := place.verified():
        return fault
    _more_room(place.vault.parent)
    again = place.run("encrypt", str(place.tree))
    return again.stderr.decode() if again.returncode else place.verified() or place.kept_otherwise()


def _prune(place: Place) -> str:
    before = _free(place.vault)
    ended = place.run("prune", *PRUNE)
    if ended.returncode and (fault := _refusal(ended)):
        return fault
    if (after := _free(place.vault)) <= before:
        return f"{after} pages are free, and {before} were"
    if fault := place.verified():
        return fault
    _more_room(place.vault)
    again = place.run("prune", *PRUNE)
    return again.stderr.decode() if again.returncode else place.verified() or not_pruned(place, place.vault)


def _free(folder: Path) -> int:
    return os.statvfs(folder).f_bfree


def _restore(place: Place, disk: Path) -> str:
    ended = place.run("restore", "latest", str(disk / "target"))
    if fault := _refusal(ended) or half_restored(place.tree, disk / "target"):
        return fault
    _more_room(disk)
    again = place.run("restore", "latest", str(disk / "target"))
    return again.stderr.decode() if again.returncode else difference(place.tree, disk / "target")


def _refusal(ended: subprocess.CompletedProcess[bytes], *codes: int) -> str:
    clear = (
        ended.returncode in (codes or (1,))
        and b"No space left on device" in ended.stderr
        and b"Traceback" not in ended.stderr
    )
    return "" if clear else f"{ended.returncode} {ended.stderr.decode(errors='replace')}"


def _more_room(disk: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={_ROOM}", disk], check=True)
