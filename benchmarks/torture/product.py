"""What the engine makes of a vault: all that verify finds, all that restore and cat give."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from benchmarks.torture.places import NEVER, Place, scratch
from tasks.crypto.secret import KeyFile
from tasks.vault.entries import FileEntry
from tasks.vault.errors import VaultError, Verdict, judged
from tasks.vault.index import ObjectIndex
from tasks.vault.locks import reading
from tasks.vault.lookup import newest_snapshot, open_or_recover
from tasks.vault.named import NamedObjects
from tasks.vault.objects import read_object
from tasks.vault.portions import RestorePlan, Wanted
from tasks.vault.restore import restore_portion
from tasks.vault.snapshots import open_snapshot
from tasks.vault.target import make_target
from tasks.vault.vault import open_vault
from tasks.vault.verify import KnownSnapshot, check_stored, damaged, inspect


def newest(place: Place) -> KnownSnapshot:
    """The newest snapshot of a vault, as the record would know it."""
    found = newest_snapshot(open_vault(str(place.vault), KeyFile(str(place.key)).secret()))
    assert found is not None
    return KnownSnapshot(found.header.sequence, found.name, found.mac)


def faults(place: Place, known: KnownSnapshot | None = None, *, key: Path | None = None) -> list[Verdict]:
    """All that verify has against a vault."""
    return [verdict for verdict in verdicts(place, known, key=key) if verdict.is_fault]


def verdicts(place: Place, known: KnownSnapshot | None = None, *, key: Path | None = None) -> list[Verdict]:
    """All that verify has to say of a vault."""
    try:
        vault, fault = open_or_recover(str(place.vault), KeyFile(str(key or place.key)).secret())
    except VaultError as error:
        # The command refuses all.
        return [judged("vault", "unopened", "unreadable", str(error))]
    found = [] if fault is None else [fault]
    with reading(vault.root, NEVER), NamedObjects(vault) as objects:
        found += inspect(vault, objects, known, NEVER)
        objects.list_stored(())
        found += check_stored(vault, [(kind, name) for kind, name, _ in objects.to_check()], NEVER)
        packs = [verdict.name for verdict in found if verdict.is_fault and verdict.kind == "pack"]
        return [*found, *damaged(vault, objects, packs, (), NEVER)]


def plaintext(place: Place, snapshot: str, path: Path, *, key: Path | None = None) -> bytes:
    """Every byte of a file that cat gives, and that restore leaves on disk."""
    out: list[bytes] = []
    name = os.fsencode(path).strip(b"/")
    with suppress(VaultError):
        vault = open_vault(str(place.vault), KeyFile(str(key or place.key)).secret())
        with open_snapshot(vault, snapshot) as opened, scratch() as target:
            folder = make_target(str(target))
            with suppress(VaultError), RestorePlan(opened, Wanted.below([name])) as plan:
                for portion in plan.portions():
                    restore_portion(vault, portion, folder, overwrite=False, cancel=NEVER)
            out += [below.read_bytes() for below in target.rglob("*") if below.is_file()]
            entry = next(entry for entry in opened.entries() if entry.path == name)
            assert isinstance(entry, FileEntry)
            with ObjectIndex(vault) as index:
                read_object(vault, index, entry.content, lambda piece: out.append(bytes(piece)), NEVER, checked=True)
    return b"".join(out)
