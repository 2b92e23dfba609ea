"""Everything at and below the sources, in the order in which snapshots list it, compared with the snapshot before."""

from __future__ import annotations

import heapq
import os
import re
import stat
import time
from binascii import unhexlify
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from tasks.crypto.inputs import Payload
from tasks.crypto.scan import Walked, outermost, parents, walk
from tasks.files import mode_without_acl
from tasks.suites import HEADER_BYTES, Compression
from tasks.vault.entries import FileFacts, FolderEntry, LinkEntry, begin_file, decode_entry, decode_tail, path_field
from tasks.vault.errors import SnapshotInvalid
from tasks.vault.excludes import Excludes
from tasks.vault.format import WHOLE_BYTES, BadLine
from tasks.vault.header import order_key
from tasks.vault.index import shared_index
from tasks.vault.snapshots import OpenSnapshot
from tasks.vault.vault import Vault

# Time stamps are as fine as the kernel's tick, 10 ms at the coarsest; on some file systems two seconds.
_TICK_NS = 50_000_000
_COARSE_NS = 2_000_000_000
_SECOND_NS = 1_000_000_000
_NO_LINE = b"", 0
_OBJECT = b'"object":"'
_MARK = b',"mark":"'
_PLAIN_PATH = re.compile(rb'\{"path":"([ !#-\[\]-~]+)"')
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


def has_files(sources: Sequence[bytes], excludes: Excludes) -> bool:
    """Whether there is anything but folders and links; stops at the first."""
    statuses = (found.status for found in walk(sources, excludes.match))
    return any(one is None or not (stat.S_ISDIR(one.st_mode) or stat.S_ISLNK(one.st_mode)) for one in statuses)


@dataclass(frozen=True, slots=True)
class SourceSelection:
    """The choice of files for a snapshot: `sources` as `sources_of` gives them; `rehash` also reads unchanged files.

    Objects that are `distrusted` (64 hex digits), or with `rehash` all, count only if they are whole: their files are
    read. New objects are made with that `compression`. Files that fit a pattern in `may_change` are known to change
    while they are read.
    """

    sources: tuple[bytes, ...]
    excludes: tuple[str, ...] = ()
    rehash: bool = False
    distrusted: frozenset[str] = frozenset()
    compression: Compression = "auto"
    may_change: tuple[str, ...] = ()


