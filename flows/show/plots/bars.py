"""Charts of cells and bars: heat maps, and where the time of measuring threads and of chains' stages went."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from flows.show.plots.lines import BLUE, GREY, INK, ORANGE, legend
from flows.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PALE, _WHITE = "#f2f2f2", "#ffffff"


class CellState(StrEnum):
    """What a cell of a heat map says."""

    VALUE = "value"
    NONE_OBSERVED = "none observed"
    SKIPPED = "skipped"
    NOTHING = "nothing can be said"
    FAILED = "FAILED"
    NOT_MEASURED = "not measured"


class Scale(StrEnum):
    """What a heat map's values are: shares from 0 to 1, or ratios around 1."""

    LOST = "lost"
    SPEEDUP = "speedup"


# Cells without a value differ by their text, and at a glance by their hatching.
_HATCHES = {CellState.SKIPPED: "////", CellState.NOTHING: "....", CellState.FAILED: "xxxx"}
_SCALE_KEY = {
    Scale.LOST: "colour: share lost, white to dark; hatched: skipped, or the race had no chance",
    Scale.SPEEDUP: "blue: faster, brown: slower, white: neither is sure; hatched: skipped, or no quiet pair",
}
# Name, colour, hatching: dark, middle, light in grey.
_PARTS = (("on a CPU", BLUE, ""), ("in the run queue", ORANGE, "////"), ("blocked", "#e4e4e4", ""))
_MEANING = "share of the measuring threads' time, medians"
# A figure does not fit into less than this part of a bar.
_LEAST_WRITTEN = 0.17


