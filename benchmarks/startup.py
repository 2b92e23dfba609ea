"""How long a command takes before it does anything, against one import of SQLAlchemy with its ORM."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.rounds import alternate, ratio, show

ROUNDS = 21
IMPORT = "import sqlalchemy.orm"

# Command line → at most so many times the import.
TARGETS = {
    "encrypt --nonsense": 0.8,
    "history runs --json --csv": 0.8,
    "history runs": 1.6,
}


def main(folder: Path) -> None:
    """Two command lines that are refused, and a query to a record with one run."""
    names = {name: value for name, value in os.environ.items() if not name.startswith(("THREADMILL_", "PREFECT_"))}
    environment = names | {"THREADMILL_HOME": str(folder)}

    def run(*arguments: str) -> int:
        command = [sys.executable, "-c", *arguments]
        silent = subprocess.DEVNULL
        return subprocess.run(command, env=environment, stdout=silent, stderr=silent, check=False).returncode

    command = "import sys; from flows.cli.main import main; sys.exit(main())"
    assert run(command, "encrypt", "--random", "100x1") == 0
    contenders = {line: partial(run, command, *line.split()) for line in TARGETS}
    seconds = alternate(contenders | {IMPORT: partial(run, IMPORT)}, ROUNDS)
    show("from the shell, start to exit", seconds)
    for line, target in TARGETS.items():
        times = ratio(seconds, IMPORT, line)
        judged = "reached" if times <= target else "MISSED"
        print(f"  threadmill {line}: {times:.2f} times the import (target: at most {target}) {judged}")
