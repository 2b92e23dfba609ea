"""The command `threadmill`: commands are loaded when called, errors become one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from cyclopts import CycloptsError

from db.errors import ThreadmillError
from flows.cli.help import CommandGroup
from flows.errors import Terminated
from flows.settings import records_closed_at_the_end
from flows.show.terminal import say
from flows.version import code_version

app = CommandGroup(
    name="threadmill",
    help="""Encrypt→hash chains of child processes, on record: every digest, every timing, every failure.

    Exit codes: 0 done, 1 something failed, 2 refused before any work, 3 a source was unreadable or changed while it
    was read, 130 after Ctrl-C, 143 after SIGTERM. The help of a command says what they mean for it.

    Example: threadmill encrypt --help
    """,
    version=code_version,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
)
history = CommandGroup(name="history", help="Query the record of all runs.")
database = CommandGroup(name="db", help="Look after the history database.")

# A command is a function in a file of its own, and a line here.
app.add(
    {
        "survey": "flows.cli.experiment:survey",
        "encrypt": "flows.cli.encrypt:encrypt",
        "verify": "flows.cli.vault:verify",
        "restore": "flows.cli.vault:restore",
        "cat": "flows.cli.snapshots:cat",
        "prune": "flows.cli.vault:prune",
        "snapshots": "flows.cli.snapshots:app",
        "experiment": "flows.cli.experiment:experiment",
        "serve": "flows.cli.serve:serve",
        "interpreters": "flows.cli.experiment:interpreters",
        "status": "flows.cli.status:status",
        "check": "flows.cli.encrypt:check",
        "keygen": "flows.cli.encrypt:keygen",
        "report": "flows.cli.record:report",
        "export": "flows.cli.record:export",
        "explore": "flows.cli.record:explore",
        "maintain": "flows.cli.maintain:maintain",
        "settings": "flows.cli.status:settings",
    }
)
history.add(
    {
        "runs": "flows.cli.history:runs",
        "show": "flows.cli.history:show",
        "payloads": "flows.cli.history:payloads",
        "samples": "flows.cli.history:samples",
        "speedup": "flows.cli.findings:speedup",
        "race": "flows.cli.findings:race",
        "trend": "flows.cli.trends:trend",
        "compare": "flows.cli.trends:compare",
        "changes": "flows.cli.trends:changes",
        "snapshots": "flows.cli.proofs:snapshots",
        "proofs": "flows.cli.proofs:proofs",
        "failures": "flows.cli.trends:failures",
        "slowest": "flows.cli.trends:slowest",
        "verify": "flows.cli.proofs:verify",
    }
)
database.add(
    {
        "upgrade": "flows.cli.record:upgrade",
        "check": "flows.cli.record:check",
        "backup": "flows.cli.record:backup",
        "stats": "flows.cli.record:stats",
        "import": "flows.cli.record:import_",
    }
)
app.command(history)
app.command(database)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line; those of this process if None.

    Returns:
        The exit code: 0 done, 1 something failed, 2 refused before any work, 3 a source was unreadable.
    """
    if sys.platform != "linux":
        return _complain("needs Linux (memory files, pidfd, parent-death signals)", 1)
    _fill_standard_streams()
    with _signal_handlers():
        try:
            with records_closed_at_the_end():
                code: int = app(arguments) or 0
            sys.stdout.flush()
        except CycloptsError as error:
            code = _complain(f"{' '.join(str(error).split())} (see --help)", 2)
        except ThreadmillError as error:
            code = _complain(str(error), error.exit_code)
        except KeyboardInterrupt:
            code = _complain("interrupted; what was done by then is on record", 128 + signal.SIGINT)
        except Terminated:
            code = _complain("terminated; what was done by then is on record", 128 + signal.SIGTERM)
        except BrokenPipeError:
            # The reader of the output has gone (`… | head`).
            _give_up_output()
            code = 128 + signal.SIGPIPE
        except OSError as error:
            # Full disks and missing permissions, where no better message was found for them.
            _give_up_output()
            code = _complain(f"{os.fsdecode(error.filename or 'the output')}: {error.strerror or error}", 1)
    return code


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
    # `sys.__stdout__` still says that it was closed.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - likewise


def _give_up_output() -> None:
    """Make Python's last flush of standard output succeed: it would complain once more."""
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _complain(text: str, code: int) -> int:
    say(f"threadmill: {text}", error=True)
    return code
