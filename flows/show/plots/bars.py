"""Draw heat maps, and bars of where the time went: of measuring threads, and of the stages of chains."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from flows.show.charts import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PALE,
    CellState,
    HeatCell,
    HeatMap,
    Scale,
    StageChart,
    TimeChart,
    TimePanel,
    ink_on,
    lost_colour,
    speedup_colour,
)
from flows.text import percent

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
_SCALE_KEY = {
    Scale.LOST: "colour: share lost, white to dark; hatched: skipped, or the race had no chance",
    Scale.SPEEDUP: "blue: faster, brown: slower, white: neither is sure; hatched: skipped, or no quiet pair",
}
# Name, colour, hatching: dark, middle, light in grey.
_PARTS = (("on a CPU", BLUE, ""), ("in the run queue", ORANGE, "////"), ("blocked", "#e4e4e4", ""))
_MEANING = "share of the measuring threads' time, medians"
# A figure does not fit into less than this part of a bar.
_LEAST_WRITTEN = 0.17


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
        _write_cell(axes, x, y, cell, colour)
    axes.set_xlim(-0.5, len(chart.columns) - 0.5)
    axes.set_ylim(len(chart.rows) - 0.5, -0.5)
    axes.set_xticks(range(len(chart.columns)), _column_labels(chart))
    axes.set_yticks(range(len(chart.rows)), chart.rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.supxlabel(textwrap.fill(_SCALE_KEY[chart.scale], 45 + 11 * len(chart.columns)), fontsize=8, color="#555555")


def _column_labels(chart: HeatMap) -> list[str]:
    return [textwrap.fill(label, 11, max_lines=5, placeholder="…") for label in chart.columns]


def _write_cell(axes: Axes, x: int, y: int, cell: HeatCell, colour: str) -> None:
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


def times_size(chart: TimeChart) -> tuple[float, float]:
    """Inches."""
    bars = max(len(panel.bars) for panel in chart.panels)
    return 2.0 + 2.1 * len(chart.panels), 1.5 + 0.34 * bars


def draw_times(figure: Figure, chart: TimeChart) -> None:
    """All panels with the same rows, and one legend below them."""
    longest = max((panel.bars for panel in chart.panels), key=len)
    labels = list(
        dict.fromkeys(bar.label for bars in (longest, *(panel.bars for panel in chart.panels)) for bar in bars)
    )
    axes = figure.subplots(1, len(chart.panels), squeeze=False, sharey=True)[0]
    for panel, own in zip(chart.panels, axes, strict=True):
        _draw_time_panel(own, panel, labels)
    axes[0].set_yticks(range(len(labels)), labels)
    axes[0].set_ylim(len(labels) - 0.5, -0.5)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=8, title=_MEANING, title_fontsize=8
    )


def _draw_time_panel(axes: Axes, panel: TimePanel, labels: list[str]) -> None:
    places = [labels.index(bar.label) for bar in panel.bars if bar.shares]
    parts = [bar.shares for bar in panel.bars if bar.shares]
    for number, (name, colour, hatch) in enumerate(_PARTS):
        lefts, shares = [sum(own[:number]) for own in parts], [own[number] for own in parts]
        # An empty bar, so that the legend is whole whatever was measured; all at once, or it takes twice as long.
        axes.barh([0], [0], color=colour, hatch=hatch, edgecolor=GREY, linewidth=0.5, label=name)
        axes.barh(places, shares, 0.72, left=lefts, color=colour, hatch=hatch, edgecolor=GREY, linewidth=0.5)
        for place, left, share in zip(places, lefts, shares, strict=True):
            if share >= _LEAST_WRITTEN:
                _write_share(axes, left + share / 2, place, share, number)
    for bar in panel.bars:
        if bar.shares is None:
            axes.text(0.03, labels.index(bar.label), "no quiet sample", va="center", fontsize=7.5, color=INK)
    axes.set_title(panel.title)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100 %"])
    axes.tick_params(axis="y", length=0)


def _write_share(axes: Axes, x: float, y: int, share: float, number: int) -> None:
    _, colour, hatch = _PARTS[number]
    box = {"facecolor": colour, "edgecolor": "none", "pad": 1.0} if hatch else None
    axes.text(x, y, percent(share), ha="center", va="center", fontsize=7.5, color=ink_on(colour), bbox=box)


def stages_size(chart: StageChart) -> tuple[float, float]:
    """Inches."""
    return 7.2, 1.5 + 0.32 * len(chart.bars)


def draw_stages(figure: Figure, chart: StageChart) -> None:
    """Stages from the top down; the whole width is the chain's wall time."""
    axes = figure.subplots()
    places = range(len(chart.bars))
    walls, cpus = [bar.wall for bar in chart.bars], [bar.cpu for bar in chart.bars]
    axes.barh(places, walls, 0.72, color="#e4e4e4", edgecolor=GREY, linewidth=0.5, label="wall time: it was there")
    axes.barh(places, cpus, 0.4, color=BLUE, edgecolor=GREY, linewidth=0.5, label="CPU time: it computed")
    for place, bar in zip(places, chart.bars, strict=True):
        text = f"{percent(bar.cpu)} of {percent(bar.wall)}"
        axes.text(max(bar.wall, bar.cpu) + 0.01, place, text, va="center", fontsize=7.5, color=INK)
    axes.set_yticks(places, [bar.label for bar in chart.bars])
    axes.set_ylim(len(chart.bars) - 0.5, -0.5)
    axes.set_xlim(0, 1.2 * max(1.0, *walls, *cpus))
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100 %"])
    axes.set_xlabel("part of the chain's wall time")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
