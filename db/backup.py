"""Copy a SQLite record while other processes write to it, and make files and folders that are whole or not there."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from sqlalchemy.engine import URL

from db.engine import BUSY_TIMEOUT_S, parse_url, shown
from db.errors import NotReplaced, NotWritten, RecordUnusable

# 4 MB between two looks at signals: a copy of gigabytes can be interrupted.
_PAGES_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Backup:
    """A written copy; `schema` and `head` (of the ledger) are None if the record has none yet."""

    path: str
    size_bytes: int
    schema: str | None
    head: str | None


def back_up(url: str, path: str, *, overwrite: bool = False, timeout_s: float = BUSY_TIMEOUT_S) -> Backup:
    """Copy the record of this moment, of any schema; the copy is checked before it gets its name.

    Raises:
        RecordUnusable: not SQLite, not there, locked, or damaged.
        NotReplaced: there is something at `path`.
        NotWritten: the disk does not take it.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise RecordUnusable(shown(parsed), f"PostgreSQL is copied by its own tools: {dump_command(parsed, path)}")
    source = str(parsed.database)
    if not os.path.exists(source):
        raise RecordUnusable(source, "is not there")
    if os.path.exists(path) and os.path.samefile(source, path):
        raise NotReplaced(path, "is the record itself")
    with new_file(path, overwrite=overwrite) as part:
        _copy(source, part, path, timeout_s)
        schema, head = _checked(part, source)
        size_bytes = os.path.getsize(part)
    return Backup(path, size_bytes, schema, head)


def dump_command(url: URL, path: str) -> str:
    """The command that copies a PostgreSQL record; it asks for the password."""
    options = {"--host": url.host, "--port": url.port, "--username": url.username}
    words = [f"{option}={value}" for option, value in options.items() if value]
    return shlex.join(["pg_dump", "--format=custom", f"--file={path}", *words, str(url.database)])


def _copy(source: str, part: str, path: str, timeout_s: float) -> None:
    reading, writing = _open(source, "mode=ro", timeout_s), _open(part, "mode=rw", timeout_s)
    try:
        # One read transaction for all steps: without it, the copy starts again whenever another process writes.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        # No other process sees the file before it is whole, and then it is synchronised.
        writing.execute("PRAGMA journal_mode=OFF")
        writing.execute("PRAGMA synchronous=OFF")
        reading.backup(writing, pages=_PAGES_AT_ONCE, progress=_look_at_signals)
        # The copy inherits the write-ahead log from the original, and a reader would put two files beside it.
        writing.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") in ("SQLITE_FULL", "SQLITE_IOERR_WRITE"):
            raise NotWritten(path, "the disk is full") from error
        raise RecordUnusable(source, f"cannot be copied: {error}", "locked" in str(error)) from error
    finally:
        writing.close()
        reading.close()


def _checked(part: str, source: str) -> tuple[str | None, str | None]:
    """Check the structure of a copy; its schema and head, None if it has none."""
    # Immutable: no other process has it open, and no file is put beside it.
    connection = _open(part, "immutable=1", 0)
    try:
        fault = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if fault != "ok":
            raise RecordUnusable(source, f"is damaged, and was not copied: {fault.splitlines()[-1]}")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        schema = "(SELECT version_num FROM alembic_version)" if "alembic_version" in tables else "NULL"
        head = "(SELECT head FROM ledger ORDER BY id DESC LIMIT 1)" if "ledger" in tables else "NULL"
        found: tuple[str | None, str | None] = connection.execute(f"SELECT {schema}, {head}").fetchone()
    except sqlite3.Error as error:
        raise RecordUnusable(source, f"is damaged, and was not copied: {error}") from error
    finally:
        connection.close()
    return found


def _open(path: str, how: str, timeout_s: float) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(os.fsencode(os.path.abspath(path)))}?{how}", uri=True, timeout=timeout_s)


def _look_at_signals(_status: int, _remaining: int, _total: int) -> None:
    """Do nothing: Python handles signals whenever it calls one of its own functions."""


# Files that SQLite keeps beside a database in use; it would take them for those of the new file of that name. A reader
# without the right to write leaves an empty one, which does no harm.
_COMPANIONS = ("-wal", "-journal")


def new_file(path: str, *, overwrite: bool = False) -> AbstractContextManager[str]:
    """The temporary name of an empty file (mode 0600) that becomes `path` at the end, or is gone after an error.

    Raises:
        NotReplaced: something is at that path, and it is not to be overwritten, or must not be.
        NotWritten: the disk does not take it.
    """
    _check_free(path, overwrite=overwrite)
    return _placed(path, _empty_file, os.unlink)


def new_folder(path: str) -> AbstractContextManager[str]:
    """The temporary name of an empty folder (mode 0700), otherwise as `new_file`."""
    _check_free(path, overwrite=False)
    return _placed(path, tempfile.mkdtemp, partial(shutil.rmtree, ignore_errors=True))


def _empty_file(suffix: str, prefix: str, folder: str) -> str:
    handle, part = tempfile.mkstemp(suffix, prefix, folder)
    os.close(handle)
    return part


@contextmanager
def _placed(path: str, make: Callable[[str, str, str], str], remove: Callable[[str], object]) -> Iterator[str]:
    """A temporary file or folder, which gets its name once it is on the disk."""
    folder, name = os.path.split(os.path.abspath(path))
    try:
        part = make(".part", f".{name}.", folder)
        try:
            yield part
            for inner in os.listdir(part) if os.path.isdir(part) else ():
                _synchronise(os.path.join(part, inner))
            _synchronise(part)
            os.replace(part, path)
            _synchronise(folder)
        except BaseException:
            with suppress(OSError):
                remove(part)
            raise
    except OSError as error:
        raise NotWritten(path, error.strerror or str(error)) from error


def _check_free(path: str, *, overwrite: bool) -> None:
    if os.path.isdir(path):
        raise NotReplaced(path, "is a folder that is there already; name something new")
    if os.path.lexists(path) and not overwrite:
        raise NotReplaced(path, "is there already, and is not overwritten")
    if os.path.lexists(path) and not os.path.isfile(path):
        # A user with the right to write to /dev would replace a device by a file.
        raise NotReplaced(path, "is no regular file, and is not overwritten")
    for companion in _COMPANIONS:
        with suppress(FileNotFoundError):
            if os.path.getsize(path + companion):
                raise NotReplaced(path, f"has {os.path.basename(path)}{companion} beside it: a database in use")


def _synchronise(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
