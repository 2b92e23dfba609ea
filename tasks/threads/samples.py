"""A sample: one timed execution of a case in one interpreter, as raw readings and a checked outcome."""

from dataclasses import dataclass
from datetime import datetime

from tasks.threads.cases import Case
from tasks.threads.choices import Outcome


@dataclass(frozen=True, slots=True)
class Sample:
    """What one child came back with. Readings are None where they could not be had, times are nanoseconds.

    `cpu_ns` and `context_switches` cover everything in the measured time; `runq_ns` is how long the measuring
    threads (or processes) were ready but had no CPU, `blocked_ns` the rest of their time: waiting for the GIL,
    a lock, or I/O. `foreign_share` is the part of all usable CPUs that others had, 0 to 1.
    """

    case: Case
    interpreter: str
    """Fingerprint."""
    workload_version: str
    """SHA-256 of the measured program's source."""
    round: int
    started_at: datetime
    """UTC."""
    outcome: Outcome
    expected: str | None = None
    found: str | None = None
    error: str | None = None
    wall_ns: int | None = None
    cpu_ns: int | None = None
    runq_ns: int | None = None
    blocked_ns: int | None = None
    context_switches: int | None = None
    gil_on: bool | None = None
    foreign_share: float | None = None
    positive_lost: int | None = None
    """Updates that the positive control in the same child lost; None where it was not needed."""
    negative_lost: int | None = None
    """The same of the control under a lock."""
    noisy: bool = False

    @property
    def lost_share(self) -> float | None:
        """Part of the updates that did not arrive, 0 to 1; None for other experiments."""
        if self.case.guard is None or not self.expected or not self.found:
            return None
        return 1 - int(self.found) / int(self.expected)

    @property
    def update_ns(self) -> float | None:
        """Wall nanoseconds per update; None for other experiments."""
        if self.case.guard is None or self.wall_ns is None:
            return None
        return self.wall_ns / (self.case.workers * self.case.count)
