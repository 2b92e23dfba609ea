"""The report as markdown with its plots embedded, for a Prefect artifact: its UI strips raw `<svg>`."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from datetime import datetime

from db.rows import PayloadRow, RunRow, SampleRow
from flows.report import plots
from flows.report.blocks import Block, Cell, Paragraph, Plot, Section, Sentences, Table
from flows.report.contents import TITLE, contents
from flows.report.escaping import as_markdown, visible, with_code


def report_markdown(
    runs: Sequence[RunRow],
    payloads: Sequence[PayloadRow],
    samples: Sequence[SampleRow],
    *,
    made_at: datetime,
    where: str = "",
) -> str:
    """The same sections and numbers as `page.report_page`, with the same arguments; plots are PNG data addresses."""
    sections = contents(runs, payloads, samples, made_at=made_at, where=where)
    parts = [f"# {TITLE}", *(part for section in sections for part in _section(section))]
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> Iterator[str]:
    yield f"{'#' * section.level} {as_markdown(section.title)}"
    for block in section.blocks:
        yield _block(block)


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return _prose(text)
        case Sentences(lines):
            return "\n".join(f"- {_prose(line)}" for line in lines)
        case Plot(chart):
            data = base64.b64encode(plots.png(plots.figure(chart))).decode()
            return f"![{as_markdown(chart.title)}](data:image/png;base64,{data})"
        case Table():
            return "\n".join(_table(block))


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
    return "" if cell is None else as_markdown(cell)


def _prose(text: str) -> str:
    return with_code(text, as_markdown, lambda code: f"`{visible(code)}`")
