"""The report as markdown with its plots embedded, for a Prefect artifact: its UI strips raw `<svg>`."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime

from db.rows import PayloadRow, RunRow, SampleRow
from flows.report import plots
from flows.report.blocks import Cell, Paragraph, Plot, Section, Sentences, Table
from flows.report.contents import TITLE, contents
from flows.report.escaping import as_markdown, with_code
from flows.text import visible


def report_markdown(
    runs: Sequence[RunRow],
    payloads: Sequence[PayloadRow],
    samples: Sequence[SampleRow],
    *,
    made_at: datetime,
    where: str = "",
    one_run: bool = False,
    most_bytes: int = sys.maxsize,
    more: Sequence[Section] = (),
) -> str:
    """The same sections and numbers as `page.report_page`, with the same arguments; plots are PNG data addresses.

    `one_run` leaves out what the run did not do. `most_bytes` bound the whole: text first, then plots in their order.
    """
    sections = contents(runs, payloads, samples, made_at=made_at, where=where, one_run=one_run, more=more)
    parts = [f"# {TITLE}", *(part for section in sections for part in _section(section))]
    left = most_bytes - sum(len(part.encode()) for part in parts if isinstance(part, str))
    return "\n\n".join(_drawn(parts, left)) + "\n"


def _drawn(parts: Sequence[str | Plot], left: int) -> Iterator[str]:
    """Plots as far as `left` bytes go. One that does not fit ends it: each costs a fifth of a second to draw."""
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
    yield _row(tuple(column.title for column in table.columns))
    yield "|" + "|".join(" ---: " if column.number else " --- " for column in table.columns) + "|"
    for row in table.rows:
        yield _row(row)


def _row(cells: Sequence[Cell]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(cell: Cell) -> str:
    if isinstance(cell, int):
        return f"{cell:,}"
    return "" if cell is None else as_markdown(cell, cell=True)


def _prose(text: str) -> str:
    return with_code(text, as_markdown, lambda code: f"`{visible(code)}`")


_LEFT_OUT = "(There is a plot here that would make this too large; the tables have its numbers, the page has it.)"
