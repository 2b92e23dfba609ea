"""`threadmill snapshots` and `threadmill cat`: read from a vault, without a run on record."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cyclopts import App

from flows.errors import CommandFailed, RequestRefused
from flows.jobs.arguments import need_key_file, need_path, need_vault
from flows.option_types import Flag, Json, KeyOption, VaultOption
from flows.settings import load_settings, settings_with
from flows.show.tables import VAULT_SNAPSHOTS
from flows.show.terminal import print_json, print_table, say
from flows.text import if_known, local, plural, shown_path, size, visible
from tasks.cancel import CancelToken
from tasks.files import write_all
from tasks.vault.errors import VaultError

if TYPE_CHECKING:
    from tasks.vault.entries import Entry
    from tasks.vault.snapshots import OpenSnapshot, Snapshot
    from tasks.vault.vault import Vault


_ZEROS = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class SnapshotLine:
    """A snapshot as `snapshots --json` prints it; `sources` are the encrypted paths, `size_bytes` is of all files.

    A partial snapshot, of a run that was interrupted or is at work, has no number (`sequence` is null).
    """

    name: str
    sequence: int | None
    created: datetime
    sources: tuple[str, ...]
    entries: int
    files: int
    size_bytes: int


app = App(name="snapshots")


@app.default
def list_snapshots(*, vault: VaultOption = None, key_file: KeyOption = None, json: Json = False) -> int:
    """List the snapshots of a vault, newest first.

    Partial ones come first: what runs have made durable that were interrupted or are at work. The next run of the same
    paths takes them over.

    Exit codes: 0 listed, 1 a snapshot is damaged or not authentic, 2 refused before any work.

    Example: threadmill snapshots --vault VAULT --key-file KEY
    """
    from tasks.vault.errors import NoSuchSnapshot
    from tasks.vault.lookup import partial_names, read_snapshot, snapshot_names

    with _opened(vault, key_file) as opened:
        lines, faults = [], []
        for name in (*partial_names(opened.root), *reversed(snapshot_names(opened.root))):
            try:
                lines.append(snapshot_line(read_snapshot(opened, name)))
            except NoSuchSnapshot:
                # A run has come to its end since, and has removed its partial snapshots.
                continue
            except VaultError as error:
                faults.append(str(error))
    # The partial ones are in order already.
    lines.sort(key=lambda line: (line.sequence is None, line.sequence), reverse=True)
    if json:
        print_json(lines)
    elif lines:
        print_table(VAULT_SNAPSHOTS.fill(lines, f"vault {opened.root}"))
    elif not faults:
        say(f"vault {opened.root} has no snapshot yet")
    if faults:
        raise CommandFailed("; ".join(faults))
    return 0


@app.command
def show(
    snapshot: str,
    /,
    *,
    sha256sums: Flag = False,
    vault: VaultOption = None,
    key_file: KeyOption = None,
    json: Json = False,
) -> int:
    """List the files, links and folders of a snapshot.

    Exit codes: 0 listed, 2 refused: no such snapshot, or it is damaged.

    Example: threadmill snapshots show latest --vault VAULT --key-file KEY

    Args:
        snapshot: latest, or the beginning of its name
        sha256sums: print what `sha256sum -c` reads, to be run in the folder of the vault
    """
    with _found(vault, key_file, snapshot) as (opened, found):
        if sha256sums:
            _print_sums(opened, found)
        elif json:
            print_json([_entry_line(entry) for entry in found.entries()])
        else:
            for entry in found.entries():
                say(_text(entry))
            say(f"{plural(found.snapshot.totals.files, 'file')}, {size(found.snapshot.totals.size_bytes)}")
    return 0


def cat(snapshot: str, path: str, /, *, vault: VaultOption = None, key_file: KeyOption = None) -> int:
    """Write one file of a snapshot to standard output.

    All of the file is checked before its first byte is written.

    Exit codes: 0 written, 1 its object is damaged or the output cannot be written, 2 refused before any work.

    Example: threadmill cat latest /home/me/letter.txt --vault VAULT --key-file KEY

    Args:
        snapshot: latest, or the beginning of its name
        path: as it was when it was encrypted
    """
    from tasks.vault.entries import FileEntry
    from tasks.vault.index import shared_index
    from tasks.vault.objects import read_object
    from tasks.vault.restore import placed

    path = need_path(path)
    wanted = os.fsencode(path).strip(b"/")
    with _found(vault, key_file, snapshot) as (opened, found):
        entry = next((entry for entry in found.entries() if entry.path == wanted), None)
        if entry is None:
            name = found.header.name
            raise RequestRefused(f"not in snapshot {name}: {shown_path(path)}; see: threadmill snapshots show {name}")
        if not isinstance(entry, FileEntry):
            raise RequestRefused(f"{shown_path(path)} is no file in snapshot {found.header.name}")
        if sys.__stdout__ is None:
            raise CommandFailed("standard output is closed")
        sys.stdout.flush()
        output = _Output(sys.stdout.fileno())
        try:
            take = placed(entry.content, output.put)
            read_object(opened, shared_index(opened), entry.content, take, CancelToken(), checked=True)
        except VaultError as error:
            raise CommandFailed(str(error)) from None
        output.fill(entry.facts.size_bytes)
    return 0


class _Output:
    """Standard output, which takes a file from its beginning to its end, with zeros for its holes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0

    def put(self, piece: memoryview, at: int) -> None:
        """Write the piece of the file at an offset."""
        self.fill(at)
        self._write(piece)

    def fill(self, end: int) -> None:
        """Write zeros up to an offset."""
        while self._at < end:
            self._write(memoryview(_ZEROS)[: end - self._at])

    def _write(self, piece: memoryview) -> None:
        try:
            write_all(self._descriptor, piece)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandFailed(f"standard output cannot be written: {error.strerror}") from None
        self._at += len(piece)


