"""Verifying a vault: its parameters, its snapshots, its folders, and every byte of its packs and large objects."""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

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
from tasks.vault.packs import opened_stored, stored, write_sidecar
from tasks.vault.snapshots import Authentic, open_snapshot
from tasks.vault.vault import Vault

# Tells whether a name is of a form.
Form = Callable[[str], object]

# A verdict names at most this many paths of an object; all of them are in the snapshots.
_PATHS_NAMED = 5
_IF_COPY = "if this is a copy of the vault: threadmill vault adopt DIR"


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

    def look(name: str) -> tuple[int, None]:
        with open_snapshot(vault, name) as opened:
            objects.name((bytes.fromhex(one.object), one.stored_bytes) for one in opened.contents())
            good.extend([opened.authentic] if opened.header.part == 0 else [])
            return opened.size_bytes, None

    for name in _all_snapshots(vault.root):
        if cancel.cancelled:
            raise Cancelled
        # Partial ones are removed by the run that they are of.
        with suppress(NoSuchSnapshot):
            verdict = _judge("snapshot", name, partial(look, name))
            if verdict.is_fault:
                faulty.add(name)
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

    There is one verdict on each, also on a pack with damaged objects: `damaged` says which of them are lost. And one on
    each index that misleads about a whole pack, which is written again.
    """
    verdicts: list[Verdict] = []
    rebuilt: list[Verdict] = []
    with suppress(Cancelled):
        for kind, name in things:
            verdicts.append(_judge(kind, name, partial(_check, vault, kind, name, rebuilt.append, cancel)))
    return (*_with_paths(vault, verdicts), *rebuilt)


def damaged(
    vault: Vault, objects: NamedObjects, packs: Iterable[str], on_record: Collection[str], cancel: CancelToken
) -> Iterator[Verdict]:
    """A verdict on each object of faulty packs of which no pack has a good copy.

    And one on each object that is damaged `on_record`, and of which a pack has a good copy by now.
    """
    lost: dict[bytes, str] = {}
    for pack in packs:
        for digest in objects.members(pack):
            if cancel.cancelled:
                raise Cancelled
            if not objects.is_whole(digest):
                lost[digest] = f"no good copy of it is left in pack {pack}"
    # The index of another pack may hide a good copy.
    if lost and objects.rescan():
        objects.list_all()
        lost = {digest: why for digest, why in lost.items() if not objects.is_whole(digest)}
    lost_names = {digest.hex(): why for digest, why in lost.items()}
    yield from lost_objects(vault, lost_names)
    for name in sorted(on_record):
        if name not in lost_names and objects.is_whole(bytes.fromhex(name)):
            yield judged("object", name, "rebuilt", "a pack has a good copy of it")


def lost_objects(vault: Vault, why: Mapping[str, str]) -> list[Verdict]:
    """The verdicts on objects that are changed, with their paths, by the reason for each."""
    return _with_paths(vault, [judged("object", name, "changed", reason) for name, reason in why.items()])


def _paths_of(vault: Vault, digests: Collection[str]) -> dict[str, list[bytes]]:
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
        return f"snapshot {known.name}, number {known.sequence}, was the newest one, and {what}; {_IF_COPY}"
    same = next((one for one in good if one.header.sequence == known.sequence), None)
    if same is not None and same.mac != known.mac:
        return f"snapshot {same.name} is not the one that was on record under number {known.sequence}; {_IF_COPY}"
    return None


def _look_around(root: str) -> Iterator[Verdict]:
    """Verdicts on files that do not belong into the vault, on missing folders, and on leftovers of interrupted runs."""
    yield from _look_into(root, (), "does not belong in a vault", _FILES, _FOLDERS)
    # A program that copied the vault may have left empty folders out; an object that is missing has its own verdict.
    if not os.path.lexists(f"{root}/{SNAPSHOTS}"):
        yield judged("file", SNAPSHOTS, "missing", "is not there")
    left = yield from _look_into(root, (TEMPORARY,), "is not what a run leaves", TEMPORARY_NAME.fullmatch)
    # Files of a run that is alive are its work; which of the others are, nobody can say.
    if not any(is_running(root, name) for name in left):
        for name in left:
            yield judged("file", f"{TEMPORARY}/{name}", "leftover", "left by an interrupted run")
    yield from _look_into(root, (SNAPSHOTS,), "is not a snapshot", SNAPSHOT_NAME.fullmatch)
    yield from _look_into(root, (PARTIALS,), "is not a partial snapshot", PARTIAL_NAME.fullmatch)
    there = {name for name, _ in stored(root, PACKS)}
    for name in (yield from _look_into(root, (INDEX,), "is not the index of a pack", OBJECT_NAME.fullmatch)):
        if name not in there:
            yield judged("file", f"{INDEX}/{name}", "leftover", "its pack is not there")
    for kind in (PACKS, OBJECTS):
        for begin in sorted((yield from _look_into(root, (kind,), f"is not a folder of {kind}", folders=_BEGINNING))):
            form = re.compile(begin + r"[0-9a-f]{62}").fullmatch
            yield from _look_into(root, (kind, begin), f"is not one of the {kind}", form)


_FILES = frozenset((PARAMETERS, LOCK)).__contains__
_FOLDERS = frozenset((PACKS, OBJECTS, INDEX, SNAPSHOTS, PARTIALS, TEMPORARY, LOST_AND_FOUND)).__contains__
_BEGINNING = re.compile(r"[0-9a-f]{2}").fullmatch
_none = frozenset[str]().__contains__


def _look_into(
    root: str, parts: tuple[str, ...], why: str, files: Form = _none, folders: Form = _none
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


def _missing(vault: Vault, objects: NamedObjects) -> list[Verdict]:
    verdicts = []
    for digest, length in objects.missing():
        verdict = judged("object", digest.hex(), "missing", size_bytes=length)
        with suppress(VaultError), opened_stored(vault.root, OBJECTS, verdict.name):
            verdict = replace(verdict, status="changed", error=f"does not have the {length:,} bytes of its content")
        verdicts.append(verdict)
    return _with_paths(vault, verdicts)


def _check(
    vault: Vault, kind: VerdictKind, name: str, found: Callable[[Verdict], None], cancel: CancelToken
) -> tuple[int, str | None]:
    """Length of a pack or large object, and the faults of a pack in words; `found` is told of a forged index."""
    if kind == "object":
        return check_object(vault, name, cancel), None
    facts = check_pack(vault, name, cancel)
    if facts.records is not None:
        why = "said something else than its pack, and was made again"
        try:
            write_sidecar(vault.root, name, facts.size_bytes, facts.records)
        except OSError as error:
            why = f"says something else than its pack, and cannot be made again: {error.strerror}"
        found(judged("file", f"{INDEX}/{name}", "rebuilt", why))
    damaged = [f"objects that are damaged: {len(facts.bad):,}"] if facts.bad else []
    return facts.size_bytes, "; ".join((*facts.faults, *damaged)) or None


def _judge(kind: VerdictKind, name: str, look: Callable[[], tuple[int, str | None]]) -> Verdict:
    """The verdict by a look, which gives a length and faults in words, with its time; raises NoSuchSnapshot."""
    begin, started_ns = time.time_ns(), time.perf_counter_ns()
    status: VerdictStatus = "ok"
    size_bytes = error = None
    try:
        size_bytes, error = look()
        status = "changed" if error else "ok"
    except NoSuchSnapshot:
        raise
    except VaultError as fault:
        status, error = status_of(fault), fault.reason
    return Verdict(kind, name, status, size_bytes, None, error, begin, time.perf_counter_ns() - started_ns)


def _with_paths(vault: Vault, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts, those on faulty objects with the paths that need them."""
    found = _paths_of(vault, [one.name for one in verdicts if one.is_fault and one.kind == "object"])
    done = list(verdicts)
    for number, one in enumerate(verdicts):
        if one.is_fault and one.kind == "object":
            paths = found[one.name]
            error = "; ".join(text for text in (one.error, _named(paths)) if text)
            done[number] = replace(one, path=next(iter(paths), None), error=error)
    return done


def _named(paths: Sequence[bytes]) -> str:
    names = ", ".join(path.decode(errors="backslashreplace") for path in paths[:_PATHS_NAMED])
    more = f" and {len(paths) - _PATHS_NAMED:,} more" if len(paths) > _PATHS_NAMED else ""
    return f"it has the content of {names}{more}" if paths else "no snapshot that can be read names it"
