"""The files of a batch: each is read, at times twice, and gets its line in the snapshot, or its last line is kept.

The objects of all of them are in the vault at the end.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

from tasks.cancel import CancelToken
from tasks.crypto.encrypt import MARKED, Batch, Encryption, Limits, PayloadAttempt, Workbench, encrypt_batch
from tasks.crypto.errors import SourceChanged, SourceChanging
from tasks.crypto.inputs import Encrypted, Payload
from tasks.crypto.scan import parents
from tasks.crypto.secret import KeySource
from tasks.crypto.sources import OpenFile
from tasks.files import closed_after, mode_without_acl
from tasks.vault.content import ContentWriter
from tasks.vault.entries import Content, FileEntry, FileFacts, begin_file, decode_entry, end_file, path_field
from tasks.vault.errors import VaultFull, Verdict, judged
from tasks.vault.excludes import Excludes
from tasks.vault.format import PACK_BYTES, PACKED_BYTES, WHOLE_BYTES
from tasks.vault.index import shared_index
from tasks.vault.objects import ObjectBatch
from tasks.vault.packs import PackWriter
from tasks.vault.vault import Vault
from tasks.vault.walk import SourceSelection

# Where a pack does not fit on the disk, smaller ones may.
_LENGTHS = (PACK_BYTES, PACK_BYTES >> 4, PACK_BYTES >> 8)
# The cause of a file that was removed after the walk has found it.
VANISHED = "vanished"


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

    def sums(self) -> Counter[str]:
        """The counts: all files that come into the snapshot, those of them that are new, and so on."""
        sums = Counter[str](stored_bytes=self.stored_bytes)
        for one in self.encryptions:
            if one.status == "failed":
                sums["missed"] += 1
            elif one.size_bytes is not None:
                sums["files"] += 1
                sums["size_bytes"] += one.size_bytes
                sums["marked"] += one.status in MARKED
                sums["same"] += one.status == "unchanged"
                sums["new"] += one.status not in ("unchanged", "carried-over")
        return sums


def add_batch(
    vault: Vault, batch: Batch, selection: SourceSelection, key: KeySource, limits: Limits, cancel: CancelToken
) -> AddedBatch:
    """Encrypt a batch; the objects of good payloads are durably in the vault when this returns, and no other ones.

    Files that the disk has no room for have failed; small ones are tried again before, in smaller packs. The job that
    plans the batch holds the `writing` lock. Raises VaultUnwritable or SourceReplaced.
    """
    index = shared_index(vault)
    with index.kept_open(), PackWriter(vault) as packs, ObjectBatch(vault.root) as objects:
        contents = ContentWriter(vault, selection, index, packs, objects)
        files = BatchLines(selection, contents)
        results: dict[int, Encryption] = {}
        left = batch
        for packs.enough_bytes in _LENGTHS:
            results |= {one.ordinal: one for one in encrypt_batch(left, key, limits, cancel, files.attempt_on)}
            objects.commit()
            with suppress(VaultFull):
                packs.commit()
            lost = contents.lose()
            for ordinal, _ in left.payloads:
                if (one := results.get(ordinal)) and one.digest in lost and one.status != "unchanged":
                    results[ordinal] = files.lose(one, lost[one.digest])
            small = [one for one in left.payloads if (one[1].size_bytes or 0) <= WHOLE_BYTES and one[0] in results]
            left = replace(left, payloads=tuple(one for one in small if results[one[0]].cause == VaultFull.cause))
            if not left.payloads:
                break
        encryptions = tuple(files.carry_over(results[ordinal]) for ordinal, _ in batch.payloads if ordinal in results)
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
    stored_bytes = sum(contents.packed.values()) + sum(contents.large.values())
    return AddedBatch(first, encryptions, lines, stored_bytes, pack_of, tuple(verdicts), moved)


class BatchLines:
    """Makes the lines of the files of a batch, and with `contents` their objects."""

    def __init__(self, selection: SourceSelection, contents: ContentWriter) -> None:
        self.lines: dict[bytes, bytes] = {}
        """The line of each file that comes into the snapshot, by its path."""
        self.moved: list[bytes] = []
        """The digests of files that the vault had under other names."""
        self._selection = selection
        self._contents = contents
        self._changing = Excludes(selection.may_change, selection.sources) if selection.may_change else None

    def attempt_on(self, bench: Workbench) -> PayloadAttempt:
        """See `encrypt_batch`."""
        self._sources = bench.sources
        self._contents.use(bench)
        return self._attempt

    def _attempt(self, payload: Payload, last: bool) -> Encrypted:
        """Read a file, make its object unless the vault has it, and enter its line.

        If the file changes meanwhile, the bytes that the last attempt has read are kept, and the line is marked. A file
        that may change has one attempt.
        """
        may_change = self._changing is not None and self._changing.covers(payload.name)
        before = _entry(payload)
        with closed_after(self._sources.open(payload)) as descriptor:
            file = OpenFile.of(descriptor, tolerant=last or may_change)
            facts = FileFacts.of(file.before)
            facts = facts._replace(mode=mode_without_acl(descriptor, facts.mode))
            known = None if before is None else before.content
            done, content = self._contents.read(file, known)
            if content is known and payload.moved:
                # New under this name, and on record as such.
                self.moved.append(done.digest)
                done = replace(done, salt=self._contents.beginning(content)[1])
        end, flaw = end_file(content), file.flaw
        if isinstance(flaw, SourceChanged):
            flaw = SourceChanging(flaw.what) if may_change else flaw
            end = end_file(content, "changed", None if payload.moved else self._good(before))
        self._enter(payload, facts, done.size_bytes, end)
        return replace(done, flaw=flaw) if flaw else done

    def carry_over(self, one: Encryption) -> Encryption:
        """The result of a file that could not be read: if it has an entry in the snapshot before, that is its line."""
        if one.status != "failed" or one.payload.refused:
            return one
        if self._is_gone(one.payload.name):
            return replace(one, status="skipped", cause=VANISHED, error="was removed before it was read")
        before = _entry(one.payload)
        if before is None or one.payload.moved:
            return one
        content = next(filter(self._contents.is_there, before.contents()), None)
        if content is None:
            return one
        end = end_file(content, "unreadable", self._good(before))
        self._enter(one.payload, before.facts, content.size_bytes, end)
        sizes = content.size_bytes, content.stored_bytes
        return replace(one, status="carried-over", size_bytes=sizes[0], ciphertext_bytes=sizes[1])

    def lose(self, one: Encryption, reason: str) -> Encryption:
        """The result of a file whose object has not come into the vault."""
        self.lines.pop(one.payload.name, None)
        nothing = replace(one, size_bytes=None, ciphertext_bytes=None, salt=None, digest=None)
        return replace(nothing, status="failed", cause=VaultFull.cause, error=reason)

    def _enter(self, payload: Payload, facts: FileFacts, size_bytes: int, end: bytes) -> None:
        beginning = begin_file(path_field(payload.name), facts._replace(size_bytes=size_bytes))
        self.lines[payload.name] = beginning + end

    def _is_gone(self, path: bytes) -> bool:
        """Whether a file was removed from its source, which is still there."""
        try:
            os.lstat(path)
        except FileNotFoundError:
            return any(above in self._selection.sources and os.path.isdir(above) for above in parents(path))
        except OSError:
            pass
        return False

    def _good(self, before: FileEntry | None) -> Content | None:
        """The last good content that a marked line names; none that is lost."""
        good = None if before is None else before.last_good
        return good if good is not None and self._contents.is_there(good) else None


def _entry(payload: Payload) -> FileEntry | None:
    """The entry before that may have the content of a file."""
    entry = None if payload.known is None else decode_entry(payload.known)
    return entry if isinstance(entry, FileEntry) else None
