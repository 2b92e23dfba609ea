"""Copy a SQLite record while other processes write to it, and make files and folders that are whole or not there."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from sqlalchemy.engine import URL

from db.engine import BUSY_TIMEOUT_S, parse_url, shown
from db.errors import NotReplaced, NotWritten, RecordUnusable
from db.readable import COMPANIONS, behind_links, check_owner, empty_file, readable

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

    Raises RecordUnusable (not SQLite, not there, locked, or damaged), or what `new_file` does.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise RecordUnusable(shown(parsed), f"PostgreSQL is copied by its own tools: {dump_command(parsed, path)}")
    source = str(parsed.database)
    if not os.path.exists(source):
        raise RecordUnusable(source, "is not there")
    if os.path.exists(path) and os.path.samefile(source, path):
        raise NotReplaced(path, "is the record itself")
    with new_file(path, overwrite=overwrite) as part, readable(source) as uri:
        _copy(source, uri, part, path, timeout_s)
        schema, head = _checked(part, source)
        size_bytes = os.path.getsize(part)
    return Backup(path, size_bytes, schema, head)


def dump_command(url: URL, path: str) -> str:
    """The command that copies a PostgreSQL record; it asks for the password."""
    options = {"--host": url.host, "--port": url.port, "--username": url.username}
    words = [f"{option}={value}" for option, value in options.items() if value]
    return shlex.join(["pg_dump", "--format=custom", f"--file={path}", *words, str(url.database)])


def _copy(source: str, uri: str, part: str, path: str, timeout_s: float) -> None:
    """Copy the record at `source`, which SQLite reads by `uri`, to `part`, which becomes `path`."""
    reading, writing = sqlite3.connect(uri, uri=True, timeout=timeout_s), _open(part, "mode=rw", timeout_s)
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


def new_file(path: str, *, overwrite: bool = False) -> AbstractContextManager[str]:
    """The temporary name of an empty file (mode 0600) that becomes `path` at the end, or is gone after an error.

    With `overwrite`, a link of this user's stays, and the file that it leads to is replaced. A file that is replaced
    hands on its permissions.

    Raises:
        NotReplaced: something is at that path, and is not to be overwritten, or must not be: what belongs to another
            user, also where the rights of root would do; or the folder cannot be written to.
        NotWritten: the disk does not take it.
    """
    return _placed(path, empty_file, overwrite=overwrite)


def new_folder(path: str) -> AbstractContextManager[str]:
    """The temporary name of an empty folder (mode 0700), otherwise as `new_file`."""
    return _placed(path, partial(os.mkdir, mode=0o700), overwrite=False)


def open_stream(path: str) -> int | None:
    """A descriptor to write to, if a path is standard output (also as `-`), a pipe or a device; None for a file.

    NotReplaced if it belongs to another user, who laid it there to read along.
    """
    place = behind_links("/dev/stdout" if path == "-" else path)
    folder, name = os.path.split(place)
    if os.path.realpath(folder) == os.path.realpath("/proc/self/fd"):
        # Opened again, a file would be written from its beginning.
        return os.dup(int(name))
    try:
        handle = os.open(place, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(handle)
        if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
            return None
        check_owner(path, status, os.geteuid(), 0)
        return os.open(f"/proc/self/fd/{handle}", os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(handle)


@contextmanager
def _placed(path: str, make: Callable[[str], object], *, overwrite: bool) -> Iterator[str]:
    """A temporary file or folder, which gets its name once it is on the disk.

    It lies in a folder of its own, under a name that nobody else can guess: whoever may write to the folder around it
    can move it away, and put nothing in its place that SQLite, which opens it by its path, would write to.
    """
    if path == "-":
        raise NotReplaced(path, "is standard output, which takes no such copy; name a file")
    place = os.path.abspath(behind_links(path) if overwrite else path)
    folder = os.path.dirname(place)
    try:
        hidden = tempfile.mkdtemp(".part", ".threadmill-", folder)
    except OSError as error:
        raise NotReplaced(path, f"cannot be written: {error.strerror}") from None
    inner = os.path.join(hidden, secrets.token_hex(8))
    part = os.path.join(inner, "new")
    try:
        os.mkdir(inner, 0o700)
        before = _replaceable(path, place, os.stat(hidden).st_uid, overwrite=overwrite)
        make(part)
        yield part
        for one in os.listdir(part) if os.path.isdir(part) else ():
            _synchronise(os.path.join(part, one))
        _synchronise(part)
        _put(part, path, place, before)
        _synchronise(folder)
    except OSError as error:
        raise NotWritten(path, error.strerror or str(error)) from error
    finally:
        shutil.rmtree(inner, ignore_errors=True)
        with suppress(OSError):
            os.rmdir(hidden)


def _put(part: str, path: str, place: str, before: os.stat_result | None) -> None:
    if before is not None:
        # A file with another name somewhere may have got this one from anybody.
        os.chmod(part, stat.S_IMODE(before.st_mode) & 0o777 if before.st_nlink == 1 else 0o600)
        os.replace(part, place)
        return
    try:
        # Unlike a renaming, this replaces nothing that has come in the meantime.
        os.link(part, place)
    except FileExistsError:
        raise NotReplaced(path, "is there by now, and is not overwritten") from None
    except OSError:
        # A folder, or a file system without links.
        os.rename(part, place)


def _replaceable(path: str, place: str, user: int, *, overwrite: bool) -> os.stat_result | None:
    """What is to be replaced; None if nothing is there. NotReplaced if it must stay."""
    # SQLite would take them for those of the new file of that name. A reader leaves an empty one, which does no harm.
    for companion in COMPANIONS:
        with suppress(FileNotFoundError):
            if os.path.getsize(place + companion):
                raise NotReplaced(path, f"has {os.path.basename(place)}{companion} beside it: a database in use")
    try:
        there = os.lstat(place)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(there.st_mode):
        raise NotReplaced(path, "is a folder that is there already; name something new")
    if not overwrite:
        raise NotReplaced(path, "is there already, and is not overwritten")
    if not stat.S_ISREG(there.st_mode):
        # A user with the right to write to /dev would replace a device by a file.
        raise NotReplaced(path, "is no regular file, and is not overwritten")
    check_owner(path, there, user, os.geteuid())
    return there


def _synchronise(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
