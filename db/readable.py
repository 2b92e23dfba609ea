"""Where a SQLite record can be read: its own file, or a private copy if SQLite can make no files beside it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import quote

from db.errors import RecordUnusable

# Files of a database in use. What they hold is missing in the file itself.
COMPANIONS = ("-wal", "-journal")
# Beside a record until it has tables: it tells one that could not be made from a copy without its log.
BEGUN = "-begun"
_TRIES = 5
_PAGE_BYTES = 4096
_COPY = "copy it where you can write, by `threadmill db backup` of a user who may write there"


@contextmanager
def readable(path: str) -> Iterator[str]:
    """The URI by which SQLite reads the record at a path, until the end of the body.

    SQLite makes two files beside a record to read it, which a read-only or full disk, or another user's folder, does
    not take. Without a log, nobody writes, and the file alone is read. A log is read in a private copy of both.

    Raises:
        RecordUnusable: the record has no tables, may not be read, or cannot be copied.
    """
    check_tables(path)
    if not _blocked(path):
        yield f"{_uri(path)}?mode=ro"
    elif not any(map(_size, _companions(path))):
        yield f"{_uri(path)}?mode=ro&immutable=1"
    else:
        with tempfile.TemporaryDirectory(prefix="threadmill-", ignore_cleanup_errors=True) as folder:
            yield f"{_uri(_copied(path, folder))}?mode=rw"


def check_tables(path: str) -> None:
    """Refuse the first page of a record, which is all that a plain copy has as long as the rest is in the log."""
    log = f"{path}-wal"
    if not 0 < _size(path) <= _PAGE_BYTES or any(map(os.path.exists, (log, f"{path}{BEGUN}"))):
        return
    with suppress(OSError), open(path, "rb") as file:
        if file.read(16) == b"SQLite format 3\0":
            name = os.path.basename(log)
            reason = f"has no tables: a copy needs {name} too, or `threadmill db backup` makes it"
            raise RecordUnusable(path, f"{reason}; to begin anew, remove it")


def _blocked(path: str) -> bool:
    """Whether SQLite cannot read a file that this user can read."""
    if not os.path.isfile(path):
        return False
    if not os.access(path, os.R_OK):
        raise RecordUnusable(path, "this user may not read it; its owner copies it by `threadmill db backup`")
    if os.geteuid() not in (0, os.stat(path).st_uid) and not os.path.exists(f"{path}-shm"):
        # Its owner could not write beside the files of another user.
        return True
    try:
        with closing(sqlite3.connect(f"{_uri(path)}?mode=ro", uri=True, timeout=0)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        return error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_FULL"))
    return False


def _copied(path: str, folder: str) -> str:
    """A copy of the record and its log in a folder, all of one moment."""
    target = os.path.join(folder, "history.sqlite")
    try:
        for _ in range(_TRIES):
            before = _states(path)
            for name in ("", *COMPANIONS):
                if os.path.exists(path + name):
                    shutil.copyfile(path + name, target + name)
            if _states(path) == before:
                return target
    except OSError as error:
        reason = f"cannot be copied to {folder} ({error.strerror}), and cannot be read where it is"
        raise RecordUnusable(path, f"{reason}; {_COPY}") from None
    raise RecordUnusable(path, f"others write to it, and it cannot be read where it is; {_COPY}", transient=True)


def _states(path: str) -> list[tuple[int, int, int] | None]:
    files = [one if os.path.exists(one) else None for one in (path, *_companions(path))]
    return [None if one is None else ((s := os.stat(one)).st_ino, s.st_size, s.st_mtime_ns) for one in files]


def _companions(path: str) -> list[str]:
    return [path + name for name in COMPANIONS]


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.isfile(path) else 0


def _uri(path: str) -> str:
    return f"file:{quote(os.fsencode(os.path.abspath(path)))}"
