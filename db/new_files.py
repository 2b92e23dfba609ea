"""Files that are there whole or not at all: written under a temporary name, for their owner only, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from db.errors import NotReplaced, NotWritten

# What SQLite keeps beside a database that is in use; it would be taken for that of the new file of the same name. Who
# may only read leaves an empty one, which says nothing.
_COMPANIONS = ("-wal", "-journal")


@contextmanager
def new_file(path: str, *, overwrite: bool = False) -> Iterator[str]:
    """The temporary name of an empty file (mode 0600) that becomes `path` at the end, or is gone after an error.

    Raises:
        NotReplaced: there is something, and it is not to be overwritten, or must not be.
        NotWritten: the disk does not take it.
    """
    _check_free(path, overwrite=overwrite)
    with _placed(path):
        handle, part = tempfile.mkstemp(prefix=_prefix(path), suffix=".part", dir=_folder(path))
        os.close(handle)
        try:
            yield part
            _synchronise(part)
            os.replace(part, path)
            _synchronise(_folder(path))
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise


@contextmanager
def new_folder(path: str) -> Iterator[str]:
    """The temporary name of an empty folder (mode 0700) that becomes `path` at the end, or is gone after an error.

    Raises:
        NotReplaced: there is something.
        NotWritten: the disk does not take it.
    """
    _check_free(path, overwrite=False)
    with _placed(path):
        part = tempfile.mkdtemp(prefix=_prefix(path), suffix=".part", dir=_folder(path))
        try:
            yield part
            for name in os.listdir(part):
                _synchronise(os.path.join(part, name))
            os.rename(part, path)
            _synchronise(_folder(path))
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


@contextmanager
def _placed(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotWritten(path, error.strerror or str(error)) from error


def _check_free(path: str, *, overwrite: bool) -> None:
    if os.path.isdir(path):
        raise NotReplaced(path, "is a folder that is there already; name something new")
    if os.path.lexists(path) and not overwrite:
        raise NotReplaced(path, "is there already, and is not overwritten")
    if os.path.lexists(path) and not os.path.isfile(path):
        # Who may write to /dev would put a file in the place of a device.
        raise NotReplaced(path, "is no regular file, and is not overwritten")
    for companion in _COMPANIONS:
        with suppress(FileNotFoundError):
            if os.path.getsize(path + companion):
                raise NotReplaced(path, f"has {os.path.basename(path)}{companion} beside it: a database in use")


def _prefix(path: str) -> str:
    return f".{os.path.basename(path)}."


def _folder(path: str) -> str:
    return os.path.dirname(os.path.abspath(path))


def _synchronise(path: str) -> None:
    """On disk before the name says that it is there."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
