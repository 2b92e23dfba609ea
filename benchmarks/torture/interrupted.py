"""A first backup that is killed again and again gets through, and stores nothing twice but for the last moments."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

from benchmarks.torture.places import Place
from benchmarks.torture.rows import Row

_FILE_BYTES = 64 << 20
_SMALL_FILES = 2_000
_PIECE_BYTES = 1 << 20
_KILLS = 5
_POLL_S = 0.02


def interrupt(folder: Path, draw: random.Random, tree_bytes: int) -> Row:
    """Kill the first backup of a tree of so many bytes five times, then let it end."""
    interval = max(_FILE_BYTES, tree_bytes // 20)
    row = Row(
        f"a first backup of {tree_bytes / 1e9:.1f} GB killed {_KILLS} times",
        "the next run takes over; no byte is stored twice beyond the interval of partial snapshots and files in work; "
        "what it kept is the tree",
    )
    place = Place.below(folder)
    largest = min(_FILE_BYTES, max(_PIECE_BYTES, tree_bytes // 20))
    for number in range(_SMALL_FILES):
        path = place.tree / "small" / str(number)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(draw.randbytes(draw.randrange(8192)))
    for number in range(tree_bytes // largest):
        with (place.tree / f"large {number}").open("wb") as file:
            for _ in range(largest // _PIECE_BYTES):
                file.write(draw.randbytes(_PIECE_BYTES))
    whole = sum(path.stat().st_size for path in place.tree.rglob("*") if path.is_file())
    command, environment = place.command("encrypt", str(place.tree)), place.environment
    environment |= {"THREADMILL_PARTIAL_AFTER_GIB": str(interval / 2**30)}
    for number in range(1, _KILLS + 1):
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # Killed once another sixth is there: an earlier run's rest counts, and is what the next one must not repeat.
        while _stored(place) < whole * number / (_KILLS + 1) and process.poll() is None:
            time.sleep(_POLL_S)
        process.kill()
        process.wait()
    ended = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    allowed = whole * 1.02 + 1000 * _SMALL_FILES + _KILLS * (interval + 2 * largest)
    stored = _stored(place)
    fault = ended.stderr.decode(errors="replace") if ended.returncode else place.verified() or place.kept_otherwise()
    row.add(
        f"{stored:,} bytes stored of {whole:,}, at most {allowed:,.0f}: {fault}", held=stored <= allowed and not fault
    )
    return row


def _stored(place: Place) -> int:
    """The bytes of all packs and objects, finished or not."""
    total = 0
    for folder in ("packs", "objects", "tmp"):
        for path in (place.vault / folder).rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except FileNotFoundError:
                continue
    return total
