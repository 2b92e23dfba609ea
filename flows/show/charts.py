"""Plots as plain values, made from findings without matplotlib and drawn by `plots`; and their colours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from flows.analysis.intervals import Ratio
from tasks.axes import Executor


@dataclass(frozen=True, slots=True)
class Point:
    """A speed-up with so many workers."""

    workers: int
    ratio: Ratio


@dataclass(frozen=True, slots=True)
class Curve:
    """An executor's speed-ups, by rising number of workers."""

    executor: Executor
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class ScalingPanel:
    """A workload's speed-ups; `ceiling` is what independent processes gave, empty where it is no limit."""

    title: str
    curves: tuple[Curve, ...]
    ceiling: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class ScalingChart:
    """Speed-up over workers, a panel for each workload."""

    title: str
    panels: tuple[ScalingPanel, ...]


class CellState(StrEnum):
    """Why a cell has a colour, or has none."""

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


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A value where there is one, the lines written on it, and what it stands for.

    `sure` is whether the value says anything: only then it has a colour.
    """

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


@dataclass(frozen=True, slots=True)
class TimeBar:
    """Medians of what the measuring threads spent, nanoseconds, over `samples` quiet ones (none: all zero)."""

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
class TimePanel:
    """Where a workload's time went, a bar for each executor."""

    title: str
    bars: tuple[TimeBar, ...]


@dataclass(frozen=True, slots=True)
class TimeChart:
    """Where the time went on one interpreter, a panel for each workload."""

    title: str
    panels: tuple[TimePanel, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """A value at a time (UTC), with its quartiles where they are known."""

    at: datetime
    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """What went on under one name, oldest first."""

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


Chart = ScalingChart | HeatMap | TimeChart | LineChart | StageChart

# Colours that the colour-blind tell apart and that differ in grey too: Okabe and Ito's, and two ramps.

INK = "#1a1a1a"
GREY = "#8c8c8c"
PALE = "#f2f2f2"

BLUE, ORANGE, SKY, GREEN = "#0072B2", "#E69F00", "#56B4E9", "#009E73"
VERMILLION, PURPLE, BLACK = "#D55E00", "#CC79A7", "#000000"


@dataclass(frozen=True, slots=True)
class Style:
    """Colour, marker and line, each of which tells a curve from the others by itself."""

    colour: str
    marker: str
    line: str | tuple[float, tuple[float, ...]]


_STYLES = (
    Style(BLACK, "x", "-"),
    Style(BLUE, "o", "-"),
    Style(SKY, "s", "--"),
    Style(VERMILLION, "^", "-."),
    Style(GREEN, "D", ":"),
    Style(PURPLE, "v", (0, (6, 2, 1, 2, 1, 2))),
    Style(ORANGE, "P", (0, (1, 1))),
)


def style_of(executor: Executor) -> Style:
    """By its place in the executors' table: a new row has a style without being given one."""
    return style_number(list(Executor).index(executor))


def style_number(number: int) -> Style:
    """One after the other, from the beginning again when there are no more."""
    return _STYLES[number % len(_STYLES)]


def lost_colour(share: float) -> str:
    """Share of updates lost, 0 to 1: white to vermillion, never too dark to write on."""
    return mixed("#ffffff", "#DE7332", min(1.0, max(0.0, share * 1.6)))


def speedup_colour(distance: float) -> str:
    """From -1 (slowest shown) over 0 (no difference, white) to 1: brown to blue."""
    return mixed("#ffffff", "#4393D0" if distance > 0 else "#CC8033", min(1.0, abs(distance)))


def mixed(start: str, end: str, share: float) -> str:
    """A colour between two, as `#rrggbb`."""
    pairs = zip(_channels(start), _channels(end), strict=True)
    return "#" + "".join(f"{round(one + (other - one) * share):02x}" for one, other in pairs)


def ink_on(colour: str) -> str:
    """Black or white, whichever has more contrast with a colour (WCAG's relative luminance)."""
    red, green, blue = ((channel / 255) ** 2.2 for channel in _channels(colour))
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else "#ffffff"


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
