"""Everything at and below the sources of a snapshot, in the order in which snapshots list it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore import GitIgnorePatternError

from tasks.crypto.scan import outermost, parents
from tasks.vault.entries import order_key


class BadPattern(Exception):
    """A pattern that is none in gitignore's syntax."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something that there is: `path` is absolute; without `status` it could not be looked at, and `errno` says why.

    `skip` says why nothing is kept of it.
    """

    path: bytes
    status: os.stat_result | None
    errno: int = 0
    skip: str | None = None


class Excludes:
    """Patterns in the syntax of gitignore, held against paths below a source."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        """Raises BadPattern."""
        try:
            self._spec = GitIgnoreSpec.from_lines(map(_on_one_line, patterns)) if patterns else None
        except GitIgnorePatternError as error:
            raise BadPattern(str(error)) from None

    def match(self, source: bytes, path: bytes, *, folder: bool) -> bool:
        """Whether a path is to be left out; what is below a folder that is left out is not asked for."""
        if self._spec is None:
            return False
        below = _on_one_line(os.fsdecode(path[len(source.rstrip(b"/")) + 1 :]))
        return self._spec.match_file(f"{below}/" if folder else below)


def _on_one_line(text: str) -> str:
    # The matcher takes a newline for the end of a name; a NUL is in none.
    return text.replace("\n", "\0")


def sources_of(paths: Sequence[str]) -> tuple[bytes, ...]:
    """The absolute paths that a snapshot of these is of, in its order, none of them inside another.

    One that is inside another by way of a link (`docs/link` beside `docs`) is taken where it really is: in a snapshot
    the link is a link, and nothing can be below it.
    """
    sources, before = outermost(paths), None
    while sources != before:
        above, before = set(sources), sources
        real = (source if above.isdisjoint(parents(source)) else os.path.realpath(source) for source in sources)
        sources = outermost([os.fsdecode(source) for source in real])
    return tuple(sorted(sources, key=order_key))


def walk(sources: Sequence[bytes], excludes: Excludes, vault: tuple[int, int] | None) -> Iterator[Found]:
    """Every file, folder and link; a source that is a link is followed, one below it is not.

    Args:
        sources: as `sources_of` gives them.
        excludes: what to leave out.
        vault: device and inode of the vault itself, which is never part of a snapshot in it.
    """
    for source in sources:
        try:
            found = Found(source, os.stat(source))
        except FileNotFoundError:
            # The command has seen to it that there is something.
            yield Found(source, None, skip="dangling symbolic link")
            continue
        except OSError as error:
            yield Found(source, None, error.errno or errno.EIO)
            continue
        yield from _visit(source, found, excludes, vault)


def has_files(sources: Sequence[bytes], excludes: Excludes) -> bool:
    """Whether there is anything but folders and links; looks no further than the first."""
    statuses = (found.status for found in walk(sources, excludes, None))
    return any(one is None or not (stat.S_ISDIR(one.st_mode) or stat.S_ISLNK(one.st_mode)) for one in statuses)


def _visit(source: bytes, first: Found, excludes: Excludes, vault: tuple[int, int] | None) -> Iterator[Found]:
    # A stack and not recursion: trees can be deeper than Python's own.
    stack = [iter([first])]
    while stack:
        found = next(stack[-1], None)
        if found is None:
            stack.pop()
        elif found.status is None or not stat.S_ISDIR(found.status.st_mode):
            yield found
        elif (found.status.st_dev, found.status.st_ino) == vault:
            yield Found(found.path, found.status, skip="the vault itself")
        else:
            # First the folder, whatever becomes of its listing: what is below it follows.
            yield found
            try:
                names = sorted(os.listdir(found.path))
            except OSError as error:
                yield Found(found.path, None, error.errno or errno.EIO)
            else:
                stack.append(_below(source, found.path, names, excludes))


def _below(source: bytes, folder: bytes, names: list[bytes], excludes: Excludes) -> Iterator[Found]:
    base = folder if folder.endswith(b"/") else folder + b"/"
    for name in names:
        path = base + name
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            # Removed since the folder was listed: then it is not below the source any more.
            continue
        except OSError as error:
            found = Found(path, None, error.errno or errno.EIO)
            if not excludes.match(source, path, folder=False):
                yield found
            continue
        if not excludes.match(source, path, folder=stat.S_ISDIR(status.st_mode)):
            yield Found(path, status)
