"""Charts of lines: speed-up over workers between the ideal and the ceiling, and values over time with quartiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from tasks.axes import Executor

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from flows.analysis.intervals import Ratio

# Colours that the colour-blind tell apart and that differ in grey too: Okabe and Ito's, and greys.
INK = "#1a1a1a"
GREY = "#8c8c8c"
BLUE, ORANGE, SKY, GREEN = "#0072B2", "#E69F00", "#56B4E9", "#009E73"
VERMILLION, PURPLE, BLACK = "#D55E00", "#CC79A7", "#000000"

_IDEAL = "ideal: as many times as workers"
_CEILING = "ceiling: independent processes"
# Curves stand side by side where they have the same number of workers, or their intervals would hide each other.
_APART = 0.09
_MARKERS = 24


@dataclass(frozen=True, slots=True)
class _Style:
    """Colour, marker and line, each of which tells a curve from the others by itself."""

    colour: str
    marker: str
    line: str | tuple[float, tuple[float, ...]]


_STYLES = (
    _Style(BLACK, "x", "-"),
    _Style(BLUE, "o", "-"),
    _Style(SKY, "s", "--"),
    _Style(VERMILLION, "^", "-."),
    _Style(GREEN, "D", ":"),
    _Style(PURPLE, "v", (0, (6, 2, 1, 2, 1, 2))),
    _Style(ORANGE, "P", (0, (1, 1))),
)


@dataclass(frozen=True, slots=True)
class Curve:
    """An executor's speed-ups by number of workers, which rises."""

    executor: Executor
    ratios: Mapping[int, Ratio]


@dataclass(frozen=True, slots=True)
class ScalingPanel:
    """A workload's speed-ups; `ceiling` is what independent processes gave, empty where it is no limit."""

    title: str
    curves: tuple[Curve, ...]
    ceiling: Mapping[int, Ratio]


@dataclass(frozen=True, slots=True)
class ScalingChart:
    """Speed-up over workers, a panel for each workload."""

    title: str
    panels: tuple[ScalingPanel, ...]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        return max(4.6, 3.0 * len(self.panels) + 0.4), 4.0

    def draw(self, figure: Figure) -> None:
        """All panels, and one legend below them."""
        axes = figure.subplots(1, len(self.panels), squeeze=False)[0]
        for panel, own in zip(self.panels, axes, strict=True):
            _draw_scaling_panel(own, panel)
        axes[0].set_ylabel("speed-up, with 95 % interval\n(hollow: too few pairs for one)")
        legend(figure, axes, 4 if len(self.panels) > 1 else 2)


def _draw_scaling_panel(axes: Axes, panel: ScalingPanel) -> None:
    workers = sorted({workers for curve in panel.curves for workers in curve.ratios})
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
    shown = [*panel.ceiling.values(), *(ratio for curve in panel.curves for ratio in curve.ratios.values())]
    axes.set_ylim(0, 1.12 * max(1.5, *map(_high, shown)))


def _draw_ceiling(axes: Axes, ceiling: Mapping[int, Ratio]) -> None:
    """From one process, which is its own ceiling."""
    workers = [1, *ceiling]
    values = [1.0, *(ratio.value for ratio in ceiling.values())]
    axes.plot(workers, values, color=INK, linewidth=5, alpha=0.22, solid_capstyle="round", label=_CEILING)
    lows, highs = [1.0, *map(_low, ceiling.values())], [1.0, *map(_high, ceiling.values())]
    axes.fill_between(workers, lows, highs, color=INK, alpha=0.08)


def _draw_curve(axes: Axes, curve: Curve, shift: float) -> None:
    """Without an interval a marker is hollow."""
    # By its place in the executors' table: a new row has a style without being given one.
    style = _STYLES[list(Executor).index(curve.executor) % len(_STYLES)]
    ratios = curve.ratios.values()
    axes.errorbar(
        [workers + shift for workers in curve.ratios],
        [ratio.value for ratio in ratios],
        yerr=[[ratio.value - _low(ratio) for ratio in ratios], [_high(ratio) - ratio.value for ratio in ratios]],
        color=style.colour,
        marker=style.marker,
        markersize=6,
        linestyle=style.line,
        linewidth=1.5,
        capsize=3,
        label=curve.executor.family,
    )
    unsure = {workers + shift: ratio.value for workers, ratio in curve.ratios.items() if ratio.low is None}
    axes.plot(
        [*unsure],
        [*unsure.values()],
        color=style.colour,
        marker=style.marker,
        markersize=6,
        markerfacecolor="white",
        linestyle="none",
        zorder=3,
    )


def _low(ratio: Ratio) -> float:
    return ratio.low or ratio.value


def _high(ratio: Ratio) -> float:
    return ratio.high or ratio.value


@dataclass(frozen=True, slots=True)
class Moment:
    """A value at a time (UTC), with its quartiles where they are known."""

    at: datetime
    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """The values of a name, oldest first."""

    label: str
    moments: tuple[Moment, ...]


@dataclass(frozen=True, slots=True)
class LinePanel:
    """Lines that may be compared; `steps` are the times at which one of them changed its level."""

    title: str
    lines: tuple[Line, ...]
    steps: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class LineChart:
    """Values over time, panels one below the other; `reference` is a value to compare with, or None."""

    title: str
    unit: str
    panels: tuple[LinePanel, ...]
    reference: float | None = None

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        return 7.2, 1.5 + 1.6 * len(self.panels)

    def draw(self, figure: Figure) -> None:
        """All panels, and one legend below them; a name has the same style in each."""
        names = list(dict.fromkeys(line.label for panel in self.panels for line in panel.lines))
        axes = figure.subplots(len(self.panels), 1, squeeze=False, sharex=True)[:, 0]
        for panel, own in zip(self.panels, axes, strict=True):
            _draw_line_panel(own, panel, names)
            if self.reference is not None:
                own.axhline(self.reference, color=GREY, linewidth=0.8)
        figure.supylabel(self.unit, fontsize=9)
        legend(figure, axes, 4)


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
    style = _STYLES[(number + 1) % len(_STYLES)]
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


def legend(figure: Figure, panels: Iterable[Axes], columns: int, title: str | None = None) -> None:
    """One legend below all panels."""
    entries: dict[str, Artist] = {}
    for own in panels:
        for handle, label in zip(*own.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=8,
        title=title,
        title_fontsize=8,
    )
