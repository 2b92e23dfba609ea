"""The files of a vault that are damaged: what each is called, and whether that is found."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.torture.places import Place
from benchmarks.torture.product import faults, plaintext, verdicts
from tasks.crypto.secret import KeyFile
from tasks.files import closed_after, open_new
from tasks.vault.entries import FileEntry, begin_file, end_file, path_field
from tasks.vault.header import Header, Totals
from tasks.vault.lookup import peek, snapshot_names
from tasks.vault.snapshots import open_snapshot, write_snapshot
from tasks.vault.vault import Vault, open_vault

_LARGE_BYTES = 2 << 20
_LARGE_FOLDERS = 20_000
# Files of a pack of a megabyte.
_PACKED = 100


@dataclass(frozen=True)
class Victim:
    """A file of a vault, what verify calls it, and the snapshot and path that it belongs to."""

    place: Place
    file: Path
    name: str
    snapshot: str
    path: Path
    harmless: bool = False
    """Whether its content may come back whole all the same: it has other copies, or lies elsewhere in the file."""
    is_fault: bool = True

    def held(self) -> bool:
        """Whether verify names it as it is now, and nothing of the path is given out that is not its content."""
        found = {verdict.name for verdict in verdicts(self.place) if verdict.is_fault is self.is_fault}
        given = plaintext(self.place, self.snapshot, self.path)
        content = self.path.read_bytes() if self.harmless else b""
        return self.name in found and (not given or (self.harmless and given == content + content))

    def check_whole(self) -> None:
        """It is as it was made: or whatever holds, holds for another reason."""
        content = self.path.read_bytes()
        assert not faults(self.place)
        assert plaintext(self.place, self.snapshot, self.path) == content + content


def small_vault(folder: Path, draw: random.Random) -> dict[str, list[Victim]]:
    """A vault of three snapshots, each of one small file more, with a partial one: its files by kind, oldest first."""
    place = Place.below(folder)
    for number in range(3):
        # All of one length, or a swap would be found by that alone.
        (place.tree / f"letter {number}").write_bytes(draw.randbytes(40))
        before = set((place.vault / "packs").rglob("??/*"))
        place.keep()
        assert len(set((place.vault / "packs").rglob("??/*")) - before) == 1
    vault = open_vault(str(place.vault), KeyFile(str(place.key)).secret())
    names = sorted(snapshot_names(vault.root), key=lambda name: peek(vault.root, name).sequence)
    files = [place.tree / f"letter {number}" for number in range(3)]
    with open_snapshot(vault, names[-1]) as opened:
        entries = [entry for entry in opened.entries() if isinstance(entry, FileEntry)]
    of = {b"/" + entry.path: entry.content.object for entry in entries}
    packs = [_pack_of(place, of[os.fsencode(path)]) for path in files]
    partial = _write_partial(vault, entries)
    victims = {
        "pack": [
            # Its object is good where the damage is in its header, or in zeros.
            Victim(place, pack, pack.name, names[-1], path, harmless=True)
            for pack, path in zip(packs, files, strict=True)
        ],
        "index of a pack": [
            Victim(
                place, place.vault / "index" / pack.name, f"index/{pack.name}", names[-1], path, harmless=True,
                is_fault=False,
            )
            for pack, path in zip(packs, files, strict=True)
        ],
        "snapshot": [
            Victim(place, place.vault / "snapshots" / name, name, name, path)
            for name, path in zip(names, files, strict=True)
        ],
        "partial snapshot": [Victim(place, place.vault / "partials" / partial, partial, partial, files[-1])],
        "`vault.json`": [Victim(place, place.vault / "vault.json", vault.id, names[-1], files[-1])],
    }  # fmt: skip
    for victim in itertools.chain.from_iterable(victims.values()):
        victim.check_whole()
    return victims


def _pack_of(place: Place, digest: str) -> Path:
    (found,) = (pack for pack in (place.vault / "packs").glob("??/*") if digest.encode() in pack.read_bytes()[:64])
    return found


def _write_partial(vault: Vault, entries: list[FileEntry]) -> str:
    """A partial snapshot of a dead run, which has read some files; its name."""
    header = Header(vault.id, "0" * 16, datetime.now(UTC), 0, (b"/",), 1)
    totals = Totals(len(entries), len(entries), sum(entry.facts.size_bytes for entry in entries))
    with closed_after(open_new(f"{vault.root}/partials/{header.name}")) as descriptor:
        write_snapshot(descriptor, vault, header, map(_line_of, entries), totals)
    return header.name


def _line_of(entry: FileEntry) -> bytes:
    return begin_file(path_field(b"/" + entry.path), entry.facts) + end_file(entry.content)


def large_vaults(folder: Path, draw: random.Random) -> dict[str, Victim]:
    """A large object, pack and snapshot, each in a vault of its own, so that the others cost no time."""
    victims = {}
    for what in ("object", "pack", "snapshot"):
        place = Place.below(folder / what)
        (place.tree / "file").write_bytes(draw.randbytes(_LARGE_BYTES if what == "object" else 40))
        for number in range(_PACKED if what == "pack" else 0):
            (place.tree / f"file {number}").write_bytes(draw.randbytes(_LARGE_BYTES // _PACKED // 2))
        for _ in range(_LARGE_FOLDERS if what == "snapshot" else 0):
            # Names that do not shrink.
            (place.tree / draw.randbytes(40).hex()).mkdir()
        place.keep()
        (name,) = os.listdir(place.vault / "snapshots")
        (file,) = (place.vault / f"{what}s").glob("*" if what == "snapshot" else "??/*")
        victims[what] = Victim(place, file, file.name, name, place.tree / "file", harmless=what == "pack")
        victims[what].check_whole()
    return victims


@contextmanager
def moved(file: Path) -> Iterator[Path]:
    """Out of the vault for a while; whatever is in its place then goes."""
    vault = next(parent for parent in file.parents if parent.name == "vault")
    kept = file.rename(vault.with_name(f"kept-{file.name}"))
    try:
        yield kept
    finally:
        kept.rename(file)
