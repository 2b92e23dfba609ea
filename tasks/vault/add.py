"""Adding to a vault: the plan of a run, partial snapshots, and at last its snapshot."""

from __future__ import annotations

import os
import secrets
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.cancel import CancelToken
from tasks.crypto.inputs import Payload
from tasks.crypto.scan import walk
from tasks.files import closed_after, new_file, open_folder
from tasks.vault.batch import VANISHED, AddedBatch
from tasks.vault.draft import Draft
from tasks.vault.errors import VaultError, VaultFull, on_disk
from tasks.vault.excludes import Excludes
from tasks.vault.format import LONGEST_LINE, PARTIALS, SNAPSHOTS, TEMPORARY, encode_line, encode_path
from tasks.vault.header import Header, Totals, order_key
from tasks.vault.index import index_shared, shared_index
from tasks.vault.locks import numbering, running, writing
from tasks.vault.lookup import Before, abandoned_parts, find_before, newest_snapshot
from tasks.vault.snapshots import LONGEST_HEADER, Authentic, OpenSnapshot, Snapshot, open_snapshot, write_snapshot
from tasks.vault.vault import Vault
from tasks.vault.walk import Changes, SourceSelection, SourceTally, WalkCounts

# Each is open while a run compares with them. Objects of those beyond are found by their salts.
_MOST_PARTS = 200


@dataclass(frozen=True, slots=True)
class PartialInterval:
    """A run makes a partial snapshot after so many seconds, or so many bytes of files read, whichever comes first."""

    seconds: float = 300.0
    size_bytes: int = 2 << 30


@dataclass(slots=True)
class AdditionPlan(WalkCounts):
    """The result of a walk. `newest` is the newest good snapshot, and `previous` the newest one of the same sources.

    `damaged` are newer ones that cannot be believed. `compared` says that the sources were compared with a snapshot
    that counts.

    `taken_over` are partial snapshots of runs that did not come to their end, `rebuilt` packs whose sidecar was missing
    or wrong, and is written again. `unmatched` are patterns that fit nothing.
    """

    newest: Authentic | None = None
    previous: str | None = None
    damaged: tuple[str, ...] = ()
    compared: bool = False
    taken_over: tuple[str, ...] = ()
    rebuilt: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Added:
    """A snapshot that is in the vault now; `new` and `same` count the files that were read, `stored_bytes` objects.

    It does not count if any of the sources is `doubtful`.
    """

    snapshot: Snapshot
    new: int
    same: int
    stored_bytes: int
    doubtful: tuple[SourceTally, ...]


@contextmanager
def adding(vault: Vault, selection: SourceSelection, cancel: CancelToken) -> Iterator[Addition]:
    """Walk the sources and compare them with the snapshot before; the addition has the files to encrypt.

    The `writing` lock is held until the end. Leaving without `add_snapshot` discards the draft. Raises VaultError.
    """
    began = datetime.now(UTC)
    _need_short(vault, selection)
    with ExitStack() as stack:
        stack.enter_context(index_shared(vault))
        stack.enter_context(writing(vault.root, cancel))
        run = secrets.token_hex(8)
        stack.enter_context(running(vault.root, run))
        draft = Draft(vault.root)
        stack.callback(draft.close)
        rebuilt = tuple(shared_index(vault, fix=True).rebuilt)
        found = compare(vault, selection, draft.add_line, draft.add_to_do)
        found.rebuilt = rebuilt
        draft.end()
        yield Addition(vault, selection, run, began, found, draft)


def _forget(_one: object) -> None:
    """Ignore an entry or file: a preview only counts."""


def compare(
    vault: Vault | None,
    selection: SourceSelection,
    line: Callable[[bytes], None] = _forget,
    to_do: Callable[[Payload], None] = _forget,
    *,
    note: bool = False,
) -> AdditionPlan:
    """Hand over each entry that is done, and each file that is to be read, in order; without a vault all are.

    With `note` the plan says which patterns matched nothing.
    """
    excludes = Excludes(selection.excludes, selection.sources, note=note)
    with ExitStack() as stack:
        before = Before()
        parts: list[OpenSnapshot] = []
        itself: tuple[int, int] | None = None
        if vault is not None:
            before = find_before(vault, selection.sources, selection.accepted, stack)
            for name in abandoned_parts(vault, selection.sources)[-_MOST_PARTS:]:
                with suppress(VaultError):
                    parts.append(stack.enter_context(open_snapshot(vault, name)))
            root = os.stat(vault.root)
            itself = root.st_dev, root.st_ino
        previous = dict.fromkeys(one for one in (*parts, before.alike, before.basis) if one is not None)
        found = AdditionPlan(
            newest=before.newest,
            previous=before.alike.header.name if before.alike else None,
            damaged=before.damaged,
            compared=before.counts,
            taken_over=tuple(part.header.name for part in parts),
        )
        changes = Changes(vault, tuple(previous), selection, before.basis, found)
        leave_out = excludes.match if selection.excludes else None
        for source in selection.sources:
            for one in changes.of(source, walk((source,), leave_out, itself)):
                if isinstance(one, Payload):
                    to_do(one)
                else:
                    line(one)
        for refused in walk(selection.refused):
            to_do(changes.payload(refused.payload()))
    found.unmatched = excludes.unmatched
    return found


