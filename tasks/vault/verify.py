"""Verifying a vault: its parameters, its snapshots, its folders, and every byte of its packs and large objects."""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from tasks.cancel import CancelToken
from tasks.crypto.errors import Cancelled
from tasks.files import closed_after, open_folder
from tasks.vault.check import check_object, check_pack
from tasks.vault.entries import FileEntry
from tasks.vault.errors import NoSuchSnapshot, VaultError, Verdict, VerdictKind, VerdictStatus, judged, status_of
from tasks.vault.format import (
    INDEX,
    LOCK,
    LOST_AND_FOUND,
    OBJECT_NAME,
    OBJECTS,
    PACKS,
    PARAMETERS,
    PARTIAL_NAME,
    PARTIALS,
    SNAPSHOT_NAME,
    SNAPSHOTS,
    TEMPORARY,
    TEMPORARY_NAME,
)
from tasks.vault.locks import is_running
from tasks.vault.lookup import partial_names, snapshot_names
from tasks.vault.named import NamedObjects
from tasks.vault.packs import opened_stored, stored
from tasks.vault.snapshots import Authentic, open_snapshot
from tasks.vault.vault import Vault

# Tells whether a name is of a form.
Form = Callable[[str], object]

# A verdict names at most this many paths of an object; all of them are in the snapshots.
_PATHS_NAMED = 5


@dataclass(frozen=True, slots=True)
class KnownSnapshot:
    """The newest snapshot on record."""

    sequence: int
    name: str
    mac: str


def inspect(vault: Vault, objects: NamedObjects, known: KnownSnapshot | None, cancel: CancelToken) -> Iterator[Verdict]:
    """Check everything but the content of packs and large objects; what snapshots name goes into `objects`.

    Without the key, snapshots are read only for the objects that they name; a verdict is given on a snapshot that
    breaks the format.
    """
    if vault.key is not None:
        yield judged("vault", vault.id, "ok")
    good: list[Authentic] = []
    faulty: set[str] = set()
    for name in _all_snapshots(vault.root):
        if cancel.cancelled:
            raise Cancelled
        with suppress(NoSuchSnapshot):
            verdict, snapshot = _look_at(vault, name, objects)
            if verdict.is_fault:
                faulty.add(name)
            elif snapshot is not None and snapshot.header.part == 0:
                good.append(snapshot)
            if verdict.is_fault or vault.key is not None:
                yield verdict
    if fault := rolled_back(vault, good, known, faulty):
        yield judged("vault", vault.id, "rolled-back", fault)
    yield from _look_around(vault.root)
    # After the snapshots, since objects are there before them.
    objects.list_all()
    for pack in objects.rebuilt:
        why = "missing or not as it was written: its pack was read instead, and the next run that writes makes it again"
        yield judged("file", f"{INDEX}/{pack}", "rebuilt", why)
    yield from _missing(vault, objects)


def check_stored(vault: Vault, things: Sequence[tuple[VerdictKind, str]], cancel: CancelToken) -> tuple[Verdict, ...]:
    """Read packs and large objects, each by its kind and name, whole; when the token is set, the verdicts so far.

    There is one verdict on each, also on a pack with damaged objects: `damaged` says which of them are lost.
    """
    verdicts = []
    with suppress(Cancelled):
        for kind, name in things:
            verdicts.append(_check(vault, kind, name, cancel))
    faulty = [verdict.name for verdict in verdicts if verdict.is_fault and verdict.kind == "object"]
    paths = paths_of(vault, faulty)
    return tuple(_with_paths(one, paths[one.name]) if one.name in faulty else one for one in verdicts)


def damaged(
    vault: Vault, objects: NamedObjects, packs: Iterable[str], on_record: Collection[str], cancel: CancelToken
) -> Iterator[Verdict]:
    """A verdict on each object of faulty packs of which no pack has a good copy.

    And one on each object that is damaged `on_record`, and of which a pack has a good copy by now.
    """
    lost: dict[str, str] = {}
    for pack in packs:
        for digest in objects.members(pack):
            if cancel.cancelled:
                raise Cancelled
            if not objects.is_whole(digest):
                lost[digest.hex()] = pack
    yield from lost_objects(vault, {name: f"no good copy of it is left in pack {pack}" for name, pack in lost.items()})
    for name in sorted(on_record):
        if name not in lost and objects.is_whole(bytes.fromhex(name)):
            yield judged("object", name, "rebuilt", "a pack has a good copy of it")


