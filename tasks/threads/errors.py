"""Errors of the experiments engine; each is its message (see `db.errors`)."""

from __future__ import annotations

from db.errors import ThreadmillError


class ExperimentError(ThreadmillError):
    """Base of everything that this engine raises on purpose."""


class InvalidCase(ExperimentError):
    """{case}: {reason}"""

    case: str
    reason: str


class InterpreterUnusable(ExperimentError):
    """{wanted} cannot be used: {reason}"""

    wanted: str
    """The path or version that was asked for."""
    reason: str


class MeasuringCancelled(ExperimentError):
    """cancelled: {what}"""

    what: str
    """The work that was cancelled; all of its processes have been ended."""


class HostBusy(ExperimentError):
    """{path} is still held by {holder} after {waited_s:.0f} s"""

    path: str
    waited_s: float
    holder: str


class MeasuringLockUnusable(ExperimentError):
    """the measuring lock {path} cannot be taken: {reason}; name another folder or file by THREADMILL_MEASURING_LOCK"""

    path: str
    reason: str


class ProcessesRemain(ExperimentError):
    """still there after SIGKILL: {pids}"""

    pids: str
    """The processes of a case that did not die in time, because they hang in the kernel."""
