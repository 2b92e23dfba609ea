"""Adding to a vault: the plan of a run, its objects batch by batch, partial snapshots, and at last its snapshot."""

from __future__ import annotations

import os
import secrets
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice

from tasks.cancel import CancelToken
from tasks.crypto.encrypt import MARKED, Batch, Encryption, Limits, encrypt_batch
from tasks.crypto.inputs import Payload
from tasks.crypto.secret import KeySource
from tasks.files import closed_after, new_file, open_folder
from tasks.vault.batch import VANISHED, BatchLines
from tasks.vault.compare import AdditionPlan, compare
from tasks.vault.content import ContentWriter
from tasks.vault.draft import Draft
from tasks.vault.errors import VaultError, Verdict, judged, on_disk
from tasks.vault.format import LONGEST_LINE, PACKED_BYTES, PARTIALS, SNAPSHOTS, TEMPORARY, encode_line, encode_path
from tasks.vault.header import Header, Totals, order_key
from tasks.vault.index import index_shared, shared_index
from tasks.vault.locks import numbering, running, writing
from tasks.vault.lookup import abandoned_parts, newest_snapshot
from tasks.vault.objects import ObjectBatch
from tasks.vault.packs import PackWriter
from tasks.vault.snapshots import LONGEST_HEADER, Snapshot, write_snapshot
from tasks.vault.vault import Vault
from tasks.vault.walk import SourceSelection, SourceTally


@dataclass(frozen=True, slots=True)
class PartialInterval:
    """A run makes a partial snapshot after so many seconds, or so many bytes of files read, whichever comes first."""

    seconds: float = 300.0
    size_bytes: int = 2 << 30


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


@dataclass(frozen=True, slots=True)
class AddedBatch:
    """The results of a batch whose objects are in the vault: for the record, and a line of the snapshot for each file.

    `pack_of` has the pack (its 32 bytes) of each digest that is in one. The `verdicts`, at most three for each payload,
    are on new packs and large objects, and on distrusted objects that were found to be whole. The paths in `moved` are
    new, and their content was in the vault.
    """

    first: int
    encryptions: tuple[Encryption, ...]
    lines: bytes
    stored_bytes: int
    pack_of: dict[bytes, bytes]
    verdicts: tuple[Verdict, ...]
    moved: tuple[bytes, ...]


def add_batch(
    vault: Vault, batch: Batch, selection: SourceSelection, key: KeySource, limits: Limits, cancel: CancelToken
) -> AddedBatch:
    """Encrypt a batch; the objects of good payloads are durably in the vault when this returns, and no other ones.

    The job that plans the batch holds the `writing` lock. Raises VaultUnwritable or SourceReplaced.
    """
    index = shared_index(vault)
    with index.kept_open(), PackWriter(vault) as packs, ObjectBatch(vault.root) as objects:
        contents = ContentWriter(vault, selection, index, packs, objects)
        files = BatchLines(selection, contents)
        encryptions = tuple(map(files.carry_over, encrypt_batch(batch, key, limits, cancel, files.attempt_on)))
        objects.commit()
        packs.commit()
    first = batch.payloads[0][0] if batch.payloads else 0
    lines = b"".join(files.lines.pop(payload.name, b"\n") for _, payload in batch.payloads)
    pack_of = {
        digest: bytes.fromhex(one.pack) for digest in (*contents.found, *files.moved) for one in index.find(digest)[:1]
    }
    packed = iter(contents.packed)
    for name, _, members in packs.packs:
        pack_of |= dict.fromkeys(islice(packed, members), bytes.fromhex(name))
    verdicts = [judged("pack", name, "stored", size_bytes=length) for name, length, _ in packs.packs]
    paths = {one.digest: one.payload.name for one in encryptions}
    for digest, length in contents.large.items():
        verdicts.append(judged("object", digest.hex(), "stored", path=paths[digest], size_bytes=length))
    for name, length in contents.proven.items():
        # What is in a pack is proven with its pack; here it is only no longer damaged.
        verdicts.append(judged("object", name, "rebuilt" if length <= PACKED_BYTES else "ok", size_bytes=length))
    found = frozenset((*contents.found, *files.moved))
    moved = tuple(one.payload.name for one in encryptions if one.payload.moved and one.digest in found)
    return AddedBatch(first, encryptions, lines, contents.stored_bytes, pack_of, tuple(verdicts), moved)


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
        found = replace(compare(vault, selection, draft.add_line, draft.add_to_do), rebuilt=rebuilt)
        draft.end()
        yield Addition(vault, selection, run, began, found, draft)


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
        self._done += _sums(batch)
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
        self._parts += 1
        header = Header(self.vault.id, self._run, self._began, 0, self.selection.sources, self._parts)
        self._write(header, self._draft.new_pieces(), Totals(files, files, new["size_bytes"], new["marked"]), PARTIALS)

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


def _sums(batch: AddedBatch) -> Counter[str]:
    """The counts of a batch: all files that come into the snapshot, those of them that are new, and so on."""
    sums = Counter[str](stored_bytes=batch.stored_bytes)
    for one in batch.encryptions:
        if one.status == "failed":
            sums["missed"] += 1
        elif one.size_bytes is not None:
            sums["files"] += 1
            sums["size_bytes"] += one.size_bytes
            sums["marked"] += one.status in MARKED
            sums["same"] += one.status == "unchanged"
            sums["new"] += one.status not in ("unchanged", "carried-over")
    return sums


def _need_short(vault: Vault, selection: SourceSelection) -> None:
    """Refuse sources that do not fit into a first line, before anything is read."""
    if len(encode_line({"sources": [encode_path(path) for path in selection.sources]})) > LONGEST_HEADER - LONGEST_LINE:
        raise VaultError(vault.root, "so many sources do not fit into a snapshot; name a folder above them")
