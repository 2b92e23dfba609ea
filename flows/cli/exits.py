"""Ways out of a command other than returning its exit code."""

from __future__ import annotations

REFUSED = 2


class Exit(Exception):  # a way out, not a fault
    """Stop with this code and, on standard error, this line (none if empty)."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class Terminated(BaseException):
    """SIGTERM: passes through everything that handles faults, as KeyboardInterrupt does."""
