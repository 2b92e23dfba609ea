"""A consistent copy of a SQLite record, page by page, while others go on writing."""

from __future__ import annotations

import os
import shlex
import sqlite3
from dataclasses import dataclass
from urllib.parse import quote

from sqlalchemy.engine import URL

from db.engine import BUSY_TIMEOUT_S, parse_url, shown
from db.errors import NotReplaced, NotWritten, RecordUnusable
from db.new_files import new_file

# 4 MB between two looks at signals: a copy of gigabytes can be interrupted.
_PAGES_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Backup:
    """What was written; `schema` and `head` (of the ledger) are None where the record has none yet."""

    path: str
    size_bytes: int
    schema: str | None
    head: str | None


def back_up(url: str, path: str, *, overwrite: bool = False, timeout_s: float = BUSY_TIMEOUT_S) -> Backup:
    """Copy the record as it is at this moment, whatever its schema; the copy is checked before it gets its name.

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
        # One read transaction for all steps: else the copy begins anew whenever somebody writes in between.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        # Nobody sees the file before it is whole, and it is synchronised then.
        writing.execute("PRAGMA journal_mode=OFF")
        writing.execute("PRAGMA synchronous=OFF")
        reading.backup(writing, pages=_PAGES_AT_ONCE, progress=_look_at_signals)
        # The copy has the original's write-ahead log switched on, and whoever reads it would get two files beside it.
        writing.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") in ("SQLITE_FULL", "SQLITE_IOERR_WRITE"):
            raise NotWritten(path, "the disk is full") from error
        raise RecordUnusable(source, f"cannot be copied: {error}", "locked" in str(error)) from error
    finally:
        writing.close()
        reading.close()


def _checked(part: str, source: str) -> tuple[str | None, str | None]:
    """Schema and head of a copy whose structure is whole; in a record of an old schema there is no ledger."""
    # Immutable: nobody else has it open, and nothing is put beside it.
    connection = _open(part, "immutable=1", 0)
    try:
        fault = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if fault != "ok":
            raise RecordUnusable(source, f"is damaged, and was not copied: {fault.splitlines()[-1]}")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return (
            _only(connection, "SELECT version_num FROM alembic_version") if "alembic_version" in tables else None,
            _only(connection, "SELECT head FROM ledger ORDER BY id DESC LIMIT 1") if "ledger" in tables else None,
        )
    except sqlite3.Error as error:
        raise RecordUnusable(source, f"is damaged, and was not copied: {error}") from error
    finally:
        connection.close()


def _only(connection: sqlite3.Connection, query: str) -> str | None:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _open(path: str, how: str, timeout_s: float) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(os.path.abspath(path))}?{how}", uri=True, timeout=timeout_s)


def _look_at_signals(_status: int, _remaining: int, _total: int) -> None:
    """Being called is enough: Python looks for signals between two of its own functions."""