@dataclass(frozen=True, slots=True)
class HeatCell:
    """The lines written on a cell, and its value if there is one; a value that is not `sure` has no colour."""

    state: CellState
    lines: tuple[str, ...]
    value: float | None = None
    sure: bool = True


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Rows × interpreters."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[HeatCell, ...], ...]
    scale: Scale

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches: a cell holds two short lines, or three where losses are counted."""
        height = 0.62 if self.scale is Scale.LOST else 0.46
        lines = max(label.count("\n") + 1 for label in _column_labels(self))
        return 2.4 + 0.95 * max(2, len(self.columns)), 1.2 + 0.16 * lines + height * len(self.rows)

    def draw(self, figure: Figure) -> None:
        """Rows from the top down, interpreters along the bottom."""
        axes = figure.subplots()
        reach = _reach(self)
        cells = [(x, y, cell) for y, row in enumerate(self.cells) for x, cell in enumerate(row)]
        colours = [_colour(cell, self.scale, reach) for _, _, cell in cells]
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
        axes.set_xlim(-0.5, len(self.columns) - 0.5)
        axes.set_ylim(len(self.rows) - 0.5, -0.5)
        axes.set_xticks(range(len(self.columns)), _column_labels(self))
        axes.set_yticks(range(len(self.rows)), self.rows)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        key = textwrap.fill(_SCALE_KEY[self.scale], 45 + 11 * len(self.columns))
        figure.supxlabel(key, fontsize=8, color="#555555")


def _column_labels(chart: HeatMap) -> list[str]:
    return [textwrap.fill(label, 11, max_lines=5, placeholder="…") for label in chart.columns]


def _write_cell(axes: Axes, x: int, y: int, cell: HeatCell, colour: str) -> None:
    first, *others = cell.lines
    ink = _ink_on(colour)
    box = {"facecolor": colour, "edgecolor": "none", "pad": 1.2} if _HATCHES.get(cell.state) else None
    if cell.state is not CellState.VALUE:
        axes.text(x, y, "\n".join(cell.lines), ha="center", va="center", fontsize=7.5, color=ink, bbox=box)
        return
    axes.text(x, y - 0.15, first, ha="center", va="center", fontsize=9.5, color=ink, fontweight="bold")
    axes.text(x, y + 0.23, "\n".join(others), ha="center", va="center", fontsize=7, color=ink)


def _colour(cell: HeatCell, scale: Scale, reach: float) -> str:
    """A share lost is white to vermillion, never too dark to write on; a speed-up is brown to white to blue."""
    if cell.value is None:
        return {CellState.FAILED: INK, CellState.NONE_OBSERVED: _WHITE}.get(cell.state, _PALE)
    if not cell.sure:
        return _WHITE
    if scale is Scale.LOST:
        return _tinted("#DE7332", cell.value * 1.6)
    doublings = math.log2(cell.value)
    return _tinted("#4393D0" if doublings > 0 else "#CC8033", abs(doublings) / reach)


def _reach(chart: HeatMap) -> float:
    """How many doublings (or halvings) have the full colour: at least one, so that noise around 1 stays white."""
    values = [cell.value for row in chart.cells for cell in row if cell.value and cell.sure]
    return max([1.0, *(abs(math.log2(value)) for value in values)])


def _tinted(colour: str, share: float) -> str:
    """White with a share of a colour, as `#rrggbb`."""
    share = min(1.0, max(0.0, share))
    return "#" + "".join(f"{round(255 + (channel - 255) * share):02x}" for channel in _channels(colour))


def _ink_on(colour: str) -> str:
    """Black or white, whichever has more contrast with a colour (WCAG's relative luminance)."""
    red, green, blue = ((channel / 255) ** 2.2 for channel in _channels(colour))
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else _WHITE


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


@dataclass(frozen=True, slots=True)
class TimeBar:
    """Medians of what an executor's threads spent, nanoseconds, over `samples` quiet ones (none: all zero)."""

    workload: str
    label: str
    cpu_ns: float
    runq_ns: float
    blocked_ns: float
    samples: int

    @property
    def shares(self) -> tuple[float, float, float] | None:
        """CPU, run queue and blocked as parts of their sum; None without a sample."""
        total = self.cpu_ns + self.runq_ns + self.blocked_ns
        if not total:
            return None
        return self.cpu_ns / total, self.runq_ns / total, self.blocked_ns / total


@dataclass(frozen=True, slots=True)
class TimeChart:
    """Where the time went on one interpreter, a panel for each workload and a bar for each executor."""

    title: str
    bars: tuple[TimeBar, ...]

    @property
    def _panels(self) -> dict[str, list[TimeBar]]:
        return {bar.workload: [one for one in self.bars if one.workload == bar.workload] for bar in self.bars}

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        return 2.0 + 2.1 * len(self._panels), 1.5 + 0.34 * max(map(len, self._panels.values()))

    def draw(self, figure: Figure) -> None:
        """All panels with the same rows, and one legend below them."""
        longest = max(self._panels.values(), key=len)
        labels = list(dict.fromkeys(bar.label for bar in (*longest, *self.bars)))
        axes = figure.subplots(1, len(self._panels), squeeze=False, sharey=True)[0]
        for (workload, bars), own in zip(self._panels.items(), axes, strict=True):
            _draw_times(own, bars, labels)
            own.set_title(workload)
        _name_bars(axes[0], labels)
        legend(figure, axes[:1], 3, _MEANING)


def _name_bars(axes: Axes, labels: list[str]) -> None:
    """Bars from the top down, each a share of the whole."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100 %"])
    axes.tick_params(axis="y", length=0)


def _draw_times(axes: Axes, bars: list[TimeBar], labels: list[str]) -> None:
    places = [labels.index(bar.label) for bar in bars if bar.shares]
    parts = [bar.shares for bar in bars if bar.shares]
    for number, (name, colour, hatch) in enumerate(_PARTS):
        lefts, shares = [sum(own[:number]) for own in parts], [own[number] for own in parts]
        # An empty bar, so that the legend is whole whatever was measured; all at once, or it takes twice as long.
        axes.barh([0], [0], color=colour, hatch=hatch, edgecolor=GREY, linewidth=0.5, label=name)
        axes.barh(places, shares, 0.72, left=lefts, color=colour, hatch=hatch, edgecolor=GREY, linewidth=0.5)
        for place, left, share in zip(places, lefts, shares, strict=True):
            if share >= _LEAST_WRITTEN:
                _write_share(axes, left + share / 2, place, share, number)
    for bar in bars:
        if bar.shares is None:
            axes.text(0.03, labels.index(bar.label), "no quiet sample", va="center", fontsize=7.5, color=INK)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "50", "100 %"])
    axes.tick_params(axis="y", length=0)


def _write_share(axes: Axes, x: float, y: int, share: float, number: int) -> None:
    _, colour, hatch = _PARTS[number]
    box = {"facecolor": colour, "edgecolor": "none", "pad": 1.0} if hatch else None
    axes.text(x, y, percent(share), ha="center", va="center", fontsize=7.5, color=_ink_on(colour), bbox=box)


@dataclass(frozen=True, slots=True)
class StageBar:
    """A stage's wall and CPU time as parts of its chain's wall time; the stages of a chain run side by side."""

    label: str
    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class StageChart:
    """Where the time of chains went, a bar for each stage of each kind of chain."""

    title: str
    bars: tuple[StageBar, ...]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        return 7.2, 1.5 + 0.32 * len(self.bars)

    def draw(self, figure: Figure) -> None:
        """Stages from the top down; the whole width is the chain's wall time."""
        axes = figure.subplots()
        places = range(len(self.bars))
        walls, cpus = [bar.wall for bar in self.bars], [bar.cpu for bar in self.bars]
        axes.barh(places, walls, 0.72, color="#e4e4e4", edgecolor=GREY, linewidth=0.5, label="wall time: it was there")
        axes.barh(places, cpus, 0.4, color=BLUE, edgecolor=GREY, linewidth=0.5, label="CPU time: it computed")
        for place, bar in zip(places, self.bars, strict=True):
            text = f"{percent(bar.cpu)} of {percent(bar.wall)}"
            axes.text(max(bar.wall, bar.cpu) + 0.01, place, text, va="center", fontsize=7.5, color=INK)
        _name_bars(axes, [bar.label for bar in self.bars])
        axes.set_xlim(0, 1.2 * max(1.0, *walls, *cpus))
        axes.set_xlabel("part of the chain's wall time")
        legend(figure, [axes], 2)
