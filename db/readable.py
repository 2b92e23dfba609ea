"""Where a SQLite record is: its own file, or a private copy to be read if SQLite can make no files beside it.

A record names people's files: its folder and its files are their owner's, and no other user's link leads to them.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import quote

from db.errors import NotReplaced, RecordUnusable

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
    except UnicodeDecodeError:
        # What SQLite says of a damaged file can have bytes of it.
        return False
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


def private_folder(path: str) -> str:
    """Make a folder, and those above it that are missing, for their owner only; its absolute path.

    OSError also if others may write to it, or could have put it there: whatever is found in it could be theirs.
    """
    missing = [os.path.abspath(path)]
    while not os.path.exists(above := os.path.dirname(missing[-1])):
        missing.append(above)
    for folder in reversed(missing):
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)
    status, around = os.stat(f"{missing[0]}/"), os.stat(os.path.dirname(missing[0])).st_mode
    kept = around & stat.S_ISVTX and status.st_uid in (os.geteuid(), 0)
    if status.st_mode & stat.S_IWOTH or (around & stat.S_IWOTH and not kept):
        raise PermissionError(errno.EPERM, "others may write to it, or to the folder that it is in", path)
    return missing[0]


def private_file(path: str) -> None:
    """Make an empty database for its owner only, or close one that is open to everybody: it names people's files.

    SQLite gives its companions the same mode. OSError or NotReplaced if it, or its folder, may be another user's work.
    """
    folder = private_folder(os.path.dirname(os.path.abspath(path)))
    place = behind_links(path)
    owners = os.geteuid(), 0, os.stat(folder).st_uid
    with suppress(FileExistsError):
        empty_file(place)
    for one in (place, f"{place}-wal", f"{place}-shm"):
        with suppress(FileNotFoundError):
            status = os.lstat(one)
            check_owner(one, status, *owners)
            if status.st_mode & stat.S_IRWXO and (status.st_uid, status.st_nlink) == (os.geteuid(), 1):
                os.chmod(one, 0o600)


def empty_file(path: str) -> None:
    """Make a file for its owner only; FileExistsError if anything is there."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))


def behind_links(path: str) -> str:
    """The path that links of this user or of root lead to; anybody else's could lead to somebody's file."""
    place = path
    # As many as the kernel follows.
    for _ in range(40):
        folder = os.path.dirname(place)
        # What stands behind the links of processes is no path.
        if not os.path.islink(place) or os.path.realpath(folder).startswith("/proc/"):
            return place
        check_owner(path, os.lstat(place), os.geteuid(), 0)
        place = os.path.join(folder, os.readlink(place))
    raise NotReplaced(path, "is a link that leads to itself")


def check_owner(path: str, status: os.stat_result, *users: int) -> None:
    """Raises NotReplaced for what is none of these users'."""
    if status.st_uid not in users:
        raise NotReplaced(path, "belongs to another user, and is not written to; name another path")
