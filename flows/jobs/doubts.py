"""Snapshots in doubt: the reasons why one does not count or needs attention, and the user's word that it counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Protocol

from db.history import History, SnapshotFilter
from db.rows import NewRun
from flows.errors import RequestRefused
from flows.jobs.arguments import need_key_file, need_vault
from flows.jobs.run import Job, OpenRun, PartOutcome, Tools, open_run
from flows.jobs.vault import VerdictTally, record_at_once
from flows.settings import Settings
from flows.text import FAULTS_NAMED, named, parse_percentage, plural, shown_path
from tasks.vault.add import Added
from tasks.vault.errors import VaultError, judged
from tasks.vault.locks import reading
from tasks.vault.lookup import find_snapshot
from tasks.vault.snapshots import Authentic, open_snapshot
from tasks.vault.vault import Vault, open_vault


class Judged(Protocol):
    """Totals of a snapshot: those in the vault, or its row on record."""

    files: int
    marked: int
    missed: int
    gone: int
    counts: bool


def doubts(added: Added) -> Iterator[str]:
    """The reasons why a new snapshot does not count, and the way to have it count all the same."""
    if added.snapshot.totals.counts:
        return
    reasons = [
        f"{one.path}: {one.gone:,} of {plural(one.kept + one.gone, 'file')} gone" if one.gone else f"{one.path}: empty"
        for one in added.doubtful
    ]
    yield f"IN DOUBT: {named(reasons[:FAULTS_NAMED], len(reasons)) or 'no file in it'}"
    yield f"it counts once the files are back, or after: threadmill snapshots accept {added.snapshot.name}"


def doubt(name: str, totals: Judged) -> str:
    """The reason why a snapshot does not count, in the words of somebody who has only its totals."""
    if not totals.files:
        return f"snapshot {name} has no file"
    if totals.gone:
        return f"snapshot {name} is in doubt: {plural(totals.gone, 'file')} of the one before gone"
    return f"snapshot {name} is in doubt: a path that was named is empty"
