"""The files of a batch: each is read, at times twice, and gets its line in the snapshot, or its last line is kept."""

from __future__ import annotations

import os
from dataclasses import replace

from tasks.crypto.encrypt import Encryption, PayloadAttempt, Workbench
from tasks.crypto.errors import SourceChanged, SourceChanging
from tasks.crypto.inputs import Encrypted, Payload
from tasks.crypto.scan import parents
from tasks.crypto.sources import OpenFile
from tasks.files import closed_after
from tasks.vault.content import ContentWriter
from tasks.vault.entries import Content, FileEntry, FileFacts, begin_file, decode_entry, end_file, path_field
from tasks.vault.excludes import Excludes
from tasks.vault.walk import SourceSelection

# The cause of a file that was removed after the walk has found it.
VANISHED = "vanished"


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
        self._enter(payload, FileFacts.of(file.before), done.size_bytes, end)
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
