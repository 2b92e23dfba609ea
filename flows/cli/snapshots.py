"""`threadmill snapshots` and `threadmill cat`: read from a vault, without a run on record."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from cyclopts import App

from flows.errors import CommandFailed, RequestRefused
from flows.jobs.arguments import need_key_file, need_path, need_vault
from flows.jobs.parameters import AcceptSnapshot
from flows.option_types import Flag, Json, KeyOption, VaultOption
from flows.settings import settings_with
from flows.show.entries import MARKS, entry_line, entry_text
from flows.show.tables import VAULT_SNAPSHOTS
from flows.show.terminal import complain, print_json, print_table, say
from flows.text import plural, shown_bytes, shown_path, size
from tasks.cancel import CancelToken
from tasks.files import write_all
from tasks.vault.errors import VaultError

if TYPE_CHECKING:
    from db.history import History
    from tasks.vault.entries import Entry
    from tasks.vault.snapshots import OpenSnapshot, Snapshot
    from tasks.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class SnapshotLine:
    """A snapshot as `snapshots --json` prints it; `sources` are the encrypted paths, `size_bytes` is of all files.

    `gone` files were in the snapshot that it was compared with. It counts unless there were too many of them, or if it
    was accepted.

    A partial one, of a run that is under way or was interrupted, has no number and lists only a part of the files.
    """

    name: str
    sequence: int | None
    created: datetime
    sources: tuple[str, ...]
    entries: int
    files: int
    size_bytes: int
    marked: int
    missed: int
    gone: int
    counts: bool


app = App(name="snapshots")


@app.default
def list_snapshots(*, vault: VaultOption = None, key_file: KeyOption = None, json: Json = False) -> int:
    """List the snapshots of a vault, newest first.

    Partial ones come last: files that a run has made safe so far, for the next run of the same paths to take over.

    Exit codes: 0 listed, 1 a snapshot is damaged or not authentic, 2 refused before any work.

    Example: threadmill snapshots --vault VAULT --key-file KEY
    """
    from tasks.vault.errors import NoSuchSnapshot
    from tasks.vault.lookup import partial_names, read_snapshot, snapshot_names

    with _opened(vault, key_file) as (opened, history):
        lines, faults, accepted = [], [], history.accepted(opened.instance)
        for name in (*reversed(snapshot_names(opened.root)), *partial_names(opened.root)):
            try:
                lines.append(snapshot_line(read_snapshot(opened, name), accepted))
            except NoSuchSnapshot:
                # A run came to its end since then, and has removed its partial ones.
                continue
            except VaultError as error:
                faults.append(str(error))
    lines.sort(key=lambda line: line.sequence or 0, reverse=True)
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
    marked: Flag = False,
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
        marked: list only entries that changed while they were read, or were carried over from an older snapshot
        sha256sums: print what `sha256sum -c` reads, to be run in the folder of the vault
    """
    with _found(vault, key_file, snapshot) as (opened, found, _):
        if sha256sums:
            _print_sums(opened, found)
        elif json:
            print_json([entry_line(entry) for entry in found.entries() if entry.mark or not marked])
        else:
            for entry in found.entries():
                if entry.mark or not marked:
                    say(entry_text(entry_line(entry)))
            totals = found.snapshot.totals
            marks = f"; {totals.marked:,} marked" if totals.marked else ""
            say(f"{plural(totals.files, 'file')}, {size(totals.size_bytes)}{marks}")
    return 0


@app.command
def accept(snapshot: str, /, *, vault: VaultOption = None, key_file: KeyOption = None) -> int:
    """Have a snapshot count although many files are gone from it, or a path was empty.

    Until then no run is compared with it, prune removes no other snapshot for it, and status complains, unless the
    files are back in a newer one. Accept it if the files are gone for good. The record has that as a verdict.

    Exit codes: 0 accepted, 2 refused: no such snapshot, or it is not in doubt.

    Example: threadmill snapshots accept latest --vault VAULT --key-file KEY

    Args:
        snapshot: latest, or the beginning of its name
    """
    settings, parameters = settings_with(vault, key_file), AcceptSnapshot(snapshot=snapshot)
    # The engine is loaded for what is not refused.
    from flows.cli.run import run_job
    from flows.jobs.keep import acceptance_job

    done = run_job(":accept_snapshot", parameters, acceptance_job(parameters, settings), settings, "direct")
    say(f"run {done.run_id}: {done.message}")
    return 0


