"""Verifying a vault: its parameters, its snapshots, its folder, and each object."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.files import closed_after, open_regular
from tasks.suites import HEADER_BYTES
from tasks.vault.entries import FileEntry
from tasks.vault.errors import VaultError, Verdict, VerdictStatus, judged, status_of
from tasks.vault.format import (
    LOCK,
    LOST_AND_FOUND,
    OBJECTS,
    PARAMETERS,
    SNAPSHOT_NAME,
    SNAPSHOTS,
    TEMPORARY,
    object_path,
    snapshot_path,
)
from tasks.vault.index import ObjectIndex
from tasks.vault.lookup import snapshot_names
from tasks.vault.objects import digest_of
from tasks.vault.snapshots import Snapshot, open_snapshot
from tasks.vault.vault import Vault

# Tells whether a name is of a form.
Form = Callable[[str], object]

_PIECE_BYTES = 1 << 20
# A verdict names at most this many paths of an object; all of them are in the snapshots.
_PATHS_NAMED = 5


@dataclass(frozen=True, slots=True)
class KnownSnapshot:
    """The newest snapshot on record."""

    sequence: int
    name: str
    mac: str


def inspect(vault: Vault, index: ObjectIndex, known: KnownSnapshot | None, cancel: CancelToken) -> Iterator[Verdict]:
    """Check everything but the content of objects; objects that are there, and that are named, go into the index.

    Without the key, snapshots are read only for the objects that they name; a verdict is given on a snapshot that
    breaks the format.
    """
    if vault.key is not None:
        yield judged("vault", vault.id, "ok")
    good: list[Snapshot] = []
    faulty: set[str] = set()
    for name in _snapshot_names(vault.root):
        if cancel.cancelled:
            raise Cancelled
        verdict, snapshot = _look_at(vault, name, index)
        if snapshot is not None:
            good.append(snapshot)
        else:
            faulty.add(name)
        if verdict.is_fault or vault.key is not None:
            yield verdict
    if fault := rolled_back(vault, good, known, faulty):
        yield judged("vault", vault.id, "rolled-back", fault)
    yield from _look_around(vault.root, index)
    missing = list(index.missing())
    paths = paths_of(vault, missing)
    for digest in missing:
        yield judged("object", digest, "missing", _named(paths[digest]), next(iter(paths[digest]), None))


def check_objects(vault: Vault, objects: Sequence[tuple[str, int]], cancel: CancelToken) -> tuple[Verdict, ...]:
    """Hash each object (its 64 hex digits, the size of its file) anew; when the token is set, the verdicts so far."""
    buffer = bytearray(_PIECE_BYTES)
    verdicts = []
    for digest, size_bytes in objects:
        if cancel.cancelled:
            break
        verdicts.append(_check(vault.root, digest, size_bytes, buffer))
    faulty = [verdict.name for verdict in verdicts if verdict.is_fault]
    if not faulty:
        return tuple(verdicts)
    paths = paths_of(vault, faulty)
    return tuple(_with_paths(verdict, paths[verdict.name]) if verdict.is_fault else verdict for verdict in verdicts)


def paths_of(vault: Vault, digests: Collection[str]) -> dict[str, list[bytes]]:
    """Absolute paths that objects belong to, from the newest snapshot that has any, as far as snapshots can be read."""
    found: dict[str, list[bytes]] = defaultdict(list)
    open_ones = set(digests)
    for name in reversed(_snapshot_names(vault.root)) if open_ones else ():
        with suppress(VaultError), open_snapshot(vault, name) as opened:
            for entry in opened.entries():
                if isinstance(entry, FileEntry) and entry.object in open_ones:
                    found[entry.object].append(b"/" + entry.path)
        open_ones -= found.keys()
        if not open_ones:
            break
    return found


def _snapshot_names(root: str) -> list[str]:
    try:
        return snapshot_names(root)
    except VaultError:
        # Then the folder has a verdict of its own.
        return []


def _look_at(vault: Vault, name: str, index: ObjectIndex) -> tuple[Verdict, Snapshot | None]:
    begin, started_ns = time.time_ns(), time.perf_counter_ns()
    status: VerdictStatus = "ok"
    error = snapshot = size_bytes = None
    try:
        with open_snapshot(vault, name) as opened:
            index.name(opened.objects())
            snapshot, size_bytes = opened.snapshot, opened.size_bytes
    except VaultError as fault:
        error, status = fault.reason, status_of(fault)
    wall_ns = time.perf_counter_ns() - started_ns
    return Verdict("snapshot", name, status, size_bytes, None, error, begin, wall_ns), snapshot


def rolled_back(
    vault: Vault, snapshots: Iterable[Snapshot | None], known: KnownSnapshot | None, damaged: Collection[str] = ()
) -> str | None:
    """The fault, if the vault's good snapshots are older than the newest one on record; else None.

    None too if the newest one is `damaged`, which has a verdict of its own.
    """
    if known is None or known.name in damaged:
        return None
    good = [one for one in snapshots if one is not None]
    newest = max(good, key=lambda snapshot: snapshot.header.sequence, default=None)
    if newest is None or newest.header.sequence < known.sequence:
        there = os.path.lexists(snapshot_path(vault.root, known.name))
        what = "cannot be believed any more" if there else "is gone"
        return f"snapshot {known.name}, number {known.sequence}, was the newest one, and {what}"
    same = next((one for one in good if one.header.sequence == known.sequence), None)
    if same is not None and same.mac != known.mac:
        return f"snapshot {same.name} is not the one that was on record under number {known.sequence}"
    return None


def _look_around(root: str, index: ObjectIndex) -> Iterator[Verdict]:
    """Verdicts on files that do not belong into the vault, on missing folders, and on leftovers of interrupted runs.

    The objects go into the index.
    """
    yield from _look_into(root, ".", _FILES, _FOLDERS, "does not belong in a vault")
    for folder in (OBJECTS, SNAPSHOTS):
        if not os.path.lexists(f"{root}/{folder}"):
            yield judged("file", folder, "missing", "is not there")
    for name in (yield from _look_into(root, TEMPORARY, _any, _none, "is not what a run leaves")):
        yield judged("file", f"{TEMPORARY}/{name}", "leftover", "left by an interrupted run")
    yield from _look_into(root, SNAPSHOTS, SNAPSHOT_NAME.fullmatch, _none, "is not a snapshot")
    for begin in sorted((yield from _look_into(root, OBJECTS, _none, _BEGINNING, "is not a folder of objects"))):
        is_object = re.compile(begin + r"[0-9a-f]{62}").fullmatch
        index.list((yield from _look_into(root, f"{OBJECTS}/{begin}", is_object, _none, "is not an object")))


_FILES = frozenset((PARAMETERS, LOCK)).__contains__
_FOLDERS = frozenset((OBJECTS, SNAPSHOTS, TEMPORARY, LOST_AND_FOUND)).__contains__
_BEGINNING = re.compile(r"[0-9a-f]{2}").fullmatch
_any = re.compile(r".*", re.DOTALL).fullmatch
_none = frozenset[str]().__contains__


def _look_into(root: str, folder: str, files: Form, folders: Form, why: str) -> Generator[Verdict, None, list[str]]:
    """Compare the names in a folder with the forms of its files and folders; returns the names that fit."""
    here = root if folder == "." else f"{root}/{folder}"
    fitting: list[str] = []
    try:
        # A link is named where it lies, and not followed.
        if not stat.S_ISDIR(os.lstat(here).st_mode):
            return fitting
        with os.scandir(os.fsencode(here)) as listing:
            for entry in listing:
                # For people: every name is text.
                name = entry.name.decode(errors="backslashreplace")
                form = files if entry.is_file(follow_symlinks=False) else _none
                form = folders if entry.is_dir(follow_symlinks=False) else form
                if form(name):
                    fitting.append(name)
                else:
                    yield judged("file", name if folder == "." else f"{folder}/{name}", "foreign", why)
    except FileNotFoundError:
        pass
    except OSError as error:
        yield judged("file", folder, "unreadable", error.strerror)
    return fitting


def _check(root: str, digest: str, size_bytes: int, buffer: bytearray) -> Verdict:
    begin, started_ns = time.time_ns(), time.perf_counter_ns()
    status: VerdictStatus = "ok"
    error = None
    try:
        descriptor, length = open_regular(object_path(root, digest))
        with closed_after(descriptor):
            # Check the size first, so that a huge sparse object is not read to its end.
            found = digest_of(descriptor, length, buffer) if length == size_bytes + HEADER_BYTES else None
        if found is None:
            status, error = "changed", f"does not have the {size_bytes + HEADER_BYTES:,} bytes of its file"
        elif found != digest:
            status, error = "changed", "its bytes do not fit its name"
    except OSError as fault:
        status, error = "missing" if fault.errno == errno.ENOENT else "unreadable", fault.strerror
    return Verdict("object", digest, status, size_bytes, None, error, begin, time.perf_counter_ns() - started_ns)


def _with_paths(verdict: Verdict, paths: Sequence[bytes]) -> Verdict:
    error = f"{verdict.error}; {_named(paths)}"
    return replace(verdict, path=next(iter(paths), None), error=error)


def _named(paths: Sequence[bytes]) -> str:
    names = ", ".join(path.decode(errors="backslashreplace") for path in paths[:_PATHS_NAMED])
    more = f" and {len(paths) - _PATHS_NAMED:,} more" if len(paths) > _PATHS_NAMED else ""
    return f"it has the content of {names}{more}" if paths else "no snapshot that can be read names it"
