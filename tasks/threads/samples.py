"""A sample: one timed execution of a case in one interpreter, as raw readings and a checked outcome."""

from dataclasses import dataclass
from datetime import datetime

from tasks.axes import Outcome
from tasks.threads.cases import Case


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
