"""Entries of a snapshot, as `snapshots show` lists them."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from flows.text import if_known, local, shown_bytes

if TYPE_CHECKING:
    from tasks.vault.entries import Entry

MARKS = {"changed": "changed while it was read", "unreadable": "could not be read: as in an older snapshot"}
_TYPES = {"file": stat.S_IFREG, "link": stat.S_IFLNK, "folder": stat.S_IFDIR}


@dataclass(frozen=True, slots=True)
class EntryLine:
    """An entry as `snapshots show --json` prints it; a field that its kind does not have is null.

    `path_hex` is the path's bytes. `mtime` is null for a time outside of the years 1 to 9999; `mtime_ns`, nanoseconds
    since 1970, is always exact. `size_bytes` of a link is the length of its target. `zstd` is the length of the
    content's frame, null if it is not compressed. `mark` is changed or unreadable; `good` is the object with the last
    good content of a marked file, null if it is not known.
    """

    path: str
    path_hex: str
    type: str
    mode: int | None
    mtime: datetime | None
    mtime_ns: int
    size_bytes: int | None
    object: str | None
    zstd: int | None
    target: str | None
    mark: str | None
    good: str | None


def entry_line(entry: Entry) -> EntryLine:
    """An entry as it is shown."""
    from tasks.vault.entries import FileEntry, LinkEntry

    path, path_hex = "/" + shown_bytes(entry.path), (b"/" + entry.path).hex()
    if isinstance(entry, FileEntry):
        facts, content = entry.facts, entry.content
        times = _time(facts.mtime_ns), facts.mtime_ns
        size_bytes, name, zstd = facts.size_bytes, content.object, content.zstd
        good = None if entry.good is None else entry.good.object
        return EntryLine(path, path_hex, "file", facts.mode, *times, size_bytes, name, zstd, None, entry.mark, good)
    times = _time(entry.mtime_ns), entry.mtime_ns
    if isinstance(entry, LinkEntry):
        target = shown_bytes(entry.target)
        return EntryLine(path, path_hex, "link", None, *times, len(entry.target), None, None, target, entry.mark, None)
    return EntryLine(path, path_hex, "folder", entry.mode, *times, None, None, None, None, entry.mark, None)


def entry_text(line: EntryLine) -> str:
    """An entry in the form of `ls -l`, as far as it is known."""
    # A link has all permissions.
    mode = _TYPES[line.type] | (0o777 if line.mode is None else line.mode)
    to = "" if line.target is None else f" -> {line.target}"
    to += f" ({MARKS[line.mark]})" if line.mark else ""
    return f"{stat.filemode(mode)} {line.size_bytes or 0:>14,} {_local(line.mtime_ns)} {line.path}{to}"


def _time(time_ns: int) -> datetime | None:
    """None outside of the years 1 to 9999: a file system has times far beyond them."""
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
    except OverflowError:
        return None


def _local(time_ns: int) -> str:
    """A time for people; in seconds since 1970 where no calendar has it."""
    try:
        return if_known(local, _time(time_ns)) or f"@{time_ns // 10**9}"
    except (OverflowError, ValueError):
        # The first or the last day, in another time zone.
        return f"@{time_ns // 10**9}"