@contextmanager
def _opened(vault: str | None, key_file: str | None) -> Iterator[Vault]:
    from tasks.vault.locks import reading
    from tasks.vault.vault import open_vault

    settings = settings_with(vault, key_file)
    opened = open_vault(need_vault(settings.vault), need_key_file(settings.key_file).secret())
    with reading(opened.root, CancelToken()):
        yield opened


@contextmanager
def _found(vault: str | None, key_file: str | None, snapshot: str) -> Iterator[tuple[Vault, OpenSnapshot]]:
    from tasks.vault.lookup import LATEST, find_snapshot
    from tasks.vault.snapshots import open_snapshot

    with _opened(vault, key_file) as opened, open_snapshot(opened, find_snapshot(opened, snapshot)) as found:
        if snapshot == LATEST:
            # Only for latest: a snapshot that is named is opened without the record, which is quicker.
            from db.errors import RecordError
            from flows.jobs.vault import NAME_ANOTHER, need_latest

            history = load_settings().open_history()
            try:
                need_latest(opened, found.snapshot, history, NAME_ANOTHER)
            except RecordError as error:
                say(f"threadmill: cannot tell whether this is the latest snapshot: {error}", error=True)
        yield opened, found


def snapshot_line(snapshot: Snapshot) -> SnapshotLine:
    """A snapshot as it is shown."""
    header, totals = snapshot.header, snapshot.totals
    sources = tuple(_shown(source) for source in header.sources)
    number = None if header.partial else header.sequence
    return SnapshotLine(header.name, number, header.created, sources, totals.entries, totals.files, totals.size_bytes)


def _print_sums(opened: Vault, found: OpenSnapshot) -> None:
    """Each pack and each large object that the snapshot needs, once."""
    from tasks.vault.format import OBJECTS, PACKS
    from tasks.vault.index import shared_index

    index = shared_index(opened)
    printed: set[str] = set()
    for content in found.contents():
        places = index.find(bytes.fromhex(content.object)) if content.packed else []
        folder, name = (PACKS, places[0].pack) if places else (OBJECTS, content.object)
        if name not in printed:
            printed.add(name)
            print(f"{name}  {folder}/{name[:2]}/{name}")


def _text(entry: Entry) -> str:
    """An entry in the form of `ls -l`, as far as it is known."""
    from tasks.vault.entries import FileEntry, LinkEntry

    if isinstance(entry, FileEntry):
        mode, mtime_ns, size_bytes = stat.S_IFREG | entry.facts.mode, entry.facts.mtime_ns, entry.facts.size_bytes
    elif isinstance(entry, LinkEntry):
        mode, mtime_ns, size_bytes = stat.S_IFLNK | 0o777, entry.mtime_ns, len(entry.target)
    else:
        mode, mtime_ns, size_bytes = stat.S_IFDIR | entry.mode, entry.mtime_ns, 0
    to = f" -> {_shown(entry.target)}" if isinstance(entry, LinkEntry) else ""
    return f"{stat.filemode(mode)} {size_bytes:>14,} {_local(mtime_ns)} /{_shown(entry.path)}{to}"


@dataclass(frozen=True, slots=True)
class EntryLine:
    """An entry as `snapshots show --json` prints it; a field that its kind does not have is null.

    `path_hex` is the path's bytes. `mtime` is null for a time outside of the years 1 to 9999; `mtime_ns`, nanoseconds
    since 1970, is always exact. `zstd` is the length of the frame in the object if the content is compressed, `extents`
    are the offsets and lengths of what is no hole if the file has holes.
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
    extents: tuple[tuple[int, int], ...] | None
    target: str | None


def _entry_line(entry: Entry) -> EntryLine:
    from tasks.vault.entries import FileEntry, LinkEntry

    path, path_hex = "/" + _shown(entry.path), (b"/" + entry.path).hex()
    if isinstance(entry, FileEntry):
        facts, content = entry.facts, entry.content
        begin = path, path_hex, "file", facts.mode, _time(facts.mtime_ns), facts.mtime_ns, facts.size_bytes
        return EntryLine(*begin, content.object, content.zstd, content.extents, None)
    times = _time(entry.mtime_ns), entry.mtime_ns
    if isinstance(entry, LinkEntry):
        return EntryLine(path, path_hex, "link", None, *times, None, None, None, None, _shown(entry.target))
    return EntryLine(path, path_hex, "folder", entry.mode, *times, None, None, None, None, None)


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


def _shown(path: bytes) -> str:
    """A path on one line, whatever is in its name."""
    return visible(path.decode(errors="backslashreplace"))
