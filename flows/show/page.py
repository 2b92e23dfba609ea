"""The report as one static HTML page: no script, nothing loaded from anywhere, plots inline; dark on white."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime

from flows.errors import RequestRefused
from flows.show import plots
from flows.show.table import Block, Cell, Paragraph, Plot, Section, Sentences, Table, with_code
from flows.text import utc, visible


def page_of(title: str, sections: Sequence[Section]) -> str:
    """Sections as a page."""
    body = "\n".join(line for section in sections for line in _section(section))
    return _FRAME.format(title=as_html(title), style=_STYLESHEET, body=body)


def write_page(path: str, page: str) -> None:
    """Write to a temporary name first, so that a report is whole. A pipe or a device is written to as it is.

    Raises:
        RequestRefused: the file cannot be written.
    """
    is_file = os.path.isfile(path) or not os.path.exists(path)
    part = f"{path}.part" if is_file else path
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(page)
        if is_file:
            os.replace(part, path)
    except OSError as error:
        if is_file:
            with suppress(OSError):
                os.unlink(part)
        raise RequestRefused(f"{path} cannot be written: {error.strerror}") from None


def as_html(text: str) -> str:
    """Text for an element or an attribute."""
    return html.escape(visible(text))


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
    classes = [' class="number"' if heading.right else "" for heading in table.headings]
    heads = (
        f'<th scope="col"{css}>{as_html(heading.text)}</th>'
        for heading, css in zip(table.headings, classes, strict=True)
    )
    yield f"<thead><tr>{''.join(heads)}</tr></thead>"
    yield "<tbody>"
    for row in table.rows:
        cells = (f"<td{css or _width(cell)}>{_cell(cell)}</td>" for cell, css in zip(row, classes, strict=True))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody>"
    yield "</table></div>"


def _width(cell: Cell) -> str:
    """Keep labels on one line, however narrow the screen: the table scrolls."""
    return "" if isinstance(cell, str) and len(cell) > _LABEL_LENGTH else ' class="label"'


def _cell(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case int():
            return f"{cell:,}"
        case datetime():
            return utc(cell)
    return as_html(cell)


def _prose(text: str) -> str:
    escaped = with_code(text, as_html, lambda code: f"<code>{as_html(code)}</code>")
    # A line must not begin with the sign for per cent.
    return escaped.replace(" %", "&nbsp;%")


_LABEL_LENGTH = 28
_STYLESHEET = """\
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1a1a1a; font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.6rem; margin: 0.5rem 0; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 0.5rem; padding-top: 0.5rem; border-top: 1px solid #ccc; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 0.4rem; }
p, ul { max-width: 48rem; margin: 0.5rem 0; }
ul { padding-left: 1.2rem; }
li { margin: 0.25rem 0; }
p, li { overflow-wrap: anywhere; }
code { font: 0.9em ui-monospace, "DejaVu Sans Mono", Menlo, monospace; background: #f2f2f2; padding: 0 0.2em; }
.table, .plot { overflow-x: auto; margin: 0.8rem 0; }
.plot svg { display: block; height: auto; max-width: none; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 0.2rem 0; white-space: nowrap; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid #888; vertical-align: bottom; }
td { min-width: 14rem; max-width: 26rem; overflow-wrap: anywhere; }
.label, .number { min-width: 0; white-space: nowrap; }
.number { text-align: right; }
th.number { white-space: normal; }
details { margin: 0.8rem 0; }
summary { cursor: pointer; font-weight: 600; font-size: 0.85rem; padding: 0.4rem 0; }
@media print {
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  .table, .plot { overflow: visible; }
  .plot svg { max-width: 100%; }
  .plot, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  table { font-size: 7pt; }
  th, td { padding: 0.15rem 0.3rem; }
  td { min-width: 6rem; }
  details:not([open]) { display: none; }
  thead { display: table-header-group; }
}
"""
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
