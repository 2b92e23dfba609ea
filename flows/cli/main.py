"""The command `threadmill`: commands are loaded when called, errors become one line and an exit code."""

from __future__ import annotations

import gc
import importlib.util
import inspect
import io
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from cyclopts import App, CycloptsError

from db.errors import ThreadmillError
from flows import code_version
from flows.errors import RequestRefused, Terminated
from flows.settings import records_closed_at_the_end
from flows.show.terminal import Verbosity, complain, give_up, speaking


class CommandGroup(App):
    """Commands that are named by path (`module:function`): a module is loaded only when its command is called.

    A list of the commands loads none of the modules: the descriptions are read from their sources.
    """

    def add(self, paths: Mapping[str, str]) -> None:
        """Register commands, each with the path of its function."""
        self._paths = dict(paths)
        for name, path in paths.items():
            self.command(path, name=name)

    def help_print(self, tokens: str | Iterable[str] | None = None, *, console: Any = None) -> None:
        """Print the help of the command that the tokens name, or the list of the commands of a group."""
        tokens = None if tokens is None else tokens.split() if isinstance(tokens, str) else list(tokens)
        *_, asked = self.parse_commands(tokens)[1]
        if isinstance(asked, CommandGroup):
            asked.describe()
        asked.help = _paragraphs(asked.help)
        super().help_print(tokens, console=console)

    def describe(self) -> None:
        """Give each command its description."""
        for name, path in self._paths.items():
            del self[name]
            self.command(path, name=name, help=first_line(path))


def first_line(path: str) -> str:
    """The first line of the docstring of `module:function`, or of the default command of `module:app`, unloaded."""
    module, _, function = path.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None  # noqa: S101 - the path is ours
    assert spec.origin is not None  # noqa: S101 - likewise
    with open(spec.origin, encoding="utf-8") as file:
        # To parse the source would take longer than everything else that a list needs.
        found = re.search(
            rf'^(?:def {function}\(|@{function}\.default$).*?^    """(.*?)(?:"""|$)',
            file.read(),
            re.MULTILINE | re.DOTALL,
        )
    assert found is not None, path  # noqa: S101 - likewise
    return found[1]


def _paragraphs(docstring: str) -> str:
    """The docstring without its section on arguments, and each paragraph as one line, which the terminal folds."""
    text = inspect.cleandoc(docstring).partition("\n\nArgs:\n")[0]
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


app = CommandGroup(
    name="threadmill",
    help="""Encrypt→hash chains of child processes, on record: every digest, every timing, every failure.

    Exit codes: 0 done, 1 something failed, 2 refused before any work, 3 a source was unreadable or changed while it
    was read, 130 after Ctrl-C, 143 after SIGTERM. The help of a command says what they mean for it.

    Example: threadmill encrypt --help
    """,
    help_epilogue="Results go to standard output, problems to standard error. Every command takes --quiet or -q (for "
    "cron: print only what needs attention) and --progress (a line every few seconds where there is no terminal).",
    version=code_version,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
)
history = CommandGroup(name="history", help="Query the record of all runs.")
database = CommandGroup(name="db", help="Look after the history database.")
vault = CommandGroup(name="vault", help="Make a vault, or take a copy of one into use.")

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
        "serve": "flows.cli.status:serve",
        "interpreters": "flows.cli.experiment:interpreters",
        "status": "flows.cli.status:status",
        "check": "flows.cli.encrypt:check",
        "keygen": "flows.cli.encrypt:keygen",
        "report": "flows.cli.record:report",
        "export": "flows.cli.record:export",
        "explore": "flows.cli.record:explore",
        "maintain": "flows.cli.vault:maintain",
        "settings": "flows.cli.status:settings",
    }
)
history.add(
    {
        "runs": "flows.cli.history:runs",
        "show": "flows.cli.history:show",
        "payloads": "flows.cli.history:payloads",
        "samples": "flows.cli.findings:samples",
        "speedup": "flows.cli.findings:speedup",
        "race": "flows.cli.findings:race",
        "ceiling": "flows.cli.findings:ceiling",
        "trend": "flows.cli.trends:trend",
        "compare": "flows.cli.trends:compare",
        "changes": "flows.cli.trends:changes",
        "snapshots": "flows.cli.history:snapshots",
        "proofs": "flows.cli.history:proofs",
        "failures": "flows.cli.trends:failures",
        "slowest": "flows.cli.trends:slowest",
        "verify": "flows.cli.record:verify",
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
vault.add({"init": "flows.cli.vault:init", "adopt": "flows.cli.vault:adopt"})
app.command(history)
app.command(database)
app.command(vault)


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Modules and batches are thousands of values and hardly a cycle: to look for some at every 700th takes a sixth."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


# The tests set it, so that they fail for a fault that nobody has foreseen.
_TRACEBACK = "THREADMILL_TRACEBACK"
_QUIET = ("--quiet", "-q")
_PROGRESS = "--progress"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, that of this process's own command line if there are no arguments; the exit code."""
    if sys.platform != "linux":
        return _complain("needs Linux (memory files, pidfd, parent-death signals)", 1)
    _fill_standard_streams()
    _search_absolute_folders()
    with _signal_handlers(), _private_files(), _fewer_collections():
        try:
            code = _run(sys.argv[1:] if arguments is None else arguments)
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
            give_up(sys.stdout)
            code = 128 + signal.SIGPIPE
        except OSError as error:
            # Full disks and missing permissions, where no better message was found for them.
            give_up(sys.stdout)
            code = _complain(f"{os.fsdecode(error.filename or 'the output')}: {error.strerror or error}", 1)
        except Exception as error:
            # The last resort, for what nobody has foreseen.
            if os.environ.get(_TRACEBACK):
                raise
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            code = _complain(f"a fault of threadmill ({said}); for a report, run it again with {_TRACEBACK}=1", 1)
    return code


def _run(arguments: Sequence[str]) -> int:
    rest, verbosity = _verbosity(arguments)
    try:
        with speaking(verbosity), records_closed_at_the_end():
            code: int = app(rest) or 0
    except SystemExit as error:
        # Rich ends the process when the reader of a help has gone.
        if isinstance(error.__context__, BrokenPipeError):
            raise error.__context__ from None
        raise
    sys.stdout.flush()
    return code


def _verbosity(arguments: Sequence[str]) -> tuple[list[str], Verbosity]:
    """The command line without the switches that every command has, which stand anywhere before `--`, and these."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    given = set(arguments[:end])
    found = Verbosity(quiet=not given.isdisjoint(_QUIET), progress=_PROGRESS in given)
    if found.quiet and found.progress:
        raise RequestRefused("--quiet or --progress, not both")
    return [one for one in arguments[:end] if one not in (*_QUIET, _PROGRESS)] + list(arguments[end:]), found


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


@contextmanager
def _private_files() -> Iterator[None]:
    """Keep what Prefect and other packages write, here and in children, for its owner: it names files."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


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
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Names may have any character, and the locale's encoding need not have it.
        sys.stdout.reconfigure(errors="backslashreplace")


def _search_absolute_folders() -> None:
    """Leave out of search paths what is empty or relative: it stands for the current folder, which may be another's."""
    for name in ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH"):
        parts = os.environ.pop(name, "").split(os.pathsep)
        if absolute := os.pathsep.join(filter(os.path.isabs, parts)):
            os.environ[name] = absolute


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _complain(text: str, code: int) -> int:
    complain(text)
    return code
