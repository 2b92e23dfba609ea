"""The report as one static HTML page: no script, nothing loaded from anywhere, plots inline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from db.rows import PayloadRow, RunRow, SampleRow
from flows.report import plots
from flows.report.blocks import Block, Cell, Paragraph, Plot, Section, Sentences, Table
from flows.report.contents import TITLE, contents
from flows.report.escaping import as_html, with_code
from flows.report.stylesheet import STYLESHEET


def report_page(
    runs: Sequence[RunRow],
    payloads: Sequence[PayloadRow],
    samples: Sequence[SampleRow],
    *,
    made_at: datetime,
    where: str = "",
    one_run: bool = False,
    more: Sequence[Section] = (),
) -> str:
    """The whole page, from rows in any order.

    Args:
        runs: those to count; they also tell the samples of a survey from others
        payloads: those to sum up
        samples: of one run or of many; of each interpreter on each host one run is shown, see `latest`
        made_at: UTC; the same rows and the same time give the same bytes
        where: the record's place, for people
        one_run: leave out what was not done, rather than say how to do it
        more: further sections, to follow the summary
    """
    return page_of(contents(runs, payloads, samples, made_at=made_at, where=where, one_run=one_run, more=more))


def page_of(sections: Sequence[Section]) -> str:
    """Sections as a page."""
    body = "\n".join(line for section in sections for line in _section(section))
    return _FRAME.format(title=as_html(TITLE), style=STYLESHEET, body=body)


def _section(section: Section) -> Iterator[str]:
    yield f"<h{section.level}>{as_html(section.title)}</h{section.level}>"
    for block in section.blocks:
        yield _block(block)


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{_prose(text)}</p>"
        case Sentences(lines):
            items = "\n".join(f"<li>{_prose(line)}</li>" for line in lines)
            return f"<ul>\n{items}\n</ul>"
        case Plot(chart):
            return f'<div class="plot">\n{plots.svg(plots.figure(chart))}\n</div>'
        case Table(title, folded=True):
            table = "\n".join(_table(block))
            return f"<details>\n<summary>{as_html(title)}</summary>\n{table}\n</details>"
        case Table():
            return "\n".join(_table(block))


def _table(table: Table) -> Iterator[str]:
    yield '<div class="table"><table>'
    if not table.folded:
        yield f"<caption>{as_html(table.title)}</caption>"
    classes = [' class="number"' if column.number else "" for column in table.columns]
    heads = (
        f'<th scope="col"{css}>{as_html(column.title)}</th>' for column, css in zip(table.columns, classes, strict=True)
    )
    yield f"<thead><tr>{''.join(heads)}</tr></thead>"
    yield "<tbody>"
    for row in table.rows:
        cells = (f"<td{css or _width(cell)}>{_cell(cell)}</td>" for cell, css in zip(row, classes, strict=True))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody>"
    yield "</table></div>"


def _width(cell: Cell) -> str:
    """Labels stay on one line, however narrow the screen: the table scrolls."""
    return "" if isinstance(cell, str) and len(cell) > _LABEL_LENGTH else ' class="label"'


def _cell(cell: Cell) -> str:
    if isinstance(cell, int):
        return f"{cell:,}"
    return "" if cell is None else as_html(cell)


def _prose(text: str) -> str:
    escaped = with_code(text, as_html, lambda code: f"<code>{as_html(code)}</code>")
    # No line begins with a sign for per cent.
    return escaped.replace(" %", "&nbsp;%")


_LABEL_LENGTH = 28
_FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""
