"""What the documents say is true: their commands run, their links lead somewhere, every command is described."""

from __future__ import annotations

import inspect
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App
from rich.console import Console

from flows.cli.main import app
from tests.support.commands import BIN

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "README.md"]
_WIDE = 10_000


def _commands(group: App, prefix: str = "") -> Iterator[tuple[str, App]]:
    """Every command by its full name; a group counts where it does something by itself."""
    for name in group:
        command = group[name]
        if name.startswith("-"):
            continue
        if command.default_command is not None:
            yield f"{prefix}{name}", command
        yield from _commands(command, f"{prefix}{name} ")


COMMANDS = dict(_commands(app))


def test_commands_of_the_readme_run(environment: dict[str, str], tmp_path: Path) -> None:
    """Every block of shell commands works as it stands, one after the other, for a new user with some documents."""
    if missing := [program for program in ("sqlite3", "zstd") if shutil.which(program) is None]:
        pytest.skip(f"the README also calls {' and '.join(missing)}, not here")
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "letter.txt").write_text("dear reader")
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    for block in blocks:
        ended = subprocess.run(
            ["sh", "-ec", block], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{block}\n{ended.stdout}\n{ended.stderr}"


def _help(command: str) -> str:
    """What `threadmill COMMAND --help` prints where no line has to be folded."""
    console = Console(file=io.StringIO(), width=_WIDE)
    app.help_print(command.split(), console=console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    """`--help` shows all that the docstring says, exit codes and an example among it, and describes each option."""
    function = COMMANDS[command].default_command
    assert function is not None
    text, _, arguments = inspect.cleandoc(function.__doc__ or "").partition("\n\nArgs:\n")
    shown = _help(command)
    lines = [line.strip("│ ").rstrip() for line in shown.splitlines()]
    for paragraph in text.split("\n\n"):
        assert " ".join(paragraph.split()) in lines
    assert re.search(r"^Exit codes: 0 \w+", shown, re.MULTILINE)
    assert re.search(rf"^Examples?: .*\bthreadmill {command}\b", shown, re.MULTILINE)
    for name, words in re.findall(r"^ +(\w+): (.*)", arguments, re.MULTILINE):
        option = name.replace("_", "-")
        assert any(re.search(rf"(^|--|  ){option}\b", line, re.IGNORECASE) and words in line for line in lines), name
    options = [line for line in lines if re.match(r"(\*  )?(--[a-z]|[A-Z]+\b)", line) and not line.startswith("Usage")]
    assert [line for line in options if not re.search(r"  +[^ \[]", line.removeprefix("*  "))] == []


def test_options_are_described_once() -> None:
    """A description in `Args:` that another one replaces is seen by nobody."""
    twice = []
    for name, command in COMMANDS.items():
        assert command.default_command is not None
        arguments = inspect.cleandoc(command.default_command.__doc__ or "").partition("\n\nArgs:\n")[2]
        shown = _help(name)
        twice += [
            f"{name}: {words}"
            for words in re.findall(r"^ +\w+: (.*)", arguments, re.MULTILINE)
            if shown.count(words) != sum(words in other for other in arguments.splitlines())
        ]
    assert twice == []


@pytest.mark.parametrize("group", ["", "history", "db", "snapshots", "vault"])
def test_lists_of_commands_show_first_lines_without_loading_a_command(group: str, environment: dict[str, str]) -> None:
    """The list is made from the sources: 37 modules need not be imported for it."""
    program = (
        "import sys\nfrom flows.cli.main import main\n"
        f"sys.argv = ['threadmill', *{group.split()!r}, '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(*(name for name in sys.modules if name.startswith('flows.')), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"COLUMNS": str(_WIDE)},
        capture_output=True,
        text=True,
        check=True,
    )
    prefix = f"{group} " if group else ""
    own = {name.removeprefix(prefix): one for name, one in COMMANDS.items() if name.startswith(prefix)}
    for name, command in own.items():
        assert command.default_command is not None
        if " " not in name:
            (line,) = re.findall(rf"^│ {name} +(\S.*?) +│$", ended.stdout, re.MULTILINE)
            assert line == (command.default_command.__doc__ or "").splitlines()[0]
    if group != "snapshots":
        modules = {one.default_command.__module__ for one in COMMANDS.values() if one.default_command is not None}
        assert modules & set(ended.stderr.split()) == set()


def test_every_command_is_in_the_readme() -> None:
    """A command that the README does not show is one that nobody finds."""
    assert [command for command in COMMANDS if f"threadmill {command}" not in README and command != "survey"] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    """A relative link names a file that is there."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_every_promise_of_security_names_its_tests() -> None:
    """Each point below "Promised" has a test at least, and pytest knows all of them."""
    document = (ROOT / "docs" / "security.md").read_text()
    parts = re.findall(r"^Promised:\n(.*?)(?=^Not promised:|^## |\Z)", document, re.MULTILINE | re.DOTALL)
    promises = [promise for part in parts for promise in re.split(r"^- ", part, flags=re.MULTILINE)[1:]]
    assert len(promises) > 30
    form = re.compile(r"`((?:\w+/)*test_\w+\.py::test_\w+)`")
    assert [promise for promise in promises if not form.search(promise)] == []
    named = {f"tests/{name}" for name in form.findall(document)}
    assert len(form.findall(document)) == document.count("test_") - document.count("::test_")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--collect-only", *sorted(named)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert named == {line.partition("[")[0] for line in found.stdout.splitlines() if "::" in line}
