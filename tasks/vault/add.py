"""Adding to a vault: the plan of a run, its objects batch by batch, and at last its snapshot."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.cancel import CancelToken
from tasks.crypto.chain import Sink
from tasks.crypto.encrypt import Batch, Encryption, Limits, encrypt_batch
from tasks.crypto.inputs import Encrypted, Payload
from tasks.crypto.scan import walk
from tasks.crypto.secret import KeySource
from tasks.files import closed_after, open_new, open_regular, sync_folder
from tasks.suites import HEADER_BYTES, SALT_BYTES
from tasks.vault.draft import Draft, DraftResult
from tasks.vault.entries import FileFacts
from tasks.vault.errors import VaultError, on_disk
from tasks.vault.format import LONGEST_LINE, SNAPSHOTS, TEMPORARY, encode_line, encode_path, object_path
from tasks.vault.header import Header, Totals
from tasks.vault.locks import numbering, writing
from tasks.vault.lookup import newest_snapshot, peek, snapshot_names, unbelievable
from tasks.vault.objects import ObjectBatch, digest_of
from tasks.vault.snapshots import LONGEST_HEADER, OpenSnapshot, Snapshot, SnapshotWriter, open_snapshot
from tasks.vault.vault import Vault
from tasks.vault.walk import Changes, Excludes

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceSelection:
    """The choice of files for a snapshot: `sources` as `sources_of` gives them; `rehash` also reads unchanged files.

    Files whose object is among the `distrusted` ones (64 hex digits) are encrypted again.
    """

    sources: tuple[bytes, ...]
    excludes: tuple[str, ...] = ()
    rehash: bool = False
    distrusted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AdditionPlan:
    """The result of a walk. `damaged` are newer snapshots of the same sources that cannot be believed."""

    unchanged: int
    unchanged_bytes: int
    to_do: int
    to_do_bytes: int
    skipped: int
    previous: str | None
    damaged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Added:
    """A snapshot that is in the vault now; `new` and `same` count the files that were read, `stored_bytes` objects."""

    snapshot: Snapshot
    new: int
    same: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class AddedBatch:
    """The results of a batch whose objects are in the vault: for the record, and for the snapshot, by ordinal."""

    encryptions: tuple[Encryption, ...]
    results: tuple[tuple[int, DraftResult], ...]


def add_batch(vault: Vault, batch: Batch, key: KeySource, limits: Limits, cancel: CancelToken) -> AddedBatch:
    """Encrypt a batch; the objects of good payloads are durably in the vault when this returns, and no other ones.

    The job that plans the batch holds the `writing` lock. Raises VaultUnwritable or SourceReplaced.
    """
    with ObjectBatch(vault.root) as objects:
        keeper = ObjectKeeper(vault, objects)
        encryptions = encrypt_batch(batch, key, limits, cancel, keeper)
        objects.commit()
    return AddedBatch(encryptions, tuple(keeper.results))


@contextmanager
def adding(vault: Vault, selection: SourceSelection, cancel: CancelToken) -> Iterator[Addition]:
    """Walk the sources and compare them with the snapshot before; the addition has the files to encrypt.

    The `writing` lock is held until the end. Leaving without `add_snapshot` discards the draft. Raises VaultError.
    """
    began = datetime.now(UTC)
    _need_short(vault, selection)
    with ExitStack() as stack:
        stack.enter_context(writing(vault.root, cancel))
        draft = Draft(vault.root)
        stack.callback(draft.close)
        found = compare(vault, selection, draft.add_line, draft.add_to_do)
        draft.end()
        yield Addition(vault, selection, began, found, draft)


def _forget(_one: object) -> None:
    """Ignore an entry or file: a preview only counts."""


def compare(
    vault: Vault | None,
    selection: SourceSelection,
    line: Callable[[bytes], None] = _forget,
    to_do: Callable[[Payload], None] = _forget,
) -> AdditionPlan:
    """Hand over each entry that is done, and each file that is to be read, in order; without a vault all are."""
    with ExitStack() as stack:
        previous: OpenSnapshot | None = None
        damaged: tuple[str, ...] = ()
        itself: tuple[int, int] | None = None
        if vault is not None:
            previous, damaged = _previous(vault, selection.sources, stack)
            root = os.stat(vault.root)
            itself = root.st_dev, root.st_ino
        changes = Changes(vault.root if vault else "", previous, selection.rehash, selection.distrusted)
        for one in changes.of(walk(selection.sources, Excludes(selection.excludes).match, itself)):
            if isinstance(one, Payload):
                to_do(one)
            else:
                line(one)
    counts = changes.unchanged, changes.unchanged_bytes, changes.to_do, changes.to_do_bytes, changes.skipped
    return AdditionPlan(*counts, previous.snapshot.name if previous else None, damaged)


class Addition:
    """A run's work on a vault, under its lock: the files to read, and at the end the snapshot."""

    def __init__(
        self, vault: Vault, selection: SourceSelection, began: datetime, found: AdditionPlan, draft: Draft
    ) -> None:
        self.vault = vault
        self.found = found
        self._selection = selection
        self._began = began
        self._draft = draft

    def to_do(self) -> Iterator[Payload]:
        """The files to read; their place in this order is their ordinal."""
        return self._draft.to_do()

    def put(self, batch: AddedBatch) -> None:
        """Enter the objects of a batch into the snapshot; may be called from any thread; raises VaultUnwritable."""
        self._draft.set(batch.results)

    def add_snapshot(self, least_sequence: int, cancel: CancelToken) -> Added:
        """Write the snapshot, all of whose objects are on disk by now; raises VaultError.

        Its number is at least `least_sequence`, so that it is higher than every number on record.
        """
        with numbering(self.vault.root, cancel):
            newest = newest_snapshot(self.vault)
            sequence = max(least_sequence, newest.header.sequence + 1 if newest else 1)
            header = Header(self.vault.id, secrets.token_hex(8), self._began, sequence, self._selection.sources)
            part = f"{self.vault.root}/{TEMPORARY}/{header.id}"
            try:
                with on_disk(self.vault.root):
                    added = self._write(part, header)
                    os.rename(part, f"{self.vault.root}/{SNAPSHOTS}/{header.name}")
                    sync_folder(f"{self.vault.root}/{SNAPSHOTS}")
            finally:
                with suppress(OSError):
                    os.unlink(part)
        return added

    def _write(self, part: str, header: Header) -> Added:
        with closed_after(open_new(part)) as descriptor:
            written = SnapshotWriter(descriptor, self.vault)
            written.put(encode_line(header.values()))
            entries = new = same = stored_bytes = size_bytes = 0
            for line, result in self._draft.entry_lines():
                written.put(line)
                entries += 1
                if result is not None:
                    size_bytes += result.facts.size_bytes
                    same += result.same
                    new += not result.same
                    stored_bytes += 0 if result.same else result.facts.size_bytes + HEADER_BYTES
            found = self.found
            totals = Totals(entries, found.unchanged + same + new, found.unchanged_bytes + size_bytes)
            written.put(encode_line(totals.values()))
            mac = written.end()
            os.fsync(descriptor)
        return Added(Snapshot(header, totals, mac), new, same, stored_bytes)


