"""Everything at and below the sources, in the order in which snapshots list it, compared with the snapshot before."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore import GitIgnorePatternError

from tasks.crypto.inputs import Payload
from tasks.crypto.scan import Walked, outermost, parents, walk
from tasks.suites import HEADER_BYTES
from tasks.vault.entries import FileFacts, FolderEntry, LinkEntry, begin_file, decode_entry, order_key, path_field
from tasks.vault.errors import SnapshotInvalid
from tasks.vault.format import BadLine, object_path
from tasks.vault.snapshots import OpenSnapshot

# Time stamps are as fine as the kernel's tick, 10 ms at the coarsest; on some file systems two seconds.
_TICK_NS = 50_000_000
_COARSE_NS = 2_000_000_000
_SECOND_NS = 1_000_000_000
# The end of the line of a file, from its object on.
_OBJECT_END = re.compile(rb'([0-9a-f]{64})"\}\n')


class BadPattern(Exception):
    """A pattern that is none in gitignore's syntax."""


class Excludes:
    """Patterns in the syntax of gitignore, held against paths below a source."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """Raises BadPattern."""
        try:
            self._spec = GitIgnoreSpec.from_lines(map(_on_one_line, patterns)) if patterns else None
        except GitIgnorePatternError as error:
            raise BadPattern(str(error)) from None

    def match(self, source: bytes, path: bytes, folder: bool) -> bool:
        """Whether to leave a path out; paths below such a folder are not asked for."""
        if self._spec is None:
            return False
        below = _on_one_line(os.fsdecode(path[len(source.rstrip(b"/")) + 1 :]))
        return self._spec.match_file(f"{below}/" if folder else below)


def _on_one_line(text: str) -> str:
    # The matcher takes a newline for the end of a name; a NUL is in none.
    return text.replace("\n", "\0")


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


class Changes:
    """Compares a walk with the snapshot before, in their common order and in constant memory, and counts."""

    def __init__(self, root: str, previous: OpenSnapshot | None, rehash: bool, distrusted: Collection[str]) -> None:
        """Without a `previous` snapshot everything is new; `rehash` has files read although they look the same.

        Objects that are `distrusted` count as not there.
        """
        self._root = root
        self._rehash = rehash
        self._distrusted = distrusted
        self._name = previous.snapshot.name if previous else ""
        self._now_ns = time.time_ns()
        self._before_ns = previous.snapshot.header.created_ns if previous else 0
        self._lines = previous.lines() if previous else iter(())
        self._line = next(self._lines, b"")
        self.unchanged = self.unchanged_bytes = 0
        self.to_do = self.to_do_bytes = 0
        self.skipped = 0

    def of(self, walked: Iterable[Walked]) -> Iterator[bytes | Payload]:
        """For each thing that was found the line of its entry, or the payload to read."""
        for found in walked:
            status = found.status
            if found.skip is not None or status is None:
                yield self._payload(found.payload())
            elif stat.S_ISREG(status.st_mode):
                yield self._file(found.path, status)
            elif stat.S_ISDIR(status.st_mode):
                # The root of the file system has no name to be restored under.
                if path := found.path[1:]:
                    yield self._passed(FolderEntry(path, stat.S_IMODE(status.st_mode), status.st_mtime_ns).line())
            elif stat.S_ISLNK(status.st_mode):
                yield from self._link(found.path, status)
            else:
                yield self._payload(found.payload())

    def _file(self, path: bytes, status: os.stat_result) -> bytes | Payload:
        # The beginning of its line as of now: if a line of the snapshot before begins the same, the file is unchanged.
        begin = begin_file(path_field(path), FileFacts.of(status))
        line = self._line_of(path, begin)
        end = _OBJECT_END.fullmatch(line, len(begin))
        if end is None or not self._settled(status) or not self._there(end[1].decode(), status.st_size):
            return self._payload(Payload("file", path, status.st_size))
        if self._rehash:
            return self._payload(Payload("file", path, status.st_size, known=end[1].decode()))
        self.unchanged += 1
        self.unchanged_bytes += status.st_size
        return line

    def _link(self, path: bytes, status: os.stat_result) -> Iterator[bytes | Payload]:
        try:
            yield self._passed(LinkEntry(path[1:], status.st_mtime_ns, os.readlink(path)).line())
        except FileNotFoundError:
            return
        except OSError as error:
            yield self._payload(Payload("file", path, 0, errno=error.errno))

    def _payload(self, payload: Payload) -> Payload:
        if payload.skip is None:
            self.to_do += 1
            self.to_do_bytes += payload.size_bytes or 0
        else:
            self.skipped += 1
        return payload

    def _line_of(self, path: bytes, begin: bytes) -> bytes:
        """The line of that path in the snapshot before, if it begins like this; empty if not."""
        # Where little has changed, the line is nearly always the next one, and need not be decoded.
        if not self._line.startswith(begin):
            wanted = order_key(path[1:])
            while self._line and self._key() < wanted:
                self._line = next(self._lines, b"")
        return self._passed(self._line) if self._line.startswith(begin) else b""

    def _passed(self, line: bytes) -> bytes:
        """Give the line back, and go on in the snapshot before if it is the next one there."""
        if line == self._line:
            self._line = next(self._lines, b"")
        return line

    def _key(self) -> bytes:
        try:
            return order_key(decode_entry(self._line).path)
        except BadLine as error:
            raise SnapshotInvalid(self._root, f"snapshot {self._name}: a line of it {error}") from None

    def _settled(self, status: os.stat_result) -> bool:
        """Whether no change can hide in the time stamps: made after it was read, but within the same tick."""
        # A time in the future was set by somebody, unless the clock was put back: writing to the file since then would
        # have given it another one.
        latest = max(self._now_ns, self._before_ns)
        newest = max((t for t in (status.st_mtime_ns, status.st_ctime_ns) if t <= latest), default=0)
        tick = _TICK_NS if newest % _SECOND_NS else _COARSE_NS
        return newest + tick < self._before_ns

    def _there(self, name: str, size_bytes: int) -> bool:
        if name in self._distrusted:
            return False
        with suppress(OSError):
            status = os.lstat(object_path(self._root, name))
            return stat.S_ISREG(status.st_mode) and status.st_size == size_bytes + HEADER_BYTES
        return False
