"""From the paths that a user named to payloads, one by one, in a stable order and in bounded memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from tasks.crypto.inputs import Payload, file_type
from tasks.files import FolderIdentity, absolute

_LINK = "symbolic link (not followed)"


def missing_paths(paths: Iterable[str]) -> list[str]:
    """The paths at which there is nothing at all, not even a dangling link."""
    return [path for path in paths if not os.path.lexists(path)]


def scan(paths: Sequence[str]) -> Iterator[Payload]:
    """Every file at or below the paths, sorted folder by folder, each once.

    A thing without content (FIFO, socket, device, link) comes as a payload with `skip`, an unreadable folder as one
    with `errno`. A link that is itself a path named by the user is followed, one below it is not.
    """
    for root in outermost(paths):
        try:
            mode = os.stat(root).st_mode
        except FileNotFoundError:
            yield Payload("file", root, 0, skip="dangling symbolic link")
            continue
        except OSError as error:
            yield Payload("file", root, 0, errno=error.errno or errno.EIO)
            continue
        if file_type(mode) == "folder":
            yield from _below(root)
        else:
            yield _payload(root, os.stat(root))


def source_folders(paths: Sequence[str]) -> tuple[FolderIdentity, ...]:
    """The folders that the files at and below the paths are found in, each once; without those that cannot be read."""
    folders = dict.fromkeys(root if os.path.isdir(root) else os.path.dirname(root) for root in outermost(paths))
    found = []
    for folder in folders:
        with suppress(OSError):
            found.append(FolderIdentity.of(folder))
    return tuple(found)


def outermost(paths: Sequence[str]) -> list[bytes]:
    """Absolute paths in the order given, without paths that the walk of another one comes to."""
    roots = list(dict.fromkeys(absolute(path) for path in paths))
    folders = {root for root in roots if os.path.isdir(root)}
    return [root for root in roots if not _is_met(root, folders)]


def _is_met(root: bytes, folders: set[bytes]) -> bool:
    """Whether the walk of one of the folders comes to this path: it follows no link on the way, nor at its end."""
    path = root
    for parent in parents(root):
        if os.path.islink(path):
            return False
        if parent in folders:
            return True
        path = parent
    return False


def parents(path: bytes) -> Iterator[bytes]:
    """The folders that a path lies in, the nearest first."""
    parent = os.path.dirname(path)
    while parent != path:
        yield parent
        path, parent = parent, os.path.dirname(parent)


def _below(root: bytes) -> Iterator[Payload]:
    # A stack and not recursion: trees can be deeper than Python's own.
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield Payload("file", folder, 0, errno=error.errno or errno.EIO)
            continue
        deeper = []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                deeper.append(entry.path)
            elif entry.is_symlink():
                yield Payload("file", entry.path, 0, skip=_LINK)
            else:
                yield from _entry(entry)
        folders.extend(reversed(deeper))


def _entry(entry: os.DirEntry[bytes]) -> Iterator[Payload]:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        # Removed since the folder was listed: then it is not below the path any more.
        return
    except OSError as error:
        yield Payload("file", entry.path, 0, errno=error.errno or errno.EIO)
        return
    yield _payload(entry.path, status)


def _payload(path: bytes, status: os.stat_result) -> Payload:
    what = file_type(status.st_mode)
    return Payload("file", path, status.st_size) if what == "file" else Payload("file", path, 0, skip=what)