class Changes:
    """Compares a walk with the lines before, in their common order and in constant memory, and counts."""

    def __init__(self, vault: Vault | None, previous: Sequence[OpenSnapshot], selection: SourceSelection) -> None:
        """Without `previous` snapshots everything is new."""
        self._root = vault.root if vault else ""
        self._index = shared_index(vault) if vault and previous else None
        self._previous = previous
        self._selection = selection
        self._large: dict[int, list[tuple[int, int, bytes]]] | None = None
        self._now_ns = time.time_ns()
        self._lines = _merged(self._root, previous)
        self._line, self._before_ns = next(self._lines, _NO_LINE)
        self.unchanged = self.unchanged_bytes = 0
        self.to_do = self.to_do_bytes = 0
        self.skipped = 0

    def of(self, walked: Iterable[Walked]) -> Iterator[bytes | Payload]:
        """For each thing that was found the line of its entry, or the payload to read."""
        for found in walked:
            path, status, _, skip, target, followed = found
            if skip is not None or status is None:
                yield self._payload(found.payload())
            elif stat.S_ISREG(status.st_mode):
                yield self._file(path, status, followed)
            elif stat.S_ISDIR(status.st_mode):
                # The root of the file system has no name to be restored under.
                if name := path[1:]:
                    mode = mode_without_acl(path, stat.S_IMODE(status.st_mode))
                    yield self._passed(FolderEntry(name, mode, status.st_mtime_ns).line())
            elif stat.S_ISLNK(status.st_mode):
                yield self._passed(LinkEntry(path[1:], status.st_mtime_ns, target).line())
            else:
                yield self._payload(found.payload())

    def _file(self, path: bytes, status: os.stat_result, followed: bool) -> bytes | Payload:
        known, moved = None, False
        if self._index is not None:
            # The beginning of its line as of now: if a line before begins the same, the file is unchanged.
            field = path_field(path)
            begin = begin_file(field, FileFacts.of(status))
            line = self._line_of(path, b'{"path":%b,"type":"file",' % field, begin)
            if line and not line.startswith(begin):
                facts = FileFacts.of(status)
                begin = begin_file(field, facts._replace(mode=mode_without_acl(path, facts.mode)))
            looks_same = not self._selection.rehash and line.startswith(begin) and self._settled(status)
            if looks_same and self._there(line[line.index(_OBJECT) :], status.st_size):
                self._advance()
                self.unchanged += 1
                self.unchanged_bytes += status.st_size
                return line
            known, moved = (line, False) if line else (self._moved(status), True)
        return self._payload(Payload("file", path, status.st_size, known=known, followed=followed, moved=moved))

    def _payload(self, payload: Payload) -> Payload:
        if payload.skip is None:
            self.to_do += 1
            self.to_do_bytes += payload.size_bytes or 0
        else:
            self.skipped += 1
        return payload

    def _line_of(self, path: bytes, prefix: bytes, begin: bytes) -> bytes:
        """The line before of the file at that path; empty if there is none."""
        # Where little has changed, the line is nearly always the next one, and need not be decoded.
        if not self._line.startswith(begin):
            wanted = order_key(path[1:])
            while self._line and _key(self._root, self._line) < wanted:
                self._advance()
        return self._line if self._line.startswith(prefix) else b""

    def _passed(self, line: bytes) -> bytes:
        """Give the line back, and go on in the lines before if it is the next one there."""
        if line == self._line:
            self._advance()
        return line

    def _advance(self) -> None:
        self._line, self._before_ns = next(self._lines, _NO_LINE)

    def _settled(self, status: os.stat_result) -> bool:
        """Whether no change can hide in the time stamps: made after it was read, but within the same tick."""
        # A time in the future was set by somebody, unless the clock was put back: writing to the file since then would
        # have given it another one.
        latest = max(self._now_ns, self._before_ns)
        newest = max((t for t in (status.st_mtime_ns, status.st_ctime_ns) if t <= latest), default=0)
        tick = _TICK_NS if newest % _SECOND_NS else _COARSE_NS
        return newest + tick < self._before_ns

    def _there(self, tail: bytes, size_bytes: int) -> bool:
        """Whether the object that the end of a line names is there, in full length; never for a marked entry."""
        assert self._index is not None  # noqa: S101 - there are lines before
        if (found := _PLAIN_END.fullmatch(tail)) is not None:
            digest, length = unhexlify(found[1]), HEADER_BYTES + int(found[2] or size_bytes)
        elif _MARK in tail:
            return False
        else:
            try:
                content = decode_tail(tail, size_bytes)
            except BadLine as error:
                raise SnapshotInvalid(self._root, f"a line of the snapshot before {error}") from None
            digest, length = unhexlify(content.object), content.stored_bytes
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
            for line, _ in _merged(self._root, self._previous):
                if (found := _LARGE_FILE.search(line)) is not None and int(found[3]) > WHOLE_BYTES:
                    self._large.setdefault(int(found[3]), []).append((int(found[1]), int(found[2]), line))
        alike = self._large.get(status.st_size, [])
        same = (line for mtime_ns, inode, line in alike if (mtime_ns, inode) == (status.st_mtime_ns, status.st_ino))
        return next(same, alike[0][2] if alike else None)


def _merged(root: str, snapshots: Sequence[OpenSnapshot]) -> Iterator[tuple[bytes, int]]:
    """The lines of snapshots in their order, each with the time when its run began; of a path that of the latest run.

    Raises SnapshotInvalid or VaultError.
    """
    if len(snapshots) == 1:
        yield from zip(snapshots[0].lines(), repeat(snapshots[0].header.created_ns))
        return
    last = None
    for key, created_ns, line in heapq.merge(*(_keyed(root, one) for one in snapshots)):
        if key != last:
            yield line, -created_ns
        last = key


def _keyed(root: str, opened: OpenSnapshot) -> Iterator[tuple[bytes, int, bytes]]:
    created_ns = opened.header.created_ns
    return ((_key(root, line), -created_ns, line) for line in opened.lines())


def _key(root: str, line: bytes) -> bytes:
    if (found := _PLAIN_PATH.match(line)) is not None:
        return order_key(found[1])
    try:
        return order_key(decode_entry(line).path)
    except BadLine as error:
        raise SnapshotInvalid(root, f"a line of the snapshot before {error}") from None
