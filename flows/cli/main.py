"""The command `threadmill`: commands are loaded when called, errors become one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from cyclopts import App, CycloptsError

from db.errors import NotWritten, RecordError
from flows.cli.exits import REFUSED, Exit, Terminated
from flows.cli.options import Json
from flows.cli.output import say
from flows.jobs.names import RequestRefused
from flows.settings import records_closed_at_the_end
from flows.version import code_version
from tasks.crypto.errors import CryptoError
from tasks.threads.errors import ExperimentError

app = App(
    name="threadmill",
    help="Encrypt→hash chains of child processes, on record: every digest, every timing, every failure.",
    version=code_version,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
)
history = App(name="history", help="Query the record of all runs.")
snapshots = App(name="snapshots", help="List the snapshots of a vault, newest first.")
database = App(name="db", help="Look after the history database.")

# Named by path, and described here, so that a command's module is loaded only when it is called.
app.command("flows.cli.survey:survey", help="Run the chapter's examples on this host.")
app.command("flows.cli.encrypt:encrypt", help="Encrypt and hash files, folders or random payloads; record the digests.")
app.command("flows.cli.vaults:verify", help="Check that a vault is whole: every object, every snapshot.")
app.command("flows.cli.vaults:restore", help="Bring files back from a vault.")
app.command("flows.cli.snapshots:cat", help="Write one file of a snapshot to standard output.")
app.command("flows.cli.vaults:prune", help="Remove old snapshots from a vault, and what only they have.")
app.command("flows.cli.experiment:experiment", help="Measure threads, processes, coroutines and locks.")
app.command("flows.cli.serve:serve", help="Run Prefect's server, the deployments and a worker on this machine.")
app.command("flows.cli.interpreters:interpreters", help="List the interpreters that experiments can run on.")
app.command("flows.cli.status:status", help="How the scheduled runs do: last, next, late, failed, missing.")
app.command("flows.cli.check:check", help="Say whether files still give their recorded digests.")
app.command("flows.cli.keygen:keygen", help="Write a new key file.")
history.command("flows.cli.history:runs", help="List the runs, newest first.")
history.command("flows.cli.history:show", help="Show one run with its payloads and their stages.")
history.command("flows.cli.history:payloads", help="List payloads of all runs, newest first.")
history.command("flows.cli.samples:samples", help="List samples of the experiments, newest first.")
history.command("flows.cli.samples:speedup", help="What helped, run by run and interpreter by interpreter.")
history.command("flows.cli.samples:race", help="What was lost, and what a guard cost.")
history.command("flows.cli.trend:trend", help="How times went on, day by day or run by run.")
history.command("flows.cli.compare:compare", help="Two runs, interpreters, hosts or times against each other.")
history.command("flows.cli.changes:changes", help="Since when something takes longer or less, and what changed then.")
history.command("flows.cli.vault_record:snapshots", help="List what runs put into vaults, newest first.")
history.command("flows.cli.vault_record:proofs", help="When each object in a vault was last proven, the oldest first.")
history.command("flows.cli.failures:failures", help="List what failed: runs, payloads, samples, vaults.")
history.command("flows.cli.failures:slowest", help="List what took longest, against what is usual for it.")
history.command("flows.cli.ledger:verify", help="Say whether every row is as it was sealed.")
database.command("flows.cli.db:upgrade", help="Create the database, or bring it to this program's schema.")
database.command("flows.cli.db:check", help="Say whether the database is whole.")
database.command("flows.cli.db:backup", help="Copy the record to a file while others go on writing.")
database.command("flows.cli.db:stats", help="Count rows, and say where the space goes.")
database.command("flows.cli.db:import_", name="import", help="Take a SQLite record into an empty one.")
snapshots.command("flows.cli.snapshots:show", help="List what a snapshot has.")
app.command(snapshots)
app.command(history)
app.command("flows.cli.report:report", help="Write one static HTML page, of the last 30 days or --since: tables, plots")
app.command("flows.cli.export:export", help="Write the record as CSV files, or as one SQLite file.")
app.command("flows.cli.explore:explore", help="Browse the record in a web browser, read-only.")
app.command("flows.cli.maintain:maintain", help="Roll up, remove old runs if asked, verify, optimise.")
app.command(database)
app.command("flows.cli.settings:settings", help="Print the settings in force.")


@snapshots.default
def list_snapshots(*, vault: str | None = None, key_file: str | None = None, json: Json = False) -> int:
    """List the snapshots of a vault, newest first; exit code 1 if one cannot be believed.

    Args:
        vault: folder of the vault; default: THREADMILL_VAULT
        key_file: the one that it was made with; default: THREADMILL_KEY_FILE
        json: print one JSON array
    """
    # A default command cannot be named by path.
    from flows.cli.snapshots import list_snapshots as run

    return run(vault, key_file, json=json)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Exit codes: 0 done, 1 something failed, 2 refused before any work, 3 a source was unreadable.

    Args:
        arguments: what follows the command's name; default: the arguments of this process.
    """
    if sys.platform != "linux":
        return _complain("needs Linux (memory files, pidfd, parent-death signals)", 1)
    _fill_standard_streams()
    with _signal_handlers():
        try:
            with records_closed_at_the_end():
                code = app(sys.argv[1:] if arguments is None else arguments)
        except Exit as end:
            code = _complain(end.text, end.code)
        except CycloptsError as error:
            code = _complain(f"{_one_line(str(error))} (see --help)", REFUSED)
        except NotWritten as error:
            code = _complain(str(error), 1)
        except (RequestRefused, CryptoError, ExperimentError, RecordError) as error:
            code = _complain(str(error), REFUSED)
        except KeyboardInterrupt:
            code = _complain("interrupted; what was done by then is on record", 128 + signal.SIGINT)
        except Terminated:
            code = _complain("terminated; what was done by then is on record", 128 + signal.SIGTERM)
        except BrokenPipeError:
            # The reader of our output has gone (`… | head`); Python must not complain once more when it flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 128 + signal.SIGPIPE
    return code or 0


@contextmanager
def _signal_handlers() -> Iterator[None]:
    """Let SIGTERM raise `Terminated`; afterwards both handlers are as before, also where a command changed them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fill_standard_streams() -> None:
    """Put /dev/null where a standard stream is closed, or the next pipe would get its number and be mistaken for it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _complain(text: str, code: int) -> int:
    if text:
        say(f"threadmill: {text}", error=True)
    return code


def _one_line(text: str) -> str:
    return " ".join(text.split())
