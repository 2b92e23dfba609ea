"""Tables made from rows, and the other blocks that a report consists of; renderers write them for their readers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flows.text import utc

if TYPE_CHECKING:
    from flows.show.plots import Chart

Row = TypeVar("Row")
# A renderer writes numbers with separators, and times in the zone of its readers. None is an empty cell.
Cell = str | int | datetime | None
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """A column of a kind of row: `value` is taken from a row, and None gives an empty cell.

    Without `write`, numbers and times are left to the renderer. Figures stand at the `right`. A terminal leaves `wide`
    columns out if the table does not fit otherwise. An `optional` column is left out where no row has a value.
    """

    heading: str
    value: Callable[[Row], Any] = str
    write: Callable[[Any], str] | None = None
    right: bool = False
    wide: bool = False
    optional: bool = False

    def cell(self, row: Row) -> Cell:
        """The cell of a row."""
        value = self.value(row)
        if value is None or value == "":
            return None
        if self.write is not None:
            return self.write(value)
        return value if isinstance(value, int | datetime) and not isinstance(value, bool) else str(value)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under headings. A page shows only the title of a `folded` table until it is opened."""

    title: str
    columns: tuple[Column[Any], ...]
    rows: tuple[tuple[Cell, ...], ...]
    folded: bool = False

    def narrowed(self) -> Table:
        """The table without its wide columns."""
        kept = [place for place, column in enumerate(self.columns) if not column.wide]
        rows = tuple(tuple(row[place] for place in kept) for row in self.rows)
        return Table(self.title, tuple(self.columns[place] for place in kept), rows, self.folded)


class TableOf(Generic[Row]):
    """The table of a kind of row, wherever such rows are shown."""

    def __init__(self, title: str, *columns: Column[Row]) -> None:
        self._title, self._columns = title, columns

    def fill(
        self, rows: Iterable[Row], title: str | None = None, *, without: Collection[str] = (), folded: bool = False
    ) -> Table:
        """The table of these rows; the columns named by `without` are left out."""
        rows = tuple(rows)
        asked = [column for column in self._columns if column.heading not in without]
        filled = [(column, [column.cell(row) for row in rows]) for column in asked]
        kept = [(column, cells) for column, cells in filled if not column.optional or cells.count(None) < len(rows)]
        cells_by_row = tuple(tuple(cells[place] for _, cells in kept) for place in range(len(rows)))
        return Table(self._title if title is None else title, tuple(one for one, _ in kept), cells_by_row, folded)


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Prose; the words between backticks are code."""

    text: str


@dataclass(frozen=True, slots=True)
class Sentences:
    """Statements of the same kind, one below the other; backticks as in a paragraph."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart, for renderers that can draw; a table has the same numbers."""

    chart: Chart


Block = Paragraph | Sentences | Table | Plot


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the blocks below it; `level` 2 is a section of the page, 3 a part of one."""

    title: str
    blocks: tuple[Block, ...]
    level: int = 2


def table_of(title: str, headings: Iterable[str], rows: Iterable[tuple[Cell, ...]], *, folded: bool = False) -> Table:
    """A table of cells that are made already; a `#` before a heading marks a column of figures."""
    columns: tuple[Column[Any], ...] = tuple(
        Column(heading.removeprefix("#"), right=heading.startswith("#")) for heading in headings
    )
    return Table(title, columns, tuple(rows), folded)


def written(cell: Cell, time: Callable[[datetime], str] = utc) -> str:
    """A cell as text: counts with separators, times by `time`."""
    match cell:
        case None:
            return ""
        case int():
            return f"{cell:,}"
        case datetime():
            return time(cell)
    return cell


def with_code(text: str, escape: Callable[[str], str], code: Callable[[str], str]) -> str:
    """Prose, escaped, with the words between backticks given to `code`."""
    parts = _CODE.split(text)
    return "".join(code(part) if number % 2 else escape(part) for number, part in enumerate(parts))
