"""The policy by which old snapshots are removed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, pairwise

from tasks.vault.snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class Policy:
    """The snapshots to keep: the last N, and the newest of each of the last N days, weeks (ISO) and months (UTC).

    For each set of sources by itself, so that one tree does not push out another.
    """

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0


_PERIODS: dict[str, Callable[[datetime], object]] = {
    "daily": datetime.date,
    "weekly": lambda time: time.isocalendar()[:2],
    "monthly": lambda time: (time.year, time.month),
}


def to_remove(snapshots: Sequence[Snapshot], policy: Policy, accepted: Collection[str] = frozenset()) -> list[Snapshot]:
    """Snapshots that the policy does not keep, oldest first. The newest of each set of sources always stays.

    Those that count, or are `accepted`, are kept as if there were no others.
    """
    every: dict[tuple[bytes, ...], list[Snapshot]] = defaultdict(list)
    counting: dict[tuple[bytes, ...], list[Snapshot]] = defaultdict(list)
    for snapshot in sorted(snapshots, key=lambda one: one.header.sequence, reverse=True):
        every[snapshot.header.sources].append(snapshot)
        if snapshot.totals.counts or snapshot.name in accepted:
            counting[snapshot.header.sources].append(snapshot)
    of_sources = (*every.values(), *counting.values())
    kept = {one.name for newest_first in of_sources for one in _kept(newest_first, policy)}
    return [one for one in sorted(snapshots, key=lambda one: one.header.sequence) if one.name not in kept]


def _kept(newest_first: Sequence[Snapshot], policy: Policy) -> Iterator[Snapshot]:
    yield from newest_first[: max(1, policy.last)]
    times = [snapshot.header.created for snapshot in newest_first]
    # A clock that was set back, or begins anew at every start of a host, gives several days the same date.
    set_back = list(accumulate((older > newer for newer, older in pairwise(times)), initial=False))
    for name, period_of in _PERIODS.items():
        newest_of: dict[object, Snapshot] = {}
        for snapshot, time, times_set_back in zip(newest_first, times, set_back, strict=True):
            newest_of.setdefault((times_set_back, period_of(time)), snapshot)
        yield from list(newest_of.values())[: getattr(policy, name)]
