"""Draw curves: speed-up over workers between the ideal and the ceiling, and values over time with their quartiles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flows.show.charts import (
    GREY,
    INK,
    Curve,
    Line,
    LineChart,
    LinePanel,
    Point,
    ScalingChart,
    ScalingPanel,
    style_number,
    style_of,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_IDEAL = "ideal: as many times as workers"
_CEILING = "ceiling: independent processes"
# Curves stand side by side where they have the same number of workers, or their intervals would hide each other.
_APART = 0.09
_MARKERS = 24


def scaling_size(chart: ScalingChart) -> tuple[float, float]:
    """Inches."""
    return max(4.6, 3.0 * len(chart.panels) + 0.4), 4.0


def draw_scaling(figure: Figure, chart: ScalingChart) -> None:
    """All panels, and one legend below them."""
    axes = figure.subplots(1, len(chart.panels), squeeze=False)[0]
    for panel, own in zip(chart.panels, axes, strict=True):
        _draw_scaling_panel(own, panel)
    axes[0].set_ylabel("speed-up, with 95 % interval\n(hollow: too few pairs for one)")
    _legend(figure, axes, 4 if len(chart.panels) > 1 else 2)


def _draw_scaling_panel(axes: Axes, panel: ScalingPanel) -> None:
    workers = sorted({point.workers for curve in panel.curves for point in curve.points})
    right = max(2, workers[-1])
    axes.axhline(1, color=GREY, linewidth=0.8)
    axes.plot([0, right + 1], [0, right + 1], color=GREY, linewidth=1, linestyle=(0, (2, 3)), label=_IDEAL)
    if panel.ceiling:
        _draw_ceiling(axes, panel.ceiling)
    for number, curve in enumerate(panel.curves):
        _draw_curve(axes, curve, (number - (len(panel.curves) - 1) / 2) * _APART)
    axes.set_title(panel.title)
    axes.set_xlabel("workers")
    axes.set_xticks(sorted({1, *workers}))
    axes.set_xlim(0.5, right + 0.5)
    axes.set_ylim(0, 1.12 * _top(panel))


def _draw_ceiling(axes: Axes, ceiling: tuple[Point, ...]) -> None:
    """From one process, which is its own ceiling."""
    xs = [1, *(point.workers for point in ceiling)]
    ys = [1.0, *(point.ratio.value for point in ceiling)]
    axes.plot(xs, ys, color=INK, linewidth=5, alpha=0.22, solid_capstyle="round", label=_CEILING)
    bounds = [(point.ratio.low or point.ratio.value, point.ratio.high or point.ratio.value) for point in ceiling]
    axes.fill_between(
        xs, [1.0, *(low for low, _ in bounds)], [1.0, *(high for _, high in bounds)], color=INK, alpha=0.08
    )


def _draw_curve(axes: Axes, curve: Curve, shift: float) -> None:
    """Without an interval a marker is hollow."""
    style = style_of(curve.executor)
    xs = [point.workers + shift for point in curve.points]
    ys = [point.ratio.value for point in curve.points]
    below = [point.ratio.value - (point.ratio.low or point.ratio.value) for point in curve.points]
    above = [(point.ratio.high or point.ratio.value) - point.ratio.value for point in curve.points]
    axes.errorbar(
        xs,
        ys,
        yerr=[below, above],
        color=style.colour,
        marker=style.marker,
        markersize=6,
        linestyle=style.line,
        linewidth=1.5,
        capsize=3,
        label=curve.executor.family,
    )
    unsure = [place for place, point in enumerate(curve.points) if point.ratio.low is None]
    axes.plot(
        [xs[place] for place in unsure],
        [ys[place] for place in unsure],
        color=style.colour,
        marker=style.marker,
        markersize=6,
        markerfacecolor="white",
        linestyle="none",
        zorder=3,
    )


def _top(panel: ScalingPanel) -> float:
    points = [*panel.ceiling, *(point for curve in panel.curves for point in curve.points)]
    return max(1.5, *(point.ratio.high or point.ratio.value for point in points))


def lines_size(chart: LineChart) -> tuple[float, float]:
    """Inches."""
    return 7.2, 1.5 + 1.6 * len(chart.panels)


def draw_lines(figure: Figure, chart: LineChart) -> None:
    """All panels, and one legend below them; a name has the same style in each."""
    names = list(dict.fromkeys(line.label for panel in chart.panels for line in panel.lines))
    axes = figure.subplots(len(chart.panels), 1, squeeze=False, sharex=True)[:, 0]
    for panel, own in zip(chart.panels, axes, strict=True):
        _draw_line_panel(own, panel, names)
        if chart.reference is not None:
            own.axhline(chart.reference, color=GREY, linewidth=0.8)
    figure.supylabel(chart.unit, fontsize=9)
    _legend(figure, axes, 4)


def _draw_line_panel(axes: Axes, panel: LinePanel, names: list[str]) -> None:
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


def _legend(figure: Figure, panels: Iterable[Axes], columns: int) -> None:
    """One legend below all panels."""
    entries: dict[str, Artist] = {}
    for own in panels:
        for handle, label in zip(*own.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(
        list(entries.values()), list(entries), loc="outside lower center", ncols=columns, frameon=False, fontsize=8
    )
