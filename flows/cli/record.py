"""`threadmill db …`, `history verify`, `export`, `report` and `explore`: the record as a whole."""

from __future__ import annotations

import importlib.util
import re
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.cli.history import need_runs, say_if_empty
from flows.cli.options import Form, TimesOrRun, point_in_time
from flows.errors import RequestRefused, Terminated
from flows.option_types import Flag, Json, Whole
from flows.settings import load_settings
from flows.show.tables import TABLE_SIZES
from flows.show.terminal import complain, conclude, hint, print_csv, print_json, print_table, say
from flows.text import if_known, local, plural, size

if TYPE_CHECKING:
    from db.ledger import LedgerCheck

_USUAL = timedelta(days=30)


def upgrade() -> int:
    """Create the history database, or bring it to this program's schema.

    There is no way back: make a backup first.

    Exit codes: 0 done, 2 refused: the database cannot be used.

    Example: threadmill db upgrade
    """
    from db.schema import HEAD

    store = load_settings().open_store()
    say(f"{store.where} is at schema {HEAD}")
    return 0


def check() -> int:
    """Say whether the database is whole.

    Its structure, its references and its schema are checked. All of it is read, which takes minutes for gigabytes.
    Whether its contents are what was recorded is another question: threadmill history verify. Each fault is one line.

    Exit codes: 0 whole, 1 a fault was found, 2 refused: the database cannot be used.

    Example: threadmill db check
    """
    from db.health import faults
    from db.schema import HEAD

    settings = load_settings()
    _let_signals_end_this()
    where = settings.shown_url
    found = faults(settings.history_url, timeout_s=settings.database_timeout_s)
    for fault in found:
        complain(f"{where}: {fault}")
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
    from db.backup import back_up

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
    from db.transfer import import_record

    settings = load_settings()
    counts = import_record(path, settings.history_url, timeout_s=settings.database_timeout_s)
    where = settings.shown_url
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
        hint(f"nothing is recorded in {settings.shown_url} yet")
    else:
        say(f"{found.where}: {size(found.size_bytes)}, schema {found.schema}")
        oldest, newest = (if_known(local, one) or "–" for one in (found.oldest_run_at, found.newest_run_at))
        say(f"oldest run {oldest}, newest {newest}")
        print_table(TABLE_SIZES.fill(found.tables))
    return 0


