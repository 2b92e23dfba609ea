"""The files that have to be at and below a path, by the newest runs that encrypted it or parts of it."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from db.answers import EncryptedSources
from db.history import History
from flows.jobs.identity import open_known
from tasks.crypto.scan import outermost, parents
from tasks.crypto.secret import Secret
from tasks.vault.entries import FileEntry
from tasks.vault.errors import VaultError, WrongKey
from tasks.vault.excludes import Excludes, usable
from tasks.vault.snapshots import open_snapshot
from tasks.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class _Source:
    """A path that a run encrypted, without what `excludes` left out."""

    path: bytes
    run: EncryptedSources
    excludes: Excludes

    def has(self, path: bytes, folder: bool) -> bool:
        """Whether the run looked at a path, which is at or below this one."""
        while path != self.path:
            if self.excludes.match(self.path, path, folder):
                return False
            path, folder = os.path.dirname(path), True
        return True


class Listed:
    """The newest complete run for each part of a path. A run that left a part out says nothing of it."""

    def __init__(self, path: bytes, history: History) -> None:
        self.path = path
        self._sources: dict[bytes, _Source] = {}
        # Folders above a source, which a walk has to pass.
        self._above: set[bytes] = set()
        folder = os.path.isdir(path)
        for run in history.encrypted_sources():
            if not run.counts and run.snapshot not in history.accepted(run.vault_id or ""):
                # Most of its files were gone, perhaps since a disk was not mounted.
                continue
            sources = tuple(map(_exact, run.sources))
            excludes = _excludes(run.excludes, sources)
            for source in sources:
                one = _Source(source, run, excludes)
                concerned = path in parents(source) or (_is_below(path, source) and one.has(path, folder))
                if concerned and self.run_of(source, folder=True) is None:
                    self._sources[source] = one
                    self._above.update(parents(source))
            if (newest := self.run_of(path, folder)) is not None and not newest.excludes:
                break

    @property
    def runs(self) -> tuple[EncryptedSources, ...]:
        """The runs, each once; empty if none encrypted anything at or below the path."""
        return tuple({one.run.run_id: one.run for one in self._sources.values()}.values())

    @property
    def roots(self) -> list[bytes]:
        """The path, and what runs encrypted below it by way of a link, which a walk from above does not follow."""
        return outermost([os.fsdecode(path) for path in (self.path, *self._sources) if _is_below(path, self.path)])

    def run_of(self, path: bytes, folder: bool = False) -> EncryptedSources | None:
        """The run that says whether a file belongs at a path; None if no run looked there."""
        found = [self._sources[one] for one in (path, *parents(path)) if one in self._sources]
        found.sort(key=lambda one: one.run.run_id, reverse=True)
        return next((one.run for one in found if one.has(path, folder)), None)

    def leaves_out(self, _: bytes, path: bytes, folder: bool) -> bool:
        """Whether each run that came by left a path out; for `walk`."""
        if path in self._sources or path in self._above or self.run_of(path, folder) is not None:
            return False
        return any(one in self._sources for one in parents(path))


class Missing:
    """Names that are on a list, without those that were found; in a file, however many they are."""

    def __init__(self) -> None:
        self._names = sqlite3.connect("", isolation_level=None)
        self._names.execute("CREATE TABLE missing (name BLOB PRIMARY KEY, run_id INTEGER) WITHOUT ROWID")
        self._names.execute("BEGIN")

    def close(self) -> None:
        """Forget all names."""
        self._names.close()

    def add(self, names: Iterable[bytes], run_id: int) -> None:
        """Add the names that a run has."""
        self._names.executemany("INSERT OR IGNORE INTO missing VALUES (?, ?)", ((name, run_id) for name in names))

    @property
    def is_empty(self) -> bool:
        """Whether no name is left."""
        return next(self.left(), None) is None

    def found(self, name: bytes) -> bool:
        """Take a name off the list; whether it was there."""
        return self._names.execute("DELETE FROM missing WHERE name = ?", (name,)).rowcount > 0

    def pass_over(self, folder: bytes) -> None:
        """Take all names below a folder off the list."""
        below = folder.rstrip(b"/") + b"/"
        self._names.execute("DELETE FROM missing WHERE name > ? AND name < ?", (below, below[:-1] + b"0"))

    def left(self) -> Iterator[tuple[bytes, int]]:
        """The names that are left, each with its run."""
        yield from self._names.execute("SELECT name, run_id FROM missing ORDER BY name")


def names_of(run: EncryptedSources, listed: Listed, history: History, secret: Secret) -> Iterator[bytes]:
    """The files that have to be at and below the path, by a run; VaultError if its snapshot cannot be read."""
    names = history.file_names(run.run_id) if run.snapshot is None else _names_in(run, secret, history)
    for name in names:
        if _is_below(name, listed.path) and (own := listed.run_of(name)) is not None and own.run_id == run.run_id:
            yield name


def open_recorded(path: str, vault_id: str, secret: Secret | None, history: History) -> Vault:
    """The vault that the record knows under an id, at a path; VaultError, also if another one is there."""
    vault = open_known(path, secret, history)
    if vault.instance != vault_id:
        raise VaultError(path, "another vault is there now")
    return vault


def _names_in(run: EncryptedSources, secret: Secret, history: History) -> Iterator[bytes]:
    where = run.vault_path or "", run.vault_id or ""
    try:
        vault = open_recorded(*where, secret, history)
    except WrongKey:
        # Every file differs then. The list is taken at its word.
        vault = open_recorded(*where, None, history)
    with open_snapshot(vault, run.snapshot or "") as opened:
        for entry in opened.entries():
            if isinstance(entry, FileEntry):
                yield b"/" + entry.path


def _is_below(path: bytes, folder: bytes) -> bool:
    """Whether a path is a folder, or below it."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _exact(shown: str) -> bytes:
    r"""The path that the record shows: bytes that are not UTF-8 as `\xff`."""
    return re.sub(rb"\\x([89a-f][0-9a-f])", lambda found: bytes.fromhex(found[1].decode()), shown.encode())


@lru_cache(maxsize=64)
def _excludes(patterns: tuple[str, ...], sources: tuple[bytes, ...]) -> Excludes:
    """The patterns of a run, but for those that mean nothing any more: a source may be gone."""
    return Excludes(tuple(usable(patterns, sources)), sources)
