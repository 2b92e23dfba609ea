"""From rows of the record back to the engine's samples, for its statistics and its sentences."""

from __future__ import annotations

from collections.abc import Sequence

from db.rows import SampleRow
from tasks.threads.cases import Case
from tasks.threads.choices import Executor, Experiment, Guard, Outcome, Shape, Workload
from tasks.threads.samples import Sample


def to_sample(row: SampleRow) -> Sample:
    """The sample that was recorded as this row.

    Raises:
        ValueError: the row's case is one that this program does not know (any more).
    """
    case = Case(
        Experiment(row.experiment),
        row.workers,
        row.count,
        workload=Workload(row.workload) if row.workload else None,
        executor=Executor(row.executor) if row.executor else None,
        shape=Shape(row.shape) if row.shape else None,
        guard=Guard(row.guard) if row.guard else None,
    )
    return Sample(
        case,
        interpreter=row.interpreter.fingerprint,
        workload_version=row.workload_version,
        round=row.round,
        started_at=row.started_at,
        outcome=Outcome(row.outcome),
        expected=None if row.expected is None else str(row.expected),
        found=None if row.found is None else str(row.found),
        error=row.error,
        wall_ns=row.wall_ns,
        cpu_ns=row.cpu_ns,
        runq_ns=row.runq_ns,
        blocked_ns=row.blocked_ns,
        context_switches=row.context_switches,
        gil_on=row.gil_on,
        foreign_share=row.foreign_share,
        positive_lost=row.positive_lost,
        negative_lost=row.negative_lost,
        noisy=row.noisy,
    )


def by_interpreter(rows: Sequence[SampleRow]) -> dict[str, list[Sample]]:
    """Samples of one run by the interpreter's label; the engine's statistics take one interpreter at a time."""
    groups: dict[str, list[Sample]] = {}
    for row in sorted(rows, key=lambda row: (row.interpreter.implementation, _numbers(row.interpreter.version))):
        groups.setdefault(row.interpreter.label, []).append(to_sample(row))
    return groups


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
