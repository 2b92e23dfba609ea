"""A run around the work of a job: its row, its tools, and the events that it reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from db.errors import RecordError
from db.history import History
from db.rows import NewRun
from db.store import Store
from flows.jobs.runner import Here, Pending, Runner, Step
from tasks.cancel import CancelToken

T = TypeVar("T")
Word = TypeVar("Word", bound=str)


def _ignore(_event: object) -> None:
    """Most jobs have nothing to tell within a step."""


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """The work of a job, or of one of its parts, before it begins.

    Attributes:
        verb: what is going on, such as `encrypting`.
        noun: what is counted, in the singular, such as `payload`.
        total: how many there are.
        size_bytes: their size; 0 where it does not matter.
        details: what else there is to know about it, for the log.
    """

    verb: str
    noun: str
    total: int
    size_bytes: int = 0
    details: str = ""


@dataclass(frozen=True, slots=True)
class MoreDone:
    """Some more of the planned work is done.

    Attributes:
        count: how many more; the counts of all events add up to the total, never beyond it.
        size_bytes: their size.
        line: what came of them, for a log that has a line for each step.
        faults: what needs attention, in words.
        item: what is in work, for a bar.
    """

    count: int = 0
    size_bytes: int = 0
    line: str | None = None
    faults: Sequence[str] = ()
    item: str = ""


class Reporter(Protocol):
    """Receives the events of a job; within a step they come from the thread that runs it."""

    def planned(self, work: PlannedWork) -> None:
        """The work is known; a job of two parts begins anew with the second one."""

    def started(self, run_id: int) -> None:
        """The run has its row."""

    def progressed(self, more: MoreDone) -> None:
        """Some more is done and recorded."""


# Who in this process wants to hear of a job that a flow runs (the command line's progress bar).
LISTENER: ContextVar[Reporter | None] = ContextVar("LISTENER", default=None)


class Tee:
    """Tells several reporters, one after the other."""

    def __init__(self, *reporters: Reporter) -> None:
        self._reporters = reporters

    def planned(self, work: PlannedWork) -> None:
        """See `Reporter`."""
        for one in self._reporters:
            one.planned(work)

    def started(self, run_id: int) -> None:
        """See `Reporter`."""
        for one in self._reporters:
            one.started(run_id)

    def progressed(self, more: MoreDone) -> None:
        """See `Reporter`."""
        for one in self._reporters:
            one.progressed(more)


@dataclass(frozen=True, slots=True)
class PartOutcome:
    """The result of a part of a job.

    Attributes:
        exit_code: 0 all done, 1 something failed, 3 a source was unreadable or changed while it was read, nothing else.
        message: one line for people.
    """

    exit_code: int
    message: str


@dataclass(frozen=True, slots=True)
class Tools:
    """What a job works with: the record, what runs its batches and rounds, who is told, and what ends it early."""

    store: Store
    history: History
    runner: Runner
    reporter: Reporter
    cancel: CancelToken


# A job that knows what to do and is handed the run's facts and its tools; gives back the run, closed.
Job = Callable[[NewRun, Tools], "OpenRun"]


@dataclass(slots=True)
class OpenRun:
    """A run that is under way; parts of the job add what they came to. Once it is closed, `head` is the ledger's."""

    run_id: int
    tools: Tools
    outcomes: list[PartOutcome] = field(default_factory=list)
    head: str | None = None

    def start(
        self, step: Step[T], tell: Callable[[object], None] = _ignore, after: Pending[object] | None = None
    ) -> Pending[T]:
        """Have the runner do and record a step of this run; see `Runner.start`."""
        here = Here(self.tools.cancel, tell)
        return self.tools.runner.start(step, self.tools.store, self.run_id, here, after)

    @property
    def exit_code(self) -> int:
        """The gravest of the parts: 1 before 3 before 0."""
        codes = {outcome.exit_code for outcome in self.outcomes}
        return next((code for code in (1, 3) if code in codes), 0)

    @property
    def message(self) -> str:
        """One line for people."""
        return "; ".join(outcome.message for outcome in self.outcomes)


@contextmanager
def open_run(run: NewRun, tools: Tools) -> Iterator[OpenRun]:
    """Write the run's row, and close it at the end: completed, failed, or cancelled.

    Raises:
        RecordError: the record cannot be written.
    """
    store = tools.store
    opened = OpenRun(store.start_run(run), tools)
    tools.reporter.started(opened.run_id)
    try:
        yield opened
    except BaseException as error:
        tools.cancel.cancel()
        # Where the record is what failed, the row stays open, and the next run on this host closes it as crashed.
        with suppress(RecordError):
            if isinstance(error, Exception):
                store.finish_run(opened.run_id, "failed", f"{type(error).__name__}: {error}")
            else:
                store.finish_run(opened.run_id, "cancelled", "cancelled before it was done")
        raise
    if opened.exit_code:
        opened.head = store.finish_run(opened.run_id, "failed", opened.message)
    else:
        opened.head = store.finish_run(opened.run_id, "completed")


def counted(counts: Mapping[Word, int]) -> str:
    """Counts by status in words, the good ones first, then the most frequent."""
    return ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items(), key=lambda one: (one[0] != "ok", -one[1])))
