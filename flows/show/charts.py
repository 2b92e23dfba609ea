"""What a plot shows, as plain values: made from findings without matplotlib, drawn by `plots`."""

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