def lost_objects(vault: Vault, why: Mapping[str, str]) -> list[Verdict]:
    """The verdicts on objects that are changed, with their paths, by the reason for each."""
    paths = paths_of(vault, why)
    return [_with_paths(judged("object", name, "changed", reason), paths[name]) for name, reason in why.items()]


def paths_of(vault: Vault, digests: Collection[str]) -> dict[str, list[bytes]]:
    """Absolute paths that objects belong to, from the newest snapshot that has any, as far as snapshots can be read."""
    found: dict[str, list[bytes]] = defaultdict(list)
    open_ones = set(digests)
    for name in reversed(_all_snapshots(vault.root)) if open_ones else ():
        with suppress(VaultError), open_snapshot(vault, name) as opened:
            for entry in opened.entries():
                if isinstance(entry, FileEntry):
                    for content in entry.contents():
                        if content.object in open_ones:
                            found[content.object].append(b"/" + entry.path)
        open_ones -= found.keys()
        if not open_ones:
            break
    return found


def _all_snapshots(root: str) -> list[str]:
    """Partial ones first: as states of a source they are the poorest."""
    names: list[str] = []
    for listed in (partial_names, snapshot_names):
        # A folder that cannot be read has a verdict of its own.
        with suppress(VaultError):
            names += listed(root)
    return names


def _look_at(vault: Vault, name: str, objects: NamedObjects) -> tuple[Verdict, Authentic | None]:
    begin, started_ns = time.time_ns(), time.perf_counter_ns()
    status: VerdictStatus = "ok"
    error = snapshot = size_bytes = None
    try:
        with open_snapshot(vault, name) as opened:
            objects.name((bytes.fromhex(one.object), one.stored_bytes) for one in opened.contents())
            snapshot, size_bytes = opened.authentic, opened.size_bytes
    except NoSuchSnapshot:
        # Partial ones are removed by the run that they are of.
        raise
    except VaultError as fault:
        error, status = fault.reason, status_of(fault)
    wall_ns = time.perf_counter_ns() - started_ns
    return Verdict("snapshot", name, status, size_bytes, None, error, begin, wall_ns), snapshot


def rolled_back(
    vault: Vault, snapshots: Iterable[Authentic | None], known: KnownSnapshot | None, damaged: Collection[str] = ()
) -> str | None:
    """The fault, if the vault's good snapshots are older than the newest one on record; else None.

    None too if the newest one is `damaged`, which has a verdict of its own.
    """
    if known is None or known.name in damaged:
        return None
    good = [one for one in snapshots if one is not None]
    newest = max(good, key=lambda snapshot: snapshot.header.sequence, default=None)
    if newest is None or newest.header.sequence < known.sequence:
        there = os.path.lexists(f"{vault.root}/{SNAPSHOTS}/{known.name}")
        what = "cannot be believed any more" if there else "is gone"
        return f"snapshot {known.name}, number {known.sequence}, was the newest one, and {what}"
    same = next((one for one in good if one.header.sequence == known.sequence), None)
    if same is not None and same.mac != known.mac:
        return f"snapshot {same.name} is not the one that was on record under number {known.sequence}"
    return None


