"""Draw where the time went: a panel per workload, a bar per executor, split into CPU, run queue and blocked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.report.charts import TimeChart, TimePanel
from flows.report.palette import BLUE, GREY, INK, ORANGE, ink_on
from flows.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Name, colour, hatching: dark, middle, light in grey.
_PARTS = (("on a CPU", BLUE, ""), ("in the run queue", ORANGE, "////"), ("blocked", "#e4e4e4", ""))
_MEANING = "share of the measuring threads' time, medians"
# A figure does not fit into less than this part of a bar.
_LEAST_WRITTEN = 0.17


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
        _draw_panel(own, panel, labels)
    axes[0].set_yticks(range(len(labels)), labels)
    axes[0].set_ylim(len(labels) - 0.5, -0.5)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=8, title=_MEANING, title_fontsize=8
    )


def _draw_panel(axes: Axes, panel: TimePanel, labels: list[str]) -> None:
    places = [labels.index(bar.label) for bar in panel.bars if bar.shares]
    parts = [bar.shares for bar in panel.bars if bar.shares]
    for number, (name, colour, hatch) in enumerate(_PARTS):
        lefts, shares = [sum(own[:number]) for own in parts], [own[number] for own in parts]
        # An empty bar, so that the legend is whole whatever was measured; all at once, or it takes twice as long.
        axes.barh([0], [0], color=colour, hatch=hatch, edgecolor=GREY, linewidth=0.5, label=name)
        axes.barh(places, shares, 0.72, left=lefts, color=colour, hatch=hatch, edgecolor=GREY, linewidth=0.5)
        for place, left, share in zip(places, lefts, shares, strict=True):
            if share >= _LEAST_WRITTEN:
                _write(axes, left + share / 2, place, share, number)
    for bar in panel.bars:
        if bar.shares is None:
            axes.text(0.03, labels.index(bar.label), "no quiet sample", va="center", fontsize=7.5, color=INK)
    axes.set_title(panel.title)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100 %"])
    axes.tick_params(axis="y", length=0)


def _write(axes: Axes, x: float, y: int, share: float, number: int) -> None:
    _, colour, hatch = _PARTS[number]
    box = {"facecolor": colour, "edgecolor": "none", "pad": 1.0} if hatch else None
    axes.text(x, y, percent(share), ha="center", va="center", fontsize=7.5, color=ink_on(colour), bbox=box)
