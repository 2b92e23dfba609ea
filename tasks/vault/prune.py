"""Removing: first snapshots, by a policy, then the objects that no snapshot names any more."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.files import sync_folder
from tasks.vault.errors import VaultChanged, Verdict, judged, on_disk
from tasks.vault.format import SNAPSHOTS, object_path, snapshot_path
from tasks.vault.index import ObjectIndex
from tasks.vault.lookup import read_snapshot, snapshot_names
from tasks.vault.objects import object_names
from tasks.vault.snapshots import Snapshot, open_snapshot
from tasks.vault.vault import Vault


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
    """The plan of a removal: the snapshots that go, how many stay, and how many objects go."""

    snapshots: tuple[Snapshot, ...]
    kept: int
    objects: int


def plan_removal(vault: Vault, policy: Policy, index: ObjectIndex, cancel: CancelToken) -> Removal:
    """Read every snapshot, and enter the objects of the remaining snapshots into the index.

    VaultError if one is damaged: the objects that it needs are unknown, so nothing is removed.
    """
    snapshots = [_believed(vault, name) for name in snapshot_names(vault.root)]
    removed = to_remove(snapshots, policy)
    gone = {snapshot.name for snapshot in removed}
    for snapshot in snapshots:
        if cancel.cancelled:
            raise Cancelled
        if snapshot.name not in gone:
            with open_snapshot(vault, snapshot.name) as opened:
                index.name(opened.objects())
    index.list(object_names(vault.root))
    return Removal(tuple(removed), len(snapshots) - len(removed), sum(1 for _ in index.unnamed()))


def _believed(vault: Vault, name: str) -> Snapshot:
    try:
        return read_snapshot(vault, name)
    except VaultChanged as error:
        hint = f"nothing is removed; put it back from a copy, or take it out of {SNAPSHOTS} and do without it"
        raise VaultChanged(vault.root, f"{error.reason}; {hint}") from None


def remove_snapshots(root: str, names: Sequence[str]) -> Generator[Verdict]:
    """Remove snapshots. The folder is on disk before this ends: no snapshot must be back without its objects.

    The job is alone in the vault, here and in `remove_objects`, which comes after: a run that is killed in between
    leaves objects that no snapshot names. Raises VaultUnwritable.
    """
    for name in names:
        with on_disk(root):
            os.unlink(snapshot_path(root, name))
        yield judged("snapshot", name, "removed")
    with on_disk(root):
        sync_folder(f"{root}/{SNAPSHOTS}")


def remove_objects(root: str, digests: Iterable[str], cancel: CancelToken) -> Generator[Verdict]:
    """Remove objects that no snapshot names; raises VaultUnwritable or Cancelled."""
    for digest in digests:
        if cancel.cancelled:
            raise Cancelled
        path = object_path(root, digest)
        with on_disk(root):
            size_bytes = os.lstat(path).st_size
            os.unlink(path)
        yield replace(judged("object", digest, "removed"), size_bytes=size_bytes)