def _let_signals_end_this() -> None:
    """Let signals end the process: SQLite stays in C for minutes, and reading leaves nothing to tidy up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def verify(
    *,
    head: Annotated[str | None, Parameter(help="a head that was noted elsewhere: 64 hex digits")] = None,
    form: Form = Form(),
) -> int:
    """Say whether every row is as it was sealed.

    Every sealed run is hashed again, and the chain of seals is walked: rows that were changed, removed or added are
    found. Each fault names its run. Against someone who rewrites the whole chain, give a head that was kept elsewhere:
    it is in the log and the artifact of every run, and on the last line here.

    Exit codes: 0 all is as it was sealed, 1 something is not, 2 refused.

    Example: threadmill history verify
    """
    from db.ledger import LedgerFault

    if head is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", head.strip()):
        raise RequestRefused("--head is 64 hex digits, as history verify prints it")
    history = load_settings().open_history()
    found = history.verify(None if head is None else head.strip().lower())
    say_if_empty(history)
    if form.json:
        print_json(found)
    elif form.csv:
        print_csv(LedgerFault, found.faults)
    else:
        _print_verdict(found)
    for fault in found.faults:
        complain(("the ledger" if fault.run_id is None else f"run {fault.run_id}") + f": {fault.what}")
    return 1 if found.faults else 0


def _print_verdict(found: LedgerCheck) -> None:
    verdict = plural(len(found.faults), "fault") if found.faults else "all as it was sealed"
    entries = "1 entry" if found.entries == 1 else f"{found.entries:,} entries"
    conclude(f"{entries}, {plural(found.runs, 'run')} on record: {verdict}", len(found.faults))
    say(f"head {found.head}" + ("" if found.faults else " (to be noted elsewhere)"))


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
    from db.transfer import export_csv, export_sqlite

    formats = {"csv": (export_csv, "threadmill-export"), "sqlite": (export_sqlite, "threadmill-export.sqlite")}
    if format not in formats:
        raise RequestRefused(f"--format is {' or '.join(formats)}, not {format!r}")
    write, usual = formats[format]
    begin = None if since is None else point_in_time(since)
    path = output or usual
    settings = load_settings()
    counts = write(settings.history_url, path, since=begin, timeout_s=settings.database_timeout_s)
    say(f"wrote {path}: {plural(counts['run'], 'run')}, {plural(sum(counts.values()), 'row')} in {len(counts)} tables")
    return 0


def report(
    *,
    when: TimesOrRun = TimesOrRun(),
    output: Annotated[str, Parameter(alias="-o", allow_leading_hyphen=True)] = "threadmill-report.html",
) -> int:
    """Write one static HTML page of tables and plots about what is on record.

    Without --since, the page is about the 30 days before --until, or before now. The file is for its owner only, since
    it names files; one that is replaced hands on its mode.

    Exit codes: 0 written, 1 the file could not be written, 2 refused before any work.

    Example: threadmill report --since 7d --output week.html

    Args:
        output: file to write; - is standard output
    """
    from flows.show.page import page_of, write_page
    from flows.show.plots import why_no_plots
    from flows.show.report import TITLE, fewer_collections, over_time, sections_of_run

    if re.match("-.", output):
        raise RequestRefused(f"--output requires a file, not {output}; a file of that name is ./{output}")
    if when.run is not None and (when.since or when.until):
        raise RequestRefused("--run is about one run: --since and --until do not go with it")
    since, until = when.span()
    history = load_settings().open_history()
    made_at = datetime.now(UTC)
    with fewer_collections():
        if when.run is None:
            sections = over_time(history, since or (until or made_at) - _USUAL, until, made_at=made_at)
        else:
            detail = history.detail(when.run)
            if detail is None:
                raise RequestRefused(f"there is no run {when.run}; see: threadmill history runs")
            sections = sections_of_run(history, detail.run, detail.payloads, detail.samples, made_at=made_at)
        page = page_of(TITLE, sections)
    tell = hint if write_page(output, page) else say
    tell(f"wrote {output}" + (f" without plots: {reason}" if (reason := why_no_plots()) else ""))
    return 0


def explore(*, port: Whole = 8001) -> int:
    """Browse the record in a web browser, read-only.

    It is served to this machine only, until Ctrl-C. Every table and column is described, the questions that users ask
    most are ready, and any SELECT can be run.

    Exit codes: 0 ended by a signal, 2 refused before any work.

    Example: threadmill explore --port 0

    Args:
        port: where to listen; 0 takes any port that is free
    """
    from db.engine import parse_url

    settings = load_settings()
    url = parse_url(settings.history_url)
    if url.get_backend_name() != "sqlite":
        raise RequestRefused(_POSTGRESQL)
    if importlib.util.find_spec("datasette") is None:
        raise RequestRefused("explore needs datasette; install the extra: pip install -e '.[explore]'")
    history = settings.open_history()
    need_runs(history)
    history.close()
    _serve(history.where, port)
    return 0


_POSTGRESQL = (
    "explore reads SQLite; export first: threadmill export --format sqlite --output record.sqlite; "
    "then: THREADMILL_DATABASE_URL=sqlite:///record.sqlite threadmill explore"
)


def _serve(path: str, port: int) -> None:
    from flows.explore import serve
    from flows.serving.serve import bound, url_of

    try:
        listener = bound(port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestRefused(f"port {port} cannot be used ({reason}); choose another by --port") from None
    try:
        say(f"{path} is at {url_of(listener)}/ for browsers on this machine; Ctrl-C ends it", flush=True)
        serve(path, listener)
    except (KeyboardInterrupt, Terminated):
        # Ctrl-C is the normal end.
        return
