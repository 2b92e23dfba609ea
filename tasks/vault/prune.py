"""Removing: snapshots by a policy, packs and objects that no snapshot needs then, and dead bytes of other packs.

A pack goes only when nothing needs it: it has no object that a snapshot names, or all of these are in new packs that
are on disk. So a prune may be killed at any moment: the next one finds objects that are stored twice, and packs that
nobody needs. Plans are made and objects copied beside writers; before anything is removed, with all others locked out,
the snapshots are read that were added since.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.files import closed_after, open_folder
from tasks.vault.errors import (
    VaultChanged,
    VaultError,
    VaultUnwritable,
    Verdict,
    Verdicts,
    judged,
    on_disk,
)
from tasks.vault.format import INDEX, OBJECT_NAME, PACKS, SNAPSHOTS, snapshot_folder
from tasks.vault.locks import is_running
from tasks.vault.lookup import partial_names, read_snapshot, snapshot_names
from tasks.vault.named import NamedObjects
from tasks.vault.packs import BLOCK, RECORD, PackWriter, opened_stored, stored
from tasks.vault.snapshots import Snapshot, open_snapshot
from tasks.vault.vault import Vault
from tasks.vault.verify import lost_objects


@dataclass(frozen=True, slots=True)
class Policy:
    """The snapshots to keep: the last N, and the newest of each of the last N days, weeks (ISO) and months (UTC).

    For each set of sources by itself, so that one tree does not push out another.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    @property
    def keeps_nothing(self) -> bool:
        """Whether it would remove everything."""
        return not any(getattr(self, field.name) for field in fields(self))


_PERIODS: dict[str, Callable[[datetime], object]] = {
    "daily": datetime.date,
    "weekly": lambda time: time.isocalendar()[:2],
    "monthly": lambda time: (time.year, time.month),
}


def to_remove(snapshots: Sequence[Snapshot], policy: Policy) -> list[Snapshot]:
    """Snapshots that the policy does not keep, oldest first. The newest of each set of sources always stays."""
    by_sources: dict[tuple[bytes, ...], list[Snapshot]] = defaultdict(list)
    for snapshot in sorted(snapshots, key=lambda one: one.header.sequence, reverse=True):
        by_sources[snapshot.header.sources].append(snapshot)
    kept = {one.name for newest_first in by_sources.values() for one in _kept(newest_first, policy)}
    return [one for one in sorted(snapshots, key=lambda one: one.header.sequence) if one.name not in kept]


def _kept(newest_first: Sequence[Snapshot], policy: Policy) -> Iterator[Snapshot]:
    yield from newest_first[: max(1, policy.last)]
    for name, period_of in _PERIODS.items():
        newest_of: dict[object, Snapshot] = {}
        for snapshot in newest_first:
            newest_of.setdefault(period_of(snapshot.header.created), snapshot)
        yield from list(newest_of.values())[: getattr(policy, name)]


@dataclass(frozen=True, slots=True)
class Removal:
    """The plan of a removal.

    `snapshots` go, and `partials` of dead runs that a whole snapshot of the same sources has overtaken; so do `packs`
    without a living object, and `objects` large ones. The living objects of `rewrites` are copied first. `freed_bytes`
    is the gain, `kept` the number of snapshots that stay. `read` are the snapshots and partial ones that were there.
    """

    snapshots: tuple[Snapshot, ...]
    kept: int
    partials: tuple[str, ...]
    packs: tuple[str, ...]
    rewrites: tuple[str, ...]
    objects: int
    freed_bytes: int
    read: frozenset[str]


