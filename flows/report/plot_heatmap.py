"""Draw a heat map: a cell per row and interpreter, with what it says written on it."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from flows.report.charts import CellState, HeatCell, HeatMap, Scale
from flows.report.palette import INK, PALE, ink_on, lost_colour, speedup_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Cells without a value differ by their text, and at a glance by their hatching.
_HATCHES = {
    CellState.NONE_OBSERVED: "",
    CellState.SKIPPED: "////",
    CellState.NOTHING: "....",
    CellState.NOT_MEASURED: "",
    CellState.FAILED: "xxxx",
}
_KEY = {
    Scale.LOST: "colour: share lost, white to dark; hatched: skipped, or the race had no chance",
    Scale.SPEEDUP: "blue: faster, brown: slower, white: neither is sure; hatched: skipped, or no quiet pair",
}


def heatmap_size(chart: HeatMap) -> tuple[float, float]:
    """Inches: a cell holds two short lines, or three where losses are counted."""
    height = 0.62 if chart.scale is Scale.LOST else 0.46
    lines = max(label.count("\n") + 1 for label in _column_labels(chart))
    return 2.4 + 0.95 * max(2, len(chart.columns)), 1.2 + 0.16 * lines + height * len(chart.rows)


def draw_heatmap(figure: Figure, chart: HeatMap) -> None:
    """Rows from the top down, interpreters along the bottom."""
    axes = figure.subplots()
    reach = _reach(chart)
    cells = [(x, y, cell) for y, row in enumerate(chart.cells) for x, cell in enumerate(row)]
    colours = [_colour(cell, chart.scale, reach) for _, _, cell in cells]
    # All at once: one by one they took half of the time of a map.
    axes.bar(
        [x for x, _, _ in cells],
        0.92,
        0.95,
        [y - 0.46 for _, y, _ in cells],
        color=colours,
        edgecolor="#c8c8c8",
        linewidth=0.6,
        hatch=[_HATCHES.get(cell.state) or "" for _, _, cell in cells],
    )
    for (x, y, cell), colour in zip(cells, colours, strict=True):
        _write(axes, x, y, cell, colour)
    axes.set_xlim(-0.5, len(chart.columns) - 0.5)
    axes.set_ylim(len(chart.rows) - 0.5, -0.5)
    axes.set_xticks(range(len(chart.columns)), _column_labels(chart))
    axes.set_yticks(range(len(chart.rows)), chart.rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.supxlabel(textwrap.fill(_KEY[chart.scale], 45 + 11 * len(chart.columns)), fontsize=8, color="#555555")


def _column_labels(chart: HeatMap) -> list[str]:
    return [textwrap.fill(label, 11, max_lines=5, placeholder="…") for label in chart.columns]


def _write(axes: Axes, x: int, y: int, cell: HeatCell, colour: str) -> None:
    first, *others = cell.lines
    has_value = cell.state is CellState.VALUE
    ink = ink_on(colour)
    box = {"facecolor": colour, "edgecolor": "none", "pad": 1.2} if _HATCHES.get(cell.state) else None
    if not has_value:
        axes.text(x, y, "\n".join(cell.lines), ha="center", va="center", fontsize=7.5, color=ink, bbox=box)
        return
    axes.text(x, y - 0.15, first, ha="center", va="center", fontsize=9.5, color=ink, fontweight="bold")
    axes.text(x, y + 0.23, "\n".join(others), ha="center", va="center", fontsize=7, color=ink)


def _colour(cell: HeatCell, scale: Scale, reach: float) -> str:
    if cell.value is None:
        return {CellState.FAILED: INK, CellState.NONE_OBSERVED: "#ffffff"}.get(cell.state, PALE)
    if not cell.sure:
        return "#ffffff"
    if scale is Scale.LOST:
        return lost_colour(cell.value)
    return speedup_colour(math.log2(cell.value) / reach)


def _reach(chart: HeatMap) -> float:
    """How many doublings (or halvings) have the full colour: at least one, so that noise around 1 stays white."""
    values = [cell.value for row in chart.cells for cell in row if cell.value and cell.sure]
    return max([1.0, *(abs(math.log2(value)) for value in values)])
