"""Sections as markdown with plots embedded, and tables as Prefect's table artifacts: its UI strips raw `<svg>`."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime

from flows.show import plots
from flows.show.table import Cell, Paragraph, Plot, Section, Sentences, Table, with_code
from flows.text import utc, visible

ArtifactRow = dict[str, str | int | None]

_TICKS = re.compile(r"`+")
# Characters that are more than text in markdown.
_MARKED = re.compile(r"[&<>|\\`*_\[\]~#!]")
# A renderer makes links of these, however they are escaped: it looks for addresses after it has removed the escapes.
_ADDRESS = re.compile(r"://|www\.|mailto:|xmpp:|@", re.IGNORECASE)
# Text that the older UI would take for markup, for a link to follow or for an image to load.
_MARKED_CELL = re.compile(r"[&<>|\\`*\[\]~#@]|(?<![^\W_])_|_(?![^\W_])|://|www\.|^\W\s|^\d+[.)]\s", re.IGNORECASE)


def markdown_of(title: str, sections: Sequence[Section], *, most_bytes: int = sys.maxsize) -> str:
    """Sections as markdown; plots are PNG data addresses. `most_bytes` bound the whole: text first, then plots."""
    parts = [f"# {title}", *(part for section in sections for part in _section(section))]
    left = most_bytes - sum(len(part.encode()) for part in parts if isinstance(part, str))
    return "\n\n".join(_drawn(parts, left)) + "\n"


def artifact_of(table: Table) -> list[ArtifactRow]:
    """A table as rows of a table artifact, whose cells the older UI takes for markdown, and the newer one for text.

    Text that would be more than text in markdown is indented: that makes it code in the older UI, and changes nothing
    in the newer one.
    """
    headings = [heading.text for heading in table.headings]
    return [dict(zip(headings, map(_artifact_cell, row), strict=True)) for row in table.rows]


def _artifact_cell(cell: Cell) -> str | int | None:
    if isinstance(cell, datetime):
        return utc(cell)
    if not isinstance(cell, str):
        return cell
    shown = visible(cell)
    return f"    {shown}" if _MARKED_CELL.search(shown) else shown


def as_markdown(text: str, *, cell: bool = False) -> str:
    """Text for a paragraph, or for a `cell` of a table: escaped, or as code where it holds an address.

    The escapes are backslashes, because Prefect's older UI shows entities as they are.
    """
    shown = visible(text)
    if not _ADDRESS.search(shown):
        return _MARKED.sub(r"\\\g<0>", shown)
    fence = "`" * (1 + max(map(len, _TICKS.findall(shown)), default=0))
    return f"{fence} {shown.replace('|', chr(92) + '|') if cell else shown} {fence}"


def _drawn(parts: Sequence[str | Plot], left: int) -> Iterator[str]:
    """Draw plots as far as `left` bytes go. One that does not fit is the last, as each takes a fifth of a second."""
    for part in parts:
        if isinstance(part, str):
            yield part
            continue
        image = _plot(part) if left > 0 else ""
        left = left - len(image) if len(image) <= left else 0
        yield image if left > 0 else _LEFT_OUT


def _section(section: Section) -> Iterator[str | Plot]:
    yield f"{'#' * section.level} {as_markdown(section.title)}"
    for block in section.blocks:
        yield block if isinstance(block, Plot) else _block(block)


def _block(block: Paragraph | Sentences | Table) -> str:
    match block:
        case Paragraph(text):
            return _prose(text)
        case Sentences(lines):
            return "\n".join(f"- {_prose(line)}" for line in lines)
        case Table():
            return "\n".join(_table(block))


def _plot(plot: Plot) -> str:
    data = base64.b64encode(plots.png(plots.figure(plot.chart))).decode()
    return f"![{as_markdown(plot.chart.title)}](data:image/png;base64,{data})"


def _table(table: Table) -> Iterator[str]:
    yield f"**{as_markdown(table.title)}**\n"
    yield _row(tuple(heading.text for heading in table.headings))
    yield "|" + "|".join(" ---: " if heading.right else " --- " for heading in table.headings) + "|"
    for row in table.rows:
        yield _row(row)


def _row(cells: Sequence[Cell]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case int():
            return f"{cell:,}"
        case datetime():
            return utc(cell)
    return as_markdown(cell, cell=True)


def _prose(text: str) -> str:
    return with_code(text, as_markdown, lambda code: f"`{visible(code)}`")


_LEFT_OUT = "(There is a plot here that would make this too large; the tables have its numbers, the page has it.)"
