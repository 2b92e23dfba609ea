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
    """Create the history database, or bring it to this program's schema; there is no way back (make a copy first)."""
    settings = load_settings()
    store = settings.open_store()
    say(f"{store.where} is at schema {HEAD}")
    return 0


def check() -> int:
    """Say whether the database is whole: structure, references, schema. Reads all of it; minutes for gigabytes.

    Whether its contents are what was recorded is another question: threadmill history verify.
    Exit code 1 with one line per fault.
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
    """Copy the record to a file (mode 0600) while others go on writing; the copy is checked before it gets its name.

    Args:
        path: file to write
        overwrite: replace a file that is there
    """
    settings = load_settings()
    done = back_up(settings.history_url, path, overwrite=overwrite, timeout_s=settings.database_timeout_s)
    say(f"wrote {done.path}: {size(done.size_bytes)}, schema {done.schema}, ledger's head {done.head}")
    return 0


def import_(path: str, /) -> int:
    """Take all rows of a SQLite record (a backup, an export) into the record in force, which has to be empty.

    So a record moves to PostgreSQL. All or nothing; it verifies as the original does.

    Args:
        path: file to read
    """
    settings = load_settings()
    counts = import_record(path, settings.history_url, timeout_s=settings.database_timeout_s)
    where = shown(parse_url(settings.history_url))
    say(f"took {plural(counts['run'], 'run')}, {plural(sum(counts.values()), 'row')} in all, into {where}")
    return 0


def stats(*, json: Json = False) -> int:
    """Count runs and rows, and say where the space goes. Reads all of a SQLite file.

    Args:
        json: print one JSON object
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
