"""`threadmill db …`: the record as a database."""

from __future__ import annotations

import signal

from db.backup import back_up
from db.engine import parse_url, shown
from db.integrity import faults
from db.schema import HEAD
from db.sizes import RecordStats, TableSize
from db.transfer import import_record
from flows.cli.options import Flag, Json
from flows.cli.output import print_json, print_table, say
from flows.settings import load_settings
from flows.text import if_known, local, percent, plural, size


def upgrade() -> int:
    """Create the history database, or bring it to this program's schema.

    There is no way back: make a backup first.

    Exit codes: 0 done, 2 refused: the database cannot be used.

    Example: threadmill db upgrade
    """
    settings = load_settings()
    store = settings.open_store()
    say(f"{store.where} is at schema {HEAD}")
    return 0


def check() -> int:
    """Say whether the database is whole.

    Its structure, its references and its schema are checked. All of it is read, which takes minutes for gigabytes.
    Whether its contents are what was recorded is another question: threadmill history verify. Each fault is one line.

    Exit codes: 0 whole, 1 a fault was found, 2 refused: the database cannot be used.

    Example: threadmill db check
    """
    settings = load_settings()
    _let_signals_end_this()
    where = shown(parse_url(settings.history_url))
    found = faults(settings.history_url, timeout_s=settings.database_timeout_s)
    for fault in found:
        say(f"threadmill: {where}: {fault}", error=True)
    if not found:
        say(f"{where} is whole, at schema {HEAD}; to check its contents: threadmill history verify")
    return 1 if found else 0


def backup(path: str, /, *, overwrite: Flag = False) -> int:
    """Copy the record to a file while others go on writing.

    The file has mode 0600. The copy is checked before it gets its name.

    Exit codes: 0 written, 1 the file could not be written, 2 refused before any work.

    Example: threadmill db backup /backup/history.sqlite

    Args:
        path: file to write
        overwrite: replace a file that is there
    """
    settings = load_settings()
    done = back_up(settings.history_url, path, overwrite=overwrite, timeout_s=settings.database_timeout_s)
    say(f"wrote {done.path}: {size(done.size_bytes)}, schema {done.schema}, ledger's head {done.head}")
    return 0


def import_(path: str, /) -> int:
    """Take a SQLite record (a backup, an export) into an empty one.

    The record in force has to be empty, and gets all rows or none. This moves a record to PostgreSQL, where it verifies
    as the original does.

    Exit codes: 0 done, 2 refused: the file or the database cannot be used.

    Example: THREADMILL_DATABASE_URL=postgresql+psycopg://localhost/history threadmill db import history.sqlite

    Args:
        path: file to read
    """
    settings = load_settings()
    counts = import_record(path, settings.history_url, timeout_s=settings.database_timeout_s)
    where = shown(parse_url(settings.history_url))
    say(f"took {plural(counts['run'], 'run')}, {plural(sum(counts.values()), 'row')} in all, into {where}")
    return 0


def stats(*, json: Json = False) -> int:
    """Count runs and rows, and say where the space goes.

    All of a SQLite file is read.

    Exit codes: 0 done, 2 refused: the database cannot be used.

    Example: threadmill db stats
    """
    settings = load_settings()
    _let_signals_end_this()
    found = settings.open_history().stats()
    if json:
        print_json(found)
    elif found is None:
        say(f"nothing is recorded in {shown(parse_url(settings.history_url))} yet", error=True)
    else:
        _print(found)
    return 0


def _print(found: RecordStats) -> None:
    say(f"{found.where}: {size(found.size_bytes)}, schema {found.schema}")
    oldest, newest = (if_known(local, one) or "–" for one in (found.oldest_run_at, found.newest_run_at))
    say(f"oldest run {oldest}, newest {newest}")
    print_table("tables, with their indexes", ("table", "rows", "size", "share"), map(_line, found.tables))


def _line(one: TableSize) -> tuple[object, ...]:
    return one.table, one.rows, if_known(size, one.size_bytes), if_known(percent, one.share)


def _let_signals_end_this() -> None:
    """SQLite is not back in Python for minutes; what only reads has nothing to tidy up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
