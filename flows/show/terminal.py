"""Output of commands: lines and tables for people, with nothing in them that a terminal obeys; JSON and CSV."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from flows.show.table import Cell, Table
from flows.text import local, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

# Piped output has no width to fit into.
_PIPED_WIDTH = 250
_UNLIMITED = 1 << 20

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


def console(*, error: bool = False) -> Console:
    """For people, on standard output or standard error."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    return Console(stderr=error, width=None if stream.isatty() else _PIPED_WIDTH, highlight=False)


def say(text: str = "", *, error: bool = False, flush: bool = False) -> None:
    """Print one line, whatever is in it: names, and the errors that quote them, were given by others."""
    print(visible(text), file=sys.stderr if error else sys.stdout, flush=flush)


def print_table(table: Table) -> None:
    """Print a table, without its wide columns where it would not fit."""
    out = console()
    drawn = _drawn(table)
    if out.measure(drawn, options=out.options.update(max_width=_UNLIMITED)).maximum > out.width:
        drawn = _drawn(table.narrowed())
    out.print(drawn)


def _drawn(table: Table) -> RichTable:
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=Text(visible(table.title), "table.title"), title_justify="left")
    for place, heading in enumerate(table.headings):
        # Names are folded where they must be, figures and times never.
        whole = heading.right or any(isinstance(row[place], datetime) for row in table.rows)
        justify: Literal["right", "left"] = "right" if heading.right else "left"
        drawn.add_column(heading.text, justify=justify, overflow="fold", no_wrap=whole)
    for row in table.rows:
        # Text, because names may hold what rich takes for markup.
        drawn.add_row(*(Text(_written(cell)) for cell in row))
    return drawn


def _written(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case int():
            return f"{cell:,}"
        case datetime():
            return local(cell)
    return visible(cell)


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
    """Print one JSON document."""
    json.dump(plain(value), sys.stdout, indent=2)
    sys.stdout.write("\n")


def print_csv(row_type: type, rows: Iterable[object]) -> None:
    """Print rows below the names of their fields; nested values are JSON inside their cell.

    The fields of a row's series are columns of their own, so that series can be told apart by them.
    """
    nested = "series" if "series" in _fields(row_type) else None
    writer = csv.writer(sys.stdout)
    writer.writerow(_columns(row_type, nested))
    for row in rows:
        values = plain(row)
        assert isinstance(values, dict)  # noqa: S101 - rows are dataclasses
        series = values.pop(nested) if nested else {}
        assert isinstance(series, dict)  # noqa: S101 - likewise
        cells = (series | values).values()
        writer.writerow([json.dumps(cell) if isinstance(cell, list | dict) else cell for cell in cells])


def _columns(row_type: type, nested: str | None) -> Sequence[str]:
    own = [name for name in _fields(row_type) if name != nested]
    if nested is None:
        return own
    from db.answers import SeriesRow

    return [*_fields(SeriesRow), *own]


def _fields(row_type: type) -> list[str]:
    return [field.name for field in dataclasses.fields(row_type)]
