"""What a report is made of, before it becomes HTML or markdown: both show the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

from flows.report.charts import Chart

# Numbers come as text already: how many digits they have is part of what is said.
Cell = str | int | None


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column; numbers stand at the right."""

    title: str
    number: bool = False


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Prose; what stands between backticks is code."""

    text: str


@dataclass(frozen=True, slots=True)
class Sentences:
    """Statements of the same kind, one below the other; backticks as in a paragraph."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; None is an empty cell. Cells are shown as they are, backticks and all.

    A page shows no more than the title of a `folded` one until it is opened.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart, drawn where it can be: what it shows stands in a table as well."""

    chart: Chart


Block = Paragraph | Sentences | Table | Plot


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it; `level` 2 is a section of the page, 3 a part of one."""

    title: str
    blocks: tuple[Block, ...]
    level: int = 2


def columns(*titles: str) -> tuple[Column, ...]:
    """Columns by title; a `#` in front marks one of numbers."""
    return tuple(Column(title.removeprefix("#"), title.startswith("#")) for title in titles)
