"""Lines and tables for people, with nothing in them that a terminal obeys; JSON and CSV for programs, as it is."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.text import visible

# Piped output has no width to fit into.
_PIPED_WIDTH = 250

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


def console(*, error: bool = False) -> Console:
    """For people, on standard output or standard error."""
    stream = sys.stderr if error else sys.stdout
    return Console(stderr=error, width=None if stream.isatty() else _PIPED_WIDTH, highlight=False)


def say(text: str = "", *, error: bool = False, flush: bool = False) -> None:
    """One line, whatever is in it: names, and the errors that quote them, were given by others."""
    print(visible(text), file=sys.stderr if error else sys.stdout, flush=flush)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; numbers stand at the right, None is an empty cell."""
    rows = [list(row) for row in rows]
    table = Table(title=Text(visible(title), "table.title"), title_justify="left")
    for number, column in enumerate(columns):
        numeric = any(isinstance(row[number], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        # Text, because names may hold what rich takes for markup.
        table.add_row(*(Text("" if cell is None else visible(str(cell))) for cell in row))
    console().print(table)


def plain(value: object) -> JsonValue:
    """JSON's types for a row: times as ISO 8601 in UTC, bytes as hex."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_json(value: object) -> None:
    """One JSON document."""
    json.dump(plain(value), sys.stdout, indent=2)
    sys.stdout.write("\n")


def print_csv(columns: Sequence[str], rows: Iterable[object]) -> None:
    """Rows with a heading line; nested values as JSON inside their cell."""
    writer = csv.writer(sys.stdout)
    writer.writerow(columns)
    for row in rows:
        values = plain(row)
        assert isinstance(values, dict)  # noqa: S101 - rows are dataclasses
        cells = (values[column] for column in columns)
        writer.writerow([json.dumps(cell) if isinstance(cell, list | dict) else cell for cell in cells])


def columns_of(row_type: type) -> list[str]:
    """The fields of a row type, in order."""
    return [field.name for field in dataclasses.fields(row_type)]
