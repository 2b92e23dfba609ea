"""The files of a vault that are damaged: what each is called, and whether that is found."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.torture.places import Place
from benchmarks.torture.product import faults, plaintext
from tasks.crypto.secret import KeyFile
from tasks.vault.entries import FileEntry
from tasks.vault.lookup import peek, snapshot_names
from tasks.vault.snapshots import open_snapshot
from tasks.vault.vault import open_vault

_LARGE_BYTES = 1 << 20
_LARGE_FOLDERS = 8_000


@dataclass(frozen=True)
class Victim:
    """A file of a vault, what verify calls it, and the snapshot and path that it belongs to."""

    place: Place
    file: Path
    name: str
    snapshot: str
    path: Path

    def held(self) -> bool:
        """Whether verify names it as it is now, and nothing of the path is given out."""
        found = {verdict.name for verdict in faults(self.place)}
        return self.name in found and not plaintext(self.place, self.snapshot, self.path)

    def check_whole(self) -> None:
        """It is as it was made: or whatever holds, holds for another reason."""
        content = self.path.read_bytes()
        assert not faults(self.place)
        assert plaintext(self.place, self.snapshot, self.path) == content + content


def small_vault(folder: Path, draw: random.Random) -> dict[str, list[Victim]]:
    """A vault of three snapshots, each of one small file more; its objects, snapshots (oldest first) and parameters."""
    place = Place.below(folder)
    for number in range(3):
        # All of one length, or a swap would be found by that alone.
        (place.tree / f"letter {number}").write_bytes(draw.randbytes(40))
        place.keep()
    vault = open_vault(str(place.vault), KeyFile(str(place.key)).secret())
    names = sorted(snapshot_names(vault.root), key=lambda name: peek(vault.root, name).sequence)
    files = [place.tree / f"letter {number}" for number in range(3)]
    with open_snapshot(vault, names[-1]) as opened:
        of = {b"/" + entry.path: entry.object for entry in opened.entries() if isinstance(entry, FileEntry)}
    objects = [of[os.fsencode(path)] for path in files]
    victims = {
        "object": [
            Victim(place, place.vault / "objects" / name[:2] / name, name, names[-1], path)
            for name, path in zip(objects, files, strict=True)
        ],
        "snapshot": [
            Victim(place, place.vault / "snapshots" / name, name, name, path)
            for name, path in zip(names, files, strict=True)
        ],
        "`vault.json`": [Victim(place, place.vault / "vault.json", vault.id, names[-1], files[-1])],
    }
    for victim in itertools.chain.from_iterable(victims.values()):
        victim.check_whole()
    return victims


def large_vaults(folder: Path, draw: random.Random) -> tuple[Victim, Victim]:
    """A large object and a large snapshot, each in a vault of its own, so that the other costs no time."""
    victims = []
    for what in ("object", "snapshot"):
        place = Place.below(folder / what)
        (place.tree / "file").write_bytes(draw.randbytes(_LARGE_BYTES if what == "object" else 40))
        for number in range(0 if what == "object" else _LARGE_FOLDERS):
            (place.tree / f"folder {number}").mkdir()
        place.keep()
        (name,) = os.listdir(place.vault / "snapshots")
        ((digest, file),) = ((file.name, file) for file in (place.vault / "objects").glob("*/*"))
        if what == "snapshot":
            digest, file = name, place.vault / "snapshots" / name
        victims.append(Victim(place, file, digest, name, place.tree / "file"))
        victims[-1].check_whole()
    return victims[0], victims[1]


@contextmanager
def moved(file: Path) -> Iterator[Path]:
    """Out of the vault for a while; whatever is in its place then goes."""
    vault = next(parent for parent in file.parents if parent.name == "vault")
    kept = file.rename(vault.with_name(f"kept-{file.name}"))
    try:
        yield kept
    finally:
        kept.rename(file)
