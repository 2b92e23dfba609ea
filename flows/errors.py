"""Errors of jobs and commands; each is its message (see `db.errors`)."""

from __future__ import annotations

from db.errors import ThreadmillError


class RequestRefused(ThreadmillError):
    """{reason}"""

    reason: str
    """Why it cannot be done, and what to do instead; nothing has been done yet."""


class CommandFailed(ThreadmillError):
    """{reason}"""

    exit_code = 1
    reason: str
    """Why work that had begun was not finished."""


class ServeError(ThreadmillError):
    """{reason}; everything else was ended"""

    exit_code = 1
    reason: str
    """The part of `threadmill serve` that failed, and how."""


class ApiError(ThreadmillError):
    """Prefect's server did not take {request}: {reason}"""

    exit_code = 1
    request: str
    reason: str
    status: int | None = None
    """HTTP's, None where no answer came."""


class NumpyMissing(ThreadmillError):
    """steps are found with the package numpy, which is not installed: pip install -e '.[changes]'"""


class Terminated(BaseException):
    """SIGTERM: passes through everything that handles faults, as KeyboardInterrupt does."""