def _need_short(vault: Vault, selection: SourceSelection) -> None:
    """Refuse sources that do not fit into a first line, before anything is read."""
    if len(encode_line({"sources": [encode_path(path) for path in selection.sources]})) > LONGEST_HEADER - LONGEST_LINE:
        raise VaultError(vault.root, "so many sources do not fit into a snapshot; name a folder above them")


def _previous(vault: Vault, sources: Sequence[bytes], stack: ExitStack) -> tuple[OpenSnapshot | None, tuple[str, ...]]:
    """The newest good snapshot of the sources, and damaged snapshots that may be newer."""
    headers = {name: peek(vault.root, name) for name in snapshot_names(vault.root)}
    newest_first = sorted(headers, key=lambda name: (headers[name].sequence, name), reverse=True)
    for name in newest_first:
        if headers[name].sources == tuple(sources):
            with suppress(VaultError):
                return stack.enter_context(open_snapshot(vault, name)), tuple(unbelievable(vault, name))
    # There is no good one; a damaged snapshot as new as the newest of other sources may have been one.
    return None, tuple(unbelievable(vault, newest_first[0])) if newest_first else ()


class ObjectKeeper:
    """Keeps the objects of one batch, and the results of its files."""

    def __init__(self, vault: Vault, objects: ObjectBatch) -> None:
        self._vault = vault
        self._objects = objects
        self.results: list[tuple[int, DraftResult]] = []

    def salt_of(self, known: str) -> bytes | None:
        """The salt of an object; None if the object is missing or damaged, and so must not be taken over."""
        try:
            descriptor, length = open_regular(object_path(self._vault.root, known))
            with closed_after(descriptor):
                whole = digest_of(descriptor, length, bytearray(_PIECE_BYTES)) == known
                return os.pread(descriptor, SALT_BYTES, HEADER_BYTES - SALT_BYTES) if whole else None
        except OSError:
            return None

    def same(self, number: int, known: str, done: Encrypted) -> None:
        """See `Keeper`; the snapshot names the old object."""
        assert done.status is not None  # noqa: S101 - a file has one
        self.results.append((number, DraftResult(known, FileFacts.of(done.status), same=True)))

    def store(self, number: int, encrypt: Callable[[Sink], Encrypted]) -> Encrypted:
        """Have a file encrypted into a new object; raises VaultUnwritable or CryptoError."""
        with self._objects.new() as made:
            done = encrypt(made.write)
        assert done.status is not None  # noqa: S101 - a file has one
        self._objects.keep(made, done.digest.hex())
        self.results.append((number, DraftResult(done.digest.hex(), FileFacts.of(done.status))))
        return done