def plan_removal(
    vault: Vault, policy: Policy, unused: Callable[[int], int], objects: NamedObjects, cancel: CancelToken
) -> Removal:
    """Read every snapshot, and enter the objects of those that stay into `objects`.

    `unused` tells how many dead bytes may stay in packs, by the length of the whole. VaultError if a snapshot is
    damaged: the objects that it needs are unknown, so nothing is removed.
    """
    snapshots = [_believed(vault, name) for name in snapshot_names(vault.root)]
    removed = to_remove(snapshots, policy)
    gone = {snapshot.name for snapshot in removed}
    staying = [snapshot for snapshot in snapshots if snapshot.name not in gone]
    for snapshot in staying:
        if cancel.cancelled:
            raise Cancelled
        with open_snapshot(vault, snapshot.name) as opened:
            objects.name(opened.named())
    partials, overtaken = _name_partials(vault, staying, objects)
    objects.list_all()
    dead, rewrites, freed_bytes = _choose_packs(objects, unused)
    large = [length for _, length in objects.unnamed_large()]
    read = frozenset((*(snapshot.name for snapshot in snapshots), *partials))
    freed_bytes += sum(large)
    return Removal(tuple(removed), len(staying), overtaken, dead, rewrites, len(large), freed_bytes, read)


def _believed(vault: Vault, name: str) -> Snapshot:
    try:
        return read_snapshot(vault, name)
    except VaultChanged as error:
        hint = f"nothing is removed; put it back from a copy, or take it out of {SNAPSHOTS} and do without it"
        raise VaultChanged(vault.root, f"{error.reason}; {hint}") from None


def _name_partials(
    vault: Vault, snapshots: Sequence[Snapshot], objects: NamedObjects
) -> tuple[list[str], tuple[str, ...]]:
    """All partial snapshots, and the overtaken ones; the objects of the others are named.

    A damaged one needs nothing, since no run takes it over; it stays for `verify` to report.
    """
    newest: dict[tuple[bytes, ...], datetime] = {}
    for snapshot in snapshots:
        sources, created = snapshot.header.sources, snapshot.header.created
        newest[sources] = max(created, newest.get(sources, created))
    names, overtaken = partial_names(vault.root), []
    for name in names:
        with suppress(VaultError), open_snapshot(vault, name) as opened:
            header = opened.header
            later = newest.get(header.sources)
            if later is not None and later >= header.created and not is_running(vault.root, header.id):
                overtaken.append(name)
            else:
                objects.name(opened.named())
    return names, tuple(overtaken)


def _choose_packs(objects: NamedObjects, unused: Callable[[int], int]) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """The packs without life, those to rewrite, the worst first, until few dead bytes are left, and the gain."""
    # If something is missing, it may be in a pack that cannot be read at the moment.
    spared = objects.unaccounted() if any(objects.missing()) else frozenset[str]()
    objects.choose_copies()
    living = {name: sizes for name, sizes in objects.living().items() if name not in spared}
    dead = tuple(name for name, (used, _) in living.items() if not used)
    wasted = {name: length - used for name, (used, length) in living.items() if used}
    # Large objects are part of the whole.
    left, whole = sum(wasted.values()), sum(wasted.values()) + objects.counts()[1]
    freed_bytes = sum(living[name][1] for name in dead)
    allowed = unused(whole)
    rewrites = []
    for name in sorted(wasted, key=lambda name: (-wasted[name] / living[name][1], name)):
        if left <= allowed:
            break
        rewrites.append(name)
        left -= wasted[name]
        freed_bytes += wasted[name]
    return dead, tuple(rewrites), freed_bytes


@dataclass(frozen=True, slots=True)
class Copied(Verdicts):
    """`moved` are packs all of whose living objects are in other packs on disk now, with the names of these.

    `full` is the error of a disk that takes no more.
    """

    moved: tuple[tuple[str, tuple[str, ...]], ...] = ()
    full: VaultUnwritable | None = None


def copy_living(vault: Vault, packs: Sequence[tuple[str, bytes]], cancel: CancelToken) -> Copied:
    """Write the living objects of packs, given by their records, into new packs; each is hashed on the way.

    A pack with a damaged object stays as it is, and the object has a verdict. The caller holds the `writing` lock.
    """
    damaged: dict[str, str] = {}
    copied: list[tuple[str, int, int]] = []
    full = None
    with PackWriter(vault) as writer:
        try:
            for name, records in packs:
                if cancel.cancelled:
                    raise Cancelled
                bodies, bad = _read_living(vault, name, records)
                damaged |= {digest.hex(): f"pack {name} has no good copy of it" for digest in bad}
                if bad:
                    continue
                first = len(writer.packs)
                for digest, body in bodies:
                    writer.reserve(len(body))[: len(body)] = body
                    writer.add(digest, len(body))
                copied.append((name, first, len(writer.packs)))
            writer.commit()
        except VaultUnwritable as error:
            # The pack at hand is discarded, and the packs before it are whole.
            full = error
        new = [name for name, _, _ in writer.packs]
        verdicts = [replace(judged("pack", name, "ok"), size_bytes=length) for name, length, _ in writer.packs]
    moved = [
        (name, tuple(new[first : last + 1]))
        for name, first, last in copied
        if (full is None or last < len(new)) and name not in new
    ]
    return Copied((*verdicts, *lost_objects(vault, damaged)), None, tuple(moved), full)


