"""Output of commands: lines and tables for people, free of control characters; JSON and CSV for programs.

Results go to standard output, problems and hints to standard error. `--quiet` leaves out all that is for people except
problems, and the rows of a table of findings.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import TextIO

from flows.show.table import Table, written
from flows.text import local, visible

_PIPED_WIDTH = 250
# A column of names is not folded to less.
_LEAST_WIDTH = 4
# For an output that cannot encode the others.
_PLAIN_LINES = str.maketrans("┏━┳┓┃┡╇┩│└─┴┘", "+-++|+++|+-++")

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


@dataclass(frozen=True, slots=True)
class Verbosity:
    """The switches that every command has; without either, progress is shown on a terminal only."""

    quiet: bool = False
    progress: bool = False


_USUAL = Verbosity()
_VERBOSITY = ContextVar("_VERBOSITY", default=_USUAL)


@contextmanager
def speaking(verbosity: Verbosity) -> Iterator[None]:
    """Let commands in the body print that much."""
    before = _VERBOSITY.set(verbosity)
    try:
        yield
    finally:
        _VERBOSITY.reset(before)


def verbosity() -> Verbosity:
    """The switches in force."""
    return _VERBOSITY.get()


def say(text: str = "", *, flush: bool = False) -> None:
    """Print one line of a result; control characters are made visible: names and errors quote what others chose."""
    if not verbosity().quiet:
        print(visible(text), flush=flush)


def complain(text: str) -> None:
    """Print a problem in one line; the exit code says it where standard error takes nothing."""
    try:
        print(f"threadmill: {visible(text)}", file=sys.stderr)
    except OSError:
        give_up(sys.stderr)


def give_up(stream: TextIO) -> None:
    """Let a stream take everything from now on: Python's last flush would complain once more."""
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), stream.fileno())


def hint(text: str) -> None:
    """Print one line that is neither a result nor a problem."""
    if not verbosity().quiet:
        print(visible(text), file=sys.stderr)


def conclude(text: str, exit_code: int) -> None:
    """Print the last line of a command: a result if all is well, else a problem."""
    if exit_code:
        complain(text)
    else:
        say(text)


def print_table(table: Table, *, findings: bool = False) -> None:
    """Print a table; piped output has no width to fit into. `findings` need attention, and `--quiet` leaves them in."""
    if verbosity().quiet and not findings:
        return
    width = _PIPED_WIDTH
    if sys.stdout.isatty():
        import shutil

        width = shutil.get_terminal_size().columns
    lines = "\n".join(drawn(table, width))
    print(lines if sys.stdout.encoding.lower().startswith("utf") else lines.translate(_PLAIN_LINES))


def drawn(table: Table, width: int) -> Iterator[str]:
    """The lines of a table, without its wide columns if it does not fit `width`.

    Names are folded where they must be, figures and times never. Rich is not used: its import takes as long as a query.
    """
    texts, widths = _texts(table)
    if _total(widths) > width:
        table = table.narrowed()
        texts, widths = _texts(table)
    _fit(table, widths, width)
    right = [column.right for column in table.columns]
    yield from _folded(visible(table.title), width)
    yield "┏" + "┳".join("━" * (one + 2) for one in widths) + "┓"
    yield from _row(texts[0], widths, right, "┃")
    yield "┡" + "╇".join("━" * (one + 2) for one in widths) + "┩"
    for row in texts[1:]:
        yield from _row(row, widths, right, "│")
    yield "└" + "┴".join("─" * (one + 2) for one in widths) + "┘"


def _texts(table: Table) -> tuple[list[list[str]], list[int]]:
    """The headings and all cells as text, and the width of each column."""
    texts = [[column.heading for column in table.columns]]
    texts += [[visible(written(cell, local)) for cell in row] for row in table.rows]
    return texts, [max(map(_width, column)) for column in zip(*texts, strict=True)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 3 * len(widths) + 1


def _fit(table: Table, widths: list[int], width: int) -> None:
    """Make the widest columns narrower until all fit, as far as names can be folded."""
    folded = [
        place
        for place, column in enumerate(table.columns)
        if not column.right and not any(isinstance(row[place], datetime) for row in table.rows)
    ]
    while _total(widths) > width:
        widest = max(folded, key=lambda place: widths[place], default=None)
        if widest is None or widths[widest] <= _LEAST_WIDTH:
            return
        widths[widest] -= 1


def _row(texts: Sequence[str], widths: Sequence[int], right: Sequence[bool], bar: str) -> Iterator[str]:
    for line in zip_longest(*map(_folded, texts, widths), fillvalue=""):
        blanks = [" " * (one - _width(text)) for text, one in zip(line, widths, strict=True)]
        cells = [
            f" {blank}{text} " if to_right else f" {text}{blank} "
            for text, blank, to_right in zip(line, blanks, right, strict=True)
        ]
        yield bar + bar.join(cells) + bar


def _folded(text: str, width: int) -> list[str]:
    """Lines of at most this width, broken at blanks where possible."""
    if _width(text) <= width:
        return [text]
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if _width(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if _width(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def _width(text: str) -> int:
    """The columns that a terminal gives to a text: two to a wide letter, none to a mark above another one."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text)


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
    names = _fields(row_type)
    nested = "series" in names
    if nested:
        from db.answers import SeriesRow

        names = [*_fields(SeriesRow), *(name for name in names if name != "series")]
    writer = csv.writer(sys.stdout)
    writer.writerow(names)
    for row in rows:
        values = plain(row)
        assert isinstance(values, dict)  # noqa: S101 - rows are dataclasses
        series = values.pop("series") if nested else {}
        assert isinstance(series, dict)  # noqa: S101 - likewise
        cells = (series | values).values()
        writer.writerow([json.dumps(cell) if isinstance(cell, bool | list | dict) else cell for cell in cells])


def _fields(row_type: type) -> list[str]:
    return [field.name for field in dataclasses.fields(row_type)]
