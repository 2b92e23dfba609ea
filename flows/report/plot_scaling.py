"""Draw speed-up over workers: a panel per workload, a curve per executor, between the ideal and the ceiling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.report.charts import Curve, Point, ScalingChart, ScalingPanel
from flows.report.palette import GREY, INK, style_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_IDEAL = "ideal: as many times as workers"
_CEILING = "ceiling: independent processes"
# Curves stand side by side where they have the same number of workers, or their intervals would hide each other.
_APART = 0.09


def scaling_size(chart: ScalingChart) -> tuple[float, float]:
    """Inches."""
    return max(4.6, 3.0 * len(chart.panels) + 0.4), 4.0


def draw_scaling(figure: Figure, chart: ScalingChart) -> None:
    """All panels, and one legend below them."""
    axes = figure.subplots(1, len(chart.panels), squeeze=False)[0]
    for panel, own in zip(chart.panels, axes, strict=True):
        _draw_panel(own, panel)
    axes[0].set_ylabel("speed-up, with 95 % interval\n(hollow: too few pairs for one)")
    entries: dict[str, Artist] = {}
    for own in axes:
        for handle, label in zip(*own.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    wide = len(chart.panels) > 1
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=4 if wide else 2,
        frameon=False,
        fontsize=8,
    )


def _draw_panel(axes: Axes, panel: ScalingPanel) -> None:
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
