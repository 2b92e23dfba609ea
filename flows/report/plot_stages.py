"""Draw where the time of chains went: a bar per stage, its CPU time dark, the rest of its wall time light."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.report.charts import StageChart
from flows.report.palette import BLUE, GREY, INK
from flows.text import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
