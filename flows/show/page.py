"""Sections as a static HTML page, as markdown for Prefect's UI, and tables as its table artifacts.

The page has no script, loads nothing, and has its plots inline. Markdown has them as PNG data, because the UI strips
`<svg>`.
"""

from __future__ import annotations

import base64
import html
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime

from db.backup import new_file, open_stream
from flows.show import plots
from flows.show.table import Block, Cell, Paragraph, Plot, Section, Sentences, Table, with_code, written
from flows.text import utc, visible

ArtifactRow = dict[str, str | int | None]

_TICKS = re.compile(r"`+")
# Characters that are more than text in markdown.
_MARKED = re.compile(r"[&<>|\\`*_\[\]~#!]")
# A renderer makes links of these, however they are escaped: it looks for addresses after it has removed the escapes.
_ADDRESS = re.compile(r"://|www\.|mailto:|xmpp:|@", re.IGNORECASE)
# Text that the older UI would take for markup, for a link to follow or for an image to load.
_MARKED_CELL = re.compile(r"[&<>|\\`*\[\]~#@]|(?<![^\W_])_|_(?![^\W_])|://|www\.|^\W\s|^\d+[.)]\s", re.IGNORECASE)


def page_of(title: str, sections: Sequence[Section]) -> str:
    """Sections as a page."""
    body = []
    for section in sections:
        body.append(f"<h{section.level}>{as_html(section.title)}</h{section.level}>")
        body += map(_block, section.blocks)
    return _FRAME.format(title=as_html(title), style=_STYLESHEET, body="\n".join(body))


def write_page(path: str, page: str) -> bool:
    """Write a page whole or not at all, for its owner only; a pipe or a device, and then True, is written to as it is.

    Raises what `db.backup.new_file` does.
    """
    stream = open_stream(path)
    place = new_file(path, overwrite=True) if stream is None else nullcontext(stream)
    with place as output, open(output, "w", encoding="utf-8") as file:
        file.write(page)
    return stream is not None


def as_html(text: str) -> str:
    """Text for an element or an attribute."""
    return html.escape(visible(text))


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
            return f"<details>\n<summary>{as_html(title)}</summary>\n{_table(block)}\n</details>"
        case Table(title):
            return _table(block, f"<caption>{as_html(title)}</caption>\n")


def _table(table: Table, caption: str = "") -> str:
    classes = [' class="number"' if column.right else "" for column in table.columns]
    heads = "".join(
        f'<th scope="col"{css}>{as_html(column.heading)}</th>'
        for column, css in zip(table.columns, classes, strict=True)
    )
    body = [f'<div class="table"><table>\n{caption}<thead><tr>{heads}</tr></thead>\n<tbody>']
    for row in table.rows:
        cells = zip(row, classes, strict=True)
        texts = "".join(f"<td{css or _width(cell)}>{as_html(written(cell))}</td>" for cell, css in cells)
        body.append(f"<tr>{texts}</tr>")
    return "\n".join((*body, "</tbody>", "</table></div>"))


def _width(cell: Cell) -> str:
    """Keep labels on one line, however narrow the screen: the table scrolls."""
    return "" if isinstance(cell, str) and len(cell) > _LABEL_LENGTH else ' class="label"'


def _prose(text: str) -> str:
    escaped = with_code(text, as_html, lambda code: f"<code>{as_html(code)}</code>")
    # A line must not begin with the sign for per cent.
    return escaped.replace(" %", "&nbsp;%")


def markdown_of(title: str, sections: Sequence[Section], *, most_bytes: int = sys.maxsize) -> str:
    """Sections as markdown; plots are PNG data addresses. `most_bytes` bound the whole: text first, then plots."""
    parts = [f"# {title}", *(part for section in sections for part in _markdown_section(section))]
    left = most_bytes - sum(len(part.encode()) for part in parts if isinstance(part, str))
    return "\n\n".join(_drawn(parts, left)) + "\n"


def artifact_of(table: Table) -> list[ArtifactRow]:
    """A table as rows of a table artifact, whose cells the older UI takes for markdown, and the newer one for text.

    Text that would be more than text in markdown is indented: that makes it code in the older UI, and changes nothing
    in the newer one.
    """
    headings = [column.heading for column in table.columns]
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
    """Draw plots until one exceeds `left` bytes; none is tried after it, as each takes a fifth of a second."""
    for part in parts:
        if isinstance(part, str):
            yield part
            continue
        image = _plot(part) if left > 0 else ""
        left = left - len(image) if len(image) <= left else 0
        yield image if left > 0 else _LEFT_OUT


def _markdown_section(section: Section) -> Iterator[str | Plot]:
    yield f"{'#' * section.level} {as_markdown(section.title)}"
    for block in section.blocks:
        yield block if isinstance(block, Plot) else _markdown_block(block)


def _markdown_block(block: Paragraph | Sentences | Table) -> str:
    match block:
        case Paragraph(text):
            return _markdown_prose(text)
        case Sentences(lines):
            return "\n".join(f"- {_markdown_prose(line)}" for line in lines)
        case Table():
            return "\n".join(_markdown_table(block))


def _plot(plot: Plot) -> str:
    data = base64.b64encode(plots.png(plots.figure(plot.chart))).decode()
    return f"![{as_markdown(plot.chart.title)}](data:image/png;base64,{data})"


def _markdown_table(table: Table) -> Iterator[str]:
    yield f"**{as_markdown(table.title)}**\n"
    yield _markdown_row(tuple(column.heading for column in table.columns))
    yield "|" + "|".join(" ---: " if column.right else " --- " for column in table.columns) + "|"
    for row in table.rows:
        yield _markdown_row(row)


def _markdown_row(cells: Sequence[Cell]) -> str:
    return "| " + " | ".join(as_markdown(written(cell), cell=True) for cell in cells) + " |"


def _markdown_prose(text: str) -> str:
    return with_code(text, as_markdown, lambda code: f"`{visible(code)}`")


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
_LEFT_OUT = "(There is a plot here that would make this too large; the tables have its numbers, the page has it.)"