class Addition:
    """A run's work on a vault, under its lock: the files to read, and at the end the snapshot."""

    def __init__(
        self, vault: Vault, selection: SourceSelection, run: str, began: datetime, found: AdditionPlan, draft: Draft
    ) -> None:
        self.vault = vault
        self.selection = selection
        self.found = found
        self._run = run
        self._began = began
        self._draft = draft
        self._keys = [order_key(source) for source in selection.sources]
        self._done = Counter[str]()
        self._in_parts = Counter[str]()
        self._parts = 0
        self._part_s = time.monotonic()

    def to_do(self) -> Iterator[Payload]:
        """The files to read; their place in this order is their ordinal."""
        return self._draft.to_do()

    def put(self, batch: AddedBatch, interval: PartialInterval | None = None) -> None:
        """Enter the objects of a batch into the snapshot; raises VaultUnwritable.

        If an interval is over, a partial snapshot of the files that none has yet is in the vault afterwards.
        """
        self._draft.put(batch.first, batch.lines)
        for path in batch.moved:
            self._tally_of(path).moved += 1
        for one in batch.encryptions:
            if one.cause == VANISHED and one.payload.known and not one.payload.moved:
                tally = self._tally_of(one.payload.name)
                # Without a snapshot to compare with, none was kept.
                tally.gone += tally.kept > 0
                tally.kept -= tally.kept > 0
        self._done += batch.sums()
        if interval is not None and (
            time.monotonic() - self._part_s >= interval.seconds
            or self._done["size_bytes"] - self._in_parts["size_bytes"] >= interval.size_bytes
        ):
            self._add_partial()

    def _tally_of(self, path: bytes) -> SourceTally:
        return self.found.sources[bisect_right(self._keys, order_key(path)) - 1]

    def add_snapshot(self, least_sequence: int, cancel: CancelToken) -> Added:
        """Write the snapshot, all of whose objects are on disk by now; raises VaultError.

        Its number is at least `least_sequence`, so that it is higher than every number on record. The partial snapshots
        of the same sources are removed then, except those of a run that is alive.
        """
        done, found = self._done, self.found
        entries, files = self._draft.entries + done["files"], found.unchanged + found.carried_files + done["files"]
        size_bytes = found.unchanged_bytes + found.carried_bytes + done["size_bytes"]
        gone, most = sum(source.gone for source in found.sources), self.selection.most_gone
        doubtful = tuple(one for one in found.sources if one.is_doubtful(most, compared=found.compared))
        counts, marked = not doubtful and files > 0, found.carried + done["marked"]
        totals = Totals(entries, files, size_bytes, marked, done["missed"], gone, counts)
        with numbering(self.vault.root, cancel):
            newest = newest_snapshot(self.vault)
            sequence = max(least_sequence, newest.header.sequence + 1 if newest else 1)
            header = Header(self.vault.id, secrets.token_hex(8), self._began, sequence, self.selection.sources)
            mac = self._write(header, self._draft.pieces(), totals, SNAPSHOTS)
        self._remove_partials()
        return Added(Snapshot(header, mac, totals), done["new"], done["same"], done["stored_bytes"], doubtful)

    def _add_partial(self) -> None:
        self._part_s = time.monotonic()
        new, self._in_parts = self._done - self._in_parts, self._done.copy()
        if not (files := new["files"]):
            return
        before = self.found.newest.header.sequence if self.found.newest else 0
        header = Header(self.vault.id, self._run, self._began, before, self.selection.sources, self._parts + 1)
        totals = Totals(files, files, new["size_bytes"], new["marked"])
        # On a full disk the room that is left is that of the snapshot.
        with suppress(VaultFull):
            self._write(header, self._draft.new_pieces(), totals, PARTIALS)
            self._parts += 1

    def _write(self, header: Header, pieces: Iterator[bytes], totals: Totals, folder: str) -> str:
        """Write a snapshot or a partial one, and put it on disk; its MAC. Raises VaultError."""
        root = self.vault.root
        with (
            on_disk(root),
            closed_after(open_folder(root, TEMPORARY, make=True)) as temporary,
            closed_after(open_folder(root, folder, make=True)) as target,
            new_file(temporary) as (part, descriptor),
        ):
            mac = write_snapshot(descriptor, self.vault, header, pieces, totals)
            os.fsync(descriptor)
            os.rename(part, header.name, src_dir_fd=temporary, dst_dir_fd=target)
            os.fsync(target)
        return mac

    def _remove_partials(self) -> None:
        names = [
            *abandoned_parts(self.vault, self.selection.sources),
            *(f"{self._run}-{part:04d}" for part in range(1, self._parts + 1)),
        ]
        if names:
            with on_disk(self.vault.root), closed_after(open_folder(self.vault.root, PARTIALS)) as folder:
                for name in names:
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=folder)
                os.fsync(folder)


def _need_short(vault: Vault, selection: SourceSelection) -> None:
    """Refuse sources that do not fit into a first line, before anything is read."""
    if len(encode_line({"sources": [encode_path(path) for path in selection.sources]})) > LONGEST_HEADER - LONGEST_LINE:
        raise VaultError(vault.root, "so many sources do not fit into a snapshot; name a folder above them")
