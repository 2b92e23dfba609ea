"""A command loads what it needs, when it needs it: a refusal is quick, and a query loads no engine."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from flows.cli.main import app

# What takes a tenth of a second or more to import, or does work of its own.
HEAVY = {"alembic", "cryptography", "matplotlib", "numpy", "prefect", "pydantic", "rich", "sqlalchemy"}
ENGINES = ("tasks.crypto", "tasks.threads", "tasks.vault")
OURS = ("db", "flows", "tasks")


def _loaded(environment: dict[str, str], *arguments: str) -> tuple[int, set[str]]:
    """The exit code of a command line, and the modules that are loaded at its end."""
    program = (
        "import json, sys\nfrom flows.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "print(json.dumps([code, *sys.modules]), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    code, *modules = json.loads(ended.stderr.splitlines()[-1])
    return code, set(modules)


def _of(modules: set[str], *packages: str) -> set[str]:
    """The modules of some packages, and the packages themselves."""
    return {name for name in modules if name in packages or name.startswith(tuple(f"{one}." for one in packages))}


@pytest.mark.parametrize(
    "line",
    [
        "encrypt --nonsense",
        "encrypt --random 1x1 --suite rot13",
        "history runs --json --csv",
        "history samples --workload juggling",
        "history slowest --limit none",
        "experiment race --rounds 0x10",
        "prune --keep-last -1",
        "maintain --remove-older-than 3m",
    ],
)
def test_refused_command_line_loads_nothing_heavy(environment: dict[str, str], line: str) -> None:
    """Neither the record, nor an engine, nor what draws: the mistake is told at once."""
    code, modules = _loaded(environment, *line.split())
    assert code == 2
    assert modules & HEAVY == set()
    assert _of(modules, "tasks.threads", "tasks.vault") == set()
    assert len(_of(modules, *OURS)) <= 40


def test_no_module_of_a_command_loads_anything_heavy(environment: dict[str, str]) -> None:
    """The rule for `flows/cli`: heavy imports stand inside the functions that need them."""

    def modules_of(group: object) -> set[str]:
        found = set()
        for name in app if group is app else group:  # type: ignore[attr-defined]
            command = (app if group is app else group)[name]  # type: ignore[index]
            if command.default_command is not None:
                found.add(command.default_command.__module__)
            found |= modules_of(command)
        return found

    modules = {name for name in modules_of(app) if name.startswith("flows.cli.")} - {"flows.cli.snapshots"}
    assert len(modules) == 9
    program = f"import sys, json\nfor name in {sorted(modules)!r}: __import__(name)\nprint(json.dumps([*sys.modules]))"
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert set(json.loads(ended.stdout)) & HEAVY == set()


@pytest.mark.parametrize("line", ["history runs", "history payloads", "history failures", "history trend"])
def test_query_loads_no_engine(threadmill_record: dict[str, str], line: str) -> None:
    """What a run recorded is read without the code that ran it."""
    code, modules = _loaded(threadmill_record, *line.split(), "--json")
    assert code == 0
    assert _of(modules, *ENGINES) == set()
    assert modules & (HEAVY - {"sqlalchemy"}) == set()
    assert len(_of(modules, *OURS)) <= (45 if line == "history runs" else 50)


def test_misspelt_command_loads_hardly_more(environment: dict[str, str]) -> None:
    """The parser of arguments writes its message with Rich, and looks for a command that was meant."""
    code, modules = _loaded(environment, "encript")
    assert code == 2
    assert modules & HEAVY <= {"rich"}


def test_random_payloads_load_neither_vault_nor_experiments(environment: dict[str, str]) -> None:
    """They need the encrypt→hash engine, and no other one."""
    code, modules = _loaded(environment, "encrypt", "--random", "100x1", "--via", "direct")
    assert code == 0
    assert _of(modules, "tasks.threads", "tasks.vault") == set()
    assert "prefect" not in modules
    assert len(_of(modules, *OURS)) <= 61


@pytest.fixture
def threadmill_record(environment: dict[str, str]) -> dict[str, str]:
    """The environment of a user who has recorded a run."""
    assert _loaded(environment, "encrypt", "--random", "100x1", "--via", "direct")[0] == 0
    return environment
