"""What a plot shows, as plain values: made from findings without matplotlib, drawn by `plots`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tasks.threads.choices import Executor
from tasks.threads.estimates import Ratio


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


Chart = ScalingChart | HeatMap | TimeChart
