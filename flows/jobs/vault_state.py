"""The state of a vault at a glance, and snapshots in doubt: the reasons why one does not count, or needs attention."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from db.history import History, SnapshotFilter
from db.host import CLOCKS_DIFFER
from db.rows import SnapshotRow, storable
from flows.jobs.identity import known_snapshot, open_known
from flows.text import FAULTS_NAMED, after_now, age, named, plural, shown_path
from tasks.cancel import CancelToken
from tasks.crypto.errors import KeyFileError
from tasks.crypto.secret import KeyFile
from tasks.vault.errors import ScratchFull, VaultBusy, VaultChanged, VaultError, WrongKey
from tasks.vault.locks import reading
from tasks.vault.lookup import partial_names, snapshot_names
from tasks.vault.named import NamedObjects
from tasks.vault.snapshots import Authentic
from tasks.vault.vault import Vault
from tasks.vault.verify import rolled_back

if TYPE_CHECKING:
    from tasks.vault.add import Added
    from tasks.vault.header import Totals
    from tasks.vault.walk import SourceTally


@dataclass(frozen=True, slots=True)
class VaultState:
    """The state of a vault. Unknown values are None or empty; only `path` is always known.

    Attributes:
        vault_id: if no vault is there, the id of the last one on record.
        authenticated: whether the snapshots' MACs were checked; without the key file they are believed.
        partial: the number of partial snapshots, which are not counted among `snapshots`.
        newest_name: the newest good snapshot; with it its number, time and totals.
        objects: the number of objects that are there and that a snapshot names; `stored_bytes` is their size.
        never_proven: the number of packs and large objects that were never verified.
        oldest_proof: the time of the oldest verification.
        unproven_since: the same, but a pack or object that was never verified counts from when it was stored.
        on_record: the row of the newest snapshot (of an unreadable vault: of the last one).
        note: the reason for missing values, if it is no fault.
        complaints: faults in words.
    """

    path: str
    vault_id: str | None = None
    authenticated: bool = False
    snapshots: int | None = None
    partial: int | None = None
    packs: int | None = None
    newest_name: str | None = None
    newest_sequence: int | None = None
    newest_at: datetime | None = None
    newest_files: int | None = None
    newest_bytes: int | None = None
    newest_marked: int | None = None
    newest_missed: int | None = None
    newest_gone: int | None = None
    newest_counts: bool | None = None
    objects: int | None = None
    stored_bytes: int | None = None
    never_proven: int | None = None
    oldest_proof: datetime | None = None
    unproven_since: datetime | None = None
    on_record: SnapshotRow | None = None
    note: str | None = None
    complaints: tuple[str, ...] = ()


def look_at_vault(path: str, key_file: str | None, history: History, most_faulty: float = 0.5) -> VaultState:
    """The state of the vault at a path. Faults of the vault and of the key file are in the answer.

    A newest snapshot needs attention if it does not count, or if more than the share `most_faulty` of its files changed
    or could not be read. RecordError if the record cannot be read.
    """
    root = os.path.realpath(path)
    complaints: list[str] = []
    note = None
    try:
        vault = _open(root, key_file, history, complaints)
        with reading(vault.root, CancelToken()), NamedObjects(vault) as objects:
            return _state(vault, objects, history, most_faulty, complaints)
    except VaultBusy as error:
        note = str(error)
    except (VaultError, ScratchFull) as error:
        complaints.append(str(error))
    except OSError as error:
        complaints.append(f"vault {shown_path(root)}: cannot be read: {error.strerror}")
    # From the record, as far as it goes.
    vault_id = next((row.vault_id for row in reversed(history.vaults()) if row.path == storable(root)), None)
    rows = history.snapshots(SnapshotFilter(vault_id=vault_id), limit=1) if vault_id else []
    on_record = next(iter(rows), None)
    if vault_id is not None and on_record is not None:
        of_row = doubtful(vault_id, [(on_record.name, on_record)], history, most_faulty)
        complaints += (f"vault {shown_path(root)}: {reason}" for reason in of_row)
    return VaultState(shown_path(root), vault_id, on_record=on_record, note=note, complaints=tuple(complaints))


def too_old(
    state: VaultState, snapshot_age: timedelta | None, proof_age: timedelta | None, now: datetime
) -> Iterator[str]:
    """Complaints about a newest snapshot or a verification that is too old, or by a wrong clock."""
    newest_at = state.newest_at
    if state.snapshots is None and state.on_record is not None:
        newest_at = state.on_record.created_at
    if newest_at is not None and newest_at > now + CLOCKS_DIFFER:
        yield f"vault {state.path}: {after_now('the newest snapshot', newest_at, now)}"
    if snapshot_age is not None and newest_at is not None and now - newest_at > snapshot_age:
        yield f"vault {state.path}: the newest snapshot is {age(now - newest_at)} old"
    if snapshot_age is not None and newest_at is None and state.snapshots is not None:
        yield f"vault {state.path}: there is no snapshot"
    if proof_age is not None and state.unproven_since is not None and now - state.unproven_since > proof_age:
        since = age(now - state.unproven_since)
        yield f"vault {state.path}: packs or large objects have not been verified for {since}; run threadmill verify"


def _open(root: str, key_file: str | None, history: History, complaints: list[str]) -> Vault:
    """Open with the key, or without it if it does not fit: most of the state is known without it."""
    secret = None
    try:
        secret = KeyFile(key_file).secret() if key_file else None
        return open_known(root, secret, history)
    except (KeyFileError, WrongKey, VaultChanged) as error:
        if secret is None and not isinstance(error, KeyFileError):
            raise
        complaints.append(str(error))
        return open_known(root, None, history)


def _state(
    vault: Vault, objects: NamedObjects, history: History, most_faulty: float, complaints: list[str]
) -> VaultState:
    snapshots, partials = snapshot_names(vault.root), partial_names(vault.root)
    good, damaged = objects.name_snapshots((*partials, *snapshots))
    good.sort(key=lambda one: one.header.sequence)
    newest = good[-1] if good else None
    newest_of = {one.header.sources: one for one in good}
    totals = newest.totals if newest else None
    # After the snapshots, since objects are there before them.
    objects.list_all()
    objects.list_stored(history.proven(vault.instance))
    there, stored_bytes, named = objects.counts()
    never, oldest = objects.unproven()
    since = [oldest] if oldest else []
    for path in never:
        with suppress(FileNotFoundError):
            since.append(datetime.fromtimestamp(os.lstat(f"{vault.root}/{path}").st_mtime, UTC))

    complaints += _faults(vault, history, good, damaged, named - there)
    of_sources = [(one.name, one.totals) for one in newest_of.values()]
    of_newest = doubtful(vault.instance, of_sources, history, most_faulty)
    complaints += (f"vault {shown_path(vault.root)}: {reason}" for reason in of_newest)
    rows = history.snapshots(SnapshotFilter(vault_id=vault.instance), limit=1)
    return VaultState(
        path=shown_path(vault.root),
        vault_id=vault.instance,
        authenticated=vault.key is not None,
        snapshots=len(snapshots),
        partial=len(partials),
        packs=objects.packs,
        newest_name=newest.name if newest else None,
        newest_sequence=newest.header.sequence if newest else None,
        newest_at=newest.header.created if newest else None,
        newest_files=totals.files if totals else None,
        newest_bytes=totals.size_bytes if totals else None,
        newest_marked=totals.marked if totals else None,
        newest_missed=totals.missed if totals else None,
        newest_gone=totals.gone if totals else None,
        newest_counts=totals.counts if totals else None,
        objects=there,
        stored_bytes=stored_bytes,
        never_proven=len(never),
        oldest_proof=oldest,
        unproven_since=min(since, default=None),
        on_record=next((row for row in rows if newest is not None and row.name == newest.name), None),
        note=None if vault.key else "without its key file, snapshots are taken at their word",
        complaints=tuple(complaints),
    )


def _faults(
    vault: Vault, history: History, good: Sequence[Authentic], damaged: Sequence[str], missing: int
) -> Iterator[str]:
    said = f"vault {shown_path(vault.root)}: "
    for name in damaged:
        yield f"{said}snapshot {name} cannot be believed; run threadmill verify"
    if missing:
        yield f"{said}objects that snapshots name and that are gone: {missing:,}"
    if fault := rolled_back(vault, good, known_snapshot(history, vault), damaged):
        yield f"{said}not as it was: {fault}"
    if bad := history.damaged(vault.instance):
        yield f"{said}objects that were not whole when they were last looked at: {len(bad):,}"
    elif bad := history.damaged(vault.instance, "pack"):
        # Their objects are whole elsewhere, or no object was damaged; verify complains all the same.
        yield f"{said}packs that were not whole when they were last looked at: {len(bad):,}"


def loss(source: SourceTally) -> str:
    """How many files of a source are gone."""
    return f"{source.path}: {source.gone:,} of {plural(source.kept + source.gone, 'file')} gone"


def doubts(added: Added) -> Iterator[str]:
    """The reasons why a new snapshot does not count, and the way to have it count all the same."""
    if added.snapshot.totals.counts:
        return
    reasons = [loss(one) if one.gone else f"{one.path}: nothing of it is in the snapshot" for one in added.doubtful]
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
