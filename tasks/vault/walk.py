"""Everything at and below the sources, in the order in which snapshots list it, compared with the snapshot before."""

from __future__ import annotations

import os
import re
import stat
import time
from binascii import unhexlify
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tasks.crypto.inputs import TOO_LARGE, Payload
from tasks.crypto.scan import Walked, outermost, parents
from tasks.files import mode_without_acl
from tasks.suites import HEADER_BYTES, Compression
from tasks.vault.earlier import EarlierLines, entry_of, merged
from tasks.vault.entries import FileEntry, FileFacts, FolderEntry, LinkEntry, begin_file, path_field
from tasks.vault.format import WHOLE_BYTES
from tasks.vault.header import order_key
from tasks.vault.index import shared_index
from tasks.vault.snapshots import OpenSnapshot
from tasks.vault.vault import Vault

# Time stamps are as fine as the kernel's tick, 10 ms at the coarsest; on some file systems two seconds.
_TICK_NS = 50_000_000
_COARSE_NS = 2_000_000_000
_SECOND_NS = 1_000_000_000
_OBJECT = b'"object":"'
# The end of the line of a file, from its object on, as nearly all are.
_PLAIN_END = re.compile(rb'"object":"([0-9a-f]{64})"(?:,"zstd":([0-9]+))?(?:,"mac":"[0-9a-f]{32}")?\}\n')
# Time, inode and size of a file that may be a large one.
_LARGE_FILE = re.compile(rb'"mtime_ns":(-?[0-9]+),"ctime_ns":-?[0-9]+,"inode":([0-9]+),"size":([0-9]{8,}),"object":"')


def sources_of(paths: Sequence[str]) -> tuple[bytes, ...]:
    """The absolute paths of a snapshot of these paths, in its order, none of them inside another.

    A path that is inside another by way of a link (`docs/link` beside `docs`) becomes its real path: in a snapshot the
    link is a link, and nothing can be below it.
    """
    sources, before = outermost(paths), None
    while sources != before:
        above, before = set(sources), sources
        real = (source if above.isdisjoint(parents(source)) else os.path.realpath(source) for source in sources)
        sources = outermost([os.fsdecode(source) for source in real])
    return tuple(sorted(sources, key=order_key))


@dataclass(frozen=True, slots=True)
class SourceSelection:
    """The choice of files for a snapshot: `sources` as `sources_of` gives them; `rehash` also reads unchanged files.

    `refused` are paths inside the sources that a user named, and that are neither file nor folder.

    Objects that are `distrusted` (64 hex digits), or with `rehash` all, count only if they are whole: their files are
    read. New objects are made with that `compression`. Files that fit a pattern in `may_change` are known to change
    while they are read. Files of more than `most_bytes` are left out. If a source has lost more than the share
    `most_gone` of its files since the newest snapshot that counts, or is `accepted`, the new one does not count.
    """

    sources: tuple[bytes, ...]
    excludes: tuple[str, ...] = ()
    rehash: bool = False
    distrusted: frozenset[str] = frozenset()
    compression: Compression = "auto"
    may_change: tuple[str, ...] = ()
    accepted: frozenset[str] = frozenset()
    most_gone: float = 0.5
    refused: tuple[bytes, ...] = ()
    most_bytes: int | None = None


@dataclass(slots=True)
class SourceTally:
    """The files of a source, against the snapshot to compare with.

    `things` are all files, folders and links that were found or carried over, without the folder that the source itself
    is. Files that were there before are `kept` or `gone`; the content of `moved` ones was in the vault under another
    path.
    """

    path: str
    things: int = 0
    kept: int = 0
    gone: int = 0
    moved: int = 0

    def is_doubtful(self, most_gone: float, *, compared: bool) -> bool:
        """Whether too many files are gone, or it is empty and was not `compared` with a snapshot that counts."""
        if not self.things and not compared:
            return True
        return self.gone - self.moved > most_gone * (self.kept + self.gone)