def _read_living(vault: Vault, name: str, records: bytes) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
    """Good objects of a pack, and the digests of damaged ones."""
    good: list[tuple[bytes, bytes]] = []
    bad: list[bytes] = []
    members = list(RECORD.iter_unpack(records))
    try:
        with opened_stored(vault.root, PACKS, name) as (descriptor, _):
            for digest, block, length in members:
                try:
                    body = os.pread(descriptor, length, (block + 1) * BLOCK)
                except OSError:
                    body = b""
                if hashlib.sha256(body).digest() == digest:
                    good.append((digest, body))
                else:
                    bad.append(digest)
    except VaultError:
        return [], [digest for digest, _, _ in members]
    return good, bad


def late_objects(vault: Vault, objects: NamedObjects, read: frozenset[str]) -> set[bytes]:
    """Objects that only snapshots need that were added since the plan was made; the caller is alone in the vault.

    VaultError if such a snapshot is damaged; then nothing may be removed.
    """
    late: set[bytes] = set()
    for name in snapshot_names(vault.root):
        if name not in read:
            with open_snapshot(vault, name) as opened:
                late.update(objects.unnamed_of(opened.named()))
    for name in partial_names(vault.root):
        if name not in read:
            with suppress(VaultError), open_snapshot(vault, name) as opened:
                late.update(objects.unnamed_of(opened.named()))
    return late


def remove_snapshots(root: str, names: Iterable[str]) -> Generator[Verdict]:
    """Remove snapshots and partial ones. Their folders are on disk before this ends: none must be back without objects.

    The job is alone in the vault, here and in `remove_stored`, which comes after. Raises VaultUnwritable.
    """
    changed: set[str] = set()
    for name in names:
        part = snapshot_folder(name)
        # A run that ended meanwhile has removed its partial snapshots.
        with on_disk(root), suppress(FileNotFoundError), closed_after(open_folder(root, part)) as parent:
            os.unlink(name, dir_fd=parent)
        changed.add(part)
        yield judged("snapshot", name, "removed")
    for part in sorted(changed):
        with on_disk(root), closed_after(open_folder(root, part)) as parent:
            os.fsync(parent)


def remove_stored(
    root: str, kind: str, things: Iterable[tuple[str, Sequence[str]]], cancel: CancelToken
) -> Generator[Verdict]:
    """Remove packs or large objects (`kind` is their folder), each with the names of the packs that replace it.

    Raises VaultUnwritable or Cancelled.
    """
    for name, successors in things:
        if cancel.cancelled:
            raise Cancelled
        with on_disk(root), closed_after(open_folder(root, kind, name[:2])) as parent:
            size_bytes = os.stat(name, dir_fd=parent, follow_symlinks=False).st_size
            os.unlink(name, dir_fd=parent)
        told = f"its objects are in {' and '.join(successors)}" if successors else None
        verdict = judged("pack" if kind == PACKS else "object", name, "removed", told)
        yield replace(verdict, size_bytes=size_bytes)


def sweep_index(root: str) -> None:
    """Remove the sidecars of packs that are gone; the caller is alone in the vault."""
    there = {name for name, _ in stored(root, PACKS)}
    with on_disk(root), suppress(FileNotFoundError), closed_after(open_folder(root, INDEX)) as index:
        for name in os.listdir(index):
            if OBJECT_NAME.fullmatch(name) and name not in there:
                # Anything but a file stays, for `verify` to report.
                with suppress(IsADirectoryError, PermissionError):
                    os.unlink(name, dir_fd=index)
