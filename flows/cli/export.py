"""`threadmill export`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from db.export import export_csv, export_sqlite
from flows.cli.options import point_in_time
from flows.cli.output import say
from flows.errors import RequestRefused
from flows.settings import load_settings
from flows.text import plural

# Format → what writes it, and where to, if nobody says.
_FORMATS: Mapping[str, tuple[Callable[..., dict[str, int]], str]] = {
    "csv": (export_csv, "threadmill-export"),
    "sqlite": (export_sqlite, "threadmill-export.sqlite"),
}


def export(*, format: str = "csv", output: str | None = None, since: str | None = None) -> int:  # noqa: A002
    """Write the record as CSV files, or as one SQLite file.

    The files are new, and for their owner only: nothing that is there is overwritten. Units are in the columns' names;
    in CSV times are ISO 8601 in UTC, bytes hex, an empty cell is NULL.

    Exit codes: 0 written, 1 the files could not be written, 2 refused before any work.

    Example: threadmill export --format sqlite --output record.sqlite

    Args:
        format: csv, one file per table in a folder (a zip file if the output ends in .zip); sqlite, one file
        output: folder or file to write (default: threadmill-export, threadmill-export.sqlite)
        since: only runs that began then or later, and what belongs to them: 7d, 2026-11-22, … (default: all)
    """
    if format not in _FORMATS:
        raise RequestRefused(f"--format is {' or '.join(_FORMATS)}, not {format!r}")
    write, usual = _FORMATS[format]
    begin = None if since is None else point_in_time(since)
    path = output or usual
    settings = load_settings()
    counts = write(settings.history_url, path, since=begin, timeout_s=settings.database_timeout_s)
    say(f"wrote {path}: {plural(counts['run'], 'run')}, {plural(sum(counts.values()), 'row')} in {len(counts)} tables")
    return 0
