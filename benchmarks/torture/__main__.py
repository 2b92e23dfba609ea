"""Torture vaults, play cases, and print the tables of docs/reliability.md; exit code 1 if anything was missed."""

from __future__ import annotations

import argparse
import os
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.torture.afterwards import AFTERWARDS
from benchmarks.torture.backups import BACKUPS
from benchmarks.torture.full import fill
from benchmarks.torture.interrupted import interrupt
from benchmarks.torture.kills import kill
from benchmarks.torture.places import memory
from benchmarks.torture.rows import HEAD, Row
from benchmarks.torture.scene import HEAD as HEAD_OF_CASES
from benchmarks.torture.scene import Told, tell
from benchmarks.torture.tampering import tamper


@dataclass(frozen=True)
class Extent:
    """How much of it: see the options; `step` is 1 where every byte has its turn."""

    flips: int = 10_000
    kills: int = 200
    sizes: int = 50
    step: int = 1
    commands: int = 11
    files: int = 100
    tree_bytes: int = 2_000_000_000


QUICK = Extent(flips=12, kills=1, sizes=1, step=24, commands=2, files=10, tree_bytes=100_000_000)


def torture(extent: Extent, seed: int) -> Iterator[Row]:
    """Row after row; the same seed makes the same changes, though no two kills find a program at the same place."""
    draw = random.Random(seed)
    lanes = len(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory(prefix="threadmill-torture-", dir=memory()) as quick,
        tempfile.TemporaryDirectory(prefix="threadmill-torture-") as disk,
    ):
        yield from tamper(Path(quick), draw, extent.flips, extent.step, extent.commands)
        yield from kill(Path(disk) / "kills", draw, extent.kills, extent.files, lanes)
        yield interrupt(Path(disk) / "interrupted", draw, extent.tree_bytes)
        yield from fill(Path(disk) / "full", draw, extent.sizes, extent.files, lanes)


def play_cases() -> Iterator[Told]:
    """Line after line of the second table; mounting disks needs root."""
    with tempfile.TemporaryDirectory(prefix="threadmill-cases-") as folder:
        yield from tell((*BACKUPS, *AFTERWARDS), Path(folder), len(os.sched_getaffinity(0)))


def main() -> int:
    """As the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__)
    parser.add_argument("--cases", action="store_true", help="the second table alone: cases of what could go missing")
    parser.add_argument("--quick", action="store_true", help="a few of each, in seconds")
    parser.add_argument("--flips", type=int, help="bits flipped in a large object and in a large snapshot")
    parser.add_argument("--kills", type=int, help="kills of each command")
    parser.add_argument("--sizes", type=int, help="disks that are too small, for each command")
    parser.add_argument("--tree-bytes", type=int, help="of the first backup that is killed five times")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="of what is drawn at random")
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("flips", "kills", "sizes", "tree_bytes")}
    extent = replace(
        QUICK if options.quick else Extent(), **{name: value for name, value in given.items() if value is not None}
    )
    begin = time.monotonic()
    missed = [] if options.cases else _print_rows(torture(extent, options.seed))
    missed += _print_cases()
    print(f"\nseed {options.seed}, {time.monotonic() - begin:.0f} s")
    for one in missed:
        print(f"MISSED {one}", file=sys.stderr)
    return 1 if missed else 0


def _print_rows(rows: Iterable[Row]) -> list[str]:
    print(HEAD)
    missed: list[str] = []
    for row in rows:
        print(row.line(), flush=True)
        missed += [f"{row.done}: {where}" for where in row.missed]
    print()
    return missed


def _print_cases() -> list[str]:
    print(HEAD_OF_CASES)
    missed: list[str] = []
    for told in play_cases():
        print(told.line(), flush=True)
        missed += [f"{told.case}, {told.command}: {wrong}" for wrong in told.wrong]
    return missed


if __name__ == "__main__":
    sys.exit(main())
