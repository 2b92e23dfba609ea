"""Which vault is at a path: what is there, held against what the record knows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

from db.history import History
from db.rows import VaultRow, storable
from db.store import Store
from flows.text import shown_path
from tasks.cancel import CancelToken
from tasks.crypto.secret import Secret
from tasks.vault.errors import NoSuchSnapshot, NoVault, UnexpectedVault, VaultAbsent, VaultChanged, VaultError, Verdict
from tasks.vault.locks import alone
from tasks.vault.lookup import LATEST, find_snapshot, newest_snapshot, open_or_recover, snapshot_names
from tasks.vault.snapshots import Authentic, open_snapshot
from tasks.vault.vault import Place, Vault, adopt_vault, open_vault
from tasks.vault.verify import KnownSnapshot, rolled_back

# For a user who wants the latest snapshot of a vault that was set back.
NAME_ANOTHER = "put it back from a copy, or name the one that you want: threadmill snapshots"


def open_known(path: str, secret: Secret | None, history: History, *, copy: bool = False) -> Vault:
    """Open the vault at a path, if it is the one that the record knows there, or the record knows none there.

    With `copy` it may be a copy of a vault that is elsewhere: to read it harms nothing. Raises VaultError.
    """
    with _absence_explained(path, history):
        vault = open_vault(path, secret)
    need_expected(vault, history, copy=copy)
    return vault


def open_known_or_recover(path: str, secret: Secret | None, history: History) -> tuple[Vault, Verdict | None]:
    """Open the vault likewise, also by a snapshot if its `vault.json` is missing or changed; that fault, or None.

    No snapshot says which instance a vault is: it is taken for the one that the record knows at the path.
    """
    with _absence_explained(path, history):
        vault, fault = open_or_recover(path, secret)
    if fault is None:
        need_expected(vault, history)
        return vault, None
    known = [row.vault_id for row in _vaults_at(vault.root, history)]
    return replace(vault, instance=vault.id if not known or vault.id in known else known[-1]), fault


@contextmanager
def _absence_explained(path: str, history: History) -> Iterator[None]:
    """Have VaultAbsent say so where the record knows a vault: its disk may not be mounted."""
    try:
        yield
    except VaultAbsent:
        _need_unknown(os.path.realpath(path), history)
        raise


def need_free(path: str, history: History) -> None:
    """Raises NoVault for a path at which the record knows a vault that is not there: a new one would hide it."""
    try:
        open_vault(path, None)
    except VaultAbsent:
        _need_unknown(os.path.realpath(path), history)
    except VaultError:
        # Making one is refused too, and says why.
        return


def _need_unknown(root: str, history: History) -> None:
    known, which = _vaults_at(root, history), "it"
    if not known:
        known = _vaults_below_empty(root, history)
        which = ", ".join(row.path for row in known)
    if known:
        another = f"threadmill vault init {shown_path(root)} --another"
        hint = f"the record knows {which} ({_newest(known)}); to make another one here: {another}"
        raise NoVault(root, "is not there now: mount its disk, or put it back", hint)


def need_expected(vault: Vault, history: History, *, copy: bool = False) -> None:
    """Raises UnexpectedVault for another vault than the record knows at its path, or (unless `copy`) for a copy."""
    row, known = history.vault(vault.instance), _vaults_at(vault.root, history)
    if row in known:
        return
    adopt = f"threadmill vault adopt {shown_path(vault.root)}"
    if known:
        reason = f"is another one than the record knows here ({_newest(known)}): mount the right disk"
        raise UnexpectedVault(vault.root, reason, f"to use this one here from now on: {adopt}")
    if row is None or copy:
        return
    # Where the newest snapshot on record is there, in whatever state, the vault is not behind.
    there = snapshot_names(vault.root)
    if _is_beside(vault, row) or rolled_back(vault, [newest_snapshot(vault)], known_snapshot(history, vault), there):
        reason = f"is a copy of the one that the record knows at {row.path} ({_newest([row])})"
        raise UnexpectedVault(vault.root, reason, f"to use it as a vault of its own: {adopt}")


def place_on_record(place: Place, history: History) -> Place:
    """The place where the record knows a vault, if it does: to read a copy elsewhere does not change that."""
    row = history.vault(place.instance)
    return place if row is None else replace(place, folder=replace(place.folder, path=row.path))


def known_snapshot(history: History, vault: Vault) -> KnownSnapshot | None:
    """The newest snapshot that is on record for a vault."""
    row = history.vault(vault.instance)
    if row is None or row.last_sequence is None:
        return None
    return KnownSnapshot(row.last_sequence, row.last_snapshot or "", row.last_mac or "")


def need_latest(vault: Vault, newest: Authentic | None, history: History, hint: str) -> None:
    """Raises VaultChanged, with a hint at what to do, unless the newest snapshot is the newest one on record too."""
    if fault := rolled_back(vault, [newest], known_snapshot(history, vault)):
        raise VaultChanged(vault.root, f"{fault}; {hint}")


def adopt(path: str, secret: Secret, history: History, store: Store) -> tuple[Vault, bool]:
    """Have the record know the vault at a path from now on; the vault, and whether it got a new instance.

    It gets one if it is a copy, which is there beside the vault that the record knows or behind it. Raises VaultError.
    """
    with _absence_explained(path, history):
        vault = open_vault(path, secret)
    with alone(vault.root, CancelToken()):
        newest = _newest_of(vault)
        row = history.vault(vault.instance)
        behind = rolled_back(vault, [newest], known_snapshot(history, vault))
        is_copy = row is not None and (behind is not None or _is_beside(vault, row))
        if is_copy:
            vault = adopt_vault(vault)
        store.record_vault(row_of(vault, newest))
    return vault, is_copy


def row_of(vault: Vault, newest: Authentic | None = None) -> VaultRow:
    """The row of a vault, with its newest snapshot as the mark."""
    mark = (newest.header.sequence, newest.name, newest.mac) if newest else (None, None, None)
    return VaultRow(vault.instance, vault.root, mark[0], mark[1], mark[2], datetime.now(UTC))


def _newest_of(vault: Vault) -> Authentic | None:
    """The newest snapshot; raises VaultChanged if a damaged one may be newer."""
    with suppress(NoSuchSnapshot), open_snapshot(vault, find_snapshot(vault, LATEST)) as opened:
        return opened.authentic
    return None


def _vaults_at(root: str, history: History) -> list[VaultRow]:
    return [row for row in history.vaults() if row.path == storable(root)]


def _vaults_below_empty(root: str, history: History) -> list[VaultRow]:
    """The vaults that belong below the folder in which the path would be, if that is empty.

    It may be where their disk is mounted, and the path may be one of them by a link that is on the disk.
    """
    with suppress(OSError):
        while not os.path.lexists(root):
            root = os.path.dirname(root)
        if not os.listdir(root):
            return [row for row in history.vaults() if row.path.startswith(f"{storable(root)}/")]
    return []


def _newest(known: list[VaultRow]) -> str:
    row = max(known, key=lambda one: one.updated_at)
    return (
        f"newest snapshot: {row.last_snapshot}, number {row.last_sequence}" if row.last_snapshot else "no snapshot yet"
    )


def _is_beside(vault: Vault, row: VaultRow) -> bool:
    """Whether the vault that the record knows is still at its own path, in another folder."""
    with suppress(VaultError, OSError):
        same = open_vault(row.path, None).instance == vault.instance
        return same and not os.path.samefile(row.path, vault.root)
    return False
