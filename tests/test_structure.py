"""The size and shape of the code: what it may grow to, and what is said once."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("flows", "tasks", "db")
# They were 150 and 23,500 before vaults had packs. With packs came an index, rewriting, compression, holes, content
# that is known again, partial snapshots, and patterns of files to leave out; then all that keeps a file from going
# missing without a word: marks, entries that are carried over, snapshots that do not count, vaults known by place.
# Then what stands between a user and others: the server's password and address, SQL within bounds, files that nobody
# else can have put there, folders without links, values of a record that are checked; and hosts as they are: limits of
# the CPU, clocks that are wrong, runs that are lost, records that cannot be written.
FILES, LINES = 171, 30_900
# Smaller ones are worth a file where more than one module imports them, or for a reason.
SMALL_LINES = 60
REASON = re.compile(r"^# A module of its own: \w.*", re.MULTILINE)


@dataclass(frozen=True)
class Module:
    """A file of the three packages."""

    name: str
    path: Path
    text: str

    @property
    def lines(self) -> int:
        return self.text.count("\n")

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def head(self) -> str:
        """All that comes before the first statement after its docstring and `from __future__`."""
        code = [
            node
            for number, node in enumerate(self.tree.body)
            if not (number == 0 and isinstance(node, ast.Expr))
            and not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
        ]
        lines = self.text.splitlines(keepends=True)
        return "".join(lines[: code[0].lineno - 1] if code else lines)

    def imports(self) -> Iterator[str]:
        """The names of what it imports, anywhere in it; `from a import b` may mean the module a.b."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                # The measured programs import each other relatively, since they run without the package around them.
                above = self.name.split(".")[: -node.level] if node.level else []
                module = ".".join([*above, *filter(None, [node.module])])
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    module.name: module
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    for module in (Module(_name(path), path, path.read_text()),)
}


def test_there_are_not_too_many_files() -> None:
    """Every file is one more thing to have in mind."""
    assert len(MODULES) <= FILES


def test_there_are_not_too_many_lines() -> None:
    """Empty lines, comments and docstrings are counted too."""
    assert sum(module.lines for module in MODULES.values()) <= LINES


def test_a_class_name_means_one_thing() -> None:
    """In all three packages together, private and inner ones too."""
    found = defaultdict(list)
    for module in MODULES.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(module.name)
    assert {name: where for name, where in found.items() if len(where) > 1} == {}


def test_a_small_module_has_several_importers_or_a_reason() -> None:
    """Or it is a part of the module that imports it: `# A module of its own: …` at its head says why it is none."""
    importers = defaultdict(set)
    for module in MODULES.values():
        for name in module.imports():
            if name in MODULES and name != module.name:
                importers[name].add(module.name)
    unfounded = [
        f"{name}: {module.lines} lines, imported by {importer}"
        for name, module in MODULES.items()
        for importer in [*importers[name]][:1]
        if len(importers[name]) == 1
        and module.path.name != "__init__.py"
        and module.lines < SMALL_LINES
        and not REASON.search(module.head)
    ]
    assert unfounded == []


PROGRAM = """
import sys
from flows.cli.main import main
assert main(sys.argv[1:]) == 0
print(*(name for name in sys.modules if name.startswith(("flows", "tasks", "db.", "sqlalchemy.orm"))), file=sys.stderr)
"""


def loaded(command: str, environment: dict[str, str]) -> set[str]:
    """The modules of the three packages that a command has imported at its end."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split()],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ended.stderr.splitlines()[-1].split())


def of(modules: set[str], *packages: str) -> list[str]:
    """Those in these packages."""
    return sorted(name for name in modules if name.startswith(tuple(packages)))


@pytest.fixture(scope="module")
def encrypting(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What `encrypt` imports for one random payload."""
    return loaded("encrypt --random 100x1", _environment(tmp_path_factory))


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What `history runs` imports where there is a run."""
    environment = _environment(tmp_path_factory)
    loaded("encrypt --random 100x1", environment)
    return loaded("history runs", environment)


def _environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("THREADMILL_", "PREFECT_"))}
    return kept | {"THREADMILL_HOME": str(tmp_path_factory.mktemp("home"))}


def test_encrypt_needs_no_other_engine(encrypting: set[str]) -> None:
    """A random payload goes into no vault and is no experiment."""
    assert of(encrypting, "tasks.threads", "tasks.vault") == []


def test_encrypt_starts_with_few_modules(encrypting: set[str]) -> None:
    """Each takes its millisecond at every start."""
    assert len(encrypting) <= 61


def test_history_needs_no_engine(reading: set[str]) -> None:
    """It reads rows."""
    assert of(reading, "tasks.crypto", "tasks.vault", "tasks.threads") == []


def test_the_record_does_without_the_orm(reading: set[str], encrypting: set[str]) -> None:
    """Importing it, and mapping classes to tables, took half of a query's time."""
    assert of(reading | encrypting, "sqlalchemy.orm") == []


def test_history_starts_with_few_modules(reading: set[str]) -> None:
    """Each takes its millisecond at every start."""
    assert len(reading) <= 45
