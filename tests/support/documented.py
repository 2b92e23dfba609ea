"""What docs/history.md shows: its commands, its SQL and its Python, and what each prints on the example record."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.support.commands import clean_environment
from tests.support.in_process import run_in_process

DOCUMENT = Path(__file__).parents[2] / "docs" / "history.md"
_BLOCK = re.compile(r"^```(console|sql|python)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
_DOCUMENTED_RECORD = "/home/me/.local/share/threadmill/history.sqlite"


@dataclass(frozen=True)
class Example:
    """A question as the document puts it, and the answer that it shows; `…` at its end stands for more of the like."""

    language: str
    question: str
    answer: str


def examples() -> Iterator[Example]:
    """All of them, in their order."""
    for language, text, answer in _BLOCK.findall(DOCUMENT.read_text()):
        if language == "console":
            question, _, printed = text.partition("\n")
            yield Example(language, question.removeprefix("$ "), printed)
        else:
            yield Example(language, text, answer)


def ask(language: str, question: str, record: Path) -> str:
    """What it prints, for a user whose record this is, in UTC."""
    if language == "sql":
        return _rows(question, record)
    environment = clean_environment() | {"THREADMILL_HOME": str(record.parent), "TZ": "UTC"}
    if language == "console":
        ended = run_in_process(tuple(question.split()[1:]), environment, record.parent)
    else:
        command = [sys.executable, "-c", question.replace(_DOCUMENTED_RECORD, str(record))]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return "".join(f"{line.rstrip()}\n" for line in ended.stdout.splitlines())


def _rows(statement: str, record: Path) -> str:
    """Columns as wide as they must be, with their names."""
    with closing(sqlite3.connect(f"file:{record}?mode=ro", uri=True)) as connection:
        cursor = connection.execute(statement)
        names = [column[0] for column in cursor.description]
        table = [names, *(["" if cell is None else str(cell) for cell in row] for row in cursor)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "".join(f"{line.rstrip()}\n" for line in lines)