def _look_around(root: str) -> Iterator[Verdict]:
    """Verdicts on files that do not belong into the vault, on missing folders, and on leftovers of interrupted runs."""
    yield from _look_into(root, (), _FILES, _FOLDERS, "does not belong in a vault")
    # A program that copied the vault may have left empty folders out; an object that is missing has its own verdict.
    if not os.path.lexists(f"{root}/{SNAPSHOTS}"):
        yield judged("file", SNAPSHOTS, "missing", "is not there")
    left = yield from _look_into(root, (TEMPORARY,), TEMPORARY_NAME.fullmatch, _none, "is not what a run leaves")
    # Files of a run that is alive are its work; which of the others are, nobody can say.
    if not any(is_running(root, name) for name in left):
        for name in left:
            yield judged("file", f"{TEMPORARY}/{name}", "leftover", "left by an interrupted run")
    yield from _look_into(root, (SNAPSHOTS,), SNAPSHOT_NAME.fullmatch, _none, "is not a snapshot")
    yield from _look_into(root, (PARTIALS,), PARTIAL_NAME.fullmatch, _none, "is not a partial snapshot")
    there = {name for name, _ in stored(root, PACKS)}
    for name in (yield from _look_into(root, (INDEX,), OBJECT_NAME.fullmatch, _none, "is not the index of a pack")):
        if name not in there:
            yield judged("file", f"{INDEX}/{name}", "leftover", "its pack is not there")
    for kind in (PACKS, OBJECTS):
        what = f"is not a folder of {kind}"
        for begin in sorted((yield from _look_into(root, (kind,), _none, _BEGINNING, what))):
            form = re.compile(begin + r"[0-9a-f]{62}").fullmatch
            yield from _look_into(root, (kind, begin), form, _none, f"is not one of the {kind}")


_FILES = frozenset((PARAMETERS, LOCK)).__contains__
_FOLDERS = frozenset((PACKS, OBJECTS, INDEX, SNAPSHOTS, PARTIALS, TEMPORARY, LOST_AND_FOUND)).__contains__
_BEGINNING = re.compile(r"[0-9a-f]{2}").fullmatch
_none = frozenset[str]().__contains__


def _look_into(
    root: str, parts: tuple[str, ...], files: Form, folders: Form, why: str
) -> Generator[Verdict, None, list[str]]:
    """Compare the names in a folder with the forms of its files and folders; returns the names that fit."""
    fitting: list[str] = []
    try:
        # A link is named where it lies, and not followed.
        with closed_after(open_folder(root, *parts)) as here, os.scandir(here) as listing:
            for entry in listing:
                # For people: every name is text.
                name = os.fsencode(entry.name).decode(errors="backslashreplace")
                form = files if entry.is_file(follow_symlinks=False) else _none
                form = folders if entry.is_dir(follow_symlinks=False) else form
                if form(name):
                    fitting.append(name)
                else:
                    yield judged("file", "/".join((*parts, name)), "foreign", why)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        yield judged("file", "/".join(parts) or ".", "unreadable", error.strerror)
    return fitting


def _missing(vault: Vault, objects: NamedObjects) -> Iterator[Verdict]:
    missing = [(digest.hex(), length) for digest, length in objects.missing()]
    paths = paths_of(vault, [name for name, _ in missing])
    for name, length in missing:
        verdict = judged("object", name, "missing", size_bytes=length)
        with suppress(VaultError), opened_stored(vault.root, OBJECTS, name):
            verdict = replace(verdict, status="changed", error=f"does not have the {length:,} bytes of its content")
        yield _with_paths(verdict, paths[name])


def _check(vault: Vault, kind: VerdictKind, name: str, cancel: CancelToken) -> Verdict:
    begin, started_ns = time.time_ns(), time.perf_counter_ns()
    status: VerdictStatus = "ok"
    size_bytes = error = None
    try:
        if kind == "pack":
            facts = check_pack(vault, name, cancel)
            size_bytes = facts.size_bytes
            faults = [*facts.faults, *([f"{len(facts.bad):,} of its objects are damaged"] if facts.bad else [])]
            status, error = ("changed", "; ".join(faults)) if faults else ("ok", None)
        else:
            size_bytes = check_object(vault, name, cancel)
    except VaultError as fault:
        status, error = status_of(fault), fault.reason
    return Verdict(kind, name, status, size_bytes, None, error, begin, time.perf_counter_ns() - started_ns)


def _with_paths(verdict: Verdict, paths: Sequence[bytes]) -> Verdict:
    error = "; ".join(text for text in (verdict.error, _named(paths)) if text)
    return replace(verdict, path=next(iter(paths), None), error=error)


def _named(paths: Sequence[bytes]) -> str:
    names = ", ".join(path.decode(errors="backslashreplace") for path in paths[:_PATHS_NAMED])
    more = f" and {len(paths) - _PATHS_NAMED:,} more" if len(paths) > _PATHS_NAMED else ""
    return f"it has the content of {names}{more}" if paths else "no snapshot that can be read names it"
