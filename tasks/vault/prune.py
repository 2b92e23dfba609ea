"""Removing: snapshots by a policy, packs and objects that no snapshot needs then, and dead bytes of other packs.

A pack goes only when nothing needs it: it has no object that a snapshot names, or all of these are in new packs that
are on disk. So a prune may be killed at any moment: the next one finds objects that are stored twice, and packs that
nobody needs. Plans are made and objects copied beside writers; before anything is removed, with all others locked out,
the snapshots are read that were added since.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.files import closed_after, open_folder
from tasks.vault.errors import (
    NoSuchSnapshot,
    VaultChanged,
    VaultError,
    VaultUnwritable,
    Verdict,
    VerdictKind,
    Verdicts,
    judged,
    on_disk,
)
from tasks.vault.format import INDEX, OBJECT_NAME, OBJECTS, PACK_BYTES, PACKS, PARTIAL_NAME, SNAPSHOTS, snapshot_folder
from tasks.vault.locks import is_running, sweep
from tasks.vault.lookup import partial_names, read_snapshot, snapshot_names
from tasks.vault.named import Member, NamedObjects
from tasks.vault.packs import BLOCK, PackWriter, opened_stored, stored
from tasks.vault.policy import Policy, to_remove
from tasks.vault.snapshots import Authentic, Snapshot, open_snapshot
from tasks.vault.vault import Vault
from tasks.vault.verify import lost_objects

# A nightly run leaves a small pack each time: so many of them are written into one.
_SMALL_BYTES = PACK_BYTES // 4
_MANY_SMALL = 10

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Removal:
    """The plan of a removal.

    `snapshots` go, and `partials` of dead runs that a whole snapshot of the same sources has overtaken; so do `packs`
    without a living object, and `objects` large ones. The living objects of `rewrites`, which have dead bytes, and of
    `merges`, which are small, are copied first. `freed_bytes` is the gain, `kept` the number of snapshots that stay.
    `read` are the snapshots and partial ones that were there.
    """

    snapshots: tuple[Snapshot, ...]
    kept: int
    partials: tuple[str, ...]
    packs: tuple[str, ...]
    rewrites: tuple[str, ...]
    merges: tuple[str, ...]
    objects: int
    freed_bytes: int
    read: frozenset[str]


def plan_removal(
    vault: Vault,
    policy: Policy,
    unused: Callable[[int], int],
    objects: NamedObjects,
    cancel: CancelToken,
    accepted: Collection[str] = frozenset(),
) -> Removal:
    """Read every snapshot, and enter the objects of those that stay into `objects`.

    `unused` tells how many dead bytes may stay in packs, by the length of the whole. VaultError if a snapshot is
    damaged: the objects that it needs are unknown, so nothing is removed.
    """
    snapshots = [_believed(vault, name) for name in snapshot_names(vault.root)]
    removed = to_remove(snapshots, policy, accepted)
    gone = {snapshot.name for snapshot in removed}
    staying = [one for one in snapshots if one.name not in gone]
    for snapshot in staying:
        if cancel.cancelled:
            raise Cancelled
        with open_snapshot(vault, snapshot.name) as opened:
            objects.name(opened.named())
    partials, overtaken = _name_partials(vault, staying, objects)
    objects.list_all()
    dead, rewrites, merges, freed_bytes = _choose_packs(objects, unused)
    large = [length for _, length in objects.unnamed_large()]
    read = frozenset((*(snapshot.name for snapshot in snapshots), *partials))
    freed_bytes += sum(large)
    return Removal(tuple(removed), len(staying), overtaken, dead, rewrites, merges, len(large), freed_bytes, read)


def _believed(vault: Vault, name: str) -> Snapshot:
    try:
        return read_snapshot(vault, name)
    except VaultChanged as error:
        hint = f"nothing is removed; put it back from a copy, or take it out of {SNAPSHOTS} and do without it"
        raise VaultChanged(vault.root, f"{error.reason}; {hint}") from None


def _name_partials(vault: Vault, snapshots: Sequence[Authentic], objects: NamedObjects) -> tuple[list[str], Names]:
    """All partial snapshots, and the overtaken ones; the objects of the others are named.

    A damaged one needs nothing, since no run takes it over; it stays for `verify` to report.
    """
    newest: dict[tuple[bytes, ...], int] = {}
    for snapshot in snapshots:
        sources, sequence = snapshot.header.sources, snapshot.header.sequence
        newest[sources] = max(sequence, newest.get(sources, 0))
    names, overtaken = partial_names(vault.root), []
    for name in names:
        with suppress(VaultError), open_snapshot(vault, name) as opened:
            header = opened.header
            if newest.get(header.sources, 0) > header.sequence and not is_running(vault.root, header.id):
                overtaken.append(name)
            else:
                objects.name(opened.named())
    return names, tuple(overtaken)


def _choose_packs(objects: NamedObjects, unused: Callable[[int], int]) -> tuple[Names, Names, Names, int]:
    """The packs without life, those to rewrite until few dead bytes are left, small ones to merge, and the gain."""
    # If something is missing, it may be in a pack that cannot be read at the moment.
    spared = objects.unaccounted() if any(objects.missing()) else frozenset[str]()
    objects.choose_copies()
    living = {name: sizes for name, sizes in objects.living().items() if name not in spared}
    dead = tuple(name for name, (used, _) in living.items() if not used)
    wasted = {name: length - used for name, (used, length) in living.items() if used}
    # Large objects are part of the whole.
    left, whole = sum(wasted.values()), sum(wasted.values()) + objects.counts()[1]
    allowed = unused(whole)
    rewrites = []
    # The worst first.
    for name in sorted(wasted, key=lambda name: (-wasted[name] / living[name][1], name)):
        if left <= allowed:
            break
        rewrites.append(name)
        left -= wasted[name]
    small = [name for name in wasted if living[name][1] < _SMALL_BYTES and name not in rewrites]
    merges = small if len(small) >= _MANY_SMALL else []
    freed_bytes = sum(living[name][1] for name in dead) + sum(wasted[name] for name in (*rewrites, *merges))
    return dead, tuple(rewrites), tuple(merges), freed_bytes


@dataclass(frozen=True, slots=True)
class Copied(Verdicts):
    """`moved` are packs all of whose living objects are in other packs on disk now, with the names of these.

    `full` is the error of a disk that takes no more.
    """

    moved: Mapping[str, Names] = field(default_factory=dict)
    full: VaultUnwritable | None = None


def copy_living(vault: Vault, packs: Iterable[tuple[str, Sequence[Member]]], cancel: CancelToken) -> Copied:
    """Write the living members of packs into new packs; each is hashed on the way.

    A pack with a damaged object stays as it is, and the object has a verdict. The caller holds the `writing` lock.
    """
    damaged: dict[str, str] = {}
    copied: list[tuple[str, int, int]] = []
    full = None
    with PackWriter(vault) as writer:
        try:
            for name, members in packs:
                if cancel.cancelled:
                    raise Cancelled
                bodies = _read_good(vault, name, members)
                bad = [digest.hex() for digest, _, _ in members if digest not in bodies]
                damaged |= dict.fromkeys(bad, f"pack {name} has no good copy of it")
                if bad:
                    continue
                first = len(writer.packs)
                for digest, body in bodies.items():
                    writer.reserve(len(body))[: len(body)] = body
                    writer.add(digest, len(body))
                copied.append((name, first, len(writer.packs)))
            writer.commit()
        except VaultUnwritable as error:
            # The pack at hand is discarded, and the packs before it are whole.
            full = error
        new = [name for name, _, _ in writer.packs]
        verdicts = [judged("pack", name, "ok", size_bytes=length) for name, length, _ in writer.packs]
    moved = {
        name: tuple(new[first : last + 1])
        for name, first, last in copied
        if (full is None or last < len(new)) and name not in new
    }
    return Copied((*verdicts, *lost_objects(vault, damaged)), None, moved, full)


def _read_good(vault: Vault, name: str, members: Sequence[Member]) -> dict[bytes, bytes]:
    """The bodies of those members of a pack that are good."""
    good: dict[bytes, bytes] = {}
    with suppress(VaultError), opened_stored(vault.root, PACKS, name) as (descriptor, _):
        for digest, block, length in members:
            with suppress(OSError):
                body = os.pread(descriptor, length, (block + 1) * BLOCK)
                if hashlib.sha256(body).digest() == digest:
                    good[digest] = body
    return good


# A snapshot, pack or large object that goes: kind, name, and the packs that replace it.
Going = tuple[VerdictKind, str, Sequence[str]]


def going(
    vault: Vault, objects: NamedObjects, removal: Removal, moved: Mapping[str, Names] | None = None
) -> list[Going]:
    """Packs that were moved; or, without any, snapshots, and the packs and large objects that no other one needs.

    The caller is alone in the vault, now and in `remove`. VaultError if a snapshot is damaged that was added since the
    plan was made.
    """
    needed = _needed_since(vault, objects, removal.read)
    packs = dict.fromkeys(removal.packs, ()) if moved is None else moved
    goes: list[Going] = [("pack", name, successors) for name, successors in packs.items() if name not in needed]
    if moved is None:
        goes[:0] = [("snapshot", name, ()) for name in (*(one.name for one in removal.snapshots), *removal.partials)]
        goes += [("object", digest.hex(), ()) for digest, _ in objects.unnamed_large()]
    return goes


def remove(vault: Vault, things: Iterable[Going], cancel: CancelToken) -> Iterator[Verdict]:
    """Remove snapshots, packs and large objects; raises VaultUnwritable or Cancelled.

    The folders of the snapshots are on disk before anything else goes: none must be back without its objects.
    """
    for kind, some in groupby(things, itemgetter(0)):
        folders = set()
        for _, name, successors in some:
            if cancel.cancelled:
                raise Cancelled
            parts: tuple[str, ...] = (PACKS if kind == "pack" else OBJECTS, name[:2])
            absent: tuple[type[OSError], ...] = ()
            if kind == "snapshot":
                # A run that ended meanwhile has removed its partial snapshots.
                parts, absent = (snapshot_folder(name),), (FileNotFoundError,)
            folders.add(parts)
            size_bytes = None
            with on_disk(vault.root), suppress(*absent), closed_after(open_folder(vault.root, *parts)) as parent:
                size_bytes = os.stat(name, dir_fd=parent, follow_symlinks=False).st_size
                os.unlink(name, dir_fd=parent)
            told = f"its objects are in {' and '.join(successors)}" if successors else None
            yield judged(kind, name, "removed", told, size_bytes=size_bytes)
        for parts in sorted(folders) if kind == "snapshot" else ():
            with on_disk(vault.root), closed_after(open_folder(vault.root, *parts)) as parent:
                os.fsync(parent)


def _needed_since(vault: Vault, objects: NamedObjects, read: frozenset[str]) -> set[str]:
    """Packs with objects that only snapshots name that were added since the plan; these objects are named from now on.

    A damaged partial snapshot needs nothing.
    """
    late: set[tuple[bytes, int]] = set()
    for name in (*snapshot_names(vault.root), *partial_names(vault.root)):
        if name not in read:
            harmless = VaultError if PARTIAL_NAME.fullmatch(name) else NoSuchSnapshot
            with suppress(harmless), open_snapshot(vault, name) as opened:
                late.update(objects.unnamed_of(opened.named()))
    objects.name(late)
    return {location.pack for digest, _ in late for location in objects.find(digest)}


def tidy(root: str) -> None:
    """Remove the sidecars of packs that are gone, and what runs have left in `tmp/`; the caller is alone."""
    sweep(root)
    there = {name for name, _ in stored(root, PACKS)}
    with on_disk(root), suppress(FileNotFoundError), closed_after(open_folder(root, INDEX)) as index:
        for name in os.listdir(index):
            if OBJECT_NAME.fullmatch(name) and name not in there:
                # Anything but a file stays, for `verify` to report.
                with suppress(IsADirectoryError, PermissionError):
                    os.unlink(name, dir_fd=index)
