"""`kill -9` at random moments: the vault verifies, and the next run of the same command finishes the work."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from benchmarks.torture.places import Place, difference, grow, half_restored
from benchmarks.torture.rows import Row

_HOLDS = "then `verify` finds no fault; the next run ends with exit code 0, "
_SPAN_RUNS = 3
# Where it is not measured how long the work takes: about that of so small a tree.
_SPAN_S = 0.3
_POLL_S = 0.001
PRUNE = ("--keep-last", "1", "--max-unused", "0%")


@dataclass(frozen=True)
class Killing:
    """A command in a copy of a place; `finished` says what is not as it must be once it has run to its end."""

    command: str
    place: Place
    arguments: tuple[str, ...]
    holds: str
    finished: Callable[[Place, Path], str]


def kill(folder: Path, draw: random.Random, kills: int, files: int, lanes: int) -> list[Row]:
    """Each command killed so often; `files` small ones in each folder of the tree."""
    folder.mkdir()
    return [_row(one, folder / one.command, draw, kills, lanes) for one in _killings(folder, draw, files)]


def _killings(folder: Path, draw: random.Random, files: int) -> list[Killing]:
    added = Place.below(folder / "adding")
    grow(added.tree, draw, files)
    added.keep()
    grow(added.tree, draw, files, large=2)
    old = aged(folder / "old", draw, files, large=1)
    pruned = "and the vault has one snapshot and its objects, which are the tree"
    return [
        Killing("encrypt", added, (str(added.tree),), "and what it kept is the tree (contents, modes)", _is_kept),
        Killing("prune", old, PRUNE, pruned, not_pruned),
        Killing("restore", added, ("latest", "target"), "and `diff -r` finds no difference", _is_restored),
    ]


def aged(folder: Path, draw: random.Random, files: int, large: int = 0) -> Place:
    """A place where `PRUNE` removes packs and large objects, and writes anew the packs of which half is dead."""
    place = Place.below(folder)
    # Dead as a whole, and small, so that its room is not enough for the others.
    grow(place.tree, draw, max(1, files // 10))
    place.keep()
    shutil.rmtree(next(place.tree.iterdir()))
    for _ in range(4):
        grow(place.tree, draw, files, large)
        place.keep()
        made = max(place.tree.iterdir(), key=os.fsencode)
        for name in range(0, files, 2):
            (made / "below" / str(name)).unlink()
    place.keep()
    return place


def _row(one: Killing, folder: Path, draw: random.Random, kills: int, lanes: int) -> Row:
    row = Row(f"`threadmill {one.command}` killed at a random moment", _HOLDS + one.holds)
    if one.command == "restore":
        one.place.keep()
    numbers, lock = count(), threading.Lock()
    span_s = _SPAN_S
    if kills > _SPAN_RUNS:
        span_s = max(_attempt(one, folder / f"whole-{number}", None)[0] for number in range(_SPAN_RUNS))

    def lane(seed: int) -> None:
        moments = random.Random(seed)
        while True:
            with lock:
                if row.times >= kills:
                    return
            place = folder / str(next(numbers))
            took_s, fault = _attempt(one, place, moments.uniform(0, span_s), fresh=moments.random() < 0.3)
            with lock:
                # One that had ended by then was not killed.
                if took_s and row.times < kills:
                    row.add(f"{one.command} after {took_s:.3f} s: {fault}", held=not fault)

    lanes = min(lanes, kills)
    with ThreadPoolExecutor(lanes) as pool:
        for done in [pool.submit(lane, draw.getrandbits(64)) for _ in range(lanes)]:
            done.result()
    return row


def _attempt(one: Killing, folder: Path, after_s: float | None, *, fresh: bool = False) -> tuple[float, str]:
    """Kill it so long after it had begun with the vault, or never; how long it then ran, and what did not hold.

    `fresh`: encrypt begins with an empty vault. 0 seconds: it had ended before it could be killed.
    """
    folder.mkdir(parents=True)
    place = one.place.copy(folder)
    if fresh and one.command == "encrypt":
        # The record would miss the vault that it knows there.
        shutil.rmtree(place.vault)
        shutil.rmtree(place.home)
        place.make_vault()
    arguments = tuple(str(folder / "target") if part == "target" else part for part in one.arguments)
    process = subprocess.Popen(
        place.command(one.command, *arguments), env=place.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not _holds_lock(place, process.pid) and process.poll() is None:
        time.sleep(_POLL_S)
    begin = time.perf_counter()
    with suppress(subprocess.TimeoutExpired):
        process.wait(after_s)
    process.kill()
    process.wait()
    took_s = time.perf_counter() - begin
    fault = ""
    if after_s is not None and process.returncode != 0:
        fault = _after(one, place, arguments, folder)
    killed = after_s is None or process.returncode != 0
    if not fault:
        shutil.rmtree(folder)
    return took_s if killed else 0.0, fault


def _after(one: Killing, place: Place, arguments: tuple[str, ...], folder: Path) -> str:
    """What does not hold after a kill."""
    if fault := place.verified():
        return f"after the kill: {fault}"
    if one.command == "restore" and (fault := half_restored(one.place.tree, folder / "target")):
        return fault
    again = place.run(one.command, *arguments)
    if again.returncode:
        return f"the next run: {again.returncode} {again.stderr.decode(errors='replace')}"
    if fault := place.verified():
        return f"after the next run: {fault}"
    if left := os.listdir(place.vault / "tmp"):
        return f"left in tmp: {left}"
    return one.finished(place, folder)


def _holds_lock(place: Place, pid: int) -> bool:
    """Whether a process has the lock of the vault by now: what comes before is the start of an interpreter."""
    try:
        inode = (place.vault / "lock").stat().st_ino
        locks = Path("/proc/locks").read_text().splitlines()
    except FileNotFoundError:
        return False
    return any(f" {pid} " in line and f":{inode} " in line for line in locks)


def _is_kept(place: Place, _folder: Path) -> str:
    return place.kept_otherwise()


def _is_restored(place: Place, folder: Path) -> str:
    return difference(place.tree, folder / "target")


def not_pruned(place: Place, _folder: Path) -> str:
    """What is different in a vault after `PRUNE`; empty if nothing is."""
    snapshots = os.listdir(place.vault / "snapshots")
    unnamed = place.unnamed()
    if len(snapshots) != 1 or unnamed:
        return f"{len(snapshots)} snapshots, {unnamed} objects too many"
    return place.kept_otherwise()
