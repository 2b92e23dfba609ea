"""Draw values over time: a panel below the other on one time axis, medians as lines, quartiles as bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.report.charts import Line, LineChart, LinePanel
from flows.report.palette import GREY, INK, style_number

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = 24


def lines_size(chart: LineChart) -> tuple[float, float]:
    """Inches."""
    return 7.2, 1.5 + 1.6 * len(chart.panels)


def draw_lines(figure: Figure, chart: LineChart) -> None:
    """All panels, and one legend below them; a name has the same style in each."""
    names = list(dict.fromkeys(line.label for panel in chart.panels for line in panel.lines))
    axes = figure.subplots(len(chart.panels), 1, squeeze=False, sharex=True)[:, 0]
    for panel, own in zip(chart.panels, axes, strict=True):
        _draw_panel(own, panel, names)
        if chart.reference is not None:
            own.axhline(chart.reference, color=GREY, linewidth=0.8)
    figure.supylabel(chart.unit, fontsize=9)
    entries: dict[str, Artist] = {}
    for own in axes:
        for handle, label in zip(*own.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=4, frameon=False, fontsize=8)


def _draw_panel(axes: Axes, panel: LinePanel, names: list[str]) -> None:
    for line in panel.lines:
        _draw_line(axes, line, names.index(line.label))
    for step in panel.steps:
        # Times are numbers to matplotlib, as it turns them by itself, which its stubs do not know.
        axes.axvline(step, color=INK, linewidth=1, linestyle=(0, (4, 3)), label="step")  # type: ignore[arg-type]
    axes.set_title(panel.title, loc="left", fontsize=9)
    tops = [moment.upper or moment.value for line in panel.lines for moment in line.moments]
    axes.set_ylim(0, 1.12 * max(tops))
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)


def _draw_line(axes: Axes, line: Line, number: int) -> None:
    style = style_number(number + 1)
    times = [moment.at for moment in line.moments]
    banded = [moment for moment in line.moments if moment.lower is not None and moment.upper is not None]
    if banded:
        axes.fill_between(
            [moment.at for moment in banded],  # type: ignore[arg-type]
            [moment.lower or 0 for moment in banded],
            [moment.upper or 0 for moment in banded],
            color=style.colour,
            alpha=0.2,
            linewidth=0,
        )
    axes.plot(
        times,  # type: ignore[arg-type]
        [moment.value for moment in line.moments],
        color=style.colour,
        linestyle=style.line,
        linewidth=1.3,
        marker=style.marker,
        markersize=4,
        markevery=max(1, len(times) // _MARKERS),
        label=line.label,
    )
