"""Snapshots in doubt: the reasons why one does not count, or needs attention."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from db.history import History, SnapshotFilter
from db.rows import SnapshotRow
from flows.text import FAULTS_NAMED, named, plural

if TYPE_CHECKING:
    from tasks.vault.add import Added
    from tasks.vault.header import Totals


def doubts(added: Added) -> Iterator[str]:
    """The reasons why a new snapshot does not count, and the way to have it count all the same."""
    if added.snapshot.totals.counts:
        return
    reasons = [
        f"{one.path}: {one.gone:,} of {plural(one.kept + one.gone, 'file')} gone"
        if one.gone
        else f"{one.path}: nothing of it is in the snapshot"
        for one in added.doubtful
    ]
    yield f"IN DOUBT: {named(reasons[:FAULTS_NAMED], len(reasons)) or 'it has no file'}"
    yield f"it counts once the files are back, or after: threadmill snapshots accept {added.snapshot.name}"


def doubt(name: str, totals: Totals | SnapshotRow) -> str:
    """The reason why a snapshot does not count, in the words of somebody who has only its totals."""
    if not totals.files:
        return f"snapshot {name} has no file"
    if totals.gone:
        return f"snapshot {name} is in doubt: files gone since the last one that counts: {totals.gone:,}"
    return f"snapshot {name} is in doubt: of a path that was named, nothing is in it"


def doubtful(
    vault_id: str, newest: Iterable[tuple[str, Totals | SnapshotRow]], history: History, most: float
) -> Iterator[str]:
    """The reasons to look at a vault's newest snapshots, each of other sources.

    They are in doubt and not accepted, or more than the share `most` of their files changed or could not be read.
    """
    accepted = history.accepted(vault_id)
    for name, totals in newest:
        if not totals.counts and name not in accepted:
            yield f"{doubt(name, totals)}; if that is right: threadmill snapshots accept {name}"
        files, faulty = totals.files + totals.missed, totals.marked + totals.missed
        if faulty > most * files:
            # A file that is known to change is no fault.
            rows = history.snapshots(SnapshotFilter(vault_id=vault_id), limit=None)
            run_ids = [row.run_id for row in rows if row.name == name]
            counts = (one for run_id in run_ids for one in history.counts(run_id))
            faulty -= sum(one.count for one in counts if one.status == "changing")
        if faulty > most * files:
            what = "changed while they were read, or could not be read"
            yield f"snapshot {name} of {plural(totals.files, 'file')}: {faulty:,} {what}"