def cat(
    snapshot: str, path: str, /, *, last_good: Flag = False, vault: VaultOption = None, key_file: KeyOption = None
) -> int:
    """Write one file of a snapshot to standard output.

    All of the file is checked before its first byte is written.

    Exit codes: 0 written, 1 its object is damaged or the output cannot be written, 2 refused before any work.

    Example: threadmill cat latest /home/me/letter.txt --vault VAULT --key-file KEY

    Args:
        snapshot: latest, or the beginning of its name
        path: as it was when it was encrypted
        last_good: of a marked file, what it had when it was last read without changing
    """
    from tasks.crypto.holes import filled
    from tasks.vault.entries import FileEntry
    from tasks.vault.index import shared_index
    from tasks.vault.objects import read_object

    path = need_path(path)
    with _found(vault, key_file, snapshot, os.fsencode(path).strip(b"/")) as (opened, found, entry):
        if entry is None:
            name = found.header.name
            raise RequestRefused(f"not in snapshot {name}: {shown_path(path)}; see: threadmill snapshots show {name}")
        if not isinstance(entry, FileEntry):
            raise RequestRefused(f"{shown_path(path)} is no file in snapshot {found.header.name}")
        content = entry.good if last_good and entry.mark else entry.content
        if content is None:
            raise RequestRefused(f"no last good content is known of {shown_path(path)} in {found.header.name}")
        if sys.__stdout__ is None:
            raise CommandFailed("standard output is closed")
        sys.stdout.flush()
        if entry.mark is not None and not last_good:
            complain(f"{shown_path(path)}: {MARKS[entry.mark]}")
        try:
            take, end = filled(content.extents, content.size_bytes, _write)
            read_object(opened, shared_index(opened), content, take, CancelToken(), checked=True)
            end()
        except VaultError as error:
            raise CommandFailed(str(error)) from None
    return 0


def _write(piece: memoryview) -> None:
    try:
        write_all(sys.stdout.fileno(), piece)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandFailed(f"standard output cannot be written: {error.strerror}") from None


@contextmanager
def _opened(vault: str | None, key_file: str | None) -> Iterator[tuple[Vault, History]]:
    """The vault, and the record; if that cannot be read, it is said, and the record is an empty one."""
    from flows.jobs.identity import open_known
    from tasks.vault.locks import reading

    settings = settings_with(vault, key_file)
    path, secret = need_vault(settings.vault), need_key_file(settings.key_file).secret()
    history = settings.open_lenient_history()
    opened = open_known(path, secret, history, copy=True)
    if history.error is not None:
        complain(f"cannot tell whether this is the vault that belongs here, as it was: {history.error}")
    with reading(opened.root, CancelToken()):
        yield opened, history


@contextmanager
def _found(
    vault: str | None, key_file: str | None, snapshot: str, path: bytes = b""
) -> Iterator[tuple[Vault, OpenSnapshot, Entry | None]]:
    """The snapshot that is meant, and its entry at a relative path: of `latest` the newest snapshot that has it."""
    from flows.jobs.identity import NAME_ANOTHER, need_latest
    from tasks.vault.index import index_shared
    from tasks.vault.lookup import LATEST, find_snapshot, snapshots_for
    from tasks.vault.snapshots import open_snapshot

    with _opened(vault, key_file) as (opened, history), index_shared(opened), ExitStack() as stack:
        first = find_snapshot(opened, snapshot)
        found = stack.enter_context(open_snapshot(opened, first))
        if snapshot == LATEST:
            need_latest(opened, found.authentic, history, NAME_ANOTHER)
        for name in snapshots_for(opened, snapshot, (path,)) if path else ():
            one = found if name == first else stack.enter_context(open_snapshot(opened, name))
            if (entry := _entry_at(one, path)) is not None:
                yield opened, one, entry
                return
        yield opened, found, None


def _entry_at(found: OpenSnapshot, path: bytes) -> Entry | None:
    from tasks.vault.portions import shown_alike

    entry = next((entry for entry in found.entries() if entry.path == path), None)
    if entry is None and b"\\" in path:
        alike = next(iter(shown_alike(found, (path,), shown_bytes).get(path, ())), None)
        return next((entry for entry in found.entries() if entry.path == alike), None)
    return entry


def snapshot_line(snapshot: Snapshot, accepted: Collection[str] = ()) -> SnapshotLine:
    """A snapshot as it is shown."""
    header, totals = snapshot.header, snapshot.totals
    sources = tuple(shown_bytes(source) for source in header.sources)
    number = None if header.part else header.sequence
    of_header = header.name, number, header.created, sources
    of_files = totals.entries, totals.files, totals.size_bytes, totals.marked, totals.missed, totals.gone
    return SnapshotLine(*of_header, *of_files, totals.counts or header.name in accepted)


def _print_sums(vault: Vault, found: OpenSnapshot) -> None:
    """Each pack and each large object once, however many files have their content there."""
    from tasks.vault.index import shared_index

    index = shared_index(vault)
    printed: set[str] = set()
    for content in found.contents():
        places = [f"packs/{one.pack[:2]}/{one.pack}" for one in index.find(bytes.fromhex(content.object))]
        for path in places or [f"objects/{content.object[:2]}/{content.object}"]:
            if path not in printed:
                printed.add(path)
                print(f"{path[-64:]}  {path}")