@dataclass(slots=True)
class WalkCounts:
    """The counts of a walk, as far as it has come.

    Some of the `sources` may be `refused`, in words: they cannot be read. Of everything that cannot be read, `carried`
    entries are taken over, among them `carried_files`.
    """

    unchanged: int = 0
    unchanged_bytes: int = 0
    to_do: int = 0
    to_do_bytes: int = 0
    skipped: int = 0
    carried: int = 0
    carried_files: int = 0
    carried_bytes: int = 0
    sources: list[SourceTally] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Changes:
    """Compares a walk with the lines before, in their common order and in constant memory."""

    def __init__(
        self,
        vault: Vault | None,
        previous: Sequence[OpenSnapshot],
        selection: SourceSelection,
        basis: OpenSnapshot | None,
        counts: WalkCounts,
    ) -> None:
        """Without `previous` snapshots everything is new; `basis` is that of them whose files should be there."""
        self._root = vault.root if vault else ""
        self._index = shared_index(vault) if vault and previous else None
        self._previous = previous
        self._selection = selection
        self._large: dict[int, list[tuple[int, int, bytes]]] | None = None
        self._now_ns = time.time_ns()
        self._before = EarlierLines(self._root, previous, basis)
        self._counts = counts

    def of(self, source: bytes, walked: Iterable[Walked]) -> Iterator[bytes | Payload]:
        """For each thing that was found at and below a source the line of its entry, or the payload to read.

        Sources come in their order. What is at or below a path that cannot be read is as it was before.
        """
        tally = SourceTally(source.decode(errors="backslashreplace"))
        self._counts.sources.append(tally)
        before = self._before
        kept, gone, carried = before.kept, before.gone, self._counts.carried
        folder = None
        for found in walked:
            path, status, _, skip, target, followed, refused = found
            if path != source or not (refused or found.is_folder):
                tally.things += 1
            if status is None:
                yield from self._unreadable(found, listed=path == folder)
            elif skip is not None:
                yield self.payload(found.payload())
            elif stat.S_ISREG(status.st_mode):
                yield self._file(path, status, followed)
            elif stat.S_ISDIR(status.st_mode):
                folder = path
                # The root of the file system has no name to be restored under.
                if name := path[1:]:
                    mode = mode_without_acl(path, stat.S_IMODE(status.st_mode))
                    yield self._passed(FolderEntry(name, mode, status.st_mtime_ns).line())
            elif stat.S_ISLNK(status.st_mode):
                yield self._passed(LinkEntry(path[1:], status.st_mtime_ns, target).line())
            else:
                yield self.payload(found.payload())
        for _ in before.below(source):
            pass
        tally.kept, tally.gone = before.kept - kept, before.gone - gone
        tally.things += self._counts.carried - carried

    def _unreadable(self, found: Walked, *, listed: bool) -> Iterator[bytes | Payload]:
        """The lines before of a path and of all below it, marked, then the payload; a folder may be `listed` itself."""
        carried = self._counts.carried
        for _ in self._before.below(found.path, itself=not listed):
            marked, size_bytes = self._before.carry()
            self._counts.carried += 1
            self._counts.carried_files += size_bytes is not None
            self._counts.carried_bytes += size_bytes or 0
            yield marked
        yield self.payload(replace(found.payload(), carried=self._counts.carried > carried))

    def _file(self, path: bytes, status: os.stat_result, followed: bool) -> bytes | Payload:
        known, moved, most_bytes = None, False, self._selection.most_bytes
        if most_bytes is not None and status.st_size > most_bytes:
            return self.payload(Payload("file", path, 0, skip=TOO_LARGE))
        if self._index is not None:
            # The beginning of its line as of now: if a line before begins the same, the file is unchanged.
            field = path_field(path)
            begin = begin_file(field, FileFacts.of(status))
            line = self._line_of(path, b'{"path":%b,"type":"file",' % field, begin)
            if line and not line.startswith(begin):
                facts = FileFacts.of(status)
                begin = begin_file(field, facts._replace(mode=mode_without_acl(path, facts.mode)))
            looks_same = not self._selection.rehash and line.startswith(begin) and self._settled(status)
            if looks_same and self._there(line, status.st_size):
                self._before.advance()
                self._counts.unchanged += 1
                self._counts.unchanged_bytes += status.st_size
                return line
            known, moved = (line, False) if line else (self._moved(status), True)
        return self.payload(Payload("file", path, status.st_size, known=known, followed=followed, moved=moved))

    def payload(self, payload: Payload) -> Payload:
        """Count a payload, and give it back."""
        if payload.refused:
            self._counts.refused.append(f"{payload.name.decode(errors='backslashreplace')} {payload.fault}")
        if payload.skip is None:
            self._counts.to_do += 1
            self._counts.to_do_bytes += payload.size_bytes or 0
        else:
            self._counts.skipped += 1
        return payload

    def _line_of(self, path: bytes, prefix: bytes, begin: bytes) -> bytes:
        """The line before of the file at that path; empty if there is none."""
        # Where little has changed, the line is nearly always the next one, and need not be decoded.
        if not self._before.line.startswith(begin):
            self._before.go_to(path)
        return self._before.keep() if self._before.line.startswith(prefix) else b""

    def _passed(self, line: bytes) -> bytes:
        """Give the line back, and go on in the lines before if it is the next one there."""
        if line == self._before.line:
            self._before.advance()
        return line

    def _settled(self, status: os.stat_result) -> bool:
        """Whether no change can hide in the time stamps: made after it was read, but within the same tick."""
        # A time in the future was set by somebody, unless the clock was put back: writing to the file since then would
        # have given it another one.
        latest = max(self._now_ns, self._before.began_ns)
        newest = max((t for t in (status.st_mtime_ns, status.st_ctime_ns) if t <= latest), default=0)
        tick = _TICK_NS if newest % _SECOND_NS else _COARSE_NS
        return newest + tick < self._before.began_ns

    def _there(self, line: bytes, size_bytes: int) -> bool:
        """Whether the object that the line of a file names is there, in full length; never for a marked entry."""
        assert self._index is not None  # noqa: S101 - there are lines before
        if (found := _PLAIN_END.fullmatch(line, line.index(_OBJECT))) is not None:
            digest, length = unhexlify(found[1]), HEADER_BYTES + int(found[2] or size_bytes)
        else:
            entry = entry_of(self._root, line)
            if entry.mark is not None or not isinstance(entry, FileEntry):
                return False
            digest, length = unhexlify(entry.content.object), entry.content.stored_bytes
        if (distrusted := self._selection.distrusted) and digest.hex() in distrusted:
            return False
        return self._index.has(digest, length)

    def _moved(self, status: os.stat_result) -> bytes | None:
        """The line before of a large file that this one may be, or may be a copy of, by its size.

        Smaller files are known by the salt, which comes from their content.
        """
        if status.st_size <= WHOLE_BYTES:
            return None
        if self._large is None:
            self._large = {}
            for line, _, _ in merged(self._root, self._previous):
                if (found := _LARGE_FILE.search(line)) is not None and int(found[3]) > WHOLE_BYTES:
                    self._large.setdefault(int(found[3]), []).append((int(found[1]), int(found[2]), line))
        alike = self._large.get(status.st_size, [])
        same = (line for mtime_ns, inode, line in alike if (mtime_ns, inode) == (status.st_mtime_ns, status.st_ino))
        return next(same, alike[0][2] if alike else None)
