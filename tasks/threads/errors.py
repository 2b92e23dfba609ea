"""Errors of this engine: one base, one leaf per cause, each with its data and picklable."""

from collections.abc import Sequence


class ExperimentError(Exception):
    """Base of everything that this package raises on purpose."""


class InvalidCaseError(ExperimentError):
    """A combination of choices that is no case."""

    def __init__(self, case: str, reason: str) -> None:
        super().__init__(case, reason)
        self.case = case
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.case}: {self.reason}"


class InterpreterUnusableError(ExperimentError):
    """A program that was asked for by path and is no interpreter that the measured program runs on."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} cannot be used: {self.reason}"


class InterpreterNotFoundError(ExperimentError):
    """A version that no interpreter found on this host has."""

    def __init__(self, wanted: str, found: Sequence[str]) -> None:
        super().__init__(wanted, tuple(found))
        self.wanted = wanted
        self.found = tuple(found)

    def __str__(self) -> str:
        return f"no Python {self.wanted} here; found: {', '.join(self.found) or 'none'}"


class ExperimentCancelledError(ExperimentError):
    """The caller's cancel token was set; whatever was running has been ended."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"cancelled: {self.what}"


class HostLockTimeoutError(ExperimentError):
    """Another measurement on this host went on for longer than the caller would wait."""

    def __init__(self, path: str, waited_s: float, holder: str) -> None:
        super().__init__(path, waited_s, holder)
        self.path = path
        self.waited_s = waited_s
        self.holder = holder

    def __str__(self) -> str:
        return f"{self.path} is still held by {self.holder or 'someone'} after {self.waited_s:.0f} s"


class DescendantsRemainError(ExperimentError):
    """Processes of a case that would not die within the bound (they hang in the kernel)."""

    def __init__(self, pids: Sequence[int]) -> None:
        super().__init__(tuple(pids))
        self.pids = tuple(pids)

    def __str__(self) -> str:
        return f"still there after SIGKILL: {', '.join(map(str, self.pids))}"
